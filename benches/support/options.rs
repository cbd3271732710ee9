//! The command line. Unknown flags are ignored: cargo and its wrappers pass some of their own (`--bench`).

use std::fmt;

use super::rounds::Failure;
use super::saves;

/// Rounds when nothing is said: enough for a median that one disturbed round cannot move.
const FULL_ROUNDS: usize = 7;
/// Rounds under `--quick`: the least that have a middle one.
const QUICK_ROUNDS: usize = 3;

/// What `--help` prints below the line of usage.
const FLAGS: &str = "  --quick          few rounds and small sizes, for a first look: well under a minute
  --only TEXT      the rows whose name contains TEXT
  --rounds N       how often each row is measured; each round asks all peers
  --json           JSON lines in place of the table
  --save NAME      keep what was measured as target/bench-saves/BENCH/NAME.json
  --compare NAME   after measuring, print the change of each figure since the run that was saved as NAME
  --compare A,B    compare two saved runs and measure nothing
  --help           print this
";

/// A command line that cannot be obeyed. The process ends with the code 2, others of its failures with 1.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// What `--compare` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Compare {
    /// The run that is about to be measured with a saved one.
    With(String),
    /// Two saved runs, the older one first.
    Saved(String, String),
}

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// `--quick`: small sizes and few rounds.
    pub(crate) quick: bool,
    /// `--json`: JSON lines in place of the table.
    pub(crate) json: bool,
    /// `--help`: print the flags and the rows, and nothing else.
    pub(crate) help: bool,
    /// `--peers`: rows from the package of other runtimes too. Only `latency` has it.
    pub(crate) peers: bool,
    /// `--save NAME`.
    pub(crate) save: Option<String>,
    /// `--compare NAME` or `--compare NAME,NAME`.
    pub(crate) compare: Option<Compare>,
    /// `--rounds N`.
    rounds: Option<usize>,
    /// `--only TEXT`: the rows whose name contains TEXT.
    only: Option<String>,
    /// `--child ...`: this process is a child, and the rest of the line is its order.
    pub(crate) child: Option<Vec<String>>,
    /// `--bench` or any flag above was there: somebody wants figures.
    pub(crate) wanted: bool,
}

impl Options {
    /// Reads this process's arguments.
    pub(crate) fn from_env() -> Result<Self, Failure> {
        Self::parse(std::env::args().skip(1))
    }

    /// Reads these arguments. What a flag wants and does not get is a [`Usage`].
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let mut known = true;
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--json" => options.json = true,
                "--peers" => options.peers = true,
                "--help" | "-h" => options.help = true,
                "--rounds" => {
                    let count = value(&arg, "a positive number", &mut args)?;
                    let count = count.parse().ok().filter(|count| *count > 0);
                    let wrong = || Usage(format!("{arg} wants a positive number"));
                    options.rounds = Some(count.ok_or_else(wrong)?);
                }
                "--only" => {
                    options.only = Some(value(&arg, "part of a row's name", &mut args)?);
                }
                "--save" => options.save = Some(name(value(&arg, "a name", &mut args)?)?),
                "--compare" => {
                    let names = value(&arg, "NAME or NAME,NAME", &mut args)?;
                    options.compare = Some(match names.split_once(',') {
                        Some((old, new)) => Compare::Saved(name(old.into())?, name(new.into())?),
                        None => Compare::With(name(names)?),
                    });
                }
                "--child" => options.child = Some(args.by_ref().collect()),
                "--bench" => {}
                _ => known = false,
            }
            options.wanted |= known;
        }
        Ok(options)
    }

    /// How many rounds to run.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick {
            QUICK_ROUNDS
        } else {
            FULL_ROUNDS
        })
    }

    /// Whether `--only` lets this row through.
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.only.as_deref().is_none_or(|part| row.contains(part))
    }

    /// Those of `rows` that `--only` lets through. That there are none is a [`Usage`] with the list.
    pub(crate) fn select<'a>(&self, rows: &[&'a str]) -> Result<Vec<&'a str>, Failure> {
        let wanted: Vec<_> = rows.iter().copied().filter(|row| self.wants(row)).collect();
        if wanted.is_empty() {
            let only = self.only.as_deref().unwrap_or_default();
            return Err(Usage(format!("no row {only:?}; there are {}", rows.join(", "))).into());
        }
        Ok(wanted)
    }

    /// The full size of a row, or its quick one.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// What `--help` prints.
pub(crate) fn help(bench: &str, rows: &[&str], more: &str) -> String {
    format!(
        "cargo bench --bench {bench} [-- FLAGS]\n\n{FLAGS}{more}\nrows: {}\n",
        rows.join(", ")
    )
}

/// What follows a flag.
fn value(
    flag: &str,
    wanted: &str,
    args: &mut impl Iterator<Item = String>,
) -> Result<String, Usage> {
    args.next()
        .ok_or_else(|| Usage(format!("{flag} wants {wanted}")))
}

/// A name that is a file's name in every folder, and in that folder alone.
fn name(name: String) -> Result<String, Usage> {
    if saves::is_name(&name) {
        Ok(name)
    } else {
        Err(Usage(format!(
            "{name:?} is no name for a run: letters, digits, '-', '_' and '.', and a letter or digit first"
        )))
    }
}
