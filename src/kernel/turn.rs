//! One turn of the loop. **This is the only place from which user code is entered.**
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
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use crate::error::Panicked;
use crate::kernel::callback::warn_slow;
use crate::kernel::clock::NEVER;
use crate::kernel::loop_state::{BUDGET, LoopState, TimerPayload};
use crate::kernel::ready::Ready;
use crate::kernel::report::ExceptionContext;
use crate::kernel::task::cell::{Header, Mishap, Run, Step};
use crate::kernel::task::handle::{never_retrieved, wake_waiter};
use crate::kernel::task::key::Key;
use crate::kernel::task::root::Root;
use crate::kernel::task::waker::{key_of, wake_key, waker};
use crate::kernel::timers::TimerKey;

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

/// One turn. An error means that the system refused to wait; nothing is lost and the next turn tries again.
pub(crate) fn turn(state: &LoopState, root: &mut dyn Root, wait: Wait) -> io::Result<()> {
    state
        .turn_number
        .set(state.turn_number.get().wrapping_add(1));
    if state.inbox.has_mail() {
        state.drain_inbox();
    }
    let looked = if must_look(state) {
        look(state, wait)
    } else {
        Ok(())
    };
    run_ready(state, root);
    looked
}

/// Whether phases 2 to 5 take place in this turn.
#[inline]
fn must_look(state: &LoopState) -> bool {
    let looks = &state.looks;
    if looks.forced.get() || state.queues(|queues| queues.ready.is_empty()) {
        return true;
    }
    looks.entries.get() >= looks.interval.get() && clock_says_look(state)
}

/// Reads the clock, and decides after how many entries it is read again: twice as many while they took less than a
/// window together, one when they took more.
fn clock_says_look(state: &LoopState) -> bool {
    let looks = &state.looks;
    looks.entries.set(0);
    if state.settings.event_interval == 1 {
        return true;
    }
    if state.clock.is_virtual() {
        // Time stands still: count alone decides, the same in every run.
        looks.interval.set(state.settings.event_interval);
        return true;
    }
    let now = state.clock.now();
    let fast = now.saturating_sub(looks.clock_read.replace(now)) < LOOK_EVERY;
    let interval = if fast {
        looks.interval.get().saturating_mul(2)
    } else {
        1
    };
    looks
        .interval
        .set(interval.min(state.settings.event_interval));
    now.saturating_sub(looks.last.get()) >= LOOK_EVERY
}

/// Phases 2 to 5: asks the system what has happened and queues what is due.
fn look(state: &LoopState, wait: Wait) -> io::Result<()> {
    state.looks.count.set(state.looks.count.get() + 1);
    state.looks.forced.set(false);
    state.looks.entries.set(0);
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
    for waker in woken.drain(..) {
        match key_of(&waker) {
            Some(key) => wake_key(key),
            None => state.shielded("Exception in a waker", || waker.wake()),
        }
    }
    state.woken.set(woken);
    queue_due_timers(state);
    result
}

/// Phase 3 without waiting.
fn look_only(state: &LoopState, woken: &mut Vec<Waker>) -> io::Result<()> {
    state.reactor(|reactor| reactor.look(woken))?
}

/// Phase 3 when nothing is ready.
#[inline(never)]
fn wait_for_events(state: &LoopState, wait: Wait, woken: &mut Vec<Waker>) -> io::Result<()> {
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
        look_only(state, woken)?;
        if !woken.is_empty() || state.inbox.has_mail() {
            return Ok(());
        }
        if deadline != NEVER && state.inhibited.get() == 0 {
            state.clock.advance_to(deadline);
            return Ok(());
        }
    }
    let now = state.clock.now();
    if deadline <= now
        || spin(
            state,
            deadline.min(now.saturating_add(spin_time(state))),
            woken,
        )?
    {
        return look_only(state, woken);
    }
    let deadline = if state.clock.is_virtual() {
        NEVER
    } else {
        deadline
    };
    if !state.inbox.fall_asleep() {
        return look_only(state, woken);
    }
    let result = state.reactor(|reactor| reactor.wait(deadline, now, woken));
    state.inbox.awake();
    result?
}

fn spin_time(state: &LoopState) -> u64 {
    u64::try_from(state.settings.spin.as_nanos()).unwrap_or(NEVER)
}

/// Polls busily until `until`; true when there is something to do.
fn spin(state: &LoopState, until: u64, woken: &mut Vec<Waker>) -> io::Result<bool> {
    if state.settings.spin == Duration::ZERO {
        return Ok(false);
    }
    while state.clock.now() < until {
        if state.inbox.has_mail() {
            return Ok(true);
        }
        look_only(state, woken)?;
        if !woken.is_empty() {
            return Ok(true);
        }
        std::hint::spin_loop();
    }
    Ok(false)
}

/// Phase 5: due timers, in (deadline, creation) order. A sleeper is woken; a callback's timer stays armed-and-due until
/// its entry runs, so that an earlier callback of the same batch can still cancel it.
fn queue_due_timers(state: &LoopState) {
    let now = state.clock.now();
    state.looks.last.set(now);
    state.looks.clock_read.set(now);
    let mut due = state.due.take();
    state.timers(|timers| timers.expire(now, &mut due));
    for key in due.drain(..) {
        match take_wake(state, key) {
            Some(task) => wake_key(task),
            None => state.queues(|queues| queues.ready.push_timer(key)),
        }
    }
    state.due.set(due);
}

fn take_wake(state: &LoopState, key: TimerKey) -> Option<Key> {
    state.timers(|timers| {
        let &mut TimerPayload::Wake(task) = timers.payload_mut(key)? else {
            return None;
        };
        timers.cancel(key);
        Some(task)
    })
}

/// Phase 6: runs what is ready now. The snapshot is a count, so an unwinding loses nothing.
#[inline]
fn run_ready(state: &LoopState, root: &mut dyn Root) {
    let count = state.queues(|queues| queues.ready.len());
    state
        .looks
        .entries
        .set(state.looks.entries.get().saturating_add(count as u32));
    for _ in 0..count {
        // `None` cannot be: a turn takes from the front only, and nobody else takes at all.
        let Some(entry) = state.pop() else { break };
        match entry {
            Ready::Call(callback) => callback(),
            Ready::Task(slot, generation) => run_task(state, slot, generation),
            Ready::Timer(key) => run_timer(state, key),
            Ready::Posted => {
                if let Some(posted) = state.inbox.take_next() {
                    posted.call();
                }
            }
            Ready::Root(generation) => run_root(state, root, generation),
            Ready::Stop(run) if run == state.run_number.get() => state.stopping.set(true),
            Ready::Stop(_) | Ready::Hole => {}
        }
    }
}

fn run_timer(state: &LoopState, key: TimerKey) {
    if let Some(TimerPayload::Call(callback)) = state.timers(|timers| timers.take_due(key)) {
        callback.call();
    }
}

#[inline]
fn run_task(state: &LoopState, slot: u32, generation: u16) {
    let Some(task) = state.queues(|queues| queues.tasks.unschedule(slot, generation)) else {
        return;
    };
    let key = Key::new(state.id, generation, slot);
    let step = if state.debug.get() {
        timed_step(state, key, &*task, |context| task.step(context))
    } else {
        one_step(state, key, |context| task.step(context))
    };
    if let Step::Done(mishap) = step {
        finish(state, key, task, mishap);
    }
}

fn run_root(state: &LoopState, root: &mut dyn Root, generation: u16) {
    if generation != state.root.generation.get() {
        return;
    }
    state.root.scheduled.set(false);
    let Some(task) = state.root.task.borrow().clone() else {
        return;
    };
    let key = state.root_key();
    let step = if state.debug.get() {
        timed_step(state, key, &*task, |context| root.step(context))
    } else {
        one_step(state, key, |context| root.step(context))
    };
    if let Step::Done(mishap) = step {
        announce_end(state, task.header());
        state.report_mishap(mishap, &*task);
        let ended = state.root.task.borrow_mut().take();
        drop(ended);
        // The run ends when the line has moved up to here: the batch it ends in is finished.
        state.queues(|queues| queues.ready.push_stop(state.run_number.get()));
    }
}

/// Enters user code as the task of `key`.
#[inline]
fn one_step(state: &LoopState, key: Key, step: impl FnOnce(&mut Context<'_>) -> Step) -> Step {
    state.current_task.set(key);
    state.budget.set(BUDGET);
    let waker = waker(key);
    let step = step(&mut Context::from_waker(&waker));
    state.current_task.set(Key::NONE);
    step
}

/// Debug mode's `one_step`: warns of a step that takes long.
fn timed_step(
    state: &LoopState,
    key: Key,
    task: &dyn Run,
    step: impl FnOnce(&mut Context<'_>) -> Step,
) -> Step {
    let start = Instant::now();
    let step = one_step(state, key, step);
    let took = start.elapsed();
    if took >= state.slow_callback_duration.get() {
        warn_slow("step of a task", task.header().location, took);
    }
    step
}

/// What a task that has ended owes to others; the order is in `task/mod.rs`.
fn finish(state: &LoopState, key: Key, task: Rc<dyn Run>, mishap: Mishap) {
    announce_end(state, task.header());
    let removed = state.queues(|queues| queues.tasks.remove(key));
    drop(removed);
    state.report_mishap(mishap, &*task);
    if !task.header().state.is_abandoned() {
        return;
    }
    if let Some(panicked) = task.take_panic() {
        state.report(&never_retrieved(task.header(), panicked));
    }
    let (name, location) = (task.header().serial, task.header().location);
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(task))) {
        state.report(&ExceptionContext {
            message: "Exception in the destructor of a result that nobody awaited".to_owned(),
            panic: Some(Panicked::new(payload)),
            exception: None,
            task: Some(format!("Task-{name}")),
            location: Some(location),
        });
    }
}

/// Wakes the awaiter and queues the done callbacks, in their order.
#[inline]
pub(crate) fn announce_end(state: &LoopState, header: &Header) {
    wake_waiter(header);
    let owed =
        header.peek_extra(|extra| (extra.waiter.take(), std::mem::take(&mut extra.callbacks)));
    let Some((waiter, callbacks)) = owed else {
        return;
    };
    if let Some(waiter) = waiter {
        state.shielded("Exception in a waker", || waker_wake(waiter));
    }
    for (_, queue) in callbacks {
        queue();
    }
}

fn waker_wake(waker: Waker) {
    waker.wake();
}
