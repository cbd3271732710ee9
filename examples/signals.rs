//! Signals are events: a handler counts, a stream reads the configuration again, and Ctrl-C ends the program.
//!
//! The program sends itself what a terminal or another process would.
//!
//! ```text
//! the configuration is read: 1
//! the window has changed
//! the configuration is read: 2
//! Ctrl-C: shutting down
//! ```

use std::process::{Command, id};
use std::thread;
use std::time::Duration;

use callsoon::{create_task, ctrl_c, get_running_loop, signal};

#[path = "common/command_line.rs"]
mod command_line;

fn send(name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &id().to_string()])
        .status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -s {name}");
}

async fn serve() -> Result<(), callsoon::SignalError> {
    get_running_loop().add_signal_handler(libc::SIGWINCH, || println!("the window has changed"))?;
    let mut hangups = signal(libc::SIGHUP)?;
    let reader = create_task(async move {
        for number in 1.. {
            println!("the configuration is read: {number}");
            if hangups.recv().await.is_err() {
                break;
            }
        }
    });
    let sender = thread::spawn(|| {
        for name in ["WINCH", "HUP", "INT"] {
            thread::sleep(Duration::from_millis(200));
            send(name);
        }
    });
    ctrl_c().await?;
    println!("Ctrl-C: shutting down");
    // The last signal has been sent, so the thread ends without further waiting.
    sender.join().expect("the sender does not panic");
    reader.cancel();
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(serve())??;
    Ok(())
}
