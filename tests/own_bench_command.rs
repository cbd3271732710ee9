//! A process of its own, because benches have no test harness: what the benches and `benches/peers` share for people is
//! compiled here and tested. The command line, the names of rows, tables, dates, and progress.

#![allow(unsafe_code)] // what the benches measure with, of which nothing is called here

#[path = "../benches/support/mod.rs"]
mod support;

use std::time::Duration;

use support::failure::{Failure, Usage};
use support::machine::Machine;
use support::markdown;
use support::options::{self, Compare, Flag, Options};
use support::table::{Figure, Series, Table};
use support::{date, progress, rows};

/// What one bench has beside the flags of all, in the place of one of those too.
const MORE: &[Flag] = &[
    Flag::new("--peers", "others too"),
    Flag::with("--reason", "TEXT", "a reason", "why"),
    Flag::new("--readme", "into the README"),
];

fn parse(line: &str) -> Result<Options, Failure> {
    Options::parse(line.split_whitespace().map(str::to_owned), MORE)
}

/// The message of a command line that cannot be obeyed, which ends the process with the code 2.
fn refused(parsed: Result<impl Sized, Failure>) -> String {
    let failure = parsed.err().expect("it is refused");
    assert!(failure.is::<Usage>(), "{failure} has the exit code 1");
    assert_eq!(support::failure::exit_code(&failure), 2);
    failure.to_string()
}

#[test]
fn every_flag_is_understood_and_those_of_the_test_harness_are_ignored() {
    let line =
        "--bench --color never --nocapture --quick --json --rounds 4 --only wake --save a.b-1";
    let options = parse(line).unwrap();
    assert!(options.wanted && options.quick && options.json && !options.readme);
    assert_eq!(options.rounds(), 4);
    assert_eq!(options.only(), Some("wake"));
    assert_eq!(options.save.as_deref(), Some("a.b-1"));
    assert_eq!(options.compare, None);
    let options = parse("--compare before").unwrap();
    assert_eq!(options.compare, Some(Compare::With("before".into())));
    let options = parse("--compare=a,b").unwrap();
    let both = Compare::Saved("a".into(), "b".into());
    assert_eq!(options.compare, Some(both));
    let options = parse("--quick --child row --help").unwrap();
    assert_eq!(options.child.unwrap(), ["row", "--help"]);
    assert!(!options.help && parse("--help").unwrap().help && parse("-h").unwrap().help);
    assert!(
        Options::parse(["--readme".to_owned()].into_iter(), &[])
            .unwrap()
            .readme
    );
}

#[test]
fn a_flag_of_one_bench_is_its_own_and_has_the_last_of_its_values() {
    let options = parse("--peers --reason one --readme --reason=two").unwrap();
    assert!(options.has("--peers") && options.has("--readme") && !options.readme);
    assert_eq!(options.value_of("--reason"), Some("two"));
    assert!(!parse("--quick").unwrap().has("--peers"));
    let alone = Options::parse(["--peers".to_owned()].into_iter(), &[]);
    assert!(refused(alone).starts_with("there is no option --peers; "));
}

#[test]
fn a_run_that_nobody_asked_figures_of_measures_nothing() {
    // `cargo test --benches` runs benches without `--bench`, and passes on what tests it looks for.
    for line in [
        "",
        "--color never",
        "a_test",
        "--exact a_test --test-threads 1",
    ] {
        assert!(!parse(line).unwrap().wanted, "{line}");
    }
    for line in ["--bench", "--quick", "--only wake", "--peers", "--child x"] {
        assert!(parse(line).unwrap().wanted, "{line}");
    }
}

#[test]
fn an_unknown_option_is_refused_with_the_list() {
    let list = "--peers, --reason TEXT, --readme, --quick, --only TEXT, --rounds N, --json, --save NAME, --compare NAME, --help";
    for line in [
        "--qick",
        "--bench --qick",
        "--qick=3",
        "--quick --qick --help",
    ] {
        let message = format!("there is no option --qick; there are {list}");
        assert_eq!(refused(parse(line)), message, "{line}");
    }
    assert!(refused(parse("-x")).starts_with("there is no option -x; "));
    let message = "\"wake\" is no option; a row is chosen by --only wake";
    assert_eq!(refused(parse("wake --bench")), message);
}

#[test]
fn a_flag_without_its_value_or_with_a_wrong_one_is_refused() {
    for (line, message) in [
        ("--rounds", "--rounds wants a positive number"),
        ("--rounds 0", "--rounds wants a positive number"),
        ("--rounds many", "--rounds wants a positive number"),
        ("--rounds=", "--rounds wants a positive number"),
        ("--only", "--only wants part of a row's name"),
        ("--only --quick", "--only wants part of a row's name"),
        ("--save", "--save wants a name"),
        ("--compare", "--compare wants NAME or NAME,NAME"),
        ("--reason", "--reason wants a reason"),
        ("--quick=yes", "--quick has no value"),
    ] {
        assert_eq!(refused(parse(line)), message, "{line}");
    }
    for name in ["../up", ".hidden", "a/b", "a\\b", "-x", "ü", "a,b"] {
        let message = refused(parse(&format!("--save {name}")));
        let wanted = "is no name for a run";
        assert!(message.contains(wanted), "{name}: {message}");
    }
    for names in ["a,", ",b", "a,b,c", "a,../b"] {
        let message = refused(parse(&format!("--compare {names}")));
        let wanted = "is no name for a run";
        assert!(message.contains(wanted), "{names}: {message}");
    }
}

#[test]
fn a_row_is_chosen_by_its_name_or_by_that_of_a_figure() {
    let rows = [
        "armed_0_{at,later}",
        "armed_100k_{at,later}",
        "fire",
        "wake{,_p99}",
    ];
    let select = |line: &str| parse(line).unwrap().select(&rows);
    assert_eq!(select("").unwrap(), rows);
    assert_eq!(select("--only armed").unwrap(), rows[..2]);
    assert_eq!(select("--only armed_0_later").unwrap(), rows[..1]);
    assert_eq!(select("--only _p99").unwrap(), rows[3..]);
    for wrong in ["post", "armed_0_p99", "{", "armed_0_later_"] {
        let message = format!("no row {wrong:?}; there are {}", rows.join(", "));
        assert_eq!(refused(select(&format!("--only {wrong}"))), message);
    }
}

#[test]
fn braces_are_expanded_as_a_shell_does() {
    for (row, name, figures) in [
        ("yield", "yield", &["yield"][..]),
        ("idle_{memory}", "idle", &["idle_memory"]),
        ("wake{,_p99}", "wake", &["wake", "wake_p99"]),
        (
            "slack_{0,10}_{alone,crowd}_us",
            "slack",
            &[
                "slack_0_alone_us",
                "slack_0_crowd_us",
                "slack_10_alone_us",
                "slack_10_crowd_us",
            ],
        ),
    ] {
        assert_eq!(rows::name(row), name);
        assert_eq!(rows::figures(row), figures);
    }
}

#[test]
fn help_names_each_flag_once_and_each_row() {
    let help = options::help("the call", &["armed_0", "fire_{at,in}"], MORE, "\nnotes\n");
    for part in [
        "the call [FLAGS]\n\n  --peers          others too\n",
        "\n  --quick  ",
        "\n  --only TEXT ",
        "\n  --rounds N ",
        "\n  --json ",
        "\n  --save NAME ",
        "\n  --compare NAME ",
        "\n  --help ",
        "\n\nnotes\n\nrows",
        "  armed_0\n  fire_{at,in}\n",
    ] {
        assert!(help.contains(part), "{part:?} is not in\n{help}");
    }
    assert_eq!(help.matches("--readme").count(), 1, "{help}");
}

fn table() -> Table {
    let mut table = Table::new("timers", &["callsoon", "tokio"]);
    for value in [10.0, 30.0, 20.0, 40.0, 50.0] {
        let ours = [
            Figure::new("fire_at", value, "ns"),
            Figure::new("fire_at.wall", 1.0, "ns"),
            Figure::new("fire_early", value / 10.0, "count"),
        ];
        table.add("fire", "callsoon", ours.into());
        table.add(
            "fire",
            "tokio",
            vec![Figure::new("fire_at", value * 100.0, "ns")],
        );
    }
    table.add("armed", "tokio", vec![Figure::new("armed", 4.567, "us")]);
    table
}

#[test]
fn a_table_has_medians_with_their_ratio_and_the_quartiles_below() {
    let text = table().text(&["fire", "armed"], 5);
    let (head, rest) = text.split_once("\n\n").unwrap();
    assert!(head.starts_with("medians of 5 rounds, and below them the quartiles"));
    let wanted = [
        "             unit  callsoon            tokio",
        "fire_at        ns        30  3000 (100.00×)",
        "                      20–40       2000–4000",
        "fire_early  count         5               –",
        "armed          us         –            4.57",
    ];
    assert_eq!(
        rest.lines().map(unpadded).collect::<Vec<_>>(),
        wanted.map(unpadded)
    );
    // Columns end where their heads do.
    let ends = |line: &str| line.chars().count();
    let widths: Vec<_> = rest.lines().map(ends).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "{rest}");
}

/// The words of a line.
fn unpadded(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_table_in_markdown_has_units_that_fit_and_the_quartiles_in_brackets() {
    let text = table().markdown(&["fire", "armed"]);
    let wanted = "| row | callsoon | tokio |\n|---|---|---|\n\
                  | `fire_at` | 30 ns (20–40) | 3 µs (2–4), 100.00 × |\n\
                  | `fire_early` | 5 |  |\n\
                  | `armed` |  | 4.57 µs |\n";
    assert_eq!(text, wanted);
}

#[test]
fn a_table_of_some_names_has_their_figures_alone() {
    let metrics = |only: Option<&str>| {
        let table = table().only(only);
        let series = table.series().iter().filter(|series| !series.is_detail());
        let mut metrics: Vec<_> = series.map(|series| series.metric.clone()).collect();
        metrics.dedup();
        metrics.sort();
        metrics.dedup();
        metrics
    };
    assert_eq!(metrics(None), ["armed", "fire_at", "fire_early"]);
    assert_eq!(metrics(Some("fire")), ["fire_at", "fire_early"]);
    assert_eq!(metrics(Some("fire_early")), ["fire_early"]);
}

fn series(unit: &str, values: &[f64]) -> Series {
    let text = || "any".to_owned();
    Series {
        row: text(),
        metric: text(),
        unit: unit.to_owned(),
        peer: text(),
        values: values.to_vec(),
    }
}

#[test]
fn quartiles_lie_between_rounds_where_no_round_is_one() {
    for (values, quartiles, median) in [
        (&[4.0, 1.0, 3.0, 2.0][..], (1.75, 3.25), 2.5),
        (&[1.0, 2.0, 9.0], (1.5, 5.5), 2.0),
        (&[7.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (2.5, 5.5), 4.0),
        (&[1.0, 2.0], (1.25, 1.75), 1.5),
    ] {
        let series = series("ns", values);
        assert_eq!(series.quartiles(), Some(quartiles), "{values:?}");
        assert_eq!(series.value(), median, "{values:?}");
    }
    assert_eq!(series("ns", &[1.0]).quartiles(), None);
    let count = series("count", &[0.0, 3.0, 1.0]);
    assert_eq!((count.value(), count.quartiles()), (3.0, None));
}

#[test]
fn quantities_have_the_unit_that_fits() {
    for (unit, value, text) in [
        ("ns", 5.694, "5.69 ns"),
        ("ns", 1_200.0, "1.20 µs"),
        ("ns", 3_456_789.0, "3.46 ms"),
        ("us", 0.512, "512 ns"),
        ("us", 28.04, "28.0 µs"),
        ("bytes", 391.6, "392 B"),
        ("bytes", 20_480.0, "20 KiB"),
        ("per_s", 123_456.7, "123457 /s"),
        ("count", 3.0, "3"),
        ("MB_per_s", 5_000.4, "5000 MB/s"),
    ] {
        assert_eq!(markdown::quantity(unit, value), text);
    }
    // The quartiles have the median's unit.
    let spread = series("ns", &[990.0, 1_010.0, 1_020.0]);
    assert_eq!(markdown::with_quartiles(&spread), "1.01 µs (1–1.01)");
}

#[test]
fn the_heading_says_what_was_measured_when_and_on_what() {
    let machine = Machine {
        processor: "a processor, 2 cores".into(),
        system: "a system".into(),
        compiler: "a compiler".into(),
        versions: vec![("a".into(), "1.0".into()), ("b".into(), "2.0".into())],
    };
    assert_eq!(
        machine.heading("timers", "a date"),
        "timers, a date: a 1.0, b 2.0\na processor, 2 cores; a system; a compiler\n"
    );
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (seconds, text) in [
        (0, "1970-01-01 00:00 UTC"),
        (951_782_399, "2000-02-28 23:59 UTC"),
        (951_782_400, "2000-02-29 00:00 UTC"),
        (1_709_251_199, "2024-02-29 23:59 UTC"),
        (1_709_251_200, "2024-03-01 00:00 UTC"),
        (1_767_225_599, "2025-12-31 23:59 UTC"),
        (4_107_542_400, "2100-03-01 00:00 UTC"),
    ] {
        assert_eq!(date::text(seconds), text);
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
            "round 1 of 7, fire, smol",
        )
    };
    assert_eq!(line(0, 3), "timers: 0 of 40, 0 %: round 1 of 7, fire, smol");
    assert_eq!(
        line(10, 10),
        "timers: 10 of 40, 25 %, 30 s left: round 1 of 7, fire, smol"
    );
    assert_eq!(
        line(20, 70),
        "timers: 20 of 40, 50 %, 1 min 10 s left: round 1 of 7, fire, smol"
    );
}
