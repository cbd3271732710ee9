//! Why a connection reads nothing now.
//!
//! Reading is held for several reasons at once: each is a bit, and reading goes on when none is left. So to lift one
//! reason never undoes another one.

use std::cell::Cell;

/// One reason.
#[derive(Clone, Copy)]
pub(crate) enum Hold {
    /// The caller that asked for the connection has not been given it yet. Until then the protocol may be replaced.
    NotBegun = 1,
    /// The program has paused reading.
    Paused = 2,
    /// A stream keeps more than its reader's limit.
    ReaderBehind = 4,
    /// Reading was resumed, but an entry of the connection was queued before that: callbacks queued since then go first.
    Resuming = 8,
}

/// The reasons that hold now.
pub(crate) struct Holds(Cell<u8>);

impl Holds {
    pub(crate) fn not_begun() -> Self {
        Self(Cell::new(Hold::NotBegun as u8))
    }

    /// Whether reading may go on.
    #[inline]
    pub(crate) fn none(&self) -> bool {
        self.0.get() == 0
    }

    #[inline]
    pub(crate) fn has(&self, hold: Hold) -> bool {
        self.0.get() & hold as u8 != 0
    }

    pub(crate) fn set(&self, hold: Hold) {
        self.0.set(self.0.get() | hold as u8);
    }

    /// Lifts one reason, and says whether it held.
    #[inline]
    pub(crate) fn lift(&self, hold: Hold) -> bool {
        let held = self.has(hold);
        self.0.set(self.0.get() & !(hold as u8));
        held
    }
}
