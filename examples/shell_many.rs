//! Several shell commands at once, and the lines of all of them as they arrive.
//!
//! ```text
//! [slow] begins
//! [fast] one
//! [fast] two
//! [fast] exited with 0
//! [loud] something is wrong
//! [loud] exited with 3
//! [slow] ends
//! [slow] exited with 0
//! ```

use std::io;

use callsoon::process::{DEVNULL, PIPE, STDOUT};
use callsoon::{create_subprocess_shell, create_task};

#[path = "common/command_line.rs"]
mod command_line;

/// Runs one command, and prints its lines with its name in front.
async fn run(name: &str, command: &str) -> io::Result<()> {
    let shell = create_subprocess_shell(command).stdin(DEVNULL);
    let mut process = shell.stdout(PIPE).stderr(STDOUT).await?;
    let output = process.stdout.as_mut().expect("stdout is a pipe");
    while let Some(line) = output.next_line().await? {
        print!("[{name}] {}", String::from_utf8_lossy(&line));
    }
    let status = process.wait().await?;
    println!("[{name}] exited with {}", status.code().unwrap_or(-1));
    Ok(())
}

async fn run_all() -> io::Result<()> {
    let commands = [
        ("slow", "echo begins; sleep 0.6; echo ends"),
        ("fast", "sleep 0.2; echo one; echo two"),
        ("loud", "sleep 0.4; echo something is wrong >&2; exit 3"),
    ];
    let tasks: Vec<_> = commands
        .into_iter()
        .map(|(name, command)| create_task(run(name, command)))
        .collect();
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(run_all())??;
    Ok(())
}
