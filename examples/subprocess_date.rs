//! One child, its output read line by line: asyncio's example of `create_subprocess_exec`.
//!
//! ```text
//! Current date: 2009-02-13
//! the child exited with 0
//! ```

use callsoon::create_subprocess_exec;
use callsoon::process::PIPE;

#[path = "common/command_line.rs"]
mod command_line;

async fn get_date() -> std::io::Result<()> {
    // A day that is always the same, so that the output is too.
    let arguments = ["-u", "-d", "@1234567890", "+%F"];
    let mut date = create_subprocess_exec("date", arguments)
        .stdout(PIPE)
        .await?;

    let stdout = date.stdout.as_mut().expect("stdout is a pipe");
    let line = stdout.readline().await?;
    print!("Current date: {}", String::from_utf8_lossy(&line));

    let status = date.wait().await?;
    println!("the child exited with {}", status.code().unwrap_or(-1));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(get_date())??;
    Ok(())
}
