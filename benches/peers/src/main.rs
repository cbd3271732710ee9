//! The driver: builds the binaries, runs rows in them, prints tables, and holds callsoon to its limits. `--help` says how.
//!
//! - `shared`: what it has in common with the benches of the repository
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
#[expect(dead_code, reason = "the benches use the rest")]
#[path = "driver/shared.rs"]
mod shared;
#[path = "driver/tables.rs"]
mod tables;

use std::process::ExitCode;

use measure::Measured;
use options::{Mode, Options};
use peers::row::ROWS;
use run::Bins;
use shared::failure::{self, Failure};
use shared::keep::Keep;

/// As in messages, and as runs are kept.
const NAME: &str = "peers";
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
            eprintln!("{NAME}: {failure}");
            ExitCode::from(failure::exit_code(&failure))
        }
    }
}

fn drive() -> Result<ExitCode, Failure> {
    let options = Options::from_env()?;
    let names: Vec<_> = ROWS.iter().map(|row| row.figures()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    if options.common.help {
        print!("{}", options::help(&names));
        return Ok(ExitCode::SUCCESS);
    }
    // What cannot be obeyed is found out before anything is built.
    let wanted = options.common.select(&names)?;
    let mut rows = ROWS.to_vec();
    rows.retain(|row| wanted.contains(&row.figures().as_str()));
    let keep = Keep::new(NAME, &options.common)?;
    if keep.print_saved_pair() {
        return Ok(ExitCode::SUCCESS);
    }
    let bins = Bins::build(options.plain)?;
    let runtimes = measure::startable(&bins);
    if !runtimes.contains(&OURS) {
        return Err("callsoon does not start".into());
    }
    let shown = rows.clone();
    if matches!(options.mode, Mode::Markdown | Mode::Readme) {
        tables::add_counterparts(&mut rows);
    }
    let mut measured = Measured::new(&bins, &options, rows, runtimes);
    match options.mode {
        Mode::Check => return limits::check(measured),
        Mode::Limits => return limits::write(measured, &options),
        Mode::Syscalls => return tables::syscalls(measured),
        Mode::Markdown | Mode::Readme => {
            measured.time_all();
            tables::markdown(&measured, &shown, options.mode == Mode::Readme)?;
        }
        Mode::Tables { counts, times } => {
            if counts && measured.can_count() {
                measured.count_all();
            }
            if times {
                measured.time_all();
            }
            tables::print(&measured);
        }
    }
    keep.keep(&measured.to_saved())?;
    Ok(measured.verdict())
}
