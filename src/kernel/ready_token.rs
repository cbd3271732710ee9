//! Entries of the ready queue, each a token of one word that names its owner.

use crate::kernel::io::fd_table::{CallbackKey, NUMBER_BITS};
use crate::kernel::io::readiness::Direction;
use crate::kernel::io::source_key::{QUEUED_GENERATION_BITS, SourceKey};
use crate::kernel::task::key::Key;
use crate::kernel::timers::TimerKey;

/// How many low bits of a timer's generation a token has room for.
const TIMER_GENERATION_BITS: u32 = QUEUED_GENERATION_BITS;

/// The bit that no task's key has: loop ids end below it.
const NOT_A_TASK: u64 = 1 << 63;

/// An entry. A task's token is its key unchanged, so that the most frequent entry needs no unpacking. The others are
/// `1 | kind 7 | generation 24 | index 32`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Token(u64);

pub(crate) const ROOT: u8 = 0;
pub(crate) const TIMER: u8 = 1;
pub(crate) const POSTED: u8 = 2;
pub(crate) const STOP: u8 = 3;
pub(crate) const CALL: u8 = 4;
pub(crate) const SOURCE: u8 = 5;
pub(crate) const FD_READER: u8 = 6;
pub(crate) const FD_WRITER: u8 = 7;
pub(crate) const BREAK: u8 = 8;

/// A token that is neither a task's nor a callback's, unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Special {
    /// The future of `run_until_complete`, if the generation is still its own.
    Root(u16),
    /// A timer that has fired.
    Timer(TimerKey),
    /// So many closures that were posted one after the other: the next one, and those for which the token has to be put
    /// back.
    Posted(u32),
    /// The end of the run with this number.
    Stop(u32),
    /// The same at once: what is behind it waits for the next run.
    Break(u32),
    /// An observed source that became ready, with the low bits of its generation.
    Source(SourceKey),
    /// A callback whose descriptor is ready.
    Fd(CallbackKey),
}

impl Token {
    /// The next callback of `call_soon`. The token of each.
    pub(crate) const NEXT_CALL: Self = Self::new(CALL, 0, 0);

    pub(crate) const fn new(kind: u8, generation: u32, index: u32) -> Self {
        let generation = generation & ((1 << TIMER_GENERATION_BITS) - 1);
        Self(NOT_A_TASK | (kind as u64) << 56 | (generation as u64) << 32 | index as u64)
    }

    /// Returns the token of a task.
    #[inline]
    pub(crate) fn of_task(key: Key) -> Self {
        debug_assert!(key.bits() & NOT_A_TASK == 0);
        Self(key.bits())
    }

    /// Returns the task's key, if it is a task's token.
    #[inline]
    pub(crate) fn task(self) -> Option<Key> {
        (self.0 & NOT_A_TASK == 0).then_some(Key::from_bits(self.0))
    }

    #[inline]
    pub(crate) fn is_call(self) -> bool {
        self == Self::NEXT_CALL
    }

    fn kind(self) -> u8 {
        (self.0 >> 56) as u8 & 0x7f
    }

    /// Returns whether it runs a step: of a task, or of the future of `run_until_complete`.
    pub(crate) fn is_step(self) -> bool {
        self.task().is_some() || self.kind() == ROOT
    }

    /// Returns whether it stands for a descriptor that has become ready.
    pub(crate) fn is_descriptor(self) -> bool {
        self.task().is_none() && [SOURCE, FD_READER, FD_WRITER].contains(&self.kind())
    }

    /// Unpacks a token that is neither a task's nor a callback's.
    pub(crate) fn special(self) -> Special {
        let index = self.0 as u32;
        match self.kind() {
            ROOT => Special::Root(index as u16),
            TIMER => {
                let generation = (self.0 >> 32) & ((1 << TIMER_GENERATION_BITS) - 1);
                Special::Timer(TimerKey { index, generation })
            }
            STOP => Special::Stop(index),
            BREAK => Special::Break(index),
            SOURCE => {
                let generation = (self.0 >> 32) as u32 & ((1 << QUEUED_GENERATION_BITS) - 1);
                Special::Source(SourceKey { index, generation })
            }
            kind @ (FD_READER | FD_WRITER) => Special::Fd(CallbackKey {
                fd: index as i32,
                direction: if kind == FD_READER {
                    Direction::Read
                } else {
                    Direction::Write
                },
                number: (self.0 >> 32) as u32 & ((1 << NUMBER_BITS) - 1),
            }),
            _ => Special::Posted(index),
        }
    }
}
