//! The command line.

use crate::Failure;

/// What `--help` prints.
pub const HELP: &str = "\
callsoon beside other runtimes, row by row.

    (no mode)        instructions an operation under callgrind, then medians of time and memory
    --counts         instructions alone
    --times          time and memory alone
    --markdown       the README's table, instructions as in limits.txt; --readme puts it there
    --syscalls       system calls of a million posts, by strace
    --check          runs every row once, briefly; holds callsoon's instructions to limits.txt
    --write          measures instructions and writes limits.txt: lower limits, new rows, the peers' figures
    --reason TEXT    with --write: limits may rise, for this reason
    --only TEXT      the rows whose names contain TEXT
    --quick          fewer operations and rounds: seconds, and figures that only show that it works
    --rounds N       rounds of time, 7 unless told
    --plain          as users build who leave their manifest alone: without LTO, in 16 units
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Help,
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
    pub quick: bool,
    pub plain: bool,
    pub rounds: usize,
    pub only: Option<String>,
    pub reason: Option<String>,
}

impl Options {
    pub fn from_env() -> Result<Self, Failure> {
        let mut options = Self {
            mode: Mode::Tables {
                counts: true,
                times: true,
            },
            quick: false,
            plain: false,
            rounds: 0,
            only: None,
            reason: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
            match argument.as_str() {
                "--help" | "-h" => options.mode = Mode::Help,
                "--counts" => {
                    options.mode = Mode::Tables {
                        counts: true,
                        times: false,
                    }
                }
                "--times" => {
                    options.mode = Mode::Tables {
                        counts: false,
                        times: true,
                    }
                }
                "--markdown" => options.mode = Mode::Markdown,
                "--readme" => options.mode = Mode::Readme,
                "--syscalls" => options.mode = Mode::Syscalls,
                "--check" => options.mode = Mode::Check,
                "--write" => options.mode = Mode::Limits,
                "--quick" => options.quick = true,
                "--plain" => options.plain = true,
                "--rounds" => options.rounds = value()?.parse()?,
                "--only" => options.only = Some(value()?),
                "--reason" => options.reason = Some(value()?),
                other => return Err(format!("{other}? --help says what there is").into()),
            }
        }
        options.quick |= options.mode == Mode::Check;
        if options.rounds == 0 {
            options.rounds = if options.quick { 1 } else { 7 };
        }
        if options.plain && matches!(options.mode, Mode::Check | Mode::Limits) {
            return Err("limits are those of the release profile".into());
        }
        Ok(options)
    }

    /// Whether `--only` lets this row through.
    pub fn wants(&self, row: &str) -> bool {
        self.only.as_deref().is_none_or(|part| row.contains(part))
    }
}
