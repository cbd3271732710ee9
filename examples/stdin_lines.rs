//! Standard input by lines, while something else goes on. Where nobody types, the lines come through a pipe of its own.
//!
//! ```text
//! $ printf 'one\ntwo\n' | cargo run --example stdin_lines
//! 1: one
//! 2: two
//! the input has ended; the loop was free for other things: true
//! ```

use std::io::IsTerminal as _;
use std::time::Duration;

use callsoon::stream::{StreamReader, open_read_pipe, open_write_pipe};
use callsoon::{create_task, sleep, transport, wait_for};

/// Standard input, if it is a terminal or something comes from it soon; what came first is with it.
async fn standard_input() -> Option<(StreamReader, Vec<u8>)> {
    // A regular file, which no loop can wait for, and an input that is closed are errors here.
    let mut reader = open_read_pipe(transport::stdin().ok()?).await.ok()?;
    let patience = if std::io::stdin().is_terminal() {
        3600
    } else {
        1
    };
    let first = wait_for(reader.readline(), Duration::from_secs(patience)).await;
    let first = first.ok()?.ok().filter(|line| !line.is_empty())?;
    Some((reader, first))
}

async fn own_pipe() -> std::io::Result<(StreamReader, Vec<u8>)> {
    let (input, output) = std::os::unix::net::UnixStream::pair()?;
    let writer = open_write_pipe(output).await?;
    writer.write(b"one\ntwo\n");
    writer.close();
    let mut reader = open_read_pipe(input).await?;
    let first = reader.readline().await?;
    Ok((reader, first))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    callsoon::run(async {
        let other = create_task(sleep(Duration::from_micros(1)));
        let (mut reader, mut line) = match standard_input().await {
            Some(input) => input,
            None => own_pipe().await?,
        };
        for number in 1.. {
            if line.is_empty() {
                break;
            }
            println!("{number}: {}", String::from_utf8_lossy(&line).trim_end());
            line = reader.readline().await?;
        }
        sleep(Duration::from_millis(1)).await;
        let free = other.done();
        println!("the input has ended; the loop was free for other things: {free}");
        Ok(())
    })?
}
