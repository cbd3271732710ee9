//! A process of its own, because benches have no test harness: what they share is compiled here once more and tested. Runs
//! that are kept, their comparison, distributions, and the reports of `latency`. `own_bench_command` has the rest.

#![allow(unsafe_code)] // what the benches measure with, of which nothing is called here

#[path = "../benches/support/mod.rs"]
mod support;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use support::compare::{self, Change, Verdict};
use support::failure::{Failure, Usage};
use support::latency::arrivals::{Arrivals, Samples};
use support::latency::cells::{self, Cell};
use support::latency::distribution::Distribution;
use support::latency::report::{Report, time};
use support::machine::{self, Machine};
use support::saves::{self, Saved};
use support::table::Series;

/// The message of a command line that cannot be obeyed, which ends the process with the code 2.
fn refused(parsed: Result<impl Sized, Failure>) -> String {
    let failure = parsed.err().expect("it is refused");
    assert!(failure.is::<Usage>(), "{failure} has the exit code 1");
    failure.to_string()
}

fn machine() -> Machine {
    Machine {
        processor: "a processor, 2 cores".into(),
        system: "a system".into(),
        compiler: "a compiler".into(),
        versions: vec![("callsoon".into(), "0.1.0".into())],
    }
}

fn series(metric: &str, peer: &str, unit: &str, values: &[f64]) -> Series {
    Series {
        row: metric.into(),
        metric: metric.into(),
        unit: unit.into(),
        peer: peer.into(),
        values: values.into(),
    }
}

fn saved(series: Vec<Series>) -> Saved {
    Saved {
        bench: "scheduler".into(),
        quick: false,
        date: "a date".into(),
        machine: machine(),
        series,
        more: Value::Null,
    }
}

/// An empty folder of one test.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_saved_run_is_read_as_it_was_written() {
    let folder = folder("saves_round_trip");
    let run = Saved {
        more: json!({"any": ["thing", 1]}),
        ..saved(vec![
            series("yield", "callsoon", "ns", &[7.25, 7.5, 1e-3]),
            series("yield.wall", "tokio", "ns", &[123_456_789.0]),
        ])
    };
    let file = run.save(&folder, "one").unwrap();
    assert_eq!(file, folder.join("scheduler/one.json"));
    assert_eq!(Saved::load(&folder, "scheduler", "one").unwrap(), run);
    // A second one of that name replaces it, and nothing else is left in the folder.
    let other = saved(vec![series("yield", "smol", "ns", &[1.0])]);
    other.save(&folder, "one").unwrap();
    assert_eq!(Saved::load(&folder, "scheduler", "one").unwrap(), other);
    assert_eq!(fs::read_dir(folder.join("scheduler")).unwrap().count(), 1);
}

#[test]
fn a_run_that_does_not_exist_is_refused_with_those_that_do() {
    let folder = folder("saves_unknown");
    let load = |name| Saved::load(&folder, "scheduler", name);
    let nothing = "no run of scheduler is saved as \"b\"; there are: none";
    assert_eq!(refused(load("b")), nothing);
    for name in ["c", "a"] {
        saved(Vec::new()).save(&folder, name).unwrap();
    }
    let others = "no run of scheduler is saved as \"b\"; there are: a, c";
    assert_eq!(refused(load("b")), others);
}

#[test]
fn a_run_from_before_dates_were_kept_is_read_without_one() {
    let mut value = saved(Vec::new()).to_json();
    value.as_object_mut().unwrap().remove("date");
    assert_eq!(Saved::from_json(&value).unwrap().date, "undated");
}

#[test]
fn a_file_that_is_no_saved_run_is_named_with_what_is_wrong() {
    let folder = folder("saves_broken");
    let file = saved(vec![series("yield", "callsoon", "ns", &[1.0])])
        .save(&folder, "x")
        .unwrap();
    let good: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let mut broken = vec![("{\"form\":1,".to_owned(), "not JSON")];
    for (pointer, value, message) in [
        ("/form", json!(2), "its form is 2, not 1"),
        ("/bench", json!(null), "it has no bench"),
        ("/quick", json!("yes"), "it has no quick"),
        ("/series", json!({}), "it has no series"),
        ("/series/0/peer", json!(1), "a series has no peer"),
        ("/series/0/values", json!([]), "a series has no values"),
        (
            "/series/0/values",
            json!([1, "2"]),
            "a series has no values",
        ),
        ("/machine/system", json!(7), "its machine has no system"),
        (
            "/machine/versions",
            json!([["a"]]),
            "its machine has no versions",
        ),
    ] {
        let mut text = good.clone();
        *text.pointer_mut(pointer).unwrap() = value;
        broken.push((text.to_string(), message));
    }
    for (text, message) in broken {
        fs::write(&file, &text).unwrap();
        let failure = Saved::load(&folder, "scheduler", "x").unwrap_err();
        let said = failure.to_string();
        assert!(said.contains("x.json") && said.contains(message), "{said}");
    }
}

#[test]
fn a_change_is_beyond_noise_when_no_rounds_overlap() {
    let verdict = |old: &[f64], new: &[f64], unit: &str| {
        let (old, new) = (series("m", "p", unit, old), series("m", "p", unit, new));
        Change::between(&old, &new).verdict
    };
    assert_eq!(verdict(&[10.0, 12.0], &[13.0, 15.0], "ns"), Verdict::Worse);
    assert_eq!(verdict(&[13.0, 15.0], &[10.0, 12.0], "ns"), Verdict::Better);
    assert_eq!(
        verdict(&[13.0, 15.0], &[10.0, 12.0], "per_s"),
        Verdict::Worse
    );
    assert_eq!(verdict(&[1.0], &[2.0], "MB_per_s"), Verdict::Better);
    assert_eq!(verdict(&[10.0, 13.0], &[12.0, 15.0], "ns"), Verdict::Noise);
    assert_eq!(verdict(&[10.0, 12.0], &[12.0, 15.0], "ns"), Verdict::Noise);
    assert_eq!(verdict(&[10.0, 20.0], &[14.0, 15.0], "ns"), Verdict::Noise);
    assert_eq!(verdict(&[5.0], &[5.0], "ns"), Verdict::Noise);
}

#[test]
fn chance_separates_seven_rounds_from_seven_once_in_1716() {
    assert!((compare::by_chance(7, 7) - 1.0 / 1716.0).abs() < 1e-12);
    assert!((compare::by_chance(3, 3) - 0.1).abs() < 1e-12);
    // One round each is always in some order.
    assert_eq!(compare::by_chance(1, 1), 1.0);
}

#[test]
fn two_runs_are_printed_side_by_side() {
    let old = saved(vec![
        series("yield", "callsoon", "ns", &[10.0, 10.5, 11.0]),
        series("yield", "tokio", "ns", &[50.0, 60.0, 70.0]),
        series("yield.wall", "tokio", "ns", &[50.0, 60.0, 70.0]),
        series("gone", "tokio", "ns", &[1.0]),
    ]);
    let mut new = saved(vec![
        series("yield", "callsoon", "ns", &[20.0, 21.0, 22.0]),
        series("yield", "tokio", "ns", &[55.0, 66.0, 68.0]),
        series("yield.wall", "tokio", "ns", &[1.0, 1.0, 1.0]),
        series("came", "tokio", "ns", &[1.0]),
    ]);
    let table = compare::table("before", &old, "after", &new);
    let lines: Vec<_> = table.lines().map(str::trim).collect();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        lines[0],
        "scheduler: before (a date) → after (a date), medians of the rounds"
    );
    assert_eq!(words(lines[2]), "yield callsoon ns 10.5 21 +100.0 % WORSE");
    assert_eq!(words(lines[3]), "yield tokio ns 60 66 +10.0 %");
    assert_eq!(
        lines[4],
        "1 of 2 figures changed beyond noise: no round of one run is within the rounds of the other. \
         Chance alone would do that to 0.2 of them."
    );
    assert_eq!(lines.len(), 5, "{table}");
    new.quick = true;
    new.machine.compiler = "another".into();
    let table = compare::table("before", &old, "after", &new);
    for what in ["machine", "--quick"] {
        let line = format!("the runs differ in {what}: what changed may be that\n");
        assert!(table.contains(&line), "{table}");
    }
}

#[test]
fn percentiles_of_a_distribution_are_those_of_its_samples() {
    // So many that a rank that is rounded to the next one changes less than three digits show.
    let samples: Vec<u64> = (1..=10_000).map(|n| n * 1000).collect();
    let distribution = Distribution::of(&samples);
    let close = |value: u64, wanted: f64| (value as f64 / wanted - 1.0).abs() <= 1e-3;
    let row = distribution.row();
    for (value, wanted) in row.into_iter().zip([5e6, 9e6, 99e5, 999e4, 1e7]) {
        assert!(close(value, wanted), "{row:?}");
    }
    let curve = distribution.curve(10);
    let first = curve[0];
    assert!(first.0 == 1.0 && close(first.1, 1e3), "{first:?}");
    let last = curve.last().unwrap();
    assert!(last.0 == 10_000.0 && close(last.1, 1e7), "{last:?}");
    assert_eq!(curve.len(), 41);
    assert!(close(curve[10].1, 9e6), "90 % at 10: {:?}", curve[10]);
    assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
}

#[test]
fn a_distribution_without_samples_has_no_curve_and_ends() {
    assert_eq!(Distribution::default().curve(10), []);
    let one = Distribution::of(&[5]).curve(10);
    assert_eq!(one, [(1.0, 5)]);
}

#[test]
fn merged_distributions_hold_the_samples_of_both() {
    let mut merged = Distribution::of(&[1, 2, 3]);
    merged.merge(&Distribution::of(&[1_000_000_000]));
    assert_eq!(merged.len(), 4);
    assert_eq!(merged.at(75.0), 3);
    assert!(merged.at(100.0) >= 1_000_000_000);
    // A latency that no clock could tell from nothing has a place on a log axis too.
    assert_eq!(Distribution::of(&[0]).at(100.0), 1);
}

#[test]
fn a_distribution_is_read_as_it_was_written() {
    let samples: Vec<u64> = (0..500).map(|n| n * n * n * 31 + 17).collect();
    let distribution = Distribution::of(&samples);
    let read = Distribution::from_json(&distribution.to_json()).unwrap();
    assert_eq!(read, distribution);
    for broken in [json!({}), json!([1]), json!([1, -2]), json!(["1", 2])] {
        assert!(Distribution::from_json(&broken).is_err(), "{broken}");
    }
}

#[test]
fn the_schedule_is_the_same_each_time_and_its_gaps_stay_within_bounds() {
    let gaps = |arrivals: &Arrivals| {
        let gap = |index| arrivals.at(index + 1) - arrivals.at(index);
        (0..arrivals.len() - 1).map(gap).collect::<Vec<_>>()
    };
    let first = Arrivals::new(Duration::from_millis(100));
    let (first, second) = (
        gaps(&first),
        gaps(&Arrivals::new(Duration::from_millis(100))),
    );
    assert_eq!(first, second);
    let range = Duration::from_micros(50)..Duration::from_micros(150);
    assert!(first.iter().all(|gap| range.contains(gap)), "{first:?}");
    assert!((900..1100).contains(&first.len()), "{}", first.len());
}

#[test]
fn what_a_child_prints_names_both_kinds_of_samples() {
    let samples = Samples {
        intended: vec![5, 1],
        called: vec![2, 1],
    };
    assert_eq!(samples.to_lines(), "intended 5 1\ncalled 2 1\n");
}

/// Each cell of this bench's own binary is measured for a few milliseconds and has all of its samples.
#[test]
fn every_path_runs_under_every_load_in_every_runtime() {
    let length = Duration::from_millis(3);
    let arrivals = Arrivals::new(length).len();
    for cell in Cell::all(cells::OWN) {
        let samples = cell.measure(length).unwrap();
        let wanted = arrivals - arrivals / 10;
        let name = cell.name();
        assert_eq!(samples.intended.len(), wanted, "{name}");
        assert_eq!(samples.called.len(), wanted, "{name}");
        let sums: [u64; 2] = [samples.intended.iter().sum(), samples.called.iter().sum()];
        assert!(sums[0] >= sums[1], "{name}: {samples:?}");
    }
}

fn cell(name: &str) -> Cell {
    Cell::named(name).unwrap_or_else(|| panic!("there is no {name}"))
}

fn report() -> Report {
    let mut report = Report::new(machine(), "a date".into(), true);
    // Out of order, as rounds give them.
    for (name, samples) in [
        ("wake/idle/smol", [300, 400]),
        ("wake/idle/callsoon", [100, 200]),
        ("call_soon/hog/callsoon", [1_000_000, 2_000_000]),
        ("wake/idle/callsoon", [150, 250]),
    ] {
        let called = Distribution::of(&[samples[0] / 2]);
        report.add(cell(name), Distribution::of(&samples), &called);
    }
    let failed = (cell("post/tasks/monoio"), "no way in".to_owned());
    report.failed.push(failed);
    report
}

#[test]
fn a_report_adds_rounds_up_and_keeps_the_order_of_the_tables() {
    let report = report();
    let names = report.cells.iter().map(|measured| measured.cell.name());
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            "call_soon/hog/callsoon",
            "wake/idle/callsoon",
            "wake/idle/smol"
        ]
    );
    assert_eq!(report.rounds(), 2);
    let wake = &report.cells[1];
    assert_eq!((wake.intended.len(), wake.called.len()), (4, 2));
    assert_eq!(wake.intended.row(), [150, 250, 250, 250, 250]);
    let table = report.table();
    let lines: Vec<_> = table.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(
        lines[..3],
        [
            "latency, a date: callsoon 0.1.0",
            "a processor, 2 cores; a system; a compiler",
            "latency from the intended time, all of 2 rounds"
        ]
    );
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let rest: Vec<_> = lines[3..].iter().map(|line| words(line)).collect();
    assert_eq!(
        rest,
        [
            "call_soon → run p50 p90 p99 p99.9 max",
            "a task that hogs 1 ms",
            "callsoon 1.00 ms 2.00 ms 2.00 ms 2.00 ms 2.00 ms",
            "wake → poll p50 p90 p99 p99.9 max",
            "idle",
            "callsoon 150 ns 250 ns 250 ns 250 ns 250 ns",
            "smol 300 ns 400 ns 400 ns 400 ns 400 ns",
        ]
    );
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{table}"
    );
}

#[test]
fn a_report_is_read_as_it_was_saved() {
    let report = report();
    let saved = report.to_saved();
    let text = saved.to_json().to_string();
    let read = Saved::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(read, saved);
    assert_eq!(Report::from_saved(&read).unwrap(), report);
    let wake = |series: &&Series| series.metric == "wake/idle/p50" && series.peer == "callsoon";
    let rounds = &saved.series.iter().find(wake).unwrap().values;
    assert_eq!(rounds, &[100.0, 150.0]);
}

#[test]
fn each_cell_is_one_line_of_json() {
    let lines = report().json_lines();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["date"], "a date");
    assert_eq!(lines[0]["machine"], machine().to_json());
    let wake = &lines[2];
    assert_eq!(
        [&wake["path"], &wake["load"], &wake["peer"], &wake["unit"]],
        ["wake", "idle", "callsoon", "ns"]
    );
    assert_eq!(wake["samples"], 4);
    assert_eq!(wake["intended"]["p999"], 250);
    assert_eq!(wake["called"]["p50"], 50);
    assert_eq!(wake["curve"][0], json!([1.0, 100]));
}

#[test]
fn a_report_in_markdown_has_the_medians_of_the_rounds_and_their_quartiles() {
    let text = report().markdown();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[3], "| row | callsoon | smol |");
    let wake = lines
        .iter()
        .find(|line| line.starts_with("| `wake/idle/p50`"));
    assert_eq!(
        wake,
        Some(&"| `wake/idle/p50` | 125 ns (112–138) | 300 ns, 2.40 × |")
    );
}

#[test]
fn a_cell_answers_to_every_name_that_is_printed_for_it() {
    let wake = cell("wake/tasks/localset");
    for name in [
        "wake",
        "wake/tasks/localset",
        "wake/tasks/p999",
        "wake → poll",
        "10,000 busy tasks",
        "tokio LocalSet",
    ] {
        assert!(wake.answers_to(name), "{name}");
    }
    for name in ["wake/idle", "post", "smol", "wake/tasks/p5000"] {
        assert!(!wake.answers_to(name), "{name}");
    }
}

#[test]
fn every_cell_has_a_name_that_finds_it() {
    let all = Cell::all(cells::RUNTIMES.len());
    assert_eq!(all.len(), 6 * 4 * 6);
    assert!(all.is_sorted());
    let missing = all.iter().filter(|cell| !cell.exists());
    let missing: Vec<_> = missing.map(|cell| cell.name()).collect();
    assert_eq!(
        missing,
        [
            "post/idle/monoio",
            "post/tasks/monoio",
            "post/sockets/monoio",
            "post/hog/monoio"
        ]
    );
    for cell in all {
        assert_eq!(Cell::named(&cell.name()), Some(cell));
    }
    assert_eq!(Cell::named("wake/idle"), None);
}

#[test]
fn times_have_three_digits_and_the_unit_that_fits() {
    for (nanos, text) in [
        (1, "1 ns"),
        (999, "999 ns"),
        (1_000, "1.00 µs"),
        (12_345, "12.3 µs"),
        (99_970, "100 µs"),
        (999_400, "999 µs"),
        (999_600, "1.00 ms"),
        (1_234_567_890, "1.23 s"),
    ] {
        assert_eq!(time(nanos), text);
    }
}

#[test]
fn versions_come_from_the_lock_file() {
    let lock = "version = 4\n\n[[package]]\nname = \"b\"\nversion = \"2.0.1\"\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\
                [[package]]\nname = \"other\"\nversion = \"3.0.0\"\n";
    let versions = machine::versions(lock, &["a", "b", "c"]);
    let pair = |name: &str, version: &str| (name.to_owned(), version.to_owned());
    assert_eq!(versions, [pair("a", "1.0.0"), pair("b", "2.0.1")]);
    let this = Machine::this();
    assert_eq!(
        this.versions[0],
        pair("callsoon", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(Machine::from_json(&this.to_json()).unwrap(), this);
}

#[test]
fn the_folder_of_saved_runs_is_in_cargos_target_folder() {
    let target = saves::target_folder().unwrap();
    assert!(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).starts_with(&target));
    assert_eq!(saves::folder().unwrap(), target.join("bench-saves"));
}
