//! `limits.txt`: callsoon's instructions a row, which the gate holds it to, and the peers' beside them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};

use peers::row::{Kind, Row};

use crate::measure::Measured;
use crate::options::Options;
use crate::shared::failure::Failure;
use crate::{OURS, RUNTIMES};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/limits.txt");

/// What a row may rise by.
const MAY_RISE: f64 = 1.01;
/// A row that is so much better wants a lower limit.
const MUCH_BETTER: f64 = 0.97;
/// How often a row that is above its limit is counted again: how often the loop looks for events depends on the clock.
const AGAIN: usize = 3;

const HEADER: &str = "\
# Instructions an operation under callgrind, fat LTO, one unit; `peers --write` writes this file, `peers --check` holds
# the column callsoon to it: a row may rise by 1 %. Compared only where rustc, glibc and CPU model are these. A higher
# limit needs `--write --reason TEXT`, and its row keeps the reason.
";

/// What instructions depend on besides the code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Machine {
    rustc: String,
    glibc: String,
    cpu: String,
}

impl Machine {
    fn here() -> Self {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let version = Command::new(rustc).arg("--version").output();
        let version =
            version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Self {
            rustc: version
                .unwrap_or_default()
                .trim_start_matches("rustc ")
                .to_owned(),
            glibc: glibc(),
            cpu: cpu(),
        }
    }
}

#[cfg(target_env = "gnu")]
fn glibc() -> String {
    // SAFETY: the call gives a string that lives as long as the process.
    let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    version.to_string_lossy().into_owned()
}

#[cfg(not(target_env = "gnu"))]
fn glibc() -> String {
    "none".to_owned()
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(key, _)| key.trim() == name);
        found.map_or_else(
            || "unknown".to_owned(),
            |(_, value)| value.trim().to_owned(),
        )
    };
    format!(
        "{}, family {}, model {}",
        of("model name"),
        of("cpu family"),
        of("model")
    )
}

/// The file.
#[derive(Debug, Default)]
pub struct Limits {
    machine: Machine,
    /// By row: the figures, as many as there are runtimes, and the reason.
    rows: BTreeMap<String, (Vec<Option<f64>>, String)>,
}

impl Limits {
    pub fn read() -> Result<Self, Failure> {
        let text = std::fs::read_to_string(PATH)?;
        let mut limits = Self::default();
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let (key, rest) = line.split_once(' ').ok_or(format!("{PATH}: {line}"))?;
            match key {
                "rustc" => rest.clone_into(&mut limits.machine.rustc),
                "glibc" => rest.clone_into(&mut limits.machine.glibc),
                "cpu" => rest.clone_into(&mut limits.machine.cpu),
                row => {
                    let (figures, reason) = rest.split_once('|').unwrap_or((rest, ""));
                    let figures = figures
                        .split_whitespace()
                        .map(|figure| figure.parse().ok())
                        .collect();
                    limits
                        .rows
                        .insert(row.to_owned(), (figures, reason.trim().to_owned()));
                }
            }
        }
        Ok(limits)
    }

    fn of(&self, row: Row) -> Option<f64> {
        self.figure(row.name, OURS)
    }

    /// A row's instructions in a runtime.
    pub fn figure(&self, row: &str, runtime: &str) -> Option<f64> {
        let column = RUNTIMES.iter().position(|known| *known == runtime)?;
        *self.rows.get(row)?.0.get(column)?
    }

    fn write(&self, order: &[&str]) -> Result<(), Failure> {
        let mut text = HEADER.to_owned();
        let Machine { rustc, glibc, cpu } = &self.machine;
        write!(
            text,
            "rustc {rustc}\nglibc {glibc}\ncpu {cpu}\n\n# {:<16}",
            "row"
        )?;
        for runtime in RUNTIMES {
            write!(text, "{runtime:>10}")?;
        }
        writeln!(text, "  | why it is not limited, or why it rose")?;
        for row in order {
            let Some((figures, reason)) = self.rows.get(*row) else {
                continue;
            };
            write!(text, "{row:<18}")?;
            for figure in figures {
                let figure = figure.map_or("-".to_owned(), |figure| format!("{figure:.1}"));
                write!(text, "{figure:>10}")?;
            }
            let line = format!("  | {reason}");
            writeln!(text, "{}", line.trim_end_matches([' ', '|']))?;
        }
        std::fs::write(PATH, text)?;
        Ok(())
    }
}

/// Runs every row briefly, then compares.
pub fn check(mut measured: Measured<'_>) -> Result<ExitCode, Failure> {
    measured.time_all();
    println!("every row has run in: {}", measured.runtimes.join(", "));
    let (limits, here) = (Limits::read()?, Machine::here());
    if limits.machine != here {
        println!(
            "instructions are not compared: limits.txt is of {:?}, this is {here:?}",
            limits.machine
        );
        return Ok(measured.verdict());
    }
    if !measured.can_count() {
        println!("instructions are not compared");
        return Ok(measured.verdict());
    }
    let mut above = 0;
    for row in measured
        .rows
        .clone()
        .into_iter()
        .filter(|row| row.kind == Kind::Counted)
    {
        let Some(limit) = limits.of(row) else {
            println!("{:<18} has no limit: --write gives it one", row.name);
            continue;
        };
        let mut counted = measured.count(row, OURS).unwrap_or(f64::INFINITY);
        for _ in 0..AGAIN {
            if counted > limit * MAY_RISE {
                counted = measured
                    .count(row, OURS)
                    .unwrap_or(f64::INFINITY)
                    .min(counted);
            }
        }
        let verdict = if counted > limit * MAY_RISE {
            above += 1;
            "ABOVE ITS LIMIT"
        } else if counted < limit * MUCH_BETTER {
            "better: lower its limit with --write"
        } else {
            "as limited"
        };
        println!("{:<18}{counted:>10.1} of {limit:>8.1}  {verdict}", row.name);
    }
    if above > 0 {
        return Err(format!("{above} rows are above their limits").into());
    }
    Ok(measured.verdict())
}

/// Measures, and writes what may be written.
pub fn write(mut measured: Measured<'_>, options: &Options) -> Result<ExitCode, Failure> {
    if !measured.can_count() {
        return Err("there is nothing to write".into());
    }
    measured.count_all();
    let here = Machine::here();
    let mut limits = Limits::read().unwrap_or_default();
    if limits.machine != here {
        // Of another machine nothing can be kept but the reasons.
        limits
            .rows
            .values_mut()
            .for_each(|(figures, _)| figures.clear());
        limits.machine = here;
    }
    let mut refused = 0;
    for row in measured
        .rows
        .clone()
        .into_iter()
        .filter(|row| row.counted.1 > 0)
    {
        let mut figures: Vec<_> = RUNTIMES
            .iter()
            .map(|runtime| measured.instructions(row, runtime))
            .collect();
        let before = limits.of(row);
        let mut reason = limits
            .rows
            .get(row.name)
            .map_or_else(String::new, |(_, reason)| reason.clone());
        if row.kind == Kind::Shown {
            let spread = measured.spread(row, OURS).unwrap_or_default();
            reason = format!("not limited: threads or packets decide; {spread:.0} % between runs");
        } else if let (Some(before), Some(now)) = (before, figures[0]) {
            match &options.reason {
                Some(why) if now > before * MAY_RISE => reason.clone_from(why),
                None if now > before * MAY_RISE => {
                    println!(
                        "{} stays at {before:.1}: {now:.1} is more, which needs --reason",
                        row.name
                    );
                    figures[0] = Some(before);
                    refused += 1;
                }
                _ if now > before => figures[0] = Some(before),
                _ if now < before * MUCH_BETTER => reason.clear(),
                _ => {}
            }
        }
        limits.rows.insert(row.name.to_owned(), (figures, reason));
    }
    let order: Vec<_> = peers::row::ROWS.iter().map(|row| row.name).collect();
    limits.write(&order)?;
    println!("written: {PATH}");
    if refused > 0 {
        return Err(format!("{refused} limits were not raised").into());
    }
    Ok(measured.verdict())
}
