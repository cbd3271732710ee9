//! THE place in which entries into user code are measured and traced. Who wants to be told of the beginning and the end
//! of each call and each step has a bit in [`Observers`], and its part in [`begin`] and [`end`].
//!
//! `kernel/enter` calls both on the instrumented path only: around every call in one place, and around every step of a
//! task in another. They name the callee, with its kind, and the place where it was created. Neither runs user code but
//! a tracing subscriber's, whose panic is ignored. Entries nest: a protocol is called inside the entry of its source,
//! and a task that is started eagerly inside a step. So what `begin` has to remember is in the [`Begun`] that it
//! returns, and not in the loop.
//!
//! Runs and polls for events have a beginning and an end too, which `turn` tells. A loop that has an observer is
//! instrumented. Callbacks that were queued before that are not observed.

use std::panic::Location;
use std::time::Duration;

use crate::kernel::callee::Callee;
use crate::kernel::events::{late_wake_up, slow_call, slow_poll, slow_step};
use crate::kernel::inspected::{BegunNotes, begin_notes, end_notes};
use crate::kernel::loop_state::{LoopState, Phase};
use crate::kernel::meters::Numbers;
use crate::kernel::observers::Observers;
use crate::kernel::spans::Spans;
use crate::kernel::task::header::Header;
use crate::kernel::task::key::Key;
use crate::sys::ticks::Ticks;

/// Where the code that is called was created.
type Place = &'static Location<'static>;

/// No poll that takes less is slow, and no wake-up that is less late is late, whatever the threshold of calls is: the system's part of it is up to a millisecond
/// where other programs are busy.
const SLOW_POLL: Duration = Duration::from_millis(1);

/// What the end needs of the beginning.
pub(crate) struct Begun {
    /// When it began, in ticks; 0 if nobody measures.
    at: u64,
    /// The notes of the entry, if the loop is inspected.
    notes: Option<BegunNotes>,
}

impl LoopState {
    fn numbers(&self) -> Numbers {
        self.queues(|queues| queues.ready.numbers())
    }

    /// Returns when something begins that only [`Observers::SLOW`] measures.
    fn now_if_slow_counts(&self) -> u64 {
        if self.observers.has(Observers::SLOW) {
            self.ticks().now()
        } else {
            0
        }
    }

    /// The rate of the ticks is measured when they are needed first.
    fn ticks(&self) -> Ticks {
        *self.ticks.get_or_init(Ticks::new)
    }

    /// Returns the nanoseconds since a time.
    fn nanos_since(&self, began: u64) -> u64 {
        self.ticks().span(began, self.ticks().now())
    }

    /// Returns how long something took that is slow at this threshold; `None` if it is not, or nobody asks.
    #[inline]
    fn is_slow(&self, nanos: u64, threshold: Duration) -> Option<Duration> {
        let took = Duration::from_nanos(nanos);
        (took >= threshold && self.observers.has(Observers::SLOW)).then_some(took)
    }
}

/// Tells the observers that user code is about to be entered. `None` if there is none.
#[inline(always)]
pub(crate) fn begin(state: &LoopState, callee: Callee<'_>, place: Place) -> Option<Begun> {
    if state.observers.is_empty() {
        return None;
    }
    Some(begin_observed(state, callee, place))
}

fn begin_observed(state: &LoopState, callee: Callee<'_>, place: Place) -> Begun {
    if let Some(spans) = &state.spans {
        begin_span(state, spans, callee, place);
    }
    let at = match &state.meters {
        // The threshold is for one call, and not for what the loop did before it.
        Some(meters) => {
            let exact = state.observers.has(Observers::SLOW);
            meters.begin(callee.kind(), exact, state.numbers())
        }
        None => state.now_if_slow_counts(),
    };
    Begun {
        at,
        notes: begin_notes(state, callee, place),
    }
}

/// Tells the observers that user code was left, by returning or by a panic that was caught.
#[inline(always)]
pub(crate) fn end(state: &LoopState, begun: Option<Begun>, callee: Callee<'_>, place: Place) {
    if let Some(begun) = begun {
        end_observed(state, begun, callee, place);
    }
}

fn end_observed(state: &LoopState, begun: Begun, callee: Callee<'_>, place: Place) {
    measure(state, &begun, callee, place);
    if let Some(notes) = begun.notes {
        end_notes(state, notes, callee);
    }
    if let Some(spans) = &state.spans {
        end_span(state, spans, callee);
    }
}

/// Tells the observers that measure how long a call or a step took.
fn measure(state: &LoopState, begun: &Begun, callee: Callee<'_>, place: Place) {
    let nanos = match &state.meters {
        Some(meters) => meters.end(callee.kind(), begun.at, state.numbers()),
        None if begun.at == 0 => return,
        None => state.nanos_since(begun.at),
    };
    let Some(took) = state.is_slow(nanos, state.slow_callback_duration.get()) else {
        return;
    };
    match callee {
        Callee::Step(header) => slow_step(&header.name(), place, took),
        _ => slow_call(callee.name(), place, took),
    }
}

/// Tells the observers that a run begins, or a turn that another loop drives.
pub(crate) fn begin_run(state: &LoopState) {
    if let Some(meters) = &state.meters {
        meters.begin_run(state.numbers());
    }
}

/// Tells the observers that it has ended.
pub(crate) fn end_run(state: &LoopState) {
    if let Some(meters) = &state.meters {
        meters.end_run();
    }
    if state.spans.is_some() {
        end_spans_of_run(state);
    }
}

#[cold]
#[inline(never)]
fn end_spans_of_run(state: &LoopState) {
    if let Some(spans) = &state.spans {
        trace_queued(state, spans);
        spans.end_turn();
    }
}

/// Tells the observers that the future of `run_until_complete` was dropped before its end, after the run. A loop that
/// shuffles has a run for each turn, so the end of a run does not say that.
pub(crate) fn abandon_root(state: &LoopState, header: &Header) {
    if let Some(inspection) = &state.inspection {
        inspection.forget(header.serial.get());
    }
    if let Some(spans) = &state.spans {
        spans.close(state.root_key());
    }
}

/// Tells the observers that a task was ended, because the loop closes.
pub(crate) fn end_task(state: &LoopState, key: Key) {
    if let Some(spans) = &state.spans {
        spans.close(key);
    }
}

/// Tells the observers that a task has another name.
pub(crate) fn rename_span(state: &LoopState, header: &Header) {
    if let Some(spans) = &state.spans {
        spans.rename(state.key_of(header), header);
    }
}

/// Tells the observers that all tasks were ended, because the loop closes.
pub(crate) fn end_tasks(state: &LoopState) {
    if let Some(spans) = &state.spans {
        spans.close_all();
    }
}

/// Tells the observers that a poll for events begins. `false` if there is none; then its end need not be told.
#[inline(always)]
pub(crate) fn begin_poll(state: &LoopState) -> bool {
    let is_observed = !state.observers.is_empty();
    if is_observed {
        begin_observed_poll(state);
    }
    is_observed
}

#[inline(never)]
fn begin_observed_poll(state: &LoopState) {
    if let Some(spans) = &state.spans {
        begin_turn(state, spans);
        trace_queued(state, spans);
        spans.begin_poll();
        // The turn asks the same. It does not pass the answer on, since that would cost polls without spans.
        if state.ready_count() == 0 && !state.stopping.get() {
            spans.begin_wait();
        }
    }
    let at = match &state.meters {
        Some(meters) => meters.begin_poll(),
        None => state.now_if_slow_counts(),
    };
    state.observers.poll.set((at, at));
}

/// Tells the observers that the loop has slept in its poll until now, which is nobody's fault.
#[cold]
#[inline(never)]
pub(crate) fn end_sleep(state: &LoopState) {
    if let Some(spans) = &state.spans {
        spans.leave();
    }
    let now = match &state.meters {
        Some(meters) => meters.now(),
        None => state.now_if_slow_counts(),
    };
    let (at, _) = state.observers.poll.get();
    state.observers.poll.set((at, now));
    if at != 0 && now != 0 {
        measure_lateness(state, at, now);
    }
}

/// Returns when a sleep between the hooks of a host begins or ends. What the hooks take is not the sleep's.
pub(crate) fn moment_of_sleep(state: &LoopState) -> u64 {
    state.now_if_slow_counts()
}

/// Notes such a sleep, for the end of the wait.
pub(crate) fn note_sleep(state: &LoopState, began: u64, ended: u64) {
    state.observers.sleep.set((began, ended));
}

/// Tells the observers if the loop has slept past its earliest timer: the system has stopped the process, or has let others
/// run. A timer that was due when the sleep began is late because of what ran before, which is measured by itself.
fn measure_lateness(state: &LoopState, began: u64, ended: u64) {
    let (began, ended) = match state.observers.sleep.take() {
        (0, _) | (_, 0) => (began, ended),
        between_hooks => between_hooks,
    };
    if state.clock.is_virtual() || !state.observers.has(Observers::SLOW) {
        return;
    }
    let slack = state.settings.timer_slack.as_nanos() as u64;
    let Some(deadline) = state.timers(|timers| timers.wake_time(slack)) else {
        return;
    };
    let woken = state.clock.now().saturating_sub(state.nanos_since(ended));
    let slept_from = woken.saturating_sub(state.ticks().span(began, ended));
    if deadline <= slept_from {
        return;
    }
    let threshold = state.slow_callback_duration.get().max(SLOW_POLL);
    let late = state.is_slow(woken.saturating_sub(deadline), threshold);
    if let Some(late) = late {
        late_wake_up(late);
    }
}

/// Tells the observers that a poll for events has ended, and whom it woke was queued.
#[cold]
#[inline(never)]
pub(crate) fn end_poll(state: &LoopState) {
    measure_poll(state);
    if let Some(spans) = &state.spans {
        trace_queued(state, spans);
        spans.leave();
    }
}

/// Tells the observers that measure how long a poll took.
fn measure_poll(state: &LoopState) {
    let (at, slow_from) = state.observers.poll.get();
    let nanos = match &state.meters {
        Some(meters) => meters.span(slow_from, meters.end_poll(at, state.numbers())),
        // What has switched that on and off meanwhile is a waker or a hook.
        None if slow_from == 0 => return,
        None => state.nanos_since(slow_from),
    };
    let threshold = state.slow_callback_duration.get().max(SLOW_POLL);
    if let Some(took) = state.is_slow(nanos, threshold) {
        slow_poll(took);
    }
}

/// Enters the span of this turn, if it is not entered. A turn has no beginning that is told, so that turns cost nothing
/// without observers: it begins with its first poll or call, and ends where the next begins, or with the run.
fn begin_turn(state: &LoopState, spans: &Spans) {
    if state.phase.get() == Phase::Running {
        spans.begin_turn(state.turn_number.get());
    }
}

/// Enters the span of a call or a step.
fn begin_span(state: &LoopState, spans: &Spans, callee: Callee<'_>, place: Place) {
    begin_turn(state, spans);
    let is_unseen = trace_queued(state, spans);
    match callee {
        Callee::Step(header) => {
            let key = state.key_of(header);
            if is_unseen {
                // The crate's own code has queued it in the turn before, and the turn has just popped it.
                trace_wake(spans, key, header);
            }
            spans.begin_step(key, header);
        }
        _ => spans.begin_call(callee.kind().name(), callee.name(), place),
    }
}

/// Leaves the span of a call or a step. What the call has woken is told inside the span.
fn end_span(state: &LoopState, spans: &Spans, callee: Callee<'_>) {
    trace_queued(state, spans);
    let Callee::Step(header) = callee else {
        spans.leave();
        return;
    };
    let (key, is_done) = (state.key_of(header), header.state.is_done());
    if !is_done {
        spans.waits(key);
    }
    spans.leave();
    if is_done {
        spans.close(key);
    }
}

/// Tells of the tasks that were queued since this was last called: each is new, or was woken. So wakes are told, no matter who
/// makes them, and neither wakers nor the ready queue know of it. Returns whether the entry that runs was not looked at.
fn trace_queued(state: &LoopState, spans: &Spans) -> bool {
    let mut keys = spans.lend();
    let is_unseen = state.queues(|queues| {
        let Numbers { front, next } = queues.ready.numbers();
        let first = spans.look(next);
        for number in first.max(front)..next {
            keys.extend(queues.ready.task_numbered(number, state.root_key()));
        }
        first < front
    });
    for &key in &keys {
        if let Some(task) = state.task(key) {
            trace_wake(spans, key, task.header());
        }
    }
    spans.give_back(keys);
    is_unseen
}

/// Tells that a task was woken, or that it is new.
fn trace_wake(spans: &Spans, key: Key, header: &Header) {
    if spans.has(key) {
        spans.woken(key);
    } else {
        spans.open(key, header);
    }
}
