//! The ready queue: one FIFO of everything that is ready to run.
//!
//! Callbacks, tasks, fired timers and posts share it, so that they run exactly in the order in which they became ready.
//! A callback's box is stored in the queue itself. Every other entry is a token of one word that names its owner. Each
//! entry has a sequence number, which is the count of entries pushed before it. A callback's handle is that number:
//! position = number − head. Cancelling leaves a hole, so that no other entry moves.

use std::collections::{TryReserveError, VecDeque};

use crate::kernel::io::fd_table::{CallbackKey, NUMBER_BITS};
use crate::kernel::io::reactor::{QUEUED_GENERATION_BITS, SourceKey};
use crate::kernel::io::readiness::Direction;
use crate::kernel::task::key::Key;
use crate::kernel::timers::TimerKey;

/// How many low bits of a timer's generation a token has room for.
const TIMER_GENERATION_BITS: u32 = QUEUED_GENERATION_BITS;

/// The bit that no task's key has: loop ids end below it.
const NOT_A_TASK: u64 = 1 << 63;

/// An entry that is not a callback. A task's token is its key unchanged, so that the most frequent entry needs no
/// unpacking. The others are `1 | kind 7 | generation 24 | index 32`.
#[derive(Clone, Copy)]
pub(crate) struct Token(u64);

const ROOT: u8 = 0;
const TIMER: u8 = 1;
const POSTED: u8 = 2;
const STOP: u8 = 3;
const HOLE: u8 = 4;
const SOURCE: u8 = 5;
const FD_READER: u8 = 6;
const FD_WRITER: u8 = 7;

/// A token that is not a task's, unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Special {
    /// The future of `run_until_complete`, if the generation is still its own.
    Root(u16),
    /// A timer that has fired.
    Timer(TimerKey),
    /// The next closure that another thread posted.
    Posted,
    /// The end of the run with this number.
    Stop(u32),
    /// A callback that was cancelled.
    Hole,
    /// An observed source that became ready, with the low bits of its generation.
    Source(SourceKey),
    /// A callback whose descriptor is ready.
    Fd(CallbackKey),
}

impl Token {
    fn new(kind: u8, generation: u32, index: u32) -> Self {
        let generation = generation & ((1 << TIMER_GENERATION_BITS) - 1);
        Self(NOT_A_TASK | u64::from(kind) << 56 | u64::from(generation) << 32 | u64::from(index))
    }

    /// Returns the task's key, if it is a task's token.
    #[inline]
    pub(crate) fn task(self) -> Option<Key> {
        (self.0 & NOT_A_TASK == 0).then_some(Key::from_bits(self.0))
    }

    /// Unpacks a token that is not a task's.
    pub(crate) fn special(self) -> Special {
        let index = self.0 as u32;
        match (self.0 >> 56) as u8 & 0x7f {
            ROOT => Special::Root(index as u16),
            TIMER => {
                let generation = (self.0 >> 32) & ((1 << TIMER_GENERATION_BITS) - 1);
                Special::Timer(TimerKey { index, generation })
            }
            POSTED => Special::Posted,
            STOP => Special::Stop(index),
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
            _ => Special::Hole,
        }
    }
}

/// An entry of the queue. Sixteen bytes: the box's niche distinguishes the variants.
pub(crate) enum Entry {
    /// A callback of `call_soon`.
    Call(Box<dyn FnOnce()>),
    /// Anything else.
    Token(Token),
}

/// The FIFO.
pub(crate) struct ReadyQueue {
    entries: VecDeque<Entry>,
    /// The sequence number of the front entry.
    head: u64,
}

impl ReadyQueue {
    pub(crate) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            head: 0,
        }
    }

    /// Makes room for so many entries at once.
    pub(crate) fn make_room(&mut self, entries: usize) -> Result<(), TryReserveError> {
        self.entries.try_reserve_exact(entries)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Queues a callback and returns its sequence number.
    #[inline]
    pub(crate) fn push_call(&mut self, call: Box<dyn FnOnce()>) -> u64 {
        let sequence = self.head + self.entries.len() as u64;
        self.entries.push_back(Entry::Call(call));
        sequence
    }

    #[inline]
    pub(crate) fn push_task(&mut self, key: Key) {
        debug_assert!(key.bits() & NOT_A_TASK == 0);
        self.entries.push_back(Entry::Token(Token(key.bits())));
    }

    /// Removes a task's key if it is the last entry. No handle has the number of a task's entry, so the next entry may
    /// get it.
    pub(crate) fn retract(&mut self, key: Key) {
        if matches!(self.entries.back(), Some(Entry::Token(token)) if token.task() == Some(key)) {
            self.entries.pop_back();
        }
    }

    pub(crate) fn push_root(&mut self, generation: u16) {
        self.entries
            .push_back(Entry::Token(Token::new(ROOT, 0, u32::from(generation))));
    }

    pub(crate) fn push_timer(&mut self, key: TimerKey) {
        self.entries.push_back(Entry::Token(Token::new(
            TIMER,
            key.generation as u32,
            key.index,
        )));
    }

    pub(crate) fn push_posted(&mut self) {
        self.entries
            .push_back(Entry::Token(Token::new(POSTED, 0, 0)));
    }

    pub(crate) fn push_stop(&mut self, run: u32) {
        self.entries
            .push_back(Entry::Token(Token::new(STOP, 0, run)));
    }

    #[inline]
    pub(crate) fn push_source(&mut self, key: SourceKey) {
        self.entries
            .push_back(Entry::Token(Token::new(SOURCE, key.generation, key.index)));
    }

    pub(crate) fn push_fd_callback(&mut self, key: CallbackKey) {
        let kind = match key.direction {
            Direction::Read => FD_READER,
            Direction::Write => FD_WRITER,
        };
        let token = Token::new(kind, key.number, key.fd as u32);
        self.entries.push_back(Entry::Token(token));
    }

    /// Returns the task of the entry in so many places from the front.
    pub(crate) fn task_at(&self, place: usize) -> Option<Key> {
        match self.entries.get(place)? {
            Entry::Token(token) => token.task(),
            Entry::Call(_) => None,
        }
    }

    /// Pops the front entry.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.head += 1;
        Some(entry)
    }

    /// Replaces a callback by a hole and returns it, or `None` if it has run. The caller drops it with nothing
    /// borrowed.
    pub(crate) fn cancel(&mut self, sequence: u64) -> Option<Box<dyn FnOnce()>> {
        let position = usize::try_from(sequence.checked_sub(self.head)?).ok()?;
        let entry = self.entries.get_mut(position)?;
        match std::mem::replace(entry, Entry::Token(Token::new(HOLE, 0, 0))) {
            Entry::Call(call) => Some(call),
            token @ Entry::Token(_) => {
                *entry = token;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pops what is not a callback.
    fn pop_token(queue: &mut ReadyQueue) -> Token {
        match queue.pop() {
            Some(Entry::Token(token)) => token,
            _ => panic!("no token at the head"),
        }
    }

    #[test]
    fn an_entry_is_two_words() {
        assert_eq!(size_of::<Entry>(), 16);
        assert_eq!(size_of::<Option<Entry>>(), 24);
    }

    #[test]
    fn a_sequence_number_finds_its_own_callback_only() {
        let mut queue = ReadyQueue::new();
        queue.push_posted();
        let first = queue.push_call(Box::new(|| ()));
        let second = queue.push_call(Box::new(|| ()));
        assert_eq!(pop_token(&mut queue).special(), Special::Posted);
        assert!(queue.cancel(second).is_some());
        assert!(queue.cancel(second).is_none());
        assert!(matches!(queue.pop(), Some(Entry::Call(_))));
        assert!(queue.cancel(first).is_none());
        assert_eq!(pop_token(&mut queue).special(), Special::Hole);
        assert!(queue.pop().is_none() && queue.is_empty());
    }

    #[test]
    fn tokens_give_back_what_they_were_made_of() {
        let mut queue = ReadyQueue::new();
        let key = Key::new(0x7fff, u16::MAX, u32::MAX - 1);
        queue.push_task(key);
        queue.push_timer(TimerKey {
            index: 7,
            generation: 0xff12_3456,
        });
        queue.push_stop(u32::MAX);
        queue.push_root(9);
        queue.push_source(SourceKey {
            index: 8,
            generation: 0xab65_4321,
        });
        assert_eq!(pop_token(&mut queue).task(), Some(key));
        let timer = pop_token(&mut queue);
        assert_eq!(timer.task(), None);
        assert_eq!(
            timer.special(),
            Special::Timer(TimerKey {
                index: 7,
                generation: 0x12_3456
            })
        );
        assert_eq!(pop_token(&mut queue).special(), Special::Stop(u32::MAX));
        assert_eq!(pop_token(&mut queue).special(), Special::Root(9));
        let source = SourceKey {
            index: 8,
            generation: 0x65_4321,
        };
        assert_eq!(pop_token(&mut queue).special(), Special::Source(source));
    }
}
