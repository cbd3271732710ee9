//! The work of `peers`, written once, over [`Runtime`]; each binary in `bin/` is a runtime and little else.
//!
//! - `row`: the rows: names, units, how many operations are counted and timed
//! - `runtime`: what a runtime has to offer
//! - `local`: rows that stay on one thread and do not wait
//! - `timed`: rows with timers
//! - `posts`: closures from other threads
//! - `memory`: resident bytes
//! - `net`: connections, and the client process that holds their other ends
//! - `latency`: the paths of the bench `latency`
//! - `meter`: clocks, resident memory, and what a binary prints
//! - `gate`, `one_slot`, `pin`, `random`: what every runtime's row uses alike

#[path = "../../support/gate.rs"]
mod gate;
mod latency;
pub mod local;
pub mod memory;
pub mod meter;
pub mod net;
#[path = "../../support/one_slot.rs"]
mod one_slot;
#[path = "../../support/pin.rs"]
mod pin;
pub mod posts;
#[path = "../../support/random.rs"]
mod random;
pub mod row;
pub mod runtime;
pub mod timed;

use std::process::ExitCode;

use meter::Report;
use runtime::Runtime;

/// Why a binary has nothing to say about a row.
#[derive(Debug)]
pub enum Missing {
    /// The runtime has no such thing.
    Row,
    /// The runtime cannot run here, or the row failed.
    Failed(String),
}

impl<E: std::error::Error> From<E> for Missing {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The exit code of a command line that cannot be obeyed.
const WRONG_USE: u8 = 2;
/// The exit code that says [`Missing::Row`].
pub const NO_ROW: u8 = 3;
/// The exit code that says [`Missing::Failed`].
pub const FAILED: u8 = 4;
/// How many bytes a read of the bench `latency` may give.
pub const LATENCY_BUFFER: usize = latency::BUFFER;
/// No row: a report of one figure, 1 where the runtime waits by io_uring here and 0 where it waits by readiness instead.
pub const URING: &str = "uring";

/// `BIN ROW N`: does a row's work `N` times and prints the figures, one a line. `own` may answer a row first.
pub fn main_with(own: impl FnOnce(&str, u64) -> Option<Result<Report, Missing>>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("client", order)) = arguments
        .split_first()
        .map(|(kind, rest)| (kind.as_str(), rest))
    {
        return match net::client(order) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("client: {error}");
                ExitCode::from(FAILED)
            }
        };
    }
    let count = |text: &String| text.parse().ok();
    let (row, count) = match &arguments[..] {
        [help] if help == "--help" || help == "-h" => {
            print!("{}", usage());
            return ExitCode::SUCCESS;
        }
        [row, ops] if count(ops).is_some() && (row == URING || row::is_row(row)) => {
            (row, count(ops).unwrap_or_default())
        }
        _ => {
            eprint!("{}", usage());
            return ExitCode::from(WRONG_USE);
        }
    };
    match own(row, count).unwrap_or(Err(Missing::Row)) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(Missing::Row) => ExitCode::from(NO_ROW),
        Err(Missing::Failed(why)) => {
            eprintln!("{why}");
            ExitCode::from(FAILED)
        }
    }
}

/// What a binary prints that is called in another way than the driver does.
fn usage() -> String {
    let rows: Vec<_> = row::ROWS.iter().map(|row| row.name).collect();
    format!(
        "BIN ROW N: does the work of ROW N times and prints what it took, for the driver, which is `peers`\nrows: {}\n",
        rows.join(", ")
    )
}

/// The same for a runtime that answers every row by [`Runtime`].
pub fn main<R: Runtime>() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((latency::COMMAND, order)) = arguments
        .split_first()
        .map(|(kind, rest)| (kind.as_str(), rest))
    {
        return match latency::work::<R>(order) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::from(FAILED)
            }
        };
    }
    main_with(|row, count| Some(work::<R>(row, count)))
}

/// Does a row's work.
pub fn work<R: Runtime>(row: &str, ops: u64) -> Result<Report, Missing> {
    let done = match row {
        URING => return R::by_uring().map(Report::uring).ok_or(Missing::Row),
        "callback_chain" => R::run(move |on| local::callback_chain(on, ops)),
        "callback_batch" => R::run(move |on| local::callback_batch(on, ops)),
        "spawn_join" => R::run(move |on| local::spawn_join(on, ops)),
        "spawn_join_1000" => R::run(move |on| local::spawn_join_1000(on, ops)),
        "detached" => R::run(move |on| local::detached(on, ops)),
        "yield" => R::run(move |on| local::yields(on, ops)),
        "yield_100" => R::run(move |on| local::yield_100(on, ops)),
        "ping_pong" => R::run(move |on| local::ping_pong(on, ops)),
        "gather_1000" => R::run(move |on| local::gather(on, ops)),
        "group_1000" => R::run(move |on| local::group(on, ops)),
        "waiters_leave" => {
            return R::run(move |on| local::waiters_leave(on, ops)).map_err(Missing::Failed)?;
        }
        "callbacks_leave" => {
            return R::run(move |on| local::callbacks_leave(on, ops)).map_err(Missing::Failed)?;
        }
        "timer_pair" => R::run(move |on| timed::pairs(on, ops)),
        "burst_task" => R::run(move |on| timed::burst(on, ops, timed::by_task::<R>)),
        "burst_callback" => R::run(move |on| timed::burst(on, ops, timed::by_callback::<R>)),
        "fire_task" => R::run(move |on| timed::spread(on, ops, timed::by_task::<R>)),
        "fire_callback" => R::run(move |on| timed::spread(on, ops, timed::by_callback::<R>)),
        "posts_1" => return posts::posts::<R>(1, ops),
        "posts_4" => return posts::posts::<R>(4, ops),
        "idle_task" => R::run(move |on| memory::idle_tasks(on, ops)),
        "burst_memory" => R::run(move |on| memory::after_burst(on, ops)),
        row => return net::work::<R>(row, ops),
    };
    done.map_err(Missing::Failed)
}
