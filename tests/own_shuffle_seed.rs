//! A process of its own because it sets an environment variable, for itself run again: the seed of a failed test is
//! printed, and repeats its order.

use std::process::Command;

use callsoon::testing::{self, Trace};
use callsoon::{create_task, gather};

/// Which of the two parts this process is, and which order it notes.
const PART: &str = "CALLSOON_TEST_PART";
const SEED: &str = "CALLSOON_SHUFFLE_SEED";

/// Five tasks in some order, and how often the test runs.
#[test]
fn the_part_that_is_run_again() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    let test = || async {
        let trace = Trace::new();
        let note = |n: u32| {
            let trace = trace.clone();
            async move { trace.push(n) }
        };
        gather((0..5).map(note)).await.unwrap();
        println!("order {}", trace.take().concat());
        match part.as_str() {
            "panics" => panic!("it fails"),
            "leaves" => create_task(std::future::pending::<()>()).detach(),
            _ => {}
        }
    };
    testing::shuffle_all(3..6, test);
}

/// Runs the part again. Returns the orders that it has noted, and what it says of its seed.
fn again(part: &str, seed: Option<u64>) -> (Vec<String>, Vec<String>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_part_that_is_run_again", "--nocapture"]);
    command.env(PART, part).env_remove(SEED);
    if let Some(seed) = seed {
        command.env(SEED, seed.to_string());
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.success(), part == "passes");
    let (stdout, stderr) = (output.stdout, output.stderr);
    let (stdout, stderr) = (
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    );
    // The harness writes to the same line before the first.
    let orders = stdout
        .lines()
        .filter_map(|line| Some(line.split_once("order ")?.1.to_owned()));
    let seeds = stderr
        .lines()
        .filter(|line| line.contains(SEED))
        .map(str::to_owned);
    (orders.collect(), seeds.collect())
}

#[test]
fn a_test_that_passes_runs_with_every_seed_and_prints_none() {
    let (orders, seeds) = again("passes", None);
    assert_eq!((orders.len(), seeds), (3, vec![]));
    let (repeated, seeds) = again("passes", Some(4));
    assert_eq!((repeated, seeds), (vec![orders[1].clone()], vec![]));
}

#[test]
fn the_seed_of_a_test_that_panics_or_leaves_something_is_printed_and_repeats_its_order() {
    for part in ["panics", "leaves"] {
        let (orders, seeds) = again(part, None);
        let says = |seed| format!("the test ran shuffled; {SEED}={seed} repeats this order");
        assert_eq!((orders.len(), seeds), (1, vec![says(3)]));
        assert_eq!(again(part, Some(3)), (orders.clone(), vec![says(3)]));
        let (others, seeds) = again(part, Some(4));
        assert_ne!(others, orders);
        assert_eq!(seeds, [says(4)]);
    }
}
