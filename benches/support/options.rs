//! The command line, of every bench and of the package of other runtimes. What is not understood is refused with the list
//! of what there is: an option that does nothing looks like one that was obeyed.

use super::failure::{Failure, Usage};
use super::{rows, saves};

/// Rounds when nothing is said: enough for a median that one disturbed round cannot move.
pub(crate) const FULL_ROUNDS: usize = 7;
/// Rounds under `--quick`: the least that have a middle one.
const QUICK_ROUNDS: usize = 3;

/// One option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// As on the command line.
    pub(crate) name: &'static str,
    /// What its value is called; empty if it has none.
    pub(crate) value: &'static str,
    /// What it wants, for the message that it did not get it.
    pub(crate) wants: &'static str,
    /// For `--help`.
    pub(crate) does: &'static str,
}

impl Flag {
    /// An option without a value.
    pub(crate) const fn new(name: &'static str, does: &'static str) -> Self {
        Self::with(name, "", "", does)
    }

    /// An option with a value.
    pub(crate) const fn with(
        name: &'static str,
        value: &'static str,
        wants: &'static str,
        does: &'static str,
    ) -> Self {
        Self {
            name,
            value,
            wants,
            does,
        }
    }

    /// `--only TEXT`.
    fn usage(&self) -> String {
        format!("{} {}", self.name, self.value)
            .trim_end()
            .to_owned()
    }
}

/// Those that each bench has.
const COMMON: &[Flag] = &[
    Flag::new(
        "--quick",
        "few rounds and small sizes, for a first look: well under a minute",
    ),
    Flag::with(
        "--only",
        "TEXT",
        "part of a row's name",
        "the rows, or figures of rows, whose name contains TEXT",
    ),
    Flag::with(
        "--rounds",
        "N",
        "a positive number",
        "how often each row is measured; each round asks all peers",
    ),
    Flag::new("--json", "JSON lines in place of the table"),
    Flag::new("--readme", "a table in Markdown in place of the plain one"),
    Flag::with(
        "--save",
        "NAME",
        "a name",
        "keep what was measured as bench-saves/BENCH/NAME.json in the target folder",
    ),
    Flag::with(
        "--compare",
        "NAME",
        "NAME or NAME,NAME",
        "print the change of each figure since the run saved as NAME; of A,B: from A to B, nothing measured",
    ),
    Flag::new("--help", "print this"),
];

/// Options of the standard test harness, and whether they have a value. `cargo test --benches` gives them to benches as to
/// tests, so they are no mistake, and mean nothing here.
const HARNESS: &[(&str, bool)] = &[
    ("--color", true),
    ("--exact", false),
    ("--format", true),
    ("--ignored", false),
    ("--include-ignored", false),
    ("--list", false),
    ("--no-capture", false),
    ("--nocapture", false),
    ("--quiet", false),
    ("--show-output", false),
    ("--skip", true),
    ("--test-threads", true),
];

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
    /// `--readme`: a table in Markdown.
    pub(crate) readme: bool,
    /// `--help`: print the flags and the rows, and nothing else.
    pub(crate) help: bool,
    /// `--save NAME`.
    pub(crate) save: Option<String>,
    /// `--compare NAME` or `--compare NAME,NAME`.
    pub(crate) compare: Option<Compare>,
    /// `--rounds N`.
    pub(crate) asked_rounds: Option<usize>,
    /// `--only TEXT`: the rows and figures whose name contains TEXT.
    only: Option<String>,
    /// What one bench alone has, with its value, in the order of the command line.
    more: Vec<(&'static str, String)>,
    /// `--child ...`: this process is a child, and the rest of the line is its order.
    pub(crate) child: Option<Vec<String>>,
    /// `--bench` or any flag above was there: somebody wants figures.
    pub(crate) wanted: bool,
}

impl Options {
    /// Reads this process's arguments.
    pub(crate) fn from_env(more: &'static [Flag]) -> Result<Self, Failure> {
        Self::parse(std::env::args().skip(1), more)
    }

    /// Reads these arguments. What is unknown, and what a flag wants and does not get, is a [`Usage`].
    pub(crate) fn parse(
        mut args: impl Iterator<Item = String>,
        more: &'static [Flag],
    ) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut words = Vec::new();
        while let Some(arg) = args.next() {
            let (name, given) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with('-') => (name, Some(value.to_owned())),
                _ => (arg.as_str(), None),
            };
            match name {
                "--child" => options.child = Some(args.by_ref().collect()),
                "--bench" => {}
                name if !name.starts_with('-') => {
                    words.push(arg);
                    continue;
                }
                name => {
                    if let Some((_, valued)) = HARNESS.iter().find(|(known, _)| *known == name) {
                        if *valued && given.is_none() {
                            args.next();
                        }
                        continue;
                    }
                    let flag = find(name, more)?;
                    let value = value(flag, given, &mut args)?;
                    if more.iter().any(|more| more.name == flag.name) {
                        options.more.push((flag.name, value));
                    } else {
                        options.take(flag, value)?;
                    }
                }
            }
            options.wanted = true;
        }
        // Where nobody wants figures, `cargo test` looks for tests of that name.
        match words.first() {
            Some(word) if options.wanted => Err(Usage(format!(
                "{word:?} is no option; a row is chosen by --only {word}"
            ))
            .into()),
            _ => Ok(options),
        }
    }

    /// Does what a flag of every bench says.
    fn take(&mut self, flag: &Flag, value: String) -> Result<(), Failure> {
        match flag.name {
            "--quick" => self.quick = true,
            "--json" => self.json = true,
            "--readme" => self.readme = true,
            "--help" => self.help = true,
            "--only" => self.only = Some(value),
            "--rounds" => {
                let count = value.parse().ok().filter(|count| *count > 0);
                let wrong = || Usage(format!("{} wants {}", flag.name, flag.wants));
                self.asked_rounds = Some(count.ok_or_else(wrong)?);
            }
            "--save" => self.save = Some(name(value)?),
            _ => {
                self.compare = Some(match value.split_once(',') {
                    Some((old, new)) => Compare::Saved(name(old.into())?, name(new.into())?),
                    None => Compare::With(name(value)?),
                });
            }
        }
        Ok(())
    }

    /// Whether a flag that this bench alone has was there.
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.value_of(flag).is_some()
    }

    /// The value of a flag that this bench alone has; the last one, if it was there more than once.
    pub(crate) fn value_of(&self, flag: &str) -> Option<&str> {
        let mut found = self.more.iter().rev().filter(|(name, _)| *name == flag);
        found.next().map(|(_, value)| value.as_str())
    }

    /// How many rounds to run.
    pub(crate) fn rounds(&self) -> usize {
        self.asked_rounds.unwrap_or(if self.quick {
            QUICK_ROUNDS
        } else {
            FULL_ROUNDS
        })
    }

    /// What `--only` says.
    pub(crate) fn only(&self) -> Option<&str> {
        self.only.as_deref()
    }

    /// Those of `rows` that `--only` lets through. That there are none is a [`Usage`] with the list.
    pub(crate) fn select<'a>(&self, rows: &[&'a str]) -> Result<Vec<&'a str>, Failure> {
        let Some(only) = self.only() else {
            return Ok(rows.to_vec());
        };
        let mut wanted = rows.to_vec();
        wanted.retain(|row| rows::matches(row, only));
        if wanted.is_empty() {
            return Err(Usage(format!("no row {only:?}; there are {}", rows.join(", "))).into());
        }
        Ok(wanted)
    }

    /// The full size of a row, or its quick one.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// All flags of a bench, its own ones first. One of its own may stand in the place of one that all have.
fn flags(more: &'static [Flag]) -> impl Iterator<Item = &'static Flag> {
    let own = |flag: &&Flag| !more.iter().any(|more| more.name == flag.name);
    more.iter().chain(COMMON.iter().filter(own))
}

fn find(name: &str, more: &'static [Flag]) -> Result<&'static Flag, Usage> {
    let name = if name == "-h" { "--help" } else { name };
    flags(more).find(|flag| flag.name == name).ok_or_else(|| {
        let known: Vec<_> = flags(more).map(Flag::usage).collect();
        let known = known.join(", ");
        Usage(format!("there is no option {name}; there are {known}"))
    })
}

/// What `--help` prints: the call, the flags, the rows.
pub(crate) fn help(call: &str, rows: &[&str], more: &'static [Flag], notes: &str) -> String {
    let flags = flags(more).map(|flag| format!("  {:<16} {}\n", flag.usage(), flag.does));
    let flags: String = flags.collect();
    let rows: String = rows.iter().map(|row| format!("  {row}\n")).collect();
    format!(
        "{call} [FLAGS]\n\n{flags}{notes}\nrows, and the figures of those that have several, each of which --only takes:\n{rows}"
    )
}

/// How a bench is called, up to its flags.
pub(crate) fn call(bench: &str) -> String {
    format!("cargo bench --bench {bench} --")
}

/// The value of a flag: what stands behind `=`, or what follows.
fn value(
    flag: &Flag,
    given: Option<String>,
    args: &mut impl Iterator<Item = String>,
) -> Result<String, Usage> {
    match given {
        Some(_) if flag.value.is_empty() => Err(Usage(format!("{} has no value", flag.name))),
        Some(value) => Ok(value),
        None if flag.value.is_empty() => Ok(String::new()),
        None => args
            .next()
            .filter(|value| !value.starts_with("--"))
            .ok_or_else(|| Usage(format!("{} wants {}", flag.name, flag.wants))),
    }
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
