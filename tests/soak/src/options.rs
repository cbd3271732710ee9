//! The command line.

use std::process::exit;

/// What is printed for `--help`.
const HELP: &str = "\
callsoon-soak: two processes of callsoon under load, and a table of what they have used and lost

  --seconds N    how long the load lasts (60); whether memory grows is judged from 20 s on
  --idle N       how many connections are held that are idle most of the time (10000)
  --rate N       how many new connections are made each second (1000)
  --fault WHAT   has the server leave something behind, so that the program must fail: memory, descriptor, byte, task
  --sizes        instead: a century of virtual time, timers, tasks and posts from threads, each in a process of its own
  --full         with --sizes: 10^8 firings, 10 M timers, 1 M tasks, 16 x 1 M posts, instead of less
  --row NAME     with --sizes: only this row: century, timers, tasks or posts
  --help         this text

The exit code is 0, or 1 if a limit is broken, with the reason on the standard error, or 2 for a wrong command line.
";

/// What the program is to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) seconds: u64,
    pub(crate) idle: u64,
    pub(crate) rate: u64,
    pub(crate) fault: Option<String>,
    /// This is the process of the server.
    pub(crate) server: bool,
    pub(crate) sizes: bool,
    pub(crate) full: bool,
    pub(crate) row: Option<String>,
}

/// Ends the program over a wrong command line.
pub(crate) fn refuse(why: &str) -> ! {
    eprintln!("{why}\n\n{HELP}");
    exit(2)
}

fn number(name: &str, value: &str) -> u64 {
    // A day is long enough, and larger numbers would need care in sums.
    match value.parse() {
        Ok(number) if number <= 100_000 => number,
        _ => refuse(&format!(
            "{name} wants a number up to 100000, not {value:?}"
        )),
    }
}

impl Options {
    /// Reads the command line. Ends the program over `--help`, and over what it does not know.
    pub(crate) fn read() -> Self {
        let mut options = Self {
            seconds: 60,
            idle: 10_000,
            rate: 1000,
            ..Self::default()
        };
        let mut words = std::env::args_os().skip(1);
        while let Some(word) = words.next() {
            let word = word.to_string_lossy().into_owned();
            let mut value = || match words.next() {
                Some(value) => value.to_string_lossy().into_owned(),
                None => refuse(&format!("{word} wants a value")),
            };
            match word.as_str() {
                "--seconds" => options.seconds = number("--seconds", &value()).max(1),
                "--idle" => options.idle = number("--idle", &value()),
                "--rate" => options.rate = number("--rate", &value()),
                "--fault" => options.fault = Some(value()),
                "--server" => options.server = true,
                "--sizes" => options.sizes = true,
                "--full" => options.full = true,
                "--row" => options.row = Some(value()),
                "--help" | "-h" => {
                    print!("{HELP}");
                    exit(0);
                }
                _ => refuse(&format!("unknown option {word:?}")),
            }
        }
        if (options.full || options.row.is_some()) && !options.sizes {
            refuse("--full and --row need --sizes");
        }
        options
    }
}
