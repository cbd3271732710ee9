//! Which observers a loop has: one bit for each thing that wants to be told when user code is entered and left.
//!
//! `kernel/observation` tells them. A loop with any of these bits is instrumented as well, and the plain path never
//! reads them.

use std::cell::Cell;

/// The observers of one loop.
#[derive(Debug, Default)]
pub(crate) struct Observers {
    bits: Cell<u8>,
    /// When the poll for events began that they were told of last, in ticks, and when what may be slow in it began: the
    /// same, or the end of the sleep. 0 if nobody measures.
    pub(super) poll: Cell<(u64, u64)>,
    /// The sleep in it between the hooks of a host: when it began and ended, in ticks. (0, 0) if there was none.
    pub(super) sleep: Cell<(u64, u64)>,
}

impl Observers {
    /// A call or a step that takes longer than the loop's threshold is reported. Set in debug mode, and where a program
    /// has set the threshold.
    pub(crate) const SLOW: u8 = 1 << 0;

    /// The histograms of `kernel/meters`, which the builder asks for.
    pub(crate) const METERS: u8 = 1 << 1;

    /// The spans of `kernel/spans`, which the builder asks for.
    pub(crate) const SPANS: u8 = 1 << 2;

    /// The loop is inspected: it keeps notes of what runs, and of what each task does and waits for.
    pub(crate) const NOTES: u8 = 1 << 3;

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.bits.get() == 0
    }

    #[inline]
    pub(crate) fn has(&self, observer: u8) -> bool {
        self.bits.get() & observer != 0
    }

    /// Adds or removes an observer. The caller instruments the loop, which this does not know.
    pub(super) fn set(&self, observer: u8, is_there: bool) {
        let others = self.bits.get() & !observer;
        self.bits.set(others | if is_there { observer } else { 0 });
    }
}
