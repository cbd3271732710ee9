//! Names of sources: as the poller, the ready queue and those who inspect a loop know them.

use mio::Token;

/// Names a source: its slot, and its generation in that slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SourceKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// How many low bits of a source's generation an entry of the ready queue has room for.
pub(crate) const QUEUED_GENERATION_BITS: u32 = 24;

/// Tells the numbers of sources from those of descriptors.
pub(super) const NUMBERED: u64 = 1 << 32;

impl SourceKey {
    /// Returns a number that no other source of the loop has at the same time, and no descriptor.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.index) | NUMBERED
    }

    pub(super) fn token(self) -> Token {
        Token((u64::from(self.generation) << 32 | u64::from(self.index)) as usize)
    }

    pub(super) fn from_token(token: Token) -> Self {
        Self {
            index: token.0 as u32,
            generation: (token.0 as u64 >> 32) as u32,
        }
    }
}
