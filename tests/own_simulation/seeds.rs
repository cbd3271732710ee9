//! The tests: the simulation with many seeds, and with faults that it has to find.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;

use crate::faults::{FAULTS, Fault};
use crate::history::{End, Facts};
use crate::random::Random;
use crate::scenario::{Run, run, run_in_order};

/// How many seeds are tried where the environment says nothing: some seconds in a debug build.
const SEEDS: u64 = 300;

/// Every so many seeds one runs twice.
const TWICE: u64 = 10;

/// Within how many seeds each planted fault is found.
const SEEDS_OF_FAULT: u64 = 60;

const VARIABLE: &str = "CALLSOON_SIMULATION";

/// What the environment asks for.
enum Asked {
    Seeds(u64),
    Seed(u64),
}

fn asked() -> Asked {
    let Ok(text) = env::var(VARIABLE) else {
        return Asked::Seeds(SEEDS);
    };
    let parsed = text.split_once('=').and_then(|(word, number)| {
        let number = number.parse().ok()?;
        match word {
            "seeds" => Some(Asked::Seeds(number)),
            "seed" => Some(Asked::Seed(number)),
            _ => None,
        }
    });
    parsed.unwrap_or_else(|| panic!("{VARIABLE}={text} is neither seeds=N nor seed=N"))
}

/// Says what was found with a seed, and how to see it again.
fn describe(seed: u64, violations: &[String]) -> String {
    let mut text = format!("seed {seed}:");
    for violation in violations {
        let _ = write!(text, "\n  {violation}");
    }
    let _ = write!(
        text,
        "\nto repeat it: {VARIABLE}=seed={seed} cargo test --test own_simulation invariants_hold -- --nocapture"
    );
    text
}

/// Returns where two traces part.
fn difference(one: &[String], other: &[String]) -> Option<String> {
    if one == other {
        return None;
    }
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let [one, other] = [one, other].map(|trace| trace.get(same));
    Some(format!(
        "the same seed gave another trace: line {same} was {one:?}, then {other:?}"
    ))
}

/// Runs a seed, twice if its trace is to be compared.
fn try_seed(seed: u64, fault: Fault, twice: bool) -> Run {
    let mut first = run(seed, fault);
    if twice {
        let second = run(seed, fault);
        first
            .violations
            .extend(difference(&first.trace, &second.trace));
    }
    first
}

#[test]
fn invariants_hold_with_each_seed() {
    let seeds = match asked() {
        Asked::Seeds(count) => count,
        Asked::Seed(seed) => {
            let run = try_seed(seed, Fault::Nothing, true);
            for line in &run.trace {
                println!("{line}");
            }
            assert!(
                run.violations.is_empty(),
                "{}",
                describe(seed, &run.violations)
            );
            return;
        }
    };
    let mut counts = BTreeMap::new();
    let mut failures = Vec::new();
    for seed in 0..seeds {
        let run = try_seed(seed, Fault::Nothing, seed % TWICE == 0);
        if !run.violations.is_empty() {
            failures.push(describe(seed, &run.violations));
        }
        if let Some(facts) = &run.facts {
            count(facts, &mut counts);
        }
        if failures.len() == 5 {
            break;
        }
    }
    println!("{seeds} seeds: {counts:#?}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // A simulation in which something never happens has tested less than it says.
    if seeds >= SEEDS {
        let missing = HAPPENINGS.iter().filter(|name| !counts.contains_key(*name));
        assert_eq!(missing.collect::<Vec<_>>(), [&""; 0]);
    }
}

/// What has to happen in some of the runs.
const HAPPENINGS: [&str; 14] = [
    "clients told goodbye",
    "connections closed",
    "connections reset",
    "connections silent",
    "connections vanished",
    "cuts",
    "evictions",
    "healed partitions",
    "messages received",
    "resets",
    "shutdowns at the deadline",
    "shutdowns in time",
    "stalls",
    "streams ended by clients",
];

fn count(facts: &Facts, counts: &mut BTreeMap<&'static str, u64>) {
    let mut add = |name, number: usize| {
        if number > 0 {
            *counts.entry(name).or_default() += number as u64;
        }
    };
    for view in facts.views.values() {
        let end = match view.end.map(|(end, _)| end) {
            Some(End::Goodbye) => "clients told goodbye",
            Some(End::Closed) => "connections closed",
            Some(End::Reset) => "connections reset",
            Some(End::Silent) => "connections silent",
            Some(End::Vanished) => "connections vanished",
            None => "connections without an end",
        };
        add(end, 1);
        add("streams ended by clients", usize::from(view.has_quit));
        let messages = view
            .received
            .iter()
            .filter(|line| line.starts_with("message "));
        add("messages received", messages.count());
        add("stalls", usize::from(view.stalled_last.is_some()));
    }
    for wire in &facts.wires {
        add("resets", usize::from(wire.reset.is_some()));
        add("cuts", usize::from(wire.cut.is_some()));
        add("healed partitions", wire.healed);
        add("bytes carried", wire.carried as usize);
    }
    let evicted = facts.sessions.values().filter(|session| session.evicted);
    add("evictions", evicted.count());
    add("shutdowns in time", usize::from(facts.in_time));
    add("shutdowns at the deadline", usize::from(!facts.in_time));
}

#[test]
fn planted_faults_are_found_and_their_seeds_repeat_them() {
    let mut found = Vec::new();
    for (fault, words) in FAULTS {
        let twice = fault == Fault::RandomOrder;
        let first = (0..SEEDS_OF_FAULT).find_map(|seed| {
            let violations = try_seed(seed, fault, twice).violations;
            let named = |violation: &&String| violation.contains(words);
            let violation = violations.iter().find(named)?.clone();
            Some((seed, violation, violations))
        });
        let (seed, violation, violations) =
            first.unwrap_or_else(|| panic!("{fault:?} was not found"));
        // The order of a hash map is the one thing that a seed does not repeat.
        if !twice {
            assert_eq!(run(seed, fault).violations, violations, "{fault:?}");
        }
        let line = violation.lines().take(2).collect::<Vec<_>>().join(" ");
        found.push(format!("{fault:?}: seed {seed}: {line}"));
    }
    println!("{}", found.join("\n"));
}

#[test]
fn the_order_of_what_is_ready_is_part_of_the_seed() {
    let [one, again, other] = [1, 1, 2].map(|order| {
        let run = run_in_order(Random::new(3), order, Fault::Nothing);
        assert!(run.violations.is_empty(), "{:?}", run.violations);
        run.trace
    });
    assert_eq!(difference(&one, &again), None);
    assert!(difference(&one, &other).is_some());
}
