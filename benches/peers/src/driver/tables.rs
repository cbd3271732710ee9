//! What is printed: tables of instructions, of times, of system calls, and the README's.

use std::process::ExitCode;

use peers::row::{Kind, Row};

use crate::limits::Limits;
use crate::measure::Measured;
use crate::run::is_there;
use crate::{FLOOR, Failure, OURS, RUNTIMES};

fn head(measured: &Measured<'_>, last: &str) {
    let names: String = measured
        .runtimes
        .iter()
        .map(|runtime| format!("{runtime:>10}"))
        .collect();
    println!("{:<18}{names}  {last}", "");
}

fn line(
    measured: &Measured<'_>,
    row: Row,
    figure: impl Fn(&'static str) -> Option<f64>,
    last: &str,
) {
    let cell = |runtime: &&'static str| figure(runtime).map_or_else(|| "–".to_owned(), digits);
    let cells: String = measured
        .runtimes
        .iter()
        .map(|runtime| format!("{:>10}", cell(runtime)))
        .collect();
    println!("{:<18}{cells}  {last}", row.name);
}

pub fn print_counts(measured: &Measured<'_>) {
    println!("instructions an operation (callgrind, the difference of two runs)");
    head(measured, "");
    for row in measured
        .rows
        .iter()
        .copied()
        .filter(|row| row.counted.1 > 0)
    {
        let last = match (row.kind, measured.spread(row, OURS)) {
            (Kind::Counted, _) => "limited".to_owned(),
            (_, Some(spread)) => format!("not limited: {spread:.0} % between runs"),
            _ => "not limited".to_owned(),
        };
        line(
            measured,
            row,
            |runtime| measured.instructions(row, runtime),
            &last,
        );
    }
    println!(
        "timers of fire_* depend on the clock, bytes are no instructions: neither is counted\n"
    );
}

pub fn print_times(measured: &Measured<'_>) {
    println!(
        "medians: ns of wall time (echo_*, fire_*: of the server's or the process's CPU), or bytes (idle_*, after_*, burst_memory)"
    );
    head(measured, "noise");
    for row in measured.rows.iter().copied() {
        let noise = measured
            .runtimes
            .iter()
            .filter_map(|runtime| measured.noise(row.name, runtime));
        let noise = format!("{:>4.0}%", noise.fold(0.0, f64::max));
        line(
            measured,
            row,
            |runtime| measured.median(row.name, runtime),
            &noise,
        );
    }
    println!("noise: half the range of the middle half of the rounds, the widest of the runtimes'");
}

/// Posts of which system calls are counted.
const POSTS: u64 = 1_000_000;
/// Calls by which a loop waits, whatever it waits with.
const WAITS: &[&str] = &[
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "io_uring_enter",
];

pub fn syscalls(mut measured: Measured<'_>) -> Result<ExitCode, Failure> {
    if !is_there("strace") {
        println!("strace is not there: no system calls are counted");
        return Ok(ExitCode::SUCCESS);
    }
    println!("system calls for a million posts (strace -f -c, which slows each of them down)");
    println!(
        "{:<10}{:<10}{:>10}{:>10}{:>10}{:>10}",
        "", "", "writes", "waits", "reads", "futexes"
    );
    let rows: Vec<_> = measured
        .rows
        .iter()
        .copied()
        .filter(|row| row.name.starts_with("posts_"))
        .collect();
    for row in rows {
        for runtime in measured.runtimes.clone() {
            let Some(calls) = measured.syscalls(row, runtime, POSTS) else {
                continue;
            };
            let sum = |names: &[&str]| -> u64 {
                calls
                    .iter()
                    .filter(|(name, _)| names.contains(&name.as_str()))
                    .map(|(_, calls)| calls)
                    .sum()
            };
            let (writes, waits) = (sum(&["write"]), sum(WAITS));
            let (reads, futexes) = (sum(&["read"]), sum(&["futex"]));
            println!(
                "{:<10}{runtime:<10}{writes:>10}{waits:>10}{reads:>10}{futexes:>10}",
                row.name
            );
        }
    }
    Ok(measured.verdict())
}

/// The row of a peer that has no form of its own for ours.
fn counterpart(row: &'static str) -> &'static str {
    match row {
        "echo_protocol" | "echo_streams" => "echo_net",
        "idle_protocol" | "idle_streams" => "idle_net",
        "after_streams" => "after_net",
        row => row,
    }
}

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
/// The README's table is between these.
const MARKS: (&str, &str) = ("<!-- peers -->\n", "<!-- /peers -->\n");

pub fn markdown(mut measured: Measured<'_>, into_readme: bool) -> Result<ExitCode, Failure> {
    measured.time_all()?;
    let table = table(&measured, &Limits::read()?);
    print!("{table}");
    if into_readme {
        let text = std::fs::read_to_string(README)?;
        let parts = text
            .split_once(MARKS.0)
            .and_then(|(before, rest)| Some((before, rest.split_once(MARKS.1)?.1)));
        let (before, after) = parts.ok_or("the README has no marks")?;
        std::fs::write(
            README,
            format!("{before}{}\n{table}\n{}{after}", MARKS.0, MARKS.1),
        )?;
    }
    Ok(measured.verdict())
}

fn table(measured: &Measured<'_>, limits: &Limits) -> String {
    let mut lines = vec![
        "| row | work | callsoon | best peer | floor | instructions: callsoon, best peer, floor |"
            .to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    for row in measured.rows.iter().copied() {
        let Some(ours) = measured.median(row.name, OURS) else {
            continue;
        };
        let theirs = counterpart(row.name);
        let peers = measured
            .runtimes
            .iter()
            .copied()
            .filter(|runtime| ![OURS, FLOOR].contains(runtime));
        let times = peers
            .clone()
            .filter_map(|peer| Some((peer, measured.median(theirs, peer)?)));
        let best = times.min_by(|one, other| one.1.total_cmp(&other.1));
        let best = best.map_or_else(String::new, |(peer, value)| {
            format!("{peer} {}, {:.2} ×", quantity(row, value), value / ours)
        });
        let floor = measured
            .median(theirs, FLOOR)
            .map_or_else(String::new, |value| quantity(row, value));
        let (name, title, ours) = (row.name, row.title, quantity(row, ours));
        let counts = instructions(limits, row);
        lines.push(format!(
            "| `{name}` | {title} | {ours} | {best} | {floor} | {counts} |"
        ));
    }
    lines.join("\n") + "\n"
}

/// Ours, the best peer's, the floor's. Those that are not limited differ from run to run and are not shown.
fn instructions(limits: &Limits, row: Row) -> String {
    let Some(ours) = limits
        .figure(row.name, OURS)
        .filter(|_| row.kind == Kind::Counted)
    else {
        return String::new();
    };
    let peers = RUNTIMES
        .iter()
        .copied()
        .filter(|runtime| ![OURS, FLOOR].contains(runtime));
    let counts = peers.filter_map(|peer| Some((peer, limits.figure(row.name, peer)?)));
    let best = counts.min_by(|one, other| one.1.total_cmp(&other.1));
    let best = best.map_or_else(
        || "–".to_owned(),
        |(peer, count)| format!("{peer} {count:.0}"),
    );
    let floor = limits
        .figure(row.name, FLOOR)
        .map_or_else(|| "–".to_owned(), |count| format!("{count:.0}"));
    format!("{ours:.0}, {best}, {floor}")
}

/// A figure with its unit.
fn quantity(row: Row, value: f64) -> String {
    match row.kind {
        Kind::Bytes if value >= 10_000.0 => format!("{} KiB", digits(value / 1024.0)),
        Kind::Bytes => format!("{value:.0} B"),
        _ if value >= 1e6 => format!("{} ms", digits(value / 1e6)),
        _ if value >= 1e3 => format!("{} µs", digits(value / 1e3)),
        _ => format!("{} ns", digits(value)),
    }
}

/// Three digits that mean something.
fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
