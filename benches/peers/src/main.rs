//! The driver: builds the binaries, runs rows in them, prints tables, and holds callsoon to its limits. `--help` says how.
//!
//! - `options`: the command line
//! - `run`: processes: a binary, a binary under callgrind, a binary under strace
//! - `measure`: rows × runtimes × rounds
//! - `limits`: `limits.txt`
//! - `tables`: what is printed

#[path = "driver/limits.rs"]
mod limits;
#[path = "driver/measure.rs"]
mod measure;
#[path = "driver/options.rs"]
mod options;
#[path = "driver/run.rs"]
mod run;
#[path = "driver/tables.rs"]
mod tables;

use std::process::ExitCode;

use measure::Measured;
use options::{Mode, Options};
use run::Bins;

/// Why the driver ends early.
type Failure = Box<dyn std::error::Error>;

/// The binaries. Limits are the first one's; a floor is no peer.
const RUNTIMES: &[&str] = &[
    "callsoon", "tokio", "smol", "monoio", "glommio", "compio", "libuv", "floor",
];
/// The one whose rows are limited.
const OURS: &str = RUNTIMES[0];
/// What has no runtime.
const FLOOR: &str = "floor";

fn main() -> ExitCode {
    match drive() {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("peers: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn drive() -> Result<ExitCode, Failure> {
    let options = Options::from_env()?;
    if options.mode == Mode::Help {
        print!("{}", options::HELP);
        return Ok(ExitCode::SUCCESS);
    }
    let bins = Bins::build(options.plain)?;
    let runtimes = measure::startable(&bins);
    if !runtimes.contains(&OURS) {
        return Err("callsoon does not start".into());
    }
    let measured = Measured::new(&bins, &options, runtimes);
    match options.mode {
        Mode::Help => {}
        Mode::Check => return limits::check(measured),
        Mode::Limits => return limits::write(measured, &options),
        Mode::Syscalls => return tables::syscalls(measured),
        Mode::Markdown | Mode::Readme => {
            return tables::markdown(measured, options.mode == Mode::Readme);
        }
        Mode::Tables { counts, times } => {
            let mut measured = measured;
            if counts && measured.can_count() {
                measured.count_all()?;
                tables::print_counts(&measured);
            }
            if times {
                measured.time_all()?;
                tables::print_times(&measured);
            }
            return Ok(measured.verdict());
        }
    }
    Ok(ExitCode::SUCCESS)
}
