//! Asks a running loop what its tasks do, through the socket of `Builder::inspector`: asyncio's `ps` and `pstree`, `top`
//! and a dump. Without arguments it starts a loop of its own, inspects that, and ends.
//!
//! ```text
//! $ cargo run --example inspect -- pstree PATH
//! └── (T) Task-7
//!     └── examples/inspect/demo.rs:31:39  Task "holder", for 0.062 s
//!         └── (T) holder
//!             └── examples/inspect/demo.rs:24:52  sleep, 59.938 s left, for 0.062 s
//! ```
//!
//! `ps` prints a table of the tasks: what each waits for, and who awaits it; `pstree` a tree, or an error if tasks wait
//! for one another in a circle; `top` the tasks by the time of their steps, every second, or one list with `--once`;
//! `dump` the text of `LoopHandle::dump`; `--json` what the loop has answered, as it is. PATH is the socket that the
//! program has given to `Builder::inspector`.

use std::path::Path;

mod ask;
#[path = "../common/command_line.rs"]
mod command_line;
mod demo;
mod ps;
mod pstree;
mod top;

const COMMANDS: &str = "the commands are ps, pstree, top, dump and --json, with a PATH";

/// Runs one command. The error is for the user.
pub(crate) fn command(name: &str, path: &Path, once: bool) -> Result<(), String> {
    match name {
        "ps" => ps::print(&ask::tasks(path)?),
        "pstree" => pstree::print(&ask::tasks(path)?)?,
        "top" => top::print(path, once)?,
        "dump" => print!("{}", ask::dump(path)?),
        "--json" => print!("{}", ask::ask(path, "snapshot")?),
        _ => return Err(COMMANDS.to_owned()),
    }
    Ok(())
}

fn main() -> Result<(), String> {
    let mut arguments = command_line::arguments!("[ps|pstree|top|dump|--json] [PATH] [--once]");
    let once = arguments.iter().any(|argument| argument == "--once");
    arguments.retain(|argument| argument != "--once");
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => demo::run(),
        [name, path] => command(name, Path::new(path), once),
        _ => Err(COMMANDS.to_owned()),
    }
}
