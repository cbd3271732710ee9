//! A trace of an echo server's turns, steps, callbacks and waits, for <https://ui.perfetto.dev> or `chrome://tracing`.
//!
//! ```text
//! serving, and tracing
//! 157 events are in trace.json
//! ```
//!
//! The first argument is where the trace is to be written, by default to the system's folder for temporary files.

mod chrome;
#[path = "../common/command_line.rs"]
mod command_line;
mod echo;
mod fields;
mod stays;

use std::fs;
use std::path::PathBuf;

use callsoon::EventLoop;

use crate::chrome::Chrome;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let default = || std::env::temp_dir().join("callsoon-trace.json");
    let path = command_line::arguments!("[FILE]").pop();
    let path = path.map_or_else(default, PathBuf::from);
    let chrome = Chrome::default();
    tracing::subscriber::with_default(chrome.clone(), || {
        let event_loop = EventLoop::builder().task_spans(true).build()?;
        event_loop.run_until_complete(echo::serve())?
    })?;
    let trace = chrome.trace("an echo server");
    fs::write(&path, trace.to_string())?;
    let events = trace["traceEvents"].as_array().map_or(0, Vec::len);
    println!("{events} events are in {}", path.display());
    Ok(())
}
