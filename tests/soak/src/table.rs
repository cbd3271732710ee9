//! What is printed: a line of progress every few seconds, and the table and the verdict at the end.

use std::time::Duration;

use crate::counts::Figures;

/// By how much the line through the memory of the second half may rise, in KiB. A leak of one byte a connection is as
/// much after half an hour at 1,000 connections a second; in half a minute a leak of 70 bytes is found.
const MOST_RISE: f64 = 2048.0;
/// The same for descriptors. Short connections come and go in tens.
const MOST_DESCRIPTORS_RISE: f64 = 100.0;
/// The shortest time, in seconds, over which growth is judged: in less, the first buffers of slow conversations count.
const SHORTEST: u64 = 20;
/// How late one timer in a hundred may be, in microseconds. The processes share processors with others, so this tells
/// only a loop that is stuck from one that is not.
const MOST_LATE: f64 = 1e6;

/// A line while it works.
pub(crate) fn progress(left: Duration, server: &Figures, load: &Figures, short: u64) {
    println!(
        "{:>5} s left: {} connections, {short} short ones now; server {} KiB, {} descriptors, {} tasks, late p99 {} us; \
         load {} KiB, late p99 {} us; wrong {}, unexpected {}",
        left.as_secs(),
        load.get("connections"),
        server.get("rss"),
        server.get("descriptors"),
        server.get("tasks"),
        server.get("late_p99").round(),
        load.get("rss"),
        load.get("late_p99").round(),
        load.get("wrong_bytes") + server.get("wrong_bytes"),
        load.get("unexpected") + server.get("unexpected"),
    );
}

/// The rows of the table: what stands there, and the figure's name.
const ROWS: [(&str, &str); 46] = [
    ("memory before, KiB", "rss_before"),
    ("memory with the crowd, KiB", "rss_steady"),
    ("memory at most, KiB", "rss_most"),
    ("memory at the end of the load, KiB", "rss_last"),
    ("memory with all closed, KiB", "rss_end"),
    ("memory's slope, second half, KiB/min", "rss_slope"),
    ("memory's rise in it, KiB", "rss_rise"),
    ("descriptors before", "fds_before"),
    ("descriptors with the crowd", "fds_steady"),
    ("descriptors at most", "fds_most"),
    ("descriptors at the end of the load", "fds_last"),
    ("descriptors with all closed", "fds_end"),
    ("descriptors' slope, 1/min", "fds_slope"),
    ("descriptors' rise in it", "fds_rise"),
    ("timers of 5 ms", "timers"),
    ("late, p50, us", "late_p50"),
    ("late, p99, us", "late_p99"),
    ("late, p99.9, us", "late_p999"),
    ("late, at most, us", "late_max"),
    ("early", "early"),
    ("connections", "connections"),
    ("connections a second", "connections_rate"),
    ("connections held back", "held_back"),
    ("connections refused", "refused"),
    ("resets made", "resets_made"),
    ("resets seen", "resets_seen"),
    ("half-closed", "half_closes"),
    ("cancelled", "cancelled"),
    ("slow readers served", "slow_reads"),
    ("slow writers served", "slow_writes"),
    ("messages of the crowd", "pings"),
    ("bytes sent", "bytes_sent"),
    ("bytes received", "bytes_received"),
    ("wrong bytes", "wrong_bytes"),
    ("signals sent", "signals_sent"),
    ("signals seen", "signals_seen"),
    ("children started", "children_started"),
    ("children reaped", "children_reaped"),
    ("posts sent", "posts_sent"),
    ("posts run", "posts_run"),
    ("posts failed", "posts_failed"),
    ("clients left", "clients_left"),
    ("tasks left", "tasks_left"),
    ("timers left", "timers_left"),
    ("sources left", "sources_left"),
    ("unexpected", "unexpected"),
];

/// Prints the table.
pub(crate) fn table(server: &Figures, load: &Figures) {
    println!("\n{:<40} {:>15} {:>15}", "", "server", "load");
    for (what, name) in ROWS {
        if !server.has(name) && !load.has(name) {
            continue;
        }
        println!(
            "{what:<40} {:>15} {:>15}",
            shown(server, name),
            shown(load, name)
        );
    }
}

fn shown(figures: &Figures, name: &str) -> String {
    let value = figures.get(name);
    match figures.has(name) {
        false => "-".to_owned(),
        true if value.fract() == 0.0 => format!("{value}"),
        true => format!("{value:.1}"),
    }
}

/// Returns why the run has failed; nothing if it has not.
pub(crate) fn broken(server: &Figures, load: &Figures, seconds: u64) -> Vec<String> {
    let mut broken = Vec::new();
    let mut want = |is_so: bool, what: String| broken.extend((!is_so).then_some(what));
    for (process, figures) in [("server", server), ("load", load)] {
        let mut zero = |name: &str| {
            let value = figures.get(name);
            want(value == 0.0, format!("{process}: {name} is {value}"));
        };
        for name in [
            "wrong_bytes",
            "unexpected",
            "early",
            "tasks_left",
            "timers_left",
            "sources_left",
        ] {
            zero(name);
        }
        let mut most = |name: &str, limit: f64| {
            let value = figures.get(name);
            want(
                value <= limit,
                format!("{process}: {name} is {value:.1}, of at most {limit}"),
            );
        };
        if seconds >= SHORTEST {
            most("rss_rise", MOST_RISE);
            most("fds_rise", MOST_DESCRIPTORS_RISE);
        }
        most("late_p99", MOST_LATE);
        most("fds_end", figures.get("fds_before"));
    }
    let mut equal = |one: (&Figures, &str), other: (&Figures, &str)| {
        let (a, b) = (one.0.get(one.1), other.0.get(other.1));
        want(
            a == b && a > 0.0,
            format!("{} is {a}, and {} is {b}", one.1, other.1),
        );
    };
    equal((load, "connections"), (server, "connections"));
    equal((load, "signals_sent"), (server, "signals_seen"));
    equal((server, "children_started"), (server, "children_reaped"));
    equal((server, "posts_sent"), (server, "posts_run"));
    equal((server, "resets_made"), (load, "resets_seen"));
    for name in ["posts_failed", "clients_left"] {
        want(
            server.get(name) == 0.0,
            format!("server: {name} is {}", server.get(name)),
        );
    }
    // That each kind of work was done at all.
    for name in [
        "refused",
        "resets_made",
        "half_closes",
        "cancelled",
        "slow_reads",
        "slow_writes",
    ] {
        want(
            load.get(name) > 0.0,
            format!("load: {name} is {}", load.get(name)),
        );
    }
    broken
}
