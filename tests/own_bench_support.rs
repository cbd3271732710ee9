//! A process of its own, because benches have no test harness: what they share is compiled here once more and tested. The
//! command line, runs that are kept, their comparison, distributions, and the reports of `latency`.

#![allow(unsafe_code)] // what the benches measure with, of which nothing is called here

#[path = "../benches/support/mod.rs"]
mod support;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use support::compare::{self, Change, Verdict};
use support::latency::arrivals::{Arrivals, Samples};
use support::latency::cells::{self, Cell};
use support::latency::distribution::Distribution;
use support::latency::report::{Report, time};
use support::machine::{self, Machine};
use support::options::{self, Compare, Options, Usage};
use support::progress;
use support::rounds::Failure;
use support::saves::{self, Saved};
use support::table::Series;

fn parse(line: &str) -> Result<Options, Failure> {
    Options::parse(line.split_whitespace().map(str::to_owned))
}

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
fn every_flag_is_understood_and_those_of_cargo_are_ignored() {
    let options =
        parse("--bench --color never --quick --json --peers --rounds 4 --only wake --save a.b-1")
            .unwrap();
    assert!(options.wanted && options.quick && options.json && options.peers);
    assert_eq!(options.rounds(), 4);
    assert!(options.wants("wake/idle") && !options.wants("post/idle"));
    assert_eq!(options.save.as_deref(), Some("a.b-1"));
    assert_eq!(options.compare, None);
    let options = parse("--compare before").unwrap();
    assert_eq!(options.compare, Some(Compare::With("before".into())));
    let options = parse("--compare a,b").unwrap();
    let both = Compare::Saved("a".into(), "b".into());
    assert_eq!(options.compare, Some(both));
    let options = parse("--quick --child row --help").unwrap();
    assert_eq!(options.child.unwrap(), ["row", "--help"]);
    assert!(!options.help && parse("--help").unwrap().help);
    // `cargo test --benches` runs benches without `--bench`, and wants no figures.
    assert!(!parse("").unwrap().wanted && !parse("--color never").unwrap().wanted);
    assert!(parse("--bench").unwrap().wanted);
}

#[test]
fn a_flag_without_its_value_or_with_a_wrong_one_is_refused() {
    for (line, message) in [
        ("--rounds", "--rounds wants a positive number"),
        ("--rounds 0", "--rounds wants a positive number"),
        ("--rounds many", "--rounds wants a positive number"),
        ("--only", "--only wants part of a row's name"),
        ("--save", "--save wants a name"),
        ("--compare", "--compare wants NAME or NAME,NAME"),
    ] {
        assert_eq!(refused(parse(line)), message, "{line}");
    }
    for name in ["../up", ".hidden", "a/b", "a\\b", "-x", "ü", "a,b"] {
        let message = refused(parse(&format!("--save {name}")));
        assert!(
            message.contains("is no name for a run"),
            "{name}: {message}"
        );
    }
    for names in ["a,", ",b", "a,b,c", "a,../b"] {
        let message = refused(parse(&format!("--compare {names}")));
        assert!(
            message.contains("is no name for a run"),
            "{names}: {message}"
        );
    }
}

#[test]
fn a_filter_that_lets_no_row_through_is_refused_with_the_list() {
    let rows = ["armed_0", "armed_100k", "fire"];
    let select = |line: &str| parse(line).unwrap().select(&rows);
    assert_eq!(select("").unwrap(), rows);
    assert_eq!(select("--only armed").unwrap(), rows[..2]);
    assert_eq!(
        refused(select("--only wake")),
        "no row \"wake\"; there are armed_0, armed_100k, fire"
    );
}

#[test]
fn help_names_each_flag_and_each_row() {
    let help = options::help("timers", &["armed_0", "fire"], "more\n");
    for part in [
        "cargo bench --bench timers",
        "\n\n  --quick  ",
        "--only TEXT",
        "--rounds N",
        "--json",
        "--save NAME",
        "--compare NAME",
        "--compare A,B",
        "--help",
        "more\n",
        "rows: armed_0, fire\n",
    ] {
        assert!(help.contains(part), "{part:?} is not in\n{help}");
    }
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
    assert_eq!(lines[0], "scheduler: before → after, medians of the rounds");
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
    let mut report = Report::new(machine(), true);
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
    assert_eq!(lines[0], "latency from the intended time, all of 2 rounds");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let rest: Vec<_> = lines[1..].iter().map(|line| words(line)).collect();
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
    assert_eq!(lines.len(), 3);
    let wake = &lines[1];
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
fn progress_says_how_much_is_done_and_how_long_the_rest_takes() {
    let line = |done, seconds| {
        progress::line(
            "timers",
            done,
            40,
            Duration::from_secs(seconds),
            "round 1, fire, smol",
        )
    };
    assert_eq!(line(0, 3), "timers: 0 of 40, 0 %: round 1, fire, smol");
    assert_eq!(
        line(10, 10),
        "timers: 10 of 40, 25 %, 30 s left: round 1, fire, smol"
    );
    assert_eq!(
        line(20, 70),
        "timers: 20 of 40, 50 %, 1 min 10 s left: round 1, fire, smol"
    );
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
