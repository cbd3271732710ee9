//! The states of one task and the transitions between them.
//!
//! They are flags in half a word. Callers match the enums that the transitions return and never mask bits themselves.

use std::cell::Cell;

use crate::kernel::task::key::Key;

/// The future is being polled or dropped, or its stage is being replaced. Set by `begin`, cleared by
/// `pause` and `finish`. While it is set, no other call may touch the stage: the cell's aliasing rests on this.
const RUNNING: u16 = 1;
/// The stage holds the output, or held it. Set by `finish`, never cleared.
const DONE: u16 = 1 << 1;
/// A cancellation request waits to be delivered. Set by `request_cancel`, cleared by `take_request`.
const REQUESTED: u16 = 1 << 2;
/// A node of the task's tree has to act, or the task is about to be torn down. Set by `note_in_flight`, cleared by
/// `note_out_of_flight`. Polls test it together with `REQUESTED`.
const IN_FLIGHT: u16 = 1 << 3;
/// The task ended as cancelled. Set by `finish_cancelled`, with `DONE`.
const CANCELLED: u16 = 1 << 4;
/// The handle was dropped, so the output cannot be read any more. Set by `abandon`, never cleared.
const ABANDONED: u16 = 1 << 5;
/// The output was moved out, or nobody wants a report of it. Set by `note_taken` and `note_emptied`, after `DONE`.
const TAKEN: u16 = 1 << 6;
/// The future panicked. Set by `finish_panicked`, with `DONE`.
const PANICKED: u16 = 1 << 7;

/// The header has or had cold fields: name, context, callbacks, another runtime's waker. Set by `note_cold`, never
/// cleared.
const COLD: u16 = 1 << 8;
/// The await of this task is a node, whose key is in the cold fields. Set and cleared by `note_scoped`.
const SCOPED: u16 = 1 << 9;
/// The awaiter waits from behind a shield: a cancellation of the awaiter does not reach this task. Set and cleared by
/// `note_shielded`.
const SHIELDED: u16 = 1 << 10;
/// The stage holds nothing that needs a drop, and never will again. Set by `note_emptied` and `finish_plainly`.
const EMPTIED: u16 = 1 << 11;
/// The loop ends the task without a poll. Set by `note_killed` before that, never cleared.
const KILLED: u16 = 1 << 12;
/// The output was moved out. Set by `note_emptied`, with `TAKEN`, which alone may mean that nobody wants a report.
const MOVED: u16 = 1 << 13;

/// What a poll must do.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begin {
    /// Poll the future.
    Poll,
    /// A request is to be delivered before the future is polled.
    Deliver,
    /// End the task without a poll.
    Kill,
    /// The task runs already, further down this stack, or has ended.
    Refused,
}

/// The result of a step. It fits in two registers.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// The future waits. Or nothing was done: the task runs further down this stack, or has ended before.
    Pending,
    /// The task has ended in this step. It owes a wake to this task or to none, and nothing else: it has no other
    /// runtime's waker, no callbacks and no drop panic. Its handle will take the output, or that needs no drop.
    Done(Key),
    /// The task has ended in this step; its header says what it owes to others.
    DoneOwing,
}

/// What a poll of a task's handle has to do.
pub(crate) enum Awaited {
    /// Give the output.
    Take,
    /// Wait.
    Wait,
    /// Check again: user code ran meanwhile.
    Again,
    /// Refuse a task of another loop.
    OtherLoop,
    /// Refuse a task that awaits its own handle.
    ItSelf,
}

/// The flags of one task.
pub(crate) struct State(Cell<u16>);

impl State {
    #[inline]
    pub(crate) fn new() -> Self {
        Self(Cell::new(0))
    }

    #[inline]
    fn has(&self, bits: u16) -> bool {
        self.0.get() & bits != 0
    }

    #[inline]
    fn set(&self, bits: u16) {
        self.0.set(self.0.get() | bits);
    }

    #[inline]
    fn clear(&self, bits: u16) {
        self.0.set(self.0.get() & !bits);
    }

    /// Goes from idle to running, for a poll. One test decides the common case.
    #[inline]
    pub(crate) fn begin(&self) -> Begin {
        let bits = self.0.get();
        if bits & (RUNNING | DONE | REQUESTED | IN_FLIGHT | KILLED) == 0 {
            self.0.set(bits | RUNNING);
            return Begin::Poll;
        }
        if bits & (RUNNING | DONE) != 0 {
            return Begin::Refused;
        }
        self.0.set(bits | RUNNING);
        if bits & KILLED != 0 {
            return Begin::Kill;
        }
        Begin::Deliver
    }

    /// Has the next `begin` end the task, unless that runs or has ended.
    pub(crate) fn note_killed(&self) {
        if !self.has(RUNNING | DONE) {
            self.set(KILLED);
        }
    }

    /// Goes from running to idle: the poll was pending. Returns `false` and changes nothing if a request is in
    /// progress, which the end of a poll has to handle.
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

    /// Goes from running to idle, once the request in progress was handled.
    pub(crate) fn pause_in_flight(&self) {
        self.clear(RUNNING);
    }

    /// Goes from running to done if the task has no request, no cold fields, and a handle unless its output needs no
    /// drop. One test decides the common case. Otherwise it returns `false` and changes nothing.
    #[inline]
    #[must_use]
    pub(crate) fn finish_plainly(&self, output_needs_drop: bool) -> bool {
        let bits = self.0.get();
        let (unread, emptied) = if output_needs_drop {
            (ABANDONED, 0)
        } else {
            (0, EMPTIED)
        };
        if bits & (REQUESTED | COLD | unread) != 0 {
            return false;
        }
        self.0.set(bits & !RUNNING | DONE | emptied);
        true
    }

    /// Notes that the header has cold fields.
    pub(crate) fn note_cold(&self) {
        self.set(COLD);
    }

    /// Goes from running to done.
    pub(crate) fn finish(&self) {
        self.0
            .set(self.0.get() & !(RUNNING | REQUESTED | IN_FLIGHT) | DONE);
    }

    /// Goes from running to done, as cancelled.
    pub(crate) fn finish_cancelled(&self) {
        self.set(CANCELLED);
        self.finish();
    }

    /// Goes from running to done, by a panic of the future.
    pub(crate) fn finish_panicked(&self) {
        self.set(PANICKED);
        self.finish();
    }

    /// Notes a request; `false` if the task has ended.
    #[must_use]
    pub(crate) fn request_cancel(&self) -> bool {
        let bits = self.0.get();
        if bits & DONE != 0 {
            return false;
        }
        self.0.set(bits | REQUESTED);
        true
    }

    /// Returns whether a request waits to be delivered.
    #[inline]
    pub(crate) fn is_requested(&self) -> bool {
        self.has(REQUESTED)
    }

    /// Takes the request that waits to be delivered; `false` if there is none.
    #[must_use]
    pub(crate) fn take_request(&self) -> bool {
        let requested = self.has(REQUESTED);
        self.clear(REQUESTED);
        requested
    }

    /// Notes that a node of the task's tree has to act.
    pub(crate) fn note_in_flight(&self) {
        self.set(IN_FLIGHT);
    }

    /// Notes that no node of the task's tree has to act any more.
    pub(crate) fn note_out_of_flight(&self) {
        self.clear(IN_FLIGHT);
    }

    /// Notes whether the await of this task is a node.
    pub(crate) fn note_scoped(&self, scoped: bool) {
        self.clear(SCOPED);
        self.set(if scoped { SCOPED } else { 0 });
    }

    pub(crate) fn is_scoped(&self) -> bool {
        self.has(SCOPED)
    }

    /// Notes whether the awaiter waits from behind a shield.
    pub(crate) fn note_shielded(&self, shielded: bool) {
        self.clear(SHIELDED);
        self.set(if shielded { SHIELDED } else { 0 });
    }

    /// Returns whether the task has ended without a panic and its await has no node: the output can be taken at once.
    #[inline]
    pub(crate) fn is_plainly_done(&self) -> bool {
        self.0.get() & (DONE | SCOPED | PANICKED) == DONE
    }

    /// Returns whether the task is unfinished and its await, if any, has no node.
    #[inline]
    pub(crate) fn is_plainly_pending(&self) -> bool {
        self.0.get() & (DONE | SCOPED | SHIELDED) == 0
    }

    /// Notes that the handle was dropped. Returns whether something is left to do: an output that was not taken, or a
    /// node.
    #[inline]
    pub(crate) fn abandon(&self) -> bool {
        let bits = self.0.get();
        self.0.set(bits | ABANDONED);
        bits & (DONE | TAKEN) == DONE || bits & SCOPED != 0
    }

    /// Notes that a failure need not be reported.
    pub(crate) fn note_taken(&self) {
        self.set(TAKEN);
    }

    /// Notes that the output is moved out.
    #[inline]
    pub(crate) fn note_emptied(&self) {
        self.set(TAKEN | EMPTIED | MOVED);
    }

    /// Returns whether the whole cell has nothing that needs a drop.
    #[inline]
    pub(crate) fn is_emptied(&self) -> bool {
        self.0.get() & (EMPTIED | COLD) == EMPTIED
    }

    /// Returns whether the output was moved out.
    #[cfg(feature = "futures")]
    pub(crate) fn is_moved(&self) -> bool {
        self.has(MOVED)
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
        state.note_killed();
        assert!(state.pause());
        assert_eq!(state.begin(), Begin::Poll);
        assert!(state.pause());
        state.note_killed();
        assert_eq!(state.begin(), Begin::Kill);
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
