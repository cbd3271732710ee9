//! What happened in a simulation: one trace of everything, and what each part has seen, for the invariants.
//!
//! Times count from the beginning, on the virtual clock.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::get_running_loop;
use callsoon::testing::Trace;

/// The log that all parts write to. Clones are the same log.
#[derive(Clone)]
pub(crate) struct History {
    began: Instant,
    trace: Trace,
    facts: Rc<RefCell<Facts>>,
}

/// What happened, apart from the trace.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) wires: Vec<WireFacts>,
    /// What a client knows of each connection, by the wire's number.
    pub(crate) views: BTreeMap<usize, View>,
    /// What the server knows of each connection, by the wire's number.
    pub(crate) sessions: BTreeMap<usize, Session>,
    /// When the server was told to stop, and when it had.
    pub(crate) stop: Option<Duration>,
    pub(crate) stopped: Option<Duration>,
    /// All sessions had ended before the deadline of the shutdown.
    pub(crate) in_time: bool,
    /// What was still there at the end, and what has failed.
    pub(crate) left: Vec<String>,
}

/// What happened to a wire between a client and the server.
#[derive(Default)]
pub(crate) struct WireFacts {
    pub(crate) reset: Option<Duration>,
    pub(crate) cut: Option<Duration>,
    /// How many partitions of it have healed.
    pub(crate) healed: usize,
    /// Since when it has carried nothing.
    pub(crate) held_since: Option<Duration>,
    /// When it last carried again, after it had not.
    pub(crate) healed_last: Option<Duration>,
    /// The longest time that it carried nothing, among those that have ended.
    pub(crate) held_longest: Duration,
    /// How many bytes have arrived.
    pub(crate) carried: u64,
}

impl WireFacts {
    pub(crate) fn end_hold(&mut self, now: Duration) {
        let since = self.held_since.take().unwrap_or(now);
        self.held_longest = self.held_longest.max(now - since);
        self.healed_last = Some(now);
        self.healed += 1;
    }
}

/// What a client has seen of one connection.
#[derive(Default)]
pub(crate) struct View {
    /// The requests, in order: those that wait to be sent as well.
    pub(crate) requests: Vec<String>,
    /// The whole lines that came, in order.
    pub(crate) received: Vec<String>,
    /// It has asked for the end of the connection, or has ended its stream.
    pub(crate) has_quit: bool,
    /// When it last began to read again after a stall.
    pub(crate) stalled_last: Option<Duration>,
    pub(crate) end: Option<(End, Duration)>,
}

/// What the server has seen of one connection.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) end: Option<Duration>,
    /// The client was too slow, and the server has ended the connection.
    pub(crate) evicted: bool,
}

/// How a connection ended, for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// The server said goodbye and closed it.
    Goodbye,
    /// The server closed it without a word.
    Closed,
    /// It was reset.
    Reset,
    /// Nothing came for too long.
    Silent,
    /// The client itself went away without a word.
    Vanished,
}

impl History {
    pub(crate) fn new(trace: Trace) -> Self {
        Self {
            began: get_running_loop().time(),
            trace,
            facts: Rc::default(),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        get_running_loop().time() - self.began
    }

    /// Writes a line of the trace.
    pub(crate) fn note(&self, line: fmt::Arguments<'_>) {
        self.trace
            .push(format_args!("{:>9} {line}", self.now().as_micros()));
    }

    pub(crate) fn facts(&self) -> RefMut<'_, Facts> {
        self.facts.borrow_mut()
    }

    pub(crate) fn wire<R>(&self, number: usize, change: impl FnOnce(&mut WireFacts) -> R) -> R {
        change(&mut self.facts().wires[number])
    }

    pub(crate) fn view(&self, wire: usize, change: impl FnOnce(&mut View)) {
        change(self.facts().views.get_mut(&wire).unwrap());
    }

    pub(crate) fn session(&self, wire: usize, change: impl FnOnce(&mut Session)) {
        change(self.facts().sessions.entry(wire).or_default());
    }

    pub(crate) fn into_facts(self) -> Facts {
        self.facts.take()
    }
}
