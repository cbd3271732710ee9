//! Who waits for what: [`LoopHandle::task_infos`], and the circles of tasks that wait for one another.
//!
//! | edge | known |
//! |---|---|
//! | task, `gather`, `try_gather`, task group | always: a cancellation follows the same edges |
//! | `sleep`, socket, `Future` without its address | always, if a task waits by its own waker |
//! | lock and its holder, event, condition, semaphore, barrier, queue, stream, executor, process, signal, `wait`, `as_completed`, `shield`, descriptor | on an inspected loop: [`Builder::inspect`](crate::Builder::inspect) |
//! | since when; age, steps and times of tasks | on an inspected loop |
//!
//! On an inspected loop the notes of a task's last step say what it waits for besides tasks. `kernel/inspection` says
//! when they lag behind. Another crate's channel or lock is known if it says so
//! itself, by `inspect/awaited_by`; else its task waits for nothing that is listed.

use std::collections::HashMap;
use std::time::Duration;

use crate::inspect::task_info::{TaskInfo, TaskState, WaitInfo};
use crate::kernel::clock::NEVER;
use crate::kernel::inspection::{Record, Wait, holder};
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::key::{Identity, Key};
use crate::kernel::task::reference::{TaskId, TaskRef};
use crate::kernel::wait::wait_kind::WaitKind;

/// Waits that are not notes, by the key of the task.
type Found = HashMap<u64, Vec<Wait>>;

impl LoopHandle {
    /// Returns what is known of each unfinished task, in the order of their creation: its state, its place, what it waits
    /// for, and who awaits it.
    ///
    /// It takes a time that grows with the number of tasks, timers and sockets, and changes nothing. What is known without
    /// [`Builder::inspect`](crate::Builder::inspect), and what is not, is in this table:
    ///
    /// | a task waits for | known |
    /// |---|---|
    /// | a task, a `gather`, a `try_gather`, a task group | always |
    /// | a `sleep` or timeout, a socket, a `Future` without its address | always, unless a combinator polls it by a waker of its own |
    /// | a lock and who holds it, an event, condition, semaphore, barrier, queue, stream, executor, child process, signal, `wait`, `as_completed`, `shield` | on an inspected loop |
    /// | another crate's lock or channel | on an inspected loop, if its author calls [`future_add_to_awaited_by`](crate::future_add_to_awaited_by) |
    ///
    /// # Differences from asyncio
    /// asyncio has `all_tasks`, and here too: it returns handles. This returns values, which may be sent to other threads.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.task_builder().name("resolver").spawn(async {});
    /// let infos = event_loop.task_infos();
    /// assert_eq!((infos[0].name.as_str(), infos[0].id), ("resolver", task.id()));
    /// ```
    pub fn task_infos(&self) -> Vec<TaskInfo> {
        self.infos_of_first(usize::MAX)
    }

    /// Returns what is known of the first `most` unfinished tasks.
    pub(crate) fn infos_of_first(&self, most: usize) -> Vec<TaskInfo> {
        let tasks = self.all_tasks();
        let state = &*self.state;
        let now = state.clock.now();
        let found = waits_without_notes(state);
        let mut infos: Vec<_> = tasks
            .iter()
            .take(most)
            .map(|task| info(state, task, &found, now))
            .collect();
        let mut awaiters: HashMap<TaskId, Vec<TaskId>> = HashMap::new();
        for info in &infos {
            for awaited in info.waits.iter().filter_map(|wait| wait.task) {
                let awaiters = awaiters.entry(awaited).or_default();
                // A task may wait for another in several ways: it is named once, and last.
                if awaiters.last() != Some(&info.id) {
                    awaiters.push(info.id);
                }
            }
        }
        for info in &mut infos {
            info.awaited_by = awaiters.remove(&info.id).unwrap_or_default();
        }
        infos
    }
}

fn serial(task: &TaskRef) -> u64 {
    task.task.header().serial.get()
}

/// Finds the tasks that wait for timers and sources by their own wakers.
fn waits_without_notes(state: &LoopState) -> Found {
    let mut found = Found::new();
    if state.inspection.is_some() {
        return found;
    }
    let task = Identity::NONE;
    let timers: Vec<_> = state.timers(|timers| timers.each().collect());
    for (key, object) in timers {
        let (Some(key), kind) = (key, WaitKind::Sleep) else {
            continue;
        };
        let waits = found.entry(key).or_default();
        waits.push(Wait { kind, object, task });
    }
    for (key, direction, object) in state.tasks_waiting_for_sources() {
        let kind = direction.kind();
        let waits = found.entry(key.bits()).or_default();
        waits.push(Wait { kind, object, task });
    }
    found
}

fn info(state: &LoopState, task: &TaskRef, found: &Found, now: u64) -> TaskInfo {
    let number = serial(task);
    let record = state.inspection.as_ref().map(|inspection| {
        let record = inspection.record(number);
        record.unwrap_or_default()
    });
    let (life, mut waits) = (state_of(state, task), Vec::new());
    if life != TaskState::Running {
        waits = waits_of(state, task.key, record.as_ref(), found);
    }
    let ago = |then: u64| Duration::from_nanos(now.saturating_sub(then));
    let waits = waits.into_iter().map(|(wait, since)| {
        let since = since.map(ago);
        wait_info(state, wait, since, now)
    });
    TaskInfo {
        id: task.id(),
        name: task.name(),
        state: life,
        location: task.location(),
        age: record.as_ref().and_then(|record| record.created.map(ago)),
        steps: record.as_ref().map(|record| record.steps),
        time_in_steps: record
            .as_ref()
            .map(|record| Duration::from_nanos(record.in_steps)),
        waits: waits.collect(),
        more_waits: record.map_or(0, |record| record.waits.more),
        awaited_by: Vec::new(),
    }
}

/// Lists what a task waits for: the tasks by its nodes, the rest by its notes, or as it was found if it has none.
fn waits_of(
    state: &LoopState,
    key: Key,
    record: Option<&Record>,
    found: &Found,
) -> Vec<(Wait, Option<u64>)> {
    let (mut waits, mut futures) = (Vec::new(), Vec::new());
    let last_step = record.and_then(|record| record.last_step);
    for (kind, task) in state.list_awaits(key) {
        let wait = Wait {
            kind,
            object: 0,
            task,
        };
        match kind {
            WaitKind::Future => futures.push((wait, None)),
            _ => waits.push((wait, last_step)),
        }
    }
    let Some(record) = record else {
        let found = found.get(&key.bits()).into_iter().flatten();
        waits.extend(futures);
        waits.extend(found.map(|wait| (*wait, None)));
        return waits;
    };
    for (wait, since) in &record.waits.waits {
        // A shield notes the task that it awaits; any other await has a node, or is plain.
        let same = |known: &&mut (Wait, Option<u64>)| known.0.task == wait.task;
        let is_task = wait.task != Identity::NONE;
        match waits.iter_mut().find(same).filter(|_| is_task) {
            Some(known) => known.1 = Some(*since),
            None if is_task && state.find_task(wait.task).is_none() => {}
            None => waits.push((*wait, Some(*since))),
        }
    }
    waits
}

fn state_of(state: &LoopState, task: &TaskRef) -> TaskState {
    let header = task.task.header();
    let is_root = task.key == state.root_key();
    let scheduled = match is_root {
        true => state.root.scheduled.get(),
        false => state.queues(|queues| queues.tasks.is_scheduled(task.key)),
    };
    match &header.state {
        flags if flags.is_running() => TaskState::Running,
        flags if flags.is_requested() => TaskState::Cancelling,
        _ if scheduled => TaskState::Ready,
        _ => TaskState::Pending,
    }
}

fn wait_info(state: &LoopState, wait: Wait, since: Option<Duration>, now: u64) -> WaitInfo {
    let task = match wait.kind {
        WaitKind::Lock => holder(wait.object).filter(|task| task.key.loop_id() == state.id),
        _ => Some(wait.task).filter(|task| *task != Identity::NONE),
    };
    // A holder may have ended, and have leaked its lock.
    let name = task.and_then(|task| Some(state.find_task(task)?.header().name()));
    let object = match wait.kind {
        WaitKind::Sleep => None,
        WaitKind::Readable | WaitKind::Writable => match u32::try_from(wait.object) {
            Ok(descriptor) => Some(u64::from(descriptor)),
            Err(_) => state.descriptor_of(wait.object).map(|fd| fd as u64),
        },
        _ => Some(wait.object).filter(|object| *object != 0),
    };
    let sleeps = wait.kind == WaitKind::Sleep && wait.object != NEVER;
    WaitInfo {
        kind: wait.kind,
        task: task
            .filter(|_| name.is_some())
            .map(|task| TaskId::of(state, task.serial)),
        task_name: name,
        object,
        left: sleeps.then(|| Duration::from_nanos(wait.object.saturating_sub(now))),
        since,
    }
}

/// Finds tasks that wait for one another in a circle, so that none of them goes on by itself. Each list is one circle,
/// in which each task waits for the next, and the last for the first. Every task is named in at most one.
///
/// A task that waits for several things at once may still leave its circle through another of them.
pub(crate) fn cycles(infos: &[TaskInfo]) -> Vec<Vec<TaskId>> {
    let waiting = |info: &&TaskInfo| info.state == TaskState::Pending;
    let waiting = infos.iter().filter(waiting);
    let edges: HashMap<TaskId, Vec<TaskId>> = waiting
        .map(|info| (info.id, info.waits.iter().filter_map(|w| w.task).collect()))
        .collect();
    let (mut cycles, mut seen) = (Vec::new(), HashMap::new());
    for info in infos {
        // The way from this task, and for each task on it which of its edges is followed next.
        let mut way: Vec<(TaskId, usize)> = vec![(info.id, 0)];
        if seen.contains_key(&info.id) {
            continue;
        }
        seen.insert(info.id, true);
        while let Some((task, next)) = way.last_mut() {
            let to = edges.get(task).and_then(|edges| edges.get(*next)).copied();
            *next += 1;
            let Some(to) = to else {
                seen.insert(*task, false);
                way.pop();
                continue;
            };
            match seen.get(&to) {
                None => {
                    seen.insert(to, true);
                    way.push((to, 0));
                }
                Some(true) => {
                    let first = way.iter().position(|(task, _)| *task == to);
                    let circle = way[first.unwrap_or(0)..].iter();
                    cycles.push(circle.map(|(task, _)| *task).collect::<Vec<_>>());
                }
                Some(false) => {}
            }
        }
    }
    let mut named = std::collections::HashSet::new();
    cycles.retain(|cycle| {
        let new = cycle.iter().all(|task| !named.contains(task));
        named.extend(cycle.iter().copied().filter(|_| new));
        new
    });
    cycles
}
