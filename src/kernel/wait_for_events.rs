//! How long the loop sleeps: phases 2 and 3 of a turn when nothing is ready.
//!
//! The loop sleeps until the poller has an event, until a timer is due, or until the limit of a turn that another loop
//! drives, whichever comes first. It does not sleep if another thread has posted. The hooks of a host are around the
//! sleep alone, so that the host's lock is free exactly then. Before the loop sleeps it gives back memory that a burst
//! has left. How many timers share one wake-up is decided in `wake_time`; how a post ends the sleep, in `inbox`.

use std::io;
use std::time::Duration;

use crate::kernel::callee::Callee;
use crate::kernel::clock::{NEVER, later};
use crate::kernel::enter::{Entry, InContext};
use crate::kernel::io::fd_ops::has_fired;
use crate::kernel::io::reactor::Woken;
use crate::kernel::loop_state::LoopState;
use crate::kernel::observation::{moment_of_sleep, note_sleep};
use crate::kernel::wait_hooks::{HostHooks, WaitEnd, WaitHooks};
use crate::sys::clock::raw_now;

/// How long a turn may wait for events when nothing is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Until an event comes or a timer is due.
    Forever,
    /// At most for this time: on the loop's clock, or in real time while that clock may not jump.
    For(Duration),
}

/// Runs phase 3 without waiting.
pub(crate) fn poll_events_now(state: &LoopState, woken: &mut Vec<Woken>) -> io::Result<()> {
    state.reactor(|reactor| reactor.poll_now(woken))?
}

/// Runs phases 2 and 3 when nothing is ready.
#[inline(never)]
pub(crate) fn wait_for_events(
    state: &LoopState,
    wait: Wait,
    woken: &mut Vec<Woken>,
) -> io::Result<()> {
    state.cells.cut_down();
    state.queues(|queues| queues.tasks.cut_down());
    let limit = match wait {
        Wait::Forever => NEVER,
        Wait::For(limit) => state.clock.after(limit),
    };
    let timer = first_timer(state);
    let mut deadline = timer.min(limit);
    if state.clock.is_virtual() {
        let inhibited = state.is_inhibited();
        poll_events_now(state, woken)?;
        if !woken.is_empty() || state.inbox.has_posts() || has_fired(state) {
            return Ok(());
        }
        if timer <= state.clock.now() {
            // The program has moved the clock to it.
            return Ok(());
        }
        if deadline != NEVER && !inhibited && state.clock.jumps() {
            state.clock.advance_to(deadline);
            return Ok(());
        }
        // There is no deadline to jump to, or the clock must not jump: the loop waits for a real event, in real time.
        deadline = match wait {
            Wait::Forever => NEVER,
            Wait::For(limit) => later(raw_now(), limit),
        };
    }
    // Without a deadline the time is not needed: reading it costs as much as two callbacks.
    let is_past = |deadline| deadline != NEVER && deadline <= raw_now();
    if is_past(deadline) || spin(state, deadline, woken)? || !state.inbox.fall_asleep() {
        return poll_events_now(state, woken);
    }
    if state.post_spin.is_off.get() {
        return sleep_between(state, deadline, woken);
    }
    sleep(state, deadline, woken)
}

/// Returns until when the timers let the loop sleep, after they have given memory back.
#[inline(always)]
fn first_timer(state: &LoopState) -> u64 {
    let slack = state.settings.timer_slack.as_nanos() as u64;
    let slack = if state.clock.is_virtual() { 0 } else { slack };
    let deadline = state.timers(|timers| {
        timers.trim();
        timers.wake_time(slack)
    });
    deadline.unwrap_or(NEVER)
}

/// [`first_timer`] once more. A closure with two callers would be compiled as a call in the one that must be fast.
#[cold]
#[inline(never)]
fn first_timer_after_hook(state: &LoopState) -> u64 {
    let slack = state.settings.timer_slack.as_nanos() as u64;
    let slack = if state.clock.is_virtual() { 0 } else { slack };
    let deadline = state.timers(|timers| timers.wake_time(slack));
    deadline.unwrap_or(NEVER)
}

/// Sleeps. The inbox knows already that the loop sleeps.
#[inline(always)]
fn sleep(state: &LoopState, deadline: u64, woken: &mut Vec<Woken>) -> io::Result<()> {
    // Read after the last poll: a timer descriptor that expired before it was reported then, and does not report again.
    let now = if deadline == NEVER { 0 } else { raw_now() };
    let result = state.reactor(|reactor| reactor.wait(deadline, now, woken));
    state.inbox.awake();
    result?
}

/// Sleeps between the hooks of a host, unless the first of them gives the loop something to do.
#[cold]
#[inline(never)]
fn sleep_between(state: &LoopState, deadline: u64, woken: &mut Vec<Woken>) -> io::Result<()> {
    let Some(host) = state.wait_hooks.borrow().clone() else {
        return sleep(state, deadline, woken);
    };
    call_hook(state, &host, "before_wait", |hooks| hooks.before_wait());
    let mut deadline = deadline;
    let mut has_work = state.queues(|queues| !queues.ready.is_empty()) || state.stopping.get();
    let timer = first_timer_after_hook(state);
    if state.clock.is_virtual() {
        // The hook has armed a timer to which the next turn jumps, or has moved the clock.
        let jumps = timer != NEVER && state.clock.jumps() && !state.is_inhibited();
        has_work |= jumps || timer <= state.clock.now();
    } else {
        deadline = deadline.min(timer);
    }
    let take_interrupted = || state.reactor(|reactor| std::mem::take(&mut reactor.interrupted));
    // Of an earlier wait, or of one that had no hooks around it.
    let _ = take_interrupted();
    let result = if has_work {
        state.inbox.awake();
        poll_events_now(state, woken)
    } else {
        let began = moment_of_sleep(state);
        let result = sleep(state, deadline, woken);
        note_sleep(state, began, moment_of_sleep(state));
        result
    };
    let end = match result {
        Err(_) => WaitEnd::Failed,
        Ok(()) if take_interrupted() == Ok(true) => WaitEnd::Interrupted,
        Ok(()) => WaitEnd::Woken,
    };
    call_hook(state, &host, "after_wait", |hooks| hooks.after_wait(end));
    // It is the last reference if the hooks have replaced themselves.
    state.catch_panic("Exception in the destructor of wait hooks", || drop(host));
    result
}

/// Calls one hook. Its panic is in the report.
fn call_hook(
    state: &LoopState,
    host: &HostHooks,
    method: &'static str,
    call: impl FnOnce(&dyn WaitHooks),
) {
    let entry = Entry {
        state,
        callee: Callee::WaitHook(method),
        location: host.location,
    };
    let _ = entry.run(InContext::Of(&None), || call(&*host.hooks));
}

/// Waits awake for a while, at most until `deadline`: for posts if many came just now, for anything if the builder said
/// so. Returns true if there is something to do.
fn spin(state: &LoopState, deadline: u64, woken: &mut Vec<Woken>) -> io::Result<bool> {
    if state.post_spin.spin(state.inbox, &state.clock, deadline) {
        return Ok(true);
    }
    let time = state.settings.spin;
    if time == Duration::ZERO || state.clock.is_virtual() {
        return Ok(false);
    }
    let until = deadline.min(state.clock.after(time));
    while state.clock.now() < until {
        if state.inbox.has_posts() {
            return Ok(true);
        }
        poll_events_now(state, woken)?;
        if !woken.is_empty() || has_fired(state) {
            return Ok(true);
        }
        std::hint::spin_loop();
    }
    Ok(false)
}
