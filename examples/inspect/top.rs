//! `top`: the tasks by the time of their steps since the last look, every second until the loop is gone.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ask::tasks;
use super::ps::{array, stack, text};

/// A snapshot, and when it was taken.
type Look = (Value, Instant);

/// Prints lists, one below the other if the output is no terminal.
pub(crate) fn print(path: &Path, once: bool) -> Result<(), String> {
    let mut before = (tasks(path)?, Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(if once { 300 } else { 1000 }));
        let now = (tasks(path)?, Instant::now());
        if std::io::stdout().is_terminal() && !once {
            print!("\x1b[2J\x1b[H");
        }
        list(&before, &now);
        if once {
            return Ok(());
        }
        before = now;
    }
}

fn list((before, from): &Look, (now, to): &Look) {
    let passed = (*to - *from).as_secs_f64();
    let number = |of: &Value, name: &str| of[name].as_f64().unwrap_or(0.0);
    let known = array(before, "tasks")
        .iter()
        .map(|task| (task["id"].to_string(), task));
    let known: HashMap<_, _> = known.collect();
    let rates = array(now, "tasks").iter().map(|task| {
        let former = known
            .get(&task["id"].to_string())
            .copied()
            .unwrap_or(&Value::Null);
        let rate = |name| (number(task, name) - number(former, name)) / passed;
        (rate("time_in_steps"), rate("steps"), task)
    });
    let mut rows: Vec<_> = rates.collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let turns = (number(now, "turns") - number(before, "turns")) / passed;
    let (ready, count) = (&now["ready"], rows.len());
    println!("turns/s {turns:.0}  ready {ready}  tasks {count}");
    println!(" busy %   steps/s       id  name             waits for");
    for (busy, steps, task) in rows.iter().take(20) {
        let (busy, id) = (busy * 100.0, task["id"].to_string());
        let name = text(task, "name");
        let waits = stack(task);
        println!("{busy:>7.2} {steps:>9.0} {id:>8}  {name:<16} {waits}");
    }
}
