//! What a loop with [`Builder::metrics`](crate::Builder::metrics) records: histograms of the times of its calls, steps
//! and polls.
//!
//! Reading the clock is most of the cost, so a call that comes from the ready queue takes the end of the one before it
//! as its beginning: one reading a call. What is called inside other work, such as a protocol's method, reads it twice.
//!
//! When an entry became ready is not stored with the entry. Entries have numbers in the order in which they were queued,
//! and all that one call queues follow one another. So the end of each call notes how far the numbers have got, together
//! with the time at which the call began; and an entry that runs finds its time at the front of these notes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::inspect::latencies::{CallKind, Latencies};
use crate::sys::ticks::Ticks;

/// The recorder of one loop. Times are ticks.
pub(crate) struct Meters {
    ticks: Ticks,
    /// How many calls are under way, one inside the other.
    depth: Cell<u32>,
    /// When the newest call or poll ended: the beginning of the next call from the ready queue.
    boundary: Cell<u64>,
    /// When the newest poll for events ended, or the run began.
    polled: Cell<u64>,
    /// The number of the entry whose delay was recorded last, plus one.
    counted: Cell<u64>,
    /// The number of the next entry, when it was last asked for.
    tail: Cell<u64>,
    /// Entries below a number, which no earlier note is for, were queued at a time. Both grow.
    notes: RefCell<VecDeque<(u64, u64)>>,
    latencies: RefCell<Latencies>,
}

/// The numbers of the ready queue: of the front entry, and of the next one to be queued.
#[derive(Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) front: u64,
    pub(crate) next: u64,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            ticks: Ticks::new(),
            depth: Cell::new(0),
            boundary: Cell::new(0),
            polled: Cell::new(0),
            counted: Cell::new(0),
            tail: Cell::new(0),
            notes: RefCell::new(VecDeque::new()),
            latencies: RefCell::default(),
        }
    }

    /// Returns a copy of what was recorded.
    pub(crate) fn latencies(&self) -> Latencies {
        self.latencies.borrow().clone()
    }

    pub(crate) fn now(&self) -> u64 {
        self.ticks.now()
    }

    /// Returns the nanoseconds between two times.
    pub(crate) fn span(&self, from: u64, to: u64) -> u64 {
        self.ticks.span(from, to)
    }

    /// Begins a run, or a turn that another loop drives: the time between two runs is nobody's.
    pub(crate) fn begin_run(&self, numbers: Numbers) {
        let now = self.ticks.now();
        self.depth.set(0);
        self.boundary.set(now);
        self.polled.set(now);
        self.note(numbers.next, now);
    }

    /// Ends a run.
    pub(crate) fn end_run(&self) {
        let busy = self.ticks.span(self.polled.get(), self.boundary.get());
        self.latencies.borrow_mut().record_busy(busy);
    }

    /// Begins a poll for events, and returns when.
    pub(crate) fn begin_poll(&self) -> u64 {
        let now = self.ticks.now();
        let busy = self.ticks.span(self.polled.get(), now);
        self.latencies.borrow_mut().record_busy(busy);
        now
    }

    /// Ends a poll for events, and returns when.
    pub(crate) fn end_poll(&self, began: u64, numbers: Numbers) -> u64 {
        let now = self.ticks.now();
        let took = self.ticks.span(began, now);
        self.latencies.borrow_mut().record_poll(took);
        self.boundary.set(now);
        self.polled.set(now);
        self.note(numbers.next, now);
        now
    }

    /// Begins a call, and returns when. `exact` forbids to take the end of the call before.
    #[inline]
    pub(crate) fn begin(&self, kind: CallKind, exact: bool, numbers: Numbers) -> u64 {
        let depth = self.depth.get();
        self.depth.set(depth + 1);
        let is_queued = !matches!(kind, CallKind::Protocol | CallKind::Listener);
        let began = if depth == 0 && is_queued && !exact {
            self.boundary.get()
        } else {
            self.ticks.now()
        };
        // The entry that runs has just been popped.
        if depth == 0 && self.counted.get() < numbers.front {
            self.counted.set(numbers.front);
            self.record_delay(kind, numbers.front, began);
        }
        began
    }

    /// Records how long the entry before `front` has waited.
    #[inline]
    fn record_delay(&self, kind: CallKind, front: u64, began: u64) {
        let mut notes = self.notes.borrow_mut();
        while let Some(&(end, queued)) = notes.front() {
            if end >= front {
                let delay = self.ticks.span(queued, began);
                self.latencies.borrow_mut().record_delay(kind, delay);
                return;
            }
            notes.pop_front();
        }
    }

    /// Ends a call, and returns how many nanoseconds it took.
    #[inline]
    pub(crate) fn end(&self, kind: CallKind, began: u64, numbers: Numbers) -> u64 {
        let now = self.ticks.now();
        let depth = self.depth.get().saturating_sub(1);
        self.depth.set(depth);
        let took = self.ticks.span(began, now);
        self.latencies.borrow_mut().record_run(kind, took);
        if depth == 0 {
            self.boundary.set(now);
            self.note(numbers.next, began);
        }
        took
    }

    /// Notes that all entries below `next`, which no earlier note is for, were queued at a time.
    #[inline]
    fn note(&self, next: u64, queued: u64) {
        // It is smaller than before after an eager task was taken out of the queue again.
        if next > self.tail.replace(next) {
            self.notes.borrow_mut().push_back((next, queued));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(front: u64, next: u64) -> Numbers {
        Numbers { front, next }
    }

    #[test]
    fn an_entry_waits_from_the_beginning_of_the_call_that_queued_it() {
        let meters = Meters::new();
        meters.begin_run(numbers(0, 1));
        let began = meters.boundary.get();
        // The first entry queues two others.
        let first = meters.begin(CallKind::Callback, false, numbers(1, 1));
        assert_eq!(first, began);
        meters.end(CallKind::Callback, first, numbers(1, 3));
        assert_eq!(*meters.notes.borrow(), [(1, began), (3, first)]);
        let second = meters.begin(CallKind::Step, false, numbers(2, 3));
        assert_eq!(*meters.notes.borrow(), [(3, first)]);
        // What is called inside is no entry, and reads the clock.
        let inner = meters.begin(CallKind::Callback, false, numbers(2, 3));
        assert!(inner > second);
        meters.end(CallKind::Callback, inner, numbers(2, 3));
        assert_eq!(meters.boundary.get(), second, "the outer call goes on");
        meters.end(CallKind::Step, second, numbers(2, 3));
        let latencies = meters.latencies();
        assert_eq!(latencies.queue_delay(CallKind::Step).count(), 1);
        assert_eq!(latencies.queue_delay(CallKind::Callback).count(), 1);
        assert_eq!(latencies.run_time(CallKind::Callback).count(), 2);
    }

    #[test]
    fn no_more_notes_are_kept_than_there_are_entries() {
        let meters = Meters::new();
        meters.begin_run(numbers(0, 1));
        for number in 1..10_000 {
            let began = meters.begin(CallKind::Callback, false, numbers(number, number));
            meters.end(CallKind::Callback, began, numbers(number, number + 1));
            assert!(meters.notes.borrow().len() <= 2);
        }
    }
}
