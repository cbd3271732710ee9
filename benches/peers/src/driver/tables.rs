//! What is printed: tables of instructions, of times, of system calls, and the README's.

use std::process::ExitCode;

use peers::row::{Kind, ROWS, Row};

use crate::limits::Limits;
use crate::measure::Measured;
use crate::run::is_there;
use crate::shared::failure::Failure;
use crate::shared::markdown::with_quartiles;
use crate::shared::table::{Table, digits};
use crate::{FLOOR, NAME, OURS, RUNTIMES};

/// What was measured: as the options say, as tables or as JSON lines.
pub fn print(measured: &Measured<'_>) {
    let common = &measured.options.common;
    let names: Vec<_> = measured.rows.iter().map(|row| row.name).collect();
    if common.json {
        let all = measured.to_saved().series;
        let all = Table::of(NAME, measured.runtimes.clone(), all).only(common.only());
        all.print_json(&names, &measured.machine, &measured.date);
        return;
    }
    print!("{}", measured.machine.heading(NAME, &measured.date));
    if !measured.counts().is_empty() {
        println!();
        print_counts(measured);
    }
    let times = measured.times.only(common.only());
    if !times.series().is_empty() {
        println!(
            "\nns of wall time (echo_*, fire_*: of the server's or the process's CPU), or bytes (idle_*, after_*, burst_memory);"
        );
        print!("{}", times.text(&names, measured.options.rounds));
    }
}

fn head(measured: &Measured<'_>, last: &str) {
    let names: String = measured
        .runtimes
        .iter()
        .map(|runtime| format!("{runtime:>10}"))
        .collect();
    println!("{}", format!("{:<18}{names}  {last}", "").trim_end());
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

fn print_counts(measured: &Measured<'_>) {
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
    println!("timers of fire_* depend on the clock, bytes are no instructions: neither is counted");
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

/// Adds the rows by which peers are compared with these.
pub fn add_counterparts(rows: &mut Vec<Row>) {
    let needs = |name: &str| rows.iter().any(|row| counterpart(row.name) == name);
    let all = ROWS.iter().copied();
    let missing = all.filter(|row| needs(row.name) && !rows.iter().any(|one| one.name == row.name));
    let missing: Vec<_> = missing.collect();
    rows.extend(missing);
}

/// The README's table of these rows.
pub fn markdown(measured: &Measured<'_>, shown: &[Row], into_readme: bool) -> Result<(), Failure> {
    let heading = measured.machine.heading(NAME, &measured.date);
    let rounds = measured.options.rounds;
    let table = table(measured, shown, &Limits::read()?);
    let absent = RUNTIMES
        .iter()
        .filter(|runtime| !measured.runtimes.contains(runtime));
    let absent: String = absent
        .map(|name| format!("; not measured: {name}"))
        .collect();
    let heading = format!("{}{absent}", heading.trim_end());
    let table = format!("Medians of {rounds} rounds, quartiles in brackets; {heading}\n\n{table}");
    println!("{table}");
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
    Ok(())
}

fn table(measured: &Measured<'_>, shown: &[Row], limits: &Limits) -> String {
    let mut lines = vec![
        "| row | work | callsoon | best peer | floor | instructions: callsoon, best peer, floor |"
            .to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    for row in shown.iter().copied() {
        let Some(ours) = measured.series(row.name, OURS) else {
            continue;
        };
        let theirs = counterpart(row.name);
        let peers = measured
            .runtimes
            .iter()
            .filter(|runtime| ![OURS, FLOOR].contains(runtime));
        let peers = peers.filter_map(|peer| measured.series(theirs, peer));
        let best = peers.min_by(|one, other| one.value().total_cmp(&other.value()));
        let best = best.map_or_else(String::new, |best| {
            let times = best.value() / ours.value();
            format!("{} {}, {times:.2} ×", best.peer, with_quartiles(best))
        });
        let floor = measured.series(theirs, FLOOR);
        let floor = floor.map_or_else(String::new, with_quartiles);
        let (name, title, ours) = (row.name, row.title, with_quartiles(ours));
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
