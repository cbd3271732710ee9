//! A child's whole input and output: `communicate` writes and reads at the same time, so that neither side can block.
//!
//! ```text
//! sort gives ["ada", "bob", "eve"], and ends with status 0
//! ls gives 0 bytes and an error, and ends with status 2
//! ```

use callsoon::create_subprocess_exec;
use callsoon::process::PIPE;

#[path = "common/command_line.rs"]
mod command_line;

async fn run_children() -> std::io::Result<()> {
    let mut sort = create_subprocess_exec("sort", [])
        .stdin(PIPE)
        .stdout(PIPE)
        .await?;
    let output = sort.communicate(Some(b"eve\nada\nbob\n")).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    let code = output.status.code().unwrap_or(-1);
    println!("sort gives {lines:?}, and ends with status {code}");

    let mut ls = create_subprocess_exec("ls", ["/no/such/folder"])
        .stdout(PIPE)
        .stderr(PIPE)
        .await?;
    let output = ls.communicate(None).await?;
    let error = if output.stderr.is_empty() {
        "no error"
    } else {
        "an error"
    };
    let code = output.status.code().unwrap_or(-1);
    let bytes = output.stdout.len();
    println!("ls gives {bytes} bytes and {error}, and ends with status {code}");
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(run_children())??;
    Ok(())
}
