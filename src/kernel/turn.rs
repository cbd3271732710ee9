//! One turn of the loop. **This is the only place from which work is started**; user code is entered by `kernel/enter`.
//!
//! A turn has six phases, in asyncio's order. The first five make ready what may run; the sixth runs exactly the entries
//! that were ready when it began. What those schedule runs in the next turn: only what is runnable *now*.
//!
//! While work is ready, phases 2 to 5 may be left out, since a look at the system costs as much as thirty callbacks. How
//! long is decided by time and not by count: the clock is read every few entries, and once [`LOOK_EVERY`] has passed the
//! turn looks. Between how many entries the clock is read adapts, from 1 while callbacks are slow to 64 while they are
//! fast, so that neither a chain of `call_soon` pays for looking nor a timer waits behind slow callbacks. A timer that
//! was inserted already due forces a look; `event_interval(1)` looks in every turn, as asyncio does.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use crate::error::Panicked;
use crate::kernel::call_watcher::{call_watcher, survive};
use crate::kernel::cancel::node::NodeKey;
use crate::kernel::clock::NEVER;
use crate::kernel::context::Context as LoopContext;
use crate::kernel::enter::{enter_context, leave_context, plain_step, run_queued, timed_step};
use crate::kernel::handlers::of_task;
use crate::kernel::inline_fn::InlineFn;
use crate::kernel::loop_state::LoopState;
use crate::kernel::queues::{Next, Queues};
use crate::kernel::reactor::Woken;
use crate::kernel::ready::Special;
use crate::kernel::report::{ExceptionContext, drop_quietly};
use crate::kernel::task::cell::{Header, Run, Step};
use crate::kernel::task::handle::NEVER_RETRIEVED;
use crate::kernel::task::key::{Key, ROOT_SLOT};
use crate::kernel::task::root::Root;
use crate::kernel::watch_fd::{has_fired, queue_fired, run_fd_callback};

/// How long the loop may run ready work without a look, in nanoseconds. A look costs 0.3 µs between real work, so this
/// spends about one part in eighty on looking and makes a timer at most that much later.
const LOOK_EVERY: u64 = 25_000;

/// How long the turn may wait for events when nothing is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Until something happens.
    Forever,
    /// Until this time at the latest, on the loop's clock.
    Until(u64),
}

/// THE loop: turns, until one of them was the last.
pub(crate) fn run(state: &LoopState, root: &mut dyn Root) -> io::Result<()> {
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
            return result;
        }
    }
}

/// One turn of a loop that another one drives.
pub(crate) fn guest_turn(state: &LoopState, root: &mut dyn Root, wait: Wait) -> io::Result<()> {
    survive(state, || turn(state, root, wait)).unwrap_or(Ok(()))
}

/// One turn. An error means that the system refused to wait; nothing is lost and the next turn tries again.
#[inline(always)]
fn turn(state: &LoopState, root: &mut dyn Root, wait: Wait) -> io::Result<()> {
    state
        .turn_number
        .set(state.turn_number.get().wrapping_add(1));
    // 1: what other threads sent.
    if state.inbox.has_mail() {
        state.drain_inbox();
    }
    let mut looked = Ok(());
    let mut count = state.queues(|queues| queues.ready.len());
    if count == 0 || must_look(state) {
        // 2 to 5: what the system says, and what is due.
        looked = look(state, wait);
        count = state.queues(|queues| queues.ready.len());
    }
    // 6: what is ready now. The snapshot is a count, so an unwinding loses nothing.
    let left = u64::from(state.looks.left.get()).saturating_sub(count as u64);
    state.looks.left.set(left as u32);
    for _ in 0..count {
        // `None` cannot be: a turn takes from the front only, and nobody else takes at all.
        let Some(entry) = state.queues(Queues::next) else {
            break;
        };
        run_entry(state, root, entry);
    }
    looked
}

/// Whether phases 2 to 5 take place in this turn although work is ready.
#[inline]
fn must_look(state: &LoopState) -> bool {
    state.looks.left.get() == 0 && (state.looks.forced.get() || clock_says_look(state))
}

/// Reads the clock, and decides after how many entries it is read again: twice as many while they took less than a
/// window together, one when they took more.
#[inline(never)]
fn clock_says_look(state: &LoopState) -> bool {
    let looks = &state.looks;
    let most = state.settings.event_interval;
    if most == 1 {
        return true;
    }
    if state.clock.is_virtual() {
        // Time stands still: count alone decides, the same in every run.
        looks.interval.set(most);
        return true;
    }
    let now = state.clock.now();
    let fast = now.saturating_sub(looks.clock_read.replace(now)) < LOOK_EVERY;
    let interval = if fast {
        looks.interval.get().saturating_mul(2).min(most)
    } else {
        1
    };
    looks.interval.set(interval);
    looks.left.set(interval);
    now.saturating_sub(looks.last.get()) >= LOOK_EVERY
}

/// Phases 2 to 5: asks the system what has happened and queues what is due.
#[inline(never)]
fn look(state: &LoopState, wait: Wait) -> io::Result<()> {
    state.looks.count.set(state.looks.count.get() + 1);
    state.looks.forced.set(false);
    state.looks.left.set(state.looks.interval.get());
    if state.is_inherited() {
        return Err(io::Error::other(
            "this process was forked inside the run: the loop is its parent's",
        ));
    }
    let mut woken = state.woken.take();
    let idle = !state.stopping.get() && state.queues(|queues| queues.ready.is_empty());
    let result = if idle {
        wait_for_events(state, wait, &mut woken)
    } else {
        look_only(state, &mut woken)
    };
    if state.inbox.has_mail() {
        state.drain_inbox();
    }
    for woken in woken.drain(..) {
        match woken {
            Woken::Watched(key) => state.queues(|queues| queues.ready.push_source(key)),
            Woken::Waker(waker) => state.wake(waker),
        }
    }
    state.woken.set(woken);
    queue_fired(state);
    queue_due_timers(state);
    result
}

/// Phase 3 without waiting.
fn look_only(state: &LoopState, woken: &mut Vec<Woken>) -> io::Result<()> {
    state.reactor(|reactor| reactor.look(woken))?
}

/// Phase 3 when nothing is ready.
#[inline(never)]
fn wait_for_events(state: &LoopState, wait: Wait, woken: &mut Vec<Woken>) -> io::Result<()> {
    let limit = match wait {
        Wait::Forever => NEVER,
        Wait::Until(limit) => limit,
    };
    let slack = state.settings.timer_slack.as_nanos() as u64;
    let slack = if state.clock.is_virtual() { 0 } else { slack };
    let deadline = state
        .timers(|timers| timers.wake_time(slack))
        .unwrap_or(NEVER);
    let deadline = deadline.min(limit);
    if state.clock.is_virtual() {
        let inhibited = state.is_inhibited();
        look_only(state, woken)?;
        if !woken.is_empty() || state.inbox.has_mail() || has_fired(state) {
            return Ok(());
        }
        if deadline != NEVER && !inhibited {
            state.clock.advance_to(deadline);
            return Ok(());
        }
    }
    // A virtual clock that got here has no deadline to jump to, or may not jump: it waits for what the real world does.
    let deadline = if state.clock.is_virtual() {
        NEVER
    } else {
        deadline
    };
    // Where there is no deadline nobody need know the time: reading it costs as much as two callbacks.
    let is_past = |deadline| deadline != NEVER && deadline <= state.clock.now();
    if is_past(deadline) || spin(state, deadline, woken)? || !state.inbox.fall_asleep() {
        return look_only(state, woken);
    }
    // Read after the last look: an alarm that went off before it has been heard and does not ring again.
    let now = if deadline == NEVER {
        0
    } else {
        state.clock.now()
    };
    let result = state.reactor(|reactor| reactor.wait(deadline, now, woken));
    state.inbox.awake();
    result?
}

/// Polls busily for a while, at most until `deadline`; true when there is something to do.
fn spin(state: &LoopState, deadline: u64, woken: &mut Vec<Woken>) -> io::Result<bool> {
    let time = state.settings.spin;
    if time == Duration::ZERO || state.clock.is_virtual() {
        return Ok(false);
    }
    let until = deadline.min(state.clock.after(time));
    while state.clock.now() < until {
        if state.inbox.has_mail() {
            return Ok(true);
        }
        look_only(state, woken)?;
        if !woken.is_empty() || has_fired(state) {
            return Ok(true);
        }
        std::hint::spin_loop();
    }
    Ok(false)
}

/// Phase 5: due timers, in (deadline, creation) order. One that only wakes a task does so now; a callback's stays in the
/// wheel until its entry runs, so that an earlier callback of the same batch can still cancel it.
fn queue_due_timers(state: &LoopState) {
    let now = state.clock.now();
    state.looks.last.set(now);
    state.looks.clock_read.set(now);
    let mut due = state.due.take();
    state.timers(|timers| timers.expire(now, &mut due));
    for key in due.drain(..) {
        if !state.timers(|timers| timers.wakes(key)) {
            state.queues(|queues| queues.ready.push_timer(key));
        } else if let Some(wake) = state.cancel_timer(key) {
            wake.call();
        }
    }
    state.due.set(due);
}

/// Phase 6, for one entry.
#[inline(always)]
fn run_entry(state: &LoopState, root: &mut dyn Root, entry: Next) {
    match entry {
        Next::Call(callback) => run_queued(state, callback),
        Next::Task(task, key) => {
            state.budget.refill();
            run_task(state, task, key);
        }
        Next::Other(token) => run_special(state, root, token.special()),
        Next::Gone => {}
    }
}

/// The entries that are neither callbacks nor tasks.
#[inline(never)]
fn run_special(state: &LoopState, root: &mut dyn Root, entry: Special) {
    match entry {
        Special::Timer(key) => {
            let due = state.timers(|timers| InlineFn::take(timers.take_due(key)?));
            if let Some(callback) = due {
                run_queued(state, || callback.call());
            }
        }
        Special::Posted => {
            if let Some(posted) = state.inbox.take_next() {
                run_queued(state, || posted.call());
            }
        }
        Special::Fd(key) => run_fd_callback(state, key),
        Special::Root(generation) => run_root(state, root, generation),
        Special::Stop(run) if run == state.run_number.get() => state.stopping.set(true),
        Special::Source(key) => {
            run_queued(state, || call_watcher(state, key));
        }
        // The end of a run that was stopped early, or a cancelled callback.
        Special::Stop(_) | Special::Hole => {}
    }
}

#[inline(always)]
fn run_task(state: &LoopState, task: Rc<dyn Run>, key: Key) {
    if state.careful.get() {
        return run_in_context(state, task, key);
    }
    let step = plain_step(state, key, |context| task.step(context));
    if state.careful.get() {
        // This step was the first to need a context.
        return end_in_context(state, task, key, step, None);
    }
    end_step(state, task, key, step);
}

/// `run_task` where there are contexts: the step, and all that its end runs and reports, see the task's own.
#[inline(never)]
fn run_in_context(state: &LoopState, task: Rc<dyn Run>, key: Key) {
    let outer = enter_context(state, task.header());
    let step = timed_step(state, key, &*task, |context| task.step(context));
    end_in_context(state, task, key, step, outer);
}

/// The end of a step in its task's context; then `outer` is the current one again.
#[inline(never)]
fn end_in_context(
    state: &LoopState,
    task: Rc<dyn Run>,
    key: Key,
    step: Step,
    outer: Option<LoopContext>,
) {
    let header = task.header();
    if !header.state.is_done() {
        return leave_context(state, header, outer);
    }
    if header.state.is_panicked() && !header.state.is_abandoned() {
        // If nobody retrieves the panic, the drop of the handle reports it, in this context.
        if let Some(own) = state.peek_context() {
            header.with_extra(|extra| extra.context = Some(own));
        }
    }
    end_step(state, task, key, step);
    let own = state.swap_context(outer);
    state.shielded("Exception in the destructor of a context", || drop(own));
}

/// What a step leads to.
#[inline(always)]
fn end_step(state: &LoopState, task: Rc<dyn Run>, key: Key, step: Step) {
    match step {
        Step::Pending | Step::Refused => {}
        Step::Done(waiter) => {
            if waiter.slot() == ROOT_SLOT {
                state.schedule(waiter);
            }
            // The slab's reference is not the last one: `task` is here and the handle has another.
            let removed = state.queues(|queues| {
                if waiter != Key::NONE {
                    queues.schedule(waiter);
                }
                queues.tasks.remove(key)
            });
            if let Some(root) = removed.and_then(|(_, link)| link.tree()) {
                state.fell_tree(root);
            }
        }
        Step::DoneOwing => finish(state, key, task),
    }
}

/// The first step of a task that was just queued, here and now: inside the poll or callback that made it, which is then
/// the current one again. What it does takes from that one's budget, as if a function had been called: a task that starts
/// eager tasks without end lets others run, too.
pub(crate) fn start_eagerly(state: &LoopState, key: Key) {
    let task = state.queues(|queues| {
        queues.ready.retract(key);
        queues.tasks.unschedule(key)
    });
    let Some(task) = task else { return };
    let outer = state.current_task.get();
    if outer == Key::NONE {
        // A callback has no budget that could be shared.
        state.budget.refill();
    }
    let scope = state.scopes.current.replace(NodeKey::NONE);
    let undecided = state.scopes.undecided.get();
    state.budget.share(|| run_task(state, task, key));
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
    state.budget.refill();
    let outer = enter_context(state, task.header());
    let step = timed_step(state, key, &*task, |context| root.step(context));
    if step == Step::DoneOwing {
        announce_end(state, task.header());
        state.report_mishap(&*task);
        let ended = state.root.task.borrow_mut().take();
        drop(ended);
        // The run ends when the line has moved up to here: the batch it ends in is finished.
        state.queues(|queues| queues.ready.push_stop(state.run_number.get()));
    }
    leave_context(state, task.header(), outer);
}

/// What a task that has ended owes to others; the order is in `task/mod.rs`.
#[inline(never)]
fn finish(state: &LoopState, key: Key, task: Rc<dyn Run>) {
    let header = task.header();
    announce_end(state, header);
    state.fell(key);
    let removed = state.queues(|queues| queues.tasks.remove(key));
    drop(removed);
    state.report_mishap(&*task);
    if header.state.is_abandoned() {
        drop_abandoned(state, task);
    }
}

/// The last reference of a task whose handle is gone: its result, which nobody can read, goes with it.
#[inline(never)]
fn drop_abandoned(state: &LoopState, task: Rc<dyn Run>) {
    if let Some(panicked) = task.take_panic() {
        if task.header().state.is_taken() {
            drop_quietly(panicked);
        } else {
            // In the task's context, where there are contexts: it is the current one.
            state.report(of_task(task.header(), NEVER_RETRIEVED, panicked));
        }
    }
    let (serial, location) = (task.header().serial.get(), task.header().location());
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(task))) {
        state.report(ExceptionContext {
            message: "Exception in the destructor of a result that nobody awaited".to_owned(),
            panic: Some(Panicked::new(payload)),
            exception: None,
            task: Some(format!("Task-{serial}")),
            location: Some(location),
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
        header.peek_extra(|extra| (extra.waiter.take(), std::mem::take(&mut extra.callbacks)))
    {
        announce_further(state, waiter, callbacks);
    }
}

#[inline(never)]
fn announce_further(
    state: &LoopState,
    waiter: Option<Waker>,
    callbacks: Vec<(u64, Box<dyn FnOnce()>)>,
) {
    if let Some(waiter) = waiter {
        state.wake(waiter);
    }
    for (_, queue) in callbacks {
        queue();
    }
}
