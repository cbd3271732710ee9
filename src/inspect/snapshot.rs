//! `LoopSnapshot`: all that an inspection tells of a loop at one moment, as values, as text and as JSON.

use std::fmt;
use std::time::Duration;

use crate::inspect::edges::cycles;
use crate::inspect::json::Json;
use crate::inspect::task_info::{TaskInfo, WaitInfo, seconds};
use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::key::Key;
use crate::kernel::task::reference::TaskId;

/// The most tasks, timers and sources that are listed one by one. More are counted.
const MOST: usize = 10_000;

/// A timer of a loop. See [`LoopSnapshot`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TimerInfo {
    /// How long until it is due; `None` if it never is.
    pub left: Option<Duration>,
    /// The name of the task that it wakes; `None` if it calls a callback, or a waker that is not the task's own.
    pub task: Option<String>,
}

/// A socket, pipe or other source of events. See [`LoopSnapshot`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SourceInfo {
    /// Its descriptor, if it has one.
    pub fd: Option<i32>,
    /// The names of the tasks that wait to read from it.
    pub readers: Vec<String>,
    /// The names of the tasks that wait to write to it.
    pub writers: Vec<String>,
}

/// A loop at one moment. Returned by [`LoopHandle::snapshot`].
///
/// Its `Display` is the text of [`LoopHandle::dump`].
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// event_loop.create_task(async {}).detach();
/// let snapshot = event_loop.snapshot();
/// assert_eq!((snapshot.tasks.len(), snapshot.ready, snapshot.cycles.len()), (1, 1, 0));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LoopSnapshot {
    /// How many turns the loop has run.
    pub turns: u64,
    /// How many entries are in the ready queue.
    pub ready: usize,
    /// The loop keeps notes: see [`Builder::inspect`](crate::Builder::inspect).
    pub inspected: bool,
    /// The unfinished tasks, in the order of their creation; at most 10,000.
    pub tasks: Vec<TaskInfo>,
    /// How many more tasks there are.
    pub more_tasks: usize,
    /// Tasks that wait for one another in a circle. Each of a circle's tasks waits for the next, and the last for the
    /// first. A task that waits for several things at once may still leave its circle through another of them.
    pub cycles: Vec<Vec<TaskId>>,
    /// The timers, in the order of their deadlines; at most 10,000.
    pub timers: Vec<TimerInfo>,
    /// How many more timers there are.
    pub more_timers: usize,
    /// The sources; at most 10,000.
    pub sources: Vec<SourceInfo>,
    /// How many more sources there are.
    pub more_sources: usize,
}

impl LoopHandle {
    /// Returns what the loop holds at this moment: its tasks and what they wait for, its timers and its sources.
    ///
    /// It takes a time that grows with their number, and changes nothing.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.call_later(std::time::Duration::from_secs(60), || ());
    /// assert_eq!(event_loop.snapshot().timers.len(), 1);
    /// ```
    pub fn snapshot(&self) -> LoopSnapshot {
        let state = &*self.state;
        let tasks = self.infos_of_first(MOST);
        let cycles = cycles(&tasks);
        let all = state.queues(|queues| queues.tasks.len());
        let all = all + usize::from(state.root.task.borrow().is_some());
        let more_tasks = all.saturating_sub(tasks.len());
        let (timers, more_timers) = timers(state);
        let (sources, more_sources) = sources(state);
        LoopSnapshot {
            turns: state.turn_number.get(),
            ready: state.queues(|queues| queues.ready.len()),
            inspected: state.inspection.is_some(),
            tasks,
            more_tasks,
            cycles,
            timers,
            more_timers,
            sources,
            more_sources,
        }
    }

    /// Returns a text about all that the loop holds: the loop, circles of tasks, tasks, timers and sources.
    ///
    /// A program that prints it on a signal shows what it waits for:
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::builder().inspect(true).build()?;
    /// let handle = event_loop.handle();
    /// event_loop.add_signal_handler(libc::SIGUSR1, move || eprintln!("{}", handle.dump()))?;
    /// # event_loop.remove_signal_handler(libc::SIGUSR1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The signal handler runs in a turn of the loop, so it prints nothing while a callback holds the loop up. An
    /// [inspector](crate::Builder::inspector) answers then too.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.task_builder().name("janitor").spawn(async {}).detach();
    /// assert!(event_loop.dump().contains("Task(name='janitor', id=1) ready"));
    /// ```
    pub fn dump(&self) -> String {
        self.snapshot().to_string()
    }
}

fn name_of(state: &LoopState, key: Key) -> Option<String> {
    state.task(key).map(|task| task.header().name())
}

fn timers(state: &LoopState) -> (Vec<TimerInfo>, usize) {
    let mut all: Vec<_> = state.timers(|timers| timers.each().collect());
    all.sort_by_key(|(_, deadline)| *deadline);
    let more = all.len().saturating_sub(MOST);
    let now = state.clock.now();
    let infos = all
        .into_iter()
        .take(MOST)
        .map(|(task, deadline)| TimerInfo {
            left: (deadline != u64::MAX)
                .then(|| Duration::from_nanos(deadline.saturating_sub(now))),
            task: task.and_then(|task| name_of(state, Key::from_bits(task))),
        });
    (infos.collect(), more)
}

fn sources(state: &LoopState) -> (Vec<SourceInfo>, usize) {
    let numbers = state.source_numbers();
    let more = numbers.len().saturating_sub(MOST);
    let mut waiting = std::collections::HashMap::<u64, [Vec<String>; 2]>::new();
    for (key, direction, number) in state.tasks_waiting_for_sources() {
        let place = usize::from(direction == Direction::Write);
        let names = waiting.entry(number).or_default();
        names[place].extend(name_of(state, key));
    }
    let infos = numbers.into_iter().take(MOST).map(|number| {
        let [readers, writers] = waiting.remove(&number).unwrap_or_default();
        SourceInfo {
            fd: state.descriptor_of(number),
            readers,
            writers,
        }
    });
    (infos.collect(), more)
}

impl fmt::Display for LoopSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tasks, timers) = (self.tasks.len(), self.timers.len());
        let sources = self.sources.len();
        writeln!(f, "Loop: {} turns, {} ready", self.turns, self.ready)?;
        for cycle in &self.cycles {
            let name = |id: &TaskId| self.tasks.iter().find(|task| task.id == *id);
            let names = cycle.iter().chain(cycle.first());
            let names = names.map(|id| name(id).map_or_else(|| id.to_string(), TaskInfo::title));
            let way = names.collect::<Vec<_>>().join(" -> ");
            writeln!(f, "Cycle: {way}")?;
        }
        writeln!(f, "Tasks: {}", tasks + self.more_tasks)?;
        for task in &self.tasks {
            write!(f, "  {} {}", task.title(), task.state)?;
            if let (Some(age), Some(steps)) = (task.age, task.steps) {
                let busy = task.time_in_steps.unwrap_or_default();
                let (age, busy) = (seconds(age), seconds(busy));
                write!(f, ", {age} s old, {steps} steps in {busy} s")?;
            }
            writeln!(f, ", created at {}", task.location)?;
            for wait in &task.waits {
                writeln!(f, "    waits for {wait}")?;
            }
        }
        writeln!(f, "Timers: {}", timers + self.more_timers)?;
        for timer in &self.timers {
            let left = timer.left.map_or_else(|| "never".to_owned(), seconds);
            let what = timer.task.as_deref().unwrap_or("a callback");
            writeln!(f, "  {left} s: {what}")?;
        }
        writeln!(f, "Sources: {}", sources + self.more_sources)?;
        for source in &self.sources {
            let fd = source
                .fd
                .map_or_else(|| "?".to_owned(), |fd| fd.to_string());
            write!(f, "  fd={fd}")?;
            for (what, names) in [("read", &source.readers), ("write", &source.writers)] {
                if !names.is_empty() {
                    write!(f, ", {what} by {}", names.join(", "))?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl LoopSnapshot {
    /// Writes the snapshot's fields into an object.
    pub(crate) fn write_json(&self, json: &mut Json) {
        json.name("turns").number(self.turns);
        json.name("ready").number(self.ready as u64);
        json.name("inspected").bool(self.inspected);
        let tasks = json.name("tasks");
        tasks.array(&self.tasks, write_task);
        json.name("more_tasks").number(self.more_tasks as u64);
        json.name("cycles").array(&self.cycles, |json, cycle| {
            json.array(cycle, |json, task| json.number(task.serial()));
        });
        let timers = (self.timers.len() + self.more_timers) as u64;
        json.name("timers").number(timers);
        let next = self.timers.first().and_then(|timer| timer.left);
        json.name("next_timer").option(next, Json::seconds);
        let sources = (self.sources.len() + self.more_sources) as u64;
        json.name("sources").number(sources);
    }
}

fn write_task(json: &mut Json, task: &TaskInfo) {
    json.object(|json| {
        json.name("id").number(task.id.serial());
        json.name("name").string(&task.name);
        json.name("state").string(task.state.name());
        json.name("place").string(&task.location.to_string());
        json.name("age").option(task.age, Json::seconds);
        json.name("steps").option(task.steps, Json::number);
        json.name("time_in_steps")
            .option(task.time_in_steps, Json::seconds);
        let waits = json.name("waits");
        waits.array(&task.waits, write_wait);
        json.name("more_waits").number(task.more_waits as u64);
        json.name("awaited_by")
            .array(&task.awaited_by, |json, task| {
                json.number(task.serial());
            });
    });
}

fn write_wait(json: &mut Json, wait: &WaitInfo) {
    json.object(|json| {
        json.name("kind").string(wait.kind.name());
        json.name("text").string(&wait.to_string());
        let task = wait.task.map(TaskId::serial);
        json.name("task").option(task, Json::number);
        json.name("object").option(wait.object, Json::number);
        json.name("left").option(wait.left, Json::seconds);
        json.name("since").option(wait.since, Json::seconds);
    });
}
