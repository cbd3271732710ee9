//! One turn of the loop. **This is the only place from which queued work is started**; `kernel/enter` calls the user
//! code.
//!
//! A turn has six phases, in asyncio's order. The first five queue what is ready. The sixth runs exactly the entries
//! that were ready when it began; entries that those queue run in the next turn. So a turn runs only what is runnable
//! *now*.
//!
//! While work is ready, phases 2 to 5 may be left out, since polling for events costs as much as thirty callbacks. Time
//! decides for how long, not a count: the clock is read every few entries, and the turn polls for events once
//! [`EVENT_POLL_INTERVAL`] has passed. The number of entries between two readings adapts, from 1 while callbacks are
//! slow to 64 while they are fast. So a chain of `call_soon` does not pay for polling, and no timer waits behind many
//! slow callbacks. A timer that is already due when it is armed forces a poll. `event_interval(1)` polls in every turn,
//! as asyncio does.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use crate::error::Panicked;
use crate::kernel::cancel::node::NodeKey;
use crate::kernel::context::Context as LoopContext;
use crate::kernel::enter::{
    enter_context, leave_context, observed_step, plain_step, run_callback, run_queued,
};
use crate::kernel::handlers::{report_drop_panic, report_panic_of};
use crate::kernel::io::call_observer::{call_observer, survive};
use crate::kernel::io::fd_ops::{queue_fired, run_fd_callback};
use crate::kernel::io::reactor::Woken;
use crate::kernel::loop_state::{LoopState, add};
use crate::kernel::observation::{begin_poll, begin_run, end_poll, end_run, end_sleep};
use crate::kernel::queue_due::queue_due_timers;
use crate::kernel::queues::Next;
use crate::kernel::ready_token::Special;
use crate::kernel::report::{ExceptionContext, drop_quietly};
use crate::kernel::shuffle::Shuffler;
use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::handle::NEVER_RETRIEVED;
use crate::kernel::task::header::Header;
use crate::kernel::task::key::Key;
use crate::kernel::task::root::Root;
use crate::kernel::task::state::Step;
use crate::kernel::wait::waiters::Waiters;
use crate::kernel::wait_for_events::{Wait, poll_events_now, wait_for_events};
use crate::sys::prefetch::AHEAD;

/// How long the loop may run ready work without polling for events, in nanoseconds. A poll costs 0.3 µs between real
/// work, so this spends about one part in eighty on polling, and delays a timer by at most this time.
const EVENT_POLL_INTERVAL: u64 = 25_000;

/// THE loop: runs turns until one of them is told to stop.
pub(crate) fn run(state: &LoopState, root: &mut dyn Root) -> io::Result<()> {
    if state.shuffler.is_some() {
        return run_shuffled(state, root);
    }
    begin_run(state);
    loop {
        let turns = || {
            loop {
                turn(state, root, Wait::Forever)?;
                if state.stopping.replace(false) {
                    return Ok(());
                }
            }
        };
        if let Some(result) = survive(state, turns) {
            state.queues(|queues| queues.ready.resume());
            end_run(state);
            return result;
        }
    }
}

/// Runs one turn of a loop that another one drives.
pub(crate) fn guest_turn(state: &LoopState, root: &mut dyn Root, wait: Wait) -> io::Result<()> {
    begin_run(state);
    let turn = || match &state.shuffler {
        Some(shuffler) => shuffled_turn(state, shuffler, root, wait),
        None => turn(state, root, wait),
    };
    let result = survive(state, turn).unwrap_or(Ok(()));
    state.queues(|queues| queues.ready.resume());
    end_run(state);
    result
}

/// [`run`] for a loop that shuffles.
#[cold]
fn run_shuffled(state: &LoopState, root: &mut dyn Root) -> io::Result<()> {
    loop {
        let ended = guest_turn(state, root, Wait::Forever);
        if ended.is_err() || state.stopping.replace(false) {
            return ended;
        }
    }
}

/// [`turn`] for a loop that shuffles. It polls for events in each turn, and then permutes what is ready.
#[cold]
fn shuffled_turn(
    state: &LoopState,
    shuffler: &Shuffler,
    root: &mut dyn Root,
    wait: Wait,
) -> io::Result<()> {
    let number = state.turn_number.get().wrapping_add(1);
    state.turn_number.set(number);
    if state.inbox.has_posts() {
        state.drain_inbox();
    }
    let polled = poll_events(state, wait);
    state.queues(|queues| shuffler.permute(&mut queues.ready));
    run_entries(state, root, state.ready_count());
    polled
}

/// Runs one turn. An error means that the system refused to wait. Nothing is lost, and the next turn tries again.
#[inline(always)]
fn turn(state: &LoopState, root: &mut dyn Root, wait: Wait) -> io::Result<()> {
    let number = state.turn_number.get().wrapping_add(1);
    state.turn_number.set(number);
    // 1: posts and wakes of other threads.
    if state.inbox.has_posts() {
        state.drain_inbox();
    }
    let mut polled = Ok(());
    let mut count = state.ready_count();
    if count == 0 || should_poll_events(state) {
        // 2 to 5: events and due timers.
        polled = poll_events(state, wait);
        count = state.ready_count();
        if count > state.counts.most_ready.get() {
            note_depth(state, count);
        }
        if count > 2 * AHEAD {
            count = run_cold(state, root, count);
        }
    }
    // 6: the entries that are ready now. The snapshot is a count, so unwinding loses no entry.
    run_entries(state, root, count);
    polled
}

/// Runs so many entries from the front.
#[inline(always)]
fn run_entries(state: &LoopState, root: &mut dyn Root, count: usize) {
    let left = u64::from(state.event_polls.left.get());
    if count as u64 > left {
        note_depth(state, count);
        state.event_polls.left.set(0);
    } else {
        state.event_polls.left.set((left - count as u64) as u32);
    }
    for _ in 0..count {
        // It is `None` only after a `stop_now`, which hides what is left: nobody else pops, and no more than was counted.
        let Some(entry) = state.next_entry() else {
            break;
        };
        run_entry(state, root, entry);
    }
}

/// Notes how many entries a turn has found. It is called for more than a few only, so that usual turns do not count.
#[cold]
fn note_depth(state: &LoopState, count: usize) {
    let most = &state.counts.most_ready;
    most.set(most.get().max(count));
}

/// If there are very many tasks, which are no longer in the processor's caches, runs most of these entries. Returns how
/// many are left. It is called after a poll for events only, so that usual turns do not pay for the question.
#[cold]
fn run_cold(state: &LoopState, root: &mut dyn Root, count: usize) -> usize {
    let mut left = count;
    if !state.queues(|queues| queues.tasks.is_crowd()) {
        return left;
    }
    state.queues(|queues| queues.prefetch(0));
    while left > AHEAD {
        state.queues(|queues| queues.prefetch(AHEAD));
        run_entries(state, root, AHEAD);
        left -= AHEAD;
    }
    left
}

/// Returns whether phases 2 to 5 take place in this turn although work is ready.
#[inline]
fn should_poll_events(state: &LoopState) -> bool {
    state.event_polls.left.get() == 0 && (state.event_polls.forced.get() || clock_says_poll(state))
}

/// Reads the clock, and decides after how many entries to read it again: twice as many as before if they took less than
/// an interval together, one if they took more. Returns whether to poll for events.
#[inline(never)]
fn clock_says_poll(state: &LoopState) -> bool {
    let event_polls = &state.event_polls;
    let most = state.settings.event_interval;
    if most == 1 {
        return true;
    }
    if state.clock.is_virtual() {
        // Virtual time stands still: the count alone decides, so that every run is the same.
        event_polls.interval.set(most);
        return true;
    }
    let now = state.clock.now();
    let fast = now.saturating_sub(event_polls.clock_read.replace(now)) < EVENT_POLL_INTERVAL;
    let interval = if fast {
        event_polls.interval.get().saturating_mul(2).min(most)
    } else {
        1
    };
    event_polls.interval.set(interval);
    event_polls.left.set(interval);
    now.saturating_sub(event_polls.last.get()) >= EVENT_POLL_INTERVAL
}

/// Phases 2 to 5: polls for events, and queues what is ready and due.
#[inline(never)]
fn poll_events(state: &LoopState, wait: Wait) -> io::Result<()> {
    let polls = &state.event_polls;
    polls.count.set(polls.count.get() + 1);
    polls.forced.set(false);
    polls.left.set(polls.interval.get());
    if state.is_inherited() {
        return Err(io::Error::other(
            "this process was forked inside the run: the loop is its parent's",
        ));
    }
    let mut woken = state.woken.take();
    state.inbox.trim();
    let is_empty = state.queues(|queues| {
        queues.ready.trim();
        queues.ready.is_empty()
    });
    let idle = is_empty && !state.stopping.get();
    let is_observed = begin_poll(state);
    let result = if idle {
        let result = wait_for_events(state, wait, &mut woken);
        if is_observed {
            end_sleep(state);
        }
        result
    } else {
        poll_events_now(state, &mut woken)
    };
    if state.inbox.has_posts() {
        state.drain_inbox();
    }
    for woken in woken.drain(..) {
        match woken {
            Woken::Observed(key) => state.queues(|queues| queues.ready.push_source(key)),
            Woken::Waker(waker) => state.wake(waker),
        }
    }
    state.woken.set(woken);
    queue_fired(state);
    queue_due_timers(state);
    if is_observed {
        end_poll(state);
    }
    result
}

/// Runs phase 6 for one entry.
#[inline(always)]
fn run_entry(state: &LoopState, root: &mut dyn Root, entry: Next) {
    match entry {
        Next::Call(callback, location) => {
            run_queued(state, || run_callback(|| callback.call(), location));
        }
        Next::Task(task, key) => {
            state.budget.refill();
            run_task(state, &task, key);
        }
        Next::Other(token) => run_special(state, root, token.special()),
        Next::Gone => {}
    }
}

/// Runs an entry that is neither a callback nor a task.
#[inline(never)]
fn run_special(state: &LoopState, root: &mut dyn Root, entry: Special) {
    match entry {
        Special::Timer(key) => {
            let due = state.take_due(key);
            if let Some(callback) = due {
                run_queued(state, || callback.call());
            }
        }
        Special::Posted(count) => {
            state.queues(|queues| queues.ready.unpop_posted(count));
            if let Some(posted) = state.inbox.take_next() {
                run_queued(state, || posted.call());
            }
        }
        Special::Fd(key) => run_fd_callback(state, key),
        Special::Root(generation) => run_root(state, root, generation),
        Special::Stop(run) if run == state.run_number.get() => state.stopping.set(true),
        Special::Source(key) => {
            run_queued(state, || call_observer(state, key));
        }
        Special::Break(run) if run == state.run_number.get() => {
            state.stopping.set(true);
            state.queues(|queues| queues.ready.suspend());
        }
        // The end of a run that was stopped early.
        Special::Stop(_) | Special::Break(_) => {}
    }
}

#[inline(always)]
fn run_task(state: &LoopState, task: &AnyTask, key: Key) {
    if state.instrumented.get() {
        return run_in_context(state, task, key);
    }
    let step = plain_step(state, key, |context| task.step(context));
    if state.instrumented.get() {
        // This step has set the loop's first variable, or switched on debug mode.
        return end_in_context(state, task, key, step, None);
    }
    end_step(state, task, key, step);
}

/// Runs a task on the instrumented path. The step, and all that its end runs and reports, sees the task's own context.
#[inline(never)]
fn run_in_context(state: &LoopState, task: &AnyTask, key: Key) {
    let outer = enter_context(state, task.header());
    let step = observed_step(state, key, task, |context| task.step(context));
    end_in_context(state, task, key, step, outer);
}

/// Ends a step in its task's context, and then makes `outer` the current one.
#[inline(never)]
fn end_in_context(
    state: &LoopState,
    task: &AnyTask,
    key: Key,
    step: Step,
    outer: Option<LoopContext>,
) {
    let header = task.header();
    if !header.state.is_done() {
        return leave_context(state, header, outer);
    }
    let keeps = header.state.is_panicked() && !header.state.is_abandoned();
    // If a panic is never retrieved, the drop of the handle reports it in this context.
    let own = keeps.then(|| state.peek_context()).flatten();
    let former = header.replace_context(own);
    // This is not the last reference, unless the task ends inside another context.
    state.catch_panic("Exception in the destructor of a context", || drop(former));
    end_step(state, task, key, step);
    let own = state.swap_context(outer);
    state.catch_panic("Exception in the destructor of a context", || drop(own));
}

/// Acts on the result of a step.
#[inline(always)]
fn end_step(state: &LoopState, task: &AnyTask, key: Key, step: Step) {
    match step {
        Step::Pending => {}
        Step::Done(waiter) => {
            if waiter != Key::NONE {
                state.schedule(waiter);
            }
            let Some((task, link)) = state.remove_ended(key) else {
                return;
            };
            // This runs no user code: the handle has another reference, or the output needs no drop.
            drop(task);
            if let Some(root) = link.tree() {
                state.tear_down_tree(root);
            }
        }
        Step::DoneOwing => finish(state, task, key),
    }
}

/// Runs the first step of a task that was just queued at once, inside the poll or callback that made it. Afterwards
/// that one is the current one again. The step takes from its budget, as a function call would: so a task that starts
/// eager tasks without end still lets others run.
pub(crate) fn start_eagerly(state: &LoopState, key: Key) {
    let task = state.queues(|queues| {
        if queues.ready.retract(key) {
            queues.tasks.note_unqueued();
        }
        queues.tasks.unschedule(key)
    });
    let Some(task) = task else { return };
    let outer = state.current_task.get();
    if outer == Key::NONE {
        // A callback has no budget to share.
        state.budget.refill();
    }
    let scope = state.scopes.current.replace(NodeKey::NONE);
    let undecided = state.scopes.undecided.get();
    add(&state.counts.eager_steps, 1);
    state.budget.share(|| run_task(state, &task, key));
    state.scopes.current.set(scope);
    state.scopes.undecided.set(undecided);
    if undecided != Key::NONE && undecided == outer {
        // A request in the inner step may have refilled it. The outer poll is still to give nothing.
        state.budget.exhaust();
    }
    state.current_task.set(outer);
}

#[inline(never)]
fn run_root(state: &LoopState, root: &mut dyn Root, generation: u16) {
    if generation != state.root.generation.get() {
        return;
    }
    state.root.scheduled.set(false);
    state.root.recency.set(state.root.recency.get().next_poll());
    let Some(task) = state.root.task.borrow().clone() else {
        return;
    };
    let key = state.root_key();
    add(&state.counts.root_steps, 1);
    state.budget.refill();
    let outer = enter_context(state, task.header());
    let step = observed_step(state, key, &task, |context| root.step(context));
    if step == Step::DoneOwing {
        announce_end(state, task.header());
        report_drop_panic(&task);
        let ended = state.root.task.borrow_mut().take();
        drop(ended);
        // The run ends when the ready queue has got to this entry: the batch in which the root ended is finished.
        state.queues(|queues| queues.ready.push_stop(state.run_number.get()));
    }
    leave_context(state, task.header(), outer);
}

/// Does what an ended task owes to others, in the order that `task/mod.rs` states.
#[inline(never)]
fn finish(state: &LoopState, task: &AnyTask, key: Key) {
    announce_end(state, task.header());
    state.tear_down(key);
    let Some((task, _)) = state.remove_ended(key) else {
        return;
    };
    report_drop_panic(&task);
    if task.header().state.is_abandoned() {
        drop_abandoned(state, task);
    }
}

/// Drops the last reference of a task whose handle was dropped, with a result that can never be read.
#[inline(never)]
fn drop_abandoned(state: &LoopState, task: AnyTask) {
    if let Some(panicked) = task.header().take_panic() {
        if task.header().state.is_taken() {
            drop_quietly(panicked);
        } else {
            // The task's context is the current one, if there is one.
            report_panic_of(&task, NEVER_RETRIEVED, panicked);
        }
    }
    let (serial, location) = (task.header().serial.get(), task.header().location());
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(task))) {
        state.report(ExceptionContext {
            message: "Exception in the destructor of a result that nobody awaited".to_owned(),
            panic: Some(Panicked::new(payload)),
            task: Some(format!("Task-{serial}")),
            location: Some(location),
            ..ExceptionContext::default()
        });
    }
}

/// Wakes the awaiter and queues the done callbacks, in their order.
#[inline]
pub(crate) fn announce_end(state: &LoopState, header: &Header) {
    let waiter = header.take_waiter(state.id);
    if waiter != Key::NONE {
        state.schedule(waiter);
    }
    if header.state.is_scoped() {
        state.await_ended(header.node());
    }
    if let Some((waiter, callbacks)) =
        header.peek_cold(|cold| (cold.waiter.take(), std::mem::take(&mut cold.callbacks)))
    {
        announce_further(state, waiter, callbacks);
    }
}

#[inline(never)]
fn announce_further(
    state: &LoopState,
    waiter: Option<Waker>,
    mut callbacks: Waiters<Box<dyn FnOnce()>>,
) {
    if let Some(waiter) = waiter {
        state.wake(waiter);
    }
    while let Some(queue) = callbacks.take_first() {
        queue();
    }
}
