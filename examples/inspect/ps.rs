//! `ps`: asyncio's table. Where asyncio shows the frames of a coroutine, here is what the task waits for.

use serde_json::Value;

/// Returns an array of a JSON object.
pub(crate) fn array<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of[name].as_array().map_or(&[], Vec::as_slice)
}

/// Returns a string of a JSON object.
pub(crate) fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

/// Returns what a task waits for, or its state if it waits for nothing that is known.
pub(crate) fn stack(task: &Value) -> String {
    let waits = array(task, "waits").iter().map(|wait| text(wait, "text"));
    match waits.clone().count() {
        0 => text(task, "state").to_owned(),
        _ => waits.collect::<Vec<_>>().join("; "),
    }
}

/// Prints a row for each task and each of those that await it.
pub(crate) fn print(snapshot: &Value) {
    let row = |cells: [&str; 7]| {
        let [tid, id, name, stack, chain, awaiter, number] = cells;
        println!("{tid:<8} {id:<8} {name:<16} {stack:<48} {chain:<48} {awaiter:<16} {number}");
    };
    row([
        "tid",
        "task id",
        "task name",
        "coroutine stack",
        "awaiter chain",
        "awaiter name",
        "awaiter id",
    ]);
    println!("{}", "-".repeat(160));
    let tid = snapshot["tid"].to_string();
    let tasks = array(snapshot, "tasks");
    for task in tasks {
        let (id, name, stack) = (task["id"].to_string(), text(task, "name"), stack(task));
        let awaiters = array(task, "awaited_by");
        if awaiters.is_empty() {
            row([&tid, &id, name, &stack, "", "", "0"]);
        }
        for awaiter in awaiters {
            let found = tasks.iter().find(|task| task["id"] == *awaiter);
            let (chain, by) = found.map_or((String::new(), ""), |found| {
                (text(found, "place").to_owned(), text(found, "name"))
            });
            row([&tid, &id, name, &stack, &chain, by, &awaiter.to_string()]);
        }
    }
}
