//! The command line. Unknown flags are ignored: cargo and its wrappers pass some of their own (`--bench`).

use super::rounds::Failure;

/// Rounds when nothing is said: enough for a median that one disturbed round cannot move.
const FULL_ROUNDS: usize = 7;
/// Rounds under `--quick`: the least that have a middle one.
const QUICK_ROUNDS: usize = 3;

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// `--quick`: small sizes and few rounds, under 20 s.
    pub(crate) quick: bool,
    /// `--json`: one JSON line a figure in place of the table.
    pub(crate) json: bool,
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

    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let known = match arg.as_str() {
                "--quick" => {
                    options.quick = true;
                    true
                }
                "--json" => {
                    options.json = true;
                    true
                }
                "--rounds" => {
                    let count = args.next().and_then(|count| count.parse().ok());
                    options.rounds = Some(
                        count
                            .filter(|count| *count > 0)
                            .ok_or("--rounds wants a positive number")?,
                    );
                    true
                }
                "--only" => {
                    options.only = Some(args.next().ok_or("--only wants part of a row's name")?);
                    true
                }
                "--child" => {
                    options.child = Some(args.by_ref().collect());
                    true
                }
                other => other == "--bench",
            };
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

    /// The full size of a row, or its quick one.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}
