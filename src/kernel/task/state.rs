//! The states of one task and the transitions between them.
//!
//! Flags in half a word. Callers match the enums that the transitions
//! return and never mask bits themselves.

use std::cell::Cell;

use crate::kernel::task::key::Key;

/// The future is being polled or dropped, or its stage is being replaced. Set by `begin` and `begin_kill`, cleared by
/// `pause` and `finish`. While it is set nobody else may touch the stage: that is what the cell's aliasing stands on.
const RUNNING: u16 = 1;
/// The stage holds the output, or held it. Set by `finish`, never cleared.
const DONE: u16 = 1 << 1;
/// A cancellation request waits to be delivered. Set by `request_cancel`, cleared by `take_request`.
const REQUESTED: u16 = 1 << 2;
/// A node of the task's tree has to act, or the task itself is to fall. Set by `note_in_flight`, cleared by
/// `note_out_of_flight`. Polls test it together with `REQUESTED`.
const IN_FLIGHT: u16 = 1 << 3;
/// The task ended as cancelled. Set by `finish_cancelled`, with `DONE`.
const CANCELLED: u16 = 1 << 4;
/// Nobody can read the output any more: the handle is gone. Set by `abandon`, never cleared.
const ABANDONED: u16 = 1 << 5;
/// The output was moved out. Set by `note_taken`, after `DONE`.
const TAKEN: u16 = 1 << 6;
/// The future panicked. Set by `finish_panicked`, with `DONE`.
const PANICKED: u16 = 1 << 7;

/// The header has had an extra: name, context, callbacks, a foreign awaiter. Set by `note_cold`, never cleared.
const COLD: u16 = 1 << 8;
/// The await of this task is a node, whose key the extra has. Set and cleared by `note_scoped`.
const SCOPED: u16 = 1 << 9;
/// Whoever waits does so from behind a shield, which a cancellation does not follow. Set and cleared by `note_shielded`.
const SHIELDED: u16 = 1 << 10;

/// What a poll must do.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begin {
    /// Poll the future.
    Poll,
    /// A request is to be delivered before the future is polled.
    Deliver,
    /// The task runs already, further down this stack, or has ended.
    Refused,
}

/// What a step came to. It fits two registers.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// The future waits.
    Pending,
    /// The task has ended in this step, and owes a wake to this task or to none: no foreign waker, no callbacks, no
    /// drop_panic, and a handle that will see to the output.
    Done(Key),
    /// The task has ended in this step; what it owes stands in its header.
    DoneOwing,
    /// Nothing was touched: the task runs further down this stack, or has ended before.
    Refused,
}

/// What the poll of a task's handle has to do.
pub(crate) enum Awaited {
    /// Give the output.
    Take,
    /// Wait.
    Wait,
    /// Look once more: user code ran.
    Again,
    /// Refuse a task of another loop.
    OtherLoop,
    /// Refuse a task that awaits its own handle.
    ItSelf,
}

/// The flags of one task.
pub(crate) struct State(Cell<u16>);

impl State {
    pub(crate) fn new() -> Self {
        Self(Cell::new(0))
    }

    fn has(&self, bits: u16) -> bool {
        self.0.get() & bits != 0
    }

    fn set(&self, bits: u16) {
        self.0.set(self.0.get() | bits);
    }

    fn clear(&self, bits: u16) {
        self.0.set(self.0.get() & !bits);
    }

    /// Idle → running, for a poll. One test decides the common case.
    #[inline]
    pub(crate) fn begin(&self) -> Begin {
        let bits = self.0.get();
        if bits & (RUNNING | DONE | REQUESTED | IN_FLIGHT) == 0 {
            self.0.set(bits | RUNNING);
            return Begin::Poll;
        }
        if bits & (RUNNING | DONE) != 0 {
            return Begin::Refused;
        }
        self.0.set(bits | RUNNING);
        Begin::Deliver
    }

    /// Idle → running, for the end without a poll; `false` where the task runs already or has ended.
    #[must_use]
    pub(crate) fn begin_kill(&self) -> bool {
        if self.has(RUNNING | DONE) {
            return false;
        }
        self.set(RUNNING);
        true
    }

    /// Running → idle: the poll was pending. `false` leaves everything as it is: a request is under way, which the end of
    /// a poll is part of.
    #[inline]
    #[must_use]
    pub(crate) fn pause(&self) -> bool {
        let bits = self.0.get();
        if bits & IN_FLIGHT != 0 {
            return false;
        }
        self.0.set(bits & !RUNNING);
        true
    }

    /// Running → idle, once a request under way has been looked after.
    pub(crate) fn pause_in_flight(&self) {
        self.clear(RUNNING);
    }

    /// Running → done, if nothing is to be looked after: no request, no extra, and a handle that is still there. One
    /// test decides the common case; `false` leaves everything as it is.
    #[inline]
    #[must_use]
    pub(crate) fn finish_plainly(&self) -> bool {
        let bits = self.0.get();
        if bits & (REQUESTED | ABANDONED | COLD) != 0 {
            return false;
        }
        self.0.set(bits & !RUNNING | DONE);
        true
    }

    /// The header has an extra.
    pub(crate) fn note_cold(&self) {
        self.set(COLD);
    }

    /// Running → done.
    pub(crate) fn finish(&self) {
        self.0
            .set(self.0.get() & !(RUNNING | REQUESTED | IN_FLIGHT) | DONE);
    }

    /// Running → done, as cancelled.
    pub(crate) fn finish_cancelled(&self) {
        self.set(CANCELLED);
        self.finish();
    }

    /// Running → done, by a panic of the future.
    pub(crate) fn finish_panicked(&self) {
        self.set(PANICKED);
        self.finish();
    }

    /// Notes a request; `false` where the task has ended.
    #[must_use]
    pub(crate) fn request_cancel(&self) -> bool {
        let bits = self.0.get();
        if bits & DONE != 0 {
            return false;
        }
        self.0.set(bits | REQUESTED);
        true
    }

    /// Whether a request waits to be delivered.
    #[inline]
    pub(crate) fn is_requested(&self) -> bool {
        self.has(REQUESTED)
    }

    /// Takes the request that waits to be delivered; `false` where there is none.
    #[must_use]
    pub(crate) fn take_request(&self) -> bool {
        let requested = self.has(REQUESTED);
        self.clear(REQUESTED);
        requested
    }

    /// A node of the task's tree has to act.
    pub(crate) fn note_in_flight(&self) {
        self.set(IN_FLIGHT);
    }

    /// No node of the task's tree has to act any more.
    pub(crate) fn note_out_of_flight(&self) {
        self.clear(IN_FLIGHT);
    }

    /// Whether the await of this task is a node.
    pub(crate) fn note_scoped(&self, scoped: bool) {
        self.clear(SCOPED);
        self.set(if scoped { SCOPED } else { 0 });
    }

    pub(crate) fn is_scoped(&self) -> bool {
        self.has(SCOPED)
    }

    /// Whether a cancellation of whoever waits stops short of this task.
    pub(crate) fn note_shielded(&self, catch_panic: bool) {
        self.clear(SHIELDED);
        self.set(if catch_panic { SHIELDED } else { 0 });
    }

    /// Whether the task has ended and its await is no node: the result can be taken as it is.
    #[inline]
    pub(crate) fn is_plainly_done(&self) -> bool {
        self.0.get() & (DONE | SCOPED) == DONE
    }

    /// Whether the task is unfinished and awaited, if at all, without a node.
    #[inline]
    pub(crate) fn is_plainly_pending(&self) -> bool {
        self.0.get() & (DONE | SCOPED | SHIELDED) == 0
    }

    /// The handle is gone; tells whether it leaves something behind: an output that nobody has read, or a node.
    #[inline]
    pub(crate) fn abandon(&self) -> bool {
        let bits = self.0.get();
        self.0.set(bits | ABANDONED);
        bits & (DONE | TAKEN) == DONE || bits & SCOPED != 0
    }

    /// Somebody has the output.
    #[inline]
    pub(crate) fn note_taken(&self) {
        self.set(TAKEN);
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.has(TAKEN)
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.has(ABANDONED)
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.has(DONE)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.has(CANCELLED)
    }

    pub(crate) fn is_panicked(&self) -> bool {
        self.has(PANICKED)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.has(RUNNING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_task_refuses_poll_and_kill() {
        let state = State::new();
        assert_eq!(state.begin(), Begin::Poll);
        assert_eq!(state.begin(), Begin::Refused);
        assert!(!state.begin_kill());
        assert!(state.pause());
        assert!(state.begin_kill());
        state.finish_cancelled();
        assert_eq!(state.begin(), Begin::Refused);
        assert!(state.is_done() && state.is_cancelled() && !state.is_running());
    }

    #[test]
    fn a_request_is_delivered_by_the_next_poll_and_a_done_task_takes_none() {
        let state = State::new();
        assert!(state.request_cancel() && state.request_cancel());
        assert_eq!(state.begin(), Begin::Deliver);
        state.finish();
        assert!(!state.request_cancel());
        assert!(!state.is_requested());
    }
}
