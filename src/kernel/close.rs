//! Closing a loop: all that it still holds is dropped, once, on its own thread.
//!
//! Destructors are user code and may do anything: panic, wake, spawn, post, drop handles. While the loop is closing it
//! refuses new work, so what it holds only shrinks. Each value is dropped by itself with nothing borrowed, and a panic
//! becomes a report. The descriptors are closed last.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;

use crate::kernel::enter::{enter_context, leave_context};
use crate::kernel::events::{MOST_IN_CLOSE, further_tasks_pending, further_unclosed, unclosed};
use crate::kernel::loop_state::{LoopState, Phase, add};
use crate::kernel::observation;
use crate::kernel::registry;
use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::waker::enter;

/// The message of the report of a destructor that panicked here.
const IN_CLOSE: &str = "Exception in a destructor while the loop was closing";

/// Closes the loop; a second call does nothing.
pub(crate) fn close(state: &Rc<LoopState>) {
    if matches!(state.phase.get(), Phase::Closing | Phase::Closed) {
        return;
    }
    if state.is_inherited() {
        // This is a forked child. Everything but the descriptors is a copy of what the parent still uses: destructors
        // would do their work a second time, and a thread that does not exist here may hold a lock for ever.
        state.phase.set(Phase::Closed);
        if let Some(mut reactor) = state.take_reactor() {
            reactor.forget_observers();
        }
        return;
    }
    state.phase.set(Phase::Closing);
    let entered = enter(state);
    discard(state, state.inbox.close());
    end_tasks(state);
    observation::end_tasks(state);
    while let Some(callback) = state.queues(|queues| queues.ready.discard()) {
        discard(state, callback);
    }
    discard(state, state.timers(|timers| timers.drain()));
    let (mut woken, mut observers) = (Vec::new(), Vec::new());
    let _ = state.reactor(|reactor| reactor.clear(&mut woken, &mut observers));
    let callbacks = state.reactor(|reactor| reactor.descriptors.drain(&mut woken));
    discard(state, callbacks.unwrap_or_default());
    // A waiter on another loop finds that this one has closed.
    for waker in woken {
        state.catch_panic(IN_CLOSE, || waker.wake());
    }
    for observer in observers {
        state.catch_panic(IN_CLOSE, || observer.abandon());
    }
    discard(state, state.locals.take());
    tell_further(state);
    discard(state, state.replace_task_hook(None));
    discard(state, [state.swap_context(None), state.root.context.take()]);
    // It is there only if a panic has ended a run from outside its turns. It refers to the loop.
    discard(state, state.root.task.take());
    discard(state, state.replace_handler(None));
    discard(state, state.wait_hooks.take());
    drop(state.take_reactor());
    state.phase.set(Phase::Closed);
    state.cells.close();
    registry::release(state.id);
    drop(entered);
}

/// Drops values one after the other. Their destructors are user code.
fn discard<T>(state: &LoopState, values: impl IntoIterator<Item = T>) {
    for value in values {
        state.catch_panic(IN_CLOSE, || drop(value));
    }
}

/// Ends all tasks, in the order of their creation, each in its own context.
fn end_tasks(state: &Rc<LoopState>) {
    for (key, task) in state.queues(|queues| queues.tasks.all(state.id)) {
        let outer = enter_context(state, task.header());
        report_pending(state, &task);
        // A running task would refuse, but a running loop is not closed.
        task.kill();
        state.report_drop_panic(&task);
        // Another loop or runtime may await it. Its callbacks would be queued on this loop, which never runs them. They
        // hold the task, so dropping them ends a cycle of references.
        let owed = task
            .header()
            .peek_cold(|cold| (cold.waiter.take(), std::mem::take(&mut cold.callbacks)));
        let (waiter, mut callbacks) = owed.unwrap_or_default();
        if let Some(waiter) = waiter {
            state.catch_panic(IN_CLOSE, || waiter.wake());
        }
        discard(state, std::iter::from_fn(|| callbacks.take_first()));
        let removed = state.queues(|queues| queues.tasks.remove(key));
        drop(removed);
        observation::end_task(state, key);
        leave_context(state, task.header(), outer);
        discard(state, [task]);
    }
}

/// Says how many more tasks were pending and resources open than were named one by one. A program's own exception
/// handler was told of each task.
fn tell_further(state: &LoopState) {
    let further = |count: &Cell<u64>| count.get().checked_sub(MOST_IN_CLOSE + 1).map(|n| n + 1);
    if let Some(further) = further(&state.counts.pending).filter(|_| state.handler().is_none()) {
        further_tasks_pending(further);
    }
    if let Some(further) = further(&state.counts.unclosed) {
        further_unclosed(further);
    }
}

impl LoopState {
    /// Warns in debug mode that a resource is open while the loop closes, as asyncio's `ResourceWarning` does when one
    /// is garbage-collected.
    pub(crate) fn warn_unclosed(&self, resource: &str, location: &'static Location<'static>) {
        if !self.debug.get() || std::thread::panicking() {
            return;
        }
        add(&self.counts.unclosed, 1);
        if self.counts.unclosed.get() <= MOST_IN_CLOSE {
            unclosed(resource, location);
        }
    }
}

/// Reports a task that the loop ends before it has ended by itself, unless the program's end has reported it already.
/// While a panic unwinds through the loop's owner, unfinished tasks are expected and not reported.
fn report_pending(state: &Rc<LoopState>, task: &AnyTask) {
    let header = task.header();
    let named = header.peek_cold(|cold| cold.named_unended);
    if named == Some(true) || header.state.is_done() || std::thread::panicking() {
        return;
    }
    add(&state.counts.pending, 1);
    if state.counts.pending.get() > MOST_IN_CLOSE && state.handler().is_none() {
        return;
    }
    state.report(state.about_task(task, "Task was destroyed but it is pending!"));
}
