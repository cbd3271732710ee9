//! `pstree`: asyncio's tree. A task stands below each of those that await it.

use serde_json::Value;

use super::ps::{array, stack, text};

/// Prints the tree.
///
/// # Errors
/// Tasks wait for one another in a circle: the text names them, as asyncio's does.
pub(crate) fn print(snapshot: &Value) -> Result<(), String> {
    let tasks = array(snapshot, "tasks");
    let find = |id: &Value| tasks.iter().find(|task| task["id"] == *id);
    if let Some(cycle) = array(snapshot, "cycles").first().and_then(Value::as_array) {
        let names = cycle.iter().chain(cycle.first()).filter_map(find);
        let names: Vec<_> = names.map(|task| text(task, "name")).collect();
        let way = names.join(" → ");
        return Err(format!(
            "ERROR: await-graph contains cycles - cannot print a tree!\n\ncycle: {way}"
        ));
    }
    let roots = tasks
        .iter()
        .filter(|task| array(task, "awaited_by").is_empty());
    for root in roots {
        branch(tasks, root, "└── ", "    ", "");
    }
    Ok(())
}

fn branch(tasks: &[Value], task: &Value, mark: &str, below: &str, indent: &str) {
    println!("{indent}{mark}(T) {}", text(task, "name"));
    let indent = format!("{indent}{below}");
    let children = tasks
        .iter()
        .filter(|child| array(child, "awaited_by").contains(&task["id"]));
    let children: Vec<_> = children.collect();
    println!("{indent}└── {}  {}", text(task, "place"), stack(task));
    let indent = format!("{indent}    ");
    for (number, child) in children.iter().enumerate() {
        let (mark, below) = match number + 1 == children.len() {
            true => ("└── ", "    "),
            false => ("├── ", "│   "),
        };
        branch(tasks, child, mark, below, &indent);
    }
}
