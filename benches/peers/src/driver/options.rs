//! The command line: the flags of every bench, and what only this driver does.

use crate::shared::failure::{Failure, Usage};
use crate::shared::options::{self, FULL_ROUNDS, Flag};

/// How it is called, for `--help`.
const CALL: &str =
    "cargo run --release --manifest-path benches/peers/Cargo.toml --target-dir target/peers --";
/// What `--help` says below the flags.
const NOTES: &str = "
Without one of --counts, --times, --markdown, --readme, --syscalls, --check and --write: instructions an operation under
callgrind, then medians of time and memory, callsoon's beside those of the other runtimes.
";

const FLAGS: &[Flag] = &[
    Flag::new("--counts", "instructions alone"),
    Flag::new("--times", "time and memory alone"),
    Flag::new(
        "--markdown",
        "print the README's table, instructions as in limits.txt",
    ),
    Flag::new("--readme", "the same, and put it into the README"),
    Flag::new("--syscalls", "system calls of a million posts, by strace"),
    Flag::new(
        "--check",
        "every row once, briefly, and callsoon's instructions held to limits.txt",
    ),
    Flag::new(
        "--write",
        "measure instructions and write limits.txt: lower limits, new rows, the peers' figures",
    ),
    Flag::with(
        "--reason",
        "TEXT",
        "a reason",
        "with --write: limits may rise, for this reason",
    ),
    Flag::new(
        "--plain",
        "as users build who leave their manifest alone: without LTO, in 16 units",
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Tables { counts: bool, times: bool },
    Markdown,
    Readme,
    Syscalls,
    Check,
    Limits,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub mode: Mode,
    pub plain: bool,
    pub rounds: usize,
    pub reason: Option<String>,
    /// What every bench has.
    pub common: options::Options,
}

impl Options {
    pub fn from_env() -> Result<Self, Failure> {
        let mut common = options::Options::from_env(FLAGS)?;
        let modes = [
            ("--counts", Mode::tables(true, false)),
            ("--times", Mode::tables(false, true)),
            ("--markdown", Mode::Markdown),
            ("--readme", Mode::Readme),
            ("--syscalls", Mode::Syscalls),
            ("--check", Mode::Check),
            ("--write", Mode::Limits),
        ];
        let mut named = modes.iter().filter(|(flag, _)| common.has(flag));
        let both = ("", Mode::tables(true, true));
        let (flag, mode) = named.next().unwrap_or(&both);
        if let Some((other, _)) = named.next() {
            return Err(Usage(format!("{flag} and {other} are two runs")).into());
        }
        let keeps = common.save.is_some() || common.compare.is_some();
        let limits = matches!(mode, Mode::Check | Mode::Limits);
        if keeps && (limits || *mode == Mode::Syscalls) {
            return Err(Usage(format!("{flag} has nothing to save or compare")).into());
        }
        if common.json && !matches!(mode, Mode::Tables { .. }) {
            return Err(Usage(format!("{flag} has no JSON")).into());
        }
        if *mode == Mode::Readme && common.only().is_some() {
            return Err(
                Usage("--readme puts all rows there; --markdown prints some".into()).into(),
            );
        }
        let plain = common.has("--plain");
        if plain && limits {
            return Err(Usage("limits are those of the release profile".to_owned()).into());
        }
        let reason = common.value_of("--reason").map(str::to_owned);
        if reason.is_some() && *mode != Mode::Limits {
            return Err(Usage("--reason wants --write".to_owned()).into());
        }
        common.quick |= *mode == Mode::Check;
        let rounds = if common.quick { 1 } else { FULL_ROUNDS };
        Ok(Self {
            mode: *mode,
            plain,
            rounds: common.asked_rounds.unwrap_or(rounds),
            reason,
            common,
        })
    }
}

impl Mode {
    const fn tables(counts: bool, times: bool) -> Self {
        Self::Tables { counts, times }
    }
}

/// What `--help` prints.
pub fn help(rows: &[&str]) -> String {
    options::help(CALL, rows, FLAGS, NOTES)
}
