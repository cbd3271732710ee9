//! `top`: the tasks by the time of their steps since the last list, every second until the loop is gone.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::ask::tasks;
use super::ps::{array, stack, text};

/// The most tasks in one list.
const ROWS: usize = 20;

/// Prints lists, one above the other if the output is no terminal.
pub(crate) fn print(path: &Path, once: bool) -> Result<(), String> {
    let mut before: HashMap<u64, (u64, f64)> = HashMap::new();
    let (mut turns, mut at) = (0, None::<Instant>);
    loop {
        let snapshot = tasks(path)?;
        // The first list is about all the time until now.
        let passed = at.map_or(1.0, |at| at.elapsed().as_secs_f64());
        at = Some(Instant::now());
        let now = snapshot["turns"].as_u64().unwrap_or(0);
        let mut rows = Vec::new();
        let mut seen = HashMap::new();
        for task in array(&snapshot, "tasks") {
            let id = task["id"].as_u64().unwrap_or(0);
            let steps = task["steps"].as_u64().unwrap_or(0);
            let time = task["time_in_steps"].as_f64().unwrap_or(0.0);
            let (old_steps, old_time) = before.get(&id).copied().unwrap_or_default();
            seen.insert(id, (steps, time));
            rows.push((time - old_time, steps.saturating_sub(old_steps), id, task));
        }
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        if std::io::stdout().is_terminal() && !once {
            print!("\x1b[2J\x1b[H");
        }
        let rate = (now - turns) as f64 / passed;
        println!(
            "turns/s {rate:.0}  ready {}  tasks {}",
            snapshot["ready"],
            rows.len()
        );
        println!(
            "{:>7} {:>9} {:>8}  {:<16} waits for",
            "busy %", "steps/s", "id", "name"
        );
        for (time, steps, id, task) in rows.iter().take(ROWS) {
            let (busy, steps) = (time / passed * 100.0, *steps as f64 / passed);
            let name = text(task, "name");
            println!(
                "{busy:>7.2} {steps:>9.0} {id:>8}  {name:<16} {}",
                stack(task)
            );
        }
        (before, turns) = (seen, now);
        if once {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}
