//! `capture_call_graph`, `format_call_graph` and `print_call_graph`: a task, what it waits for, and who awaits it.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use crate::event_loop::free::{current_task, try_get_running_loop};
use crate::inspect::task_info::TaskInfo;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::task::reference::{TaskId, TaskRef};

/// The most entries of one graph: with several awaiters each, the ways through the tasks may be very many.
const MOST_ENTRIES: usize = 1_000;

/// A task with all that await it, directly or through others. Returned by [`capture_call_graph`].
///
/// Its `Display` is the text of [`format_call_graph`].
///
/// ```
/// callsoon::run(async {
///     let graph = callsoon::capture_call_graph(None).unwrap();
///     assert_eq!((graph.task.name.as_str(), graph.awaited_by.len()), ("Task-1", 0));
/// })
/// .unwrap();
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CallGraph {
    /// The task, and what it waits for.
    pub task: TaskInfo,
    /// The tasks that await it, with those that await them.
    pub awaited_by: Vec<CallGraph>,
    /// The task is further up in this graph already: the tasks wait for one another in a circle. Its awaiters are named
    /// there.
    pub in_cycle: bool,
    /// There are more awaiters than are listed: a graph has at most 1,000 entries.
    pub truncated: bool,
}

/// Captures who awaits a task, and who awaits those: asyncio's `capture_call_graph`. `None` means the current task; the
/// result is `None` if there is no such task.
///
/// # Differences from asyncio
/// asyncio shows the frames of each coroutine's stack. Rust keeps no names of them, so an entry shows what the task
/// waits for, and where it was created. Without a running loop asyncio raises `RuntimeError`.
///
/// ```
/// callsoon::run(async {
///     let child = callsoon::task_builder().name("child").spawn(async {
///         callsoon::capture_call_graph(None).unwrap()
///     });
///     let graph = child.await.unwrap();
///     assert_eq!(graph.awaited_by[0].task.name, "Task-1");
/// })
/// .unwrap();
/// ```
pub fn capture_call_graph(task: Option<&TaskRef>) -> Option<CallGraph> {
    let current = match task {
        Some(task) => task.clone(),
        None => try_get_running_loop().and_then(|_| current_task())?,
    };
    let infos = LoopHandle::of(&current.state).task_infos();
    let infos: HashMap<_, _> = infos.into_iter().map(|info| (info.id, info)).collect();
    let mut left = MOST_ENTRIES;
    graph_of(current.id(), &infos, &mut Vec::new(), &mut left)
}

fn graph_of(
    task: TaskId,
    infos: &HashMap<TaskId, TaskInfo>,
    above: &mut Vec<TaskId>,
    left: &mut usize,
) -> Option<CallGraph> {
    let info = infos.get(&task)?;
    let mut graph = CallGraph {
        task: info.clone(),
        awaited_by: Vec::new(),
        in_cycle: above.contains(&task),
        truncated: false,
    };
    if graph.in_cycle {
        return Some(graph);
    }
    above.push(task);
    for awaiter in &info.awaited_by {
        if *left == 0 {
            graph.truncated = true;
            break;
        }
        *left -= 1;
        graph
            .awaited_by
            .extend(graph_of(*awaiter, infos, above, left));
    }
    above.pop();
    Some(graph)
}

/// Formats the graph of [`capture_call_graph`], as asyncio's `format_call_graph` does. Returns an empty text if there is
/// no such task.
///
/// ```
/// callsoon::run(async {
///     let text = callsoon::format_call_graph(None);
///     assert!(text.starts_with("* Task(name='Task-1', id=1)\n  + Call stack:\n  |   running\n"));
/// })
/// .unwrap();
/// ```
pub fn format_call_graph(task: Option<&TaskRef>) -> String {
    capture_call_graph(task).map_or_else(String::new, |graph| graph.to_string())
}

/// Prints the text of [`format_call_graph`] to the standard output.
///
/// # Panics
/// If the standard output fails, as `println!` does.
///
/// ```
/// callsoon::run(async { callsoon::print_call_graph(None) }).unwrap();
/// ```
pub fn print_call_graph(task: Option<&TaskRef>) {
    print!("{}", format_call_graph(task));
}

impl fmt::Display for CallGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        write_graph(&mut text, self, "")?;
        f.write_str(&text)
    }
}

fn write_graph(text: &mut String, graph: &CallGraph, indent: &str) -> fmt::Result {
    let cycle = if graph.in_cycle { " (cycle)" } else { "" };
    writeln!(text, "{indent}* {}{cycle}", graph.task.title())?;
    if graph.in_cycle {
        return Ok(());
    }
    writeln!(text, "{indent}  + Call stack:")?;
    if graph.task.waits.is_empty() {
        writeln!(text, "{indent}  |   {}", graph.task.state)?;
    }
    for wait in &graph.task.waits {
        writeln!(text, "{indent}  |   waits for {wait}")?;
    }
    if graph.task.more_waits > 0 {
        let more = graph.task.more_waits;
        writeln!(text, "{indent}  |   waits for {more} more")?;
    }
    writeln!(text, "{indent}  |   created at {}", graph.task.location)?;
    if !graph.awaited_by.is_empty() {
        writeln!(text, "{indent}  + Awaited by:")?;
    }
    let deeper = format!("{indent}     ");
    for awaiter in &graph.awaited_by {
        write_graph(text, awaiter, &deeper)?;
    }
    if graph.truncated {
        writeln!(text, "{deeper}...")?;
    }
    Ok(())
}
