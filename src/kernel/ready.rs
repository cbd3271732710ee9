//! The line in which everything waits for its turn.
//!
//! One FIFO for callbacks, tasks, fired timers and posts, so that order among them is exact. A callback's box lies in
//! the line itself; everything else is a token of one word that names its owner. Each entry has a sequence number, the
//! count of entries pushed before it, and a callback's handle is that number: position = number − head. Cancelling
//! leaves a hole, so that no other entry moves.

use std::collections::VecDeque;

use crate::kernel::timers::TimerKey;

/// How many low bits of a timer's generation a token has room for.
const TIMER_GENERATION_BITS: u32 = 24;

/// What an entry stands for when it is not a callback: `kind 8 | generation 24 | index 32`.
#[derive(Clone, Copy)]
pub(crate) struct Token(u64);

const TASK: u8 = 0;
const ROOT: u8 = 1;
const TIMER: u8 = 2;
const POSTED: u8 = 3;
const STOP: u8 = 4;
const HOLE: u8 = 5;

impl Token {
    #[inline]
    fn new(kind: u8, generation: u32, index: u32) -> Self {
        let generation = generation & ((1 << TIMER_GENERATION_BITS) - 1);
        Self(u64::from(kind) << 56 | u64::from(generation) << 32 | u64::from(index))
    }

    #[inline]
    fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & ((1 << TIMER_GENERATION_BITS) - 1)
    }

    #[inline]
    fn index(self) -> u32 {
        self.0 as u32
    }
}

/// What stands at the head of the line.
pub(crate) enum Ready {
    /// A callback of `call_soon`.
    Call(Box<dyn FnOnce()>),
    /// A task to be polled: its slot and generation.
    Task(u32, u16),
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
}

/// Sixteen bytes: the box's niche tells the variants apart.
enum Entry {
    Call(Box<dyn FnOnce()>),
    Token(Token),
}

/// The FIFO.
pub(crate) struct ReadyQueue {
    entries: VecDeque<Entry>,
    /// The sequence number of the entry at the head.
    head: u64,
}

impl ReadyQueue {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            entries: VecDeque::with_capacity(capacity),
            head: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Queues a callback; its sequence number is its handle.
    #[inline]
    pub(crate) fn push_call(&mut self, call: Box<dyn FnOnce()>) -> u64 {
        let sequence = self.head + self.entries.len() as u64;
        self.entries.push_back(Entry::Call(call));
        sequence
    }

    #[inline]
    pub(crate) fn push_task(&mut self, slot: u32, generation: u16) {
        self.entries
            .push_back(Entry::Token(Token::new(TASK, u32::from(generation), slot)));
    }

    pub(crate) fn push_root(&mut self, generation: u16) {
        self.entries
            .push_back(Entry::Token(Token::new(ROOT, 0, u32::from(generation))));
    }

    pub(crate) fn push_timer(&mut self, key: TimerKey) {
        self.entries
            .push_back(Entry::Token(Token::new(TIMER, key.generation, key.index)));
    }

    pub(crate) fn push_posted(&mut self) {
        self.entries
            .push_back(Entry::Token(Token::new(POSTED, 0, 0)));
    }

    pub(crate) fn push_stop(&mut self, run: u32) {
        self.entries
            .push_back(Entry::Token(Token::new(STOP, 0, run)));
    }

    /// Takes the head of the line.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Ready> {
        let entry = self.entries.pop_front()?;
        self.head += 1;
        Some(match entry {
            Entry::Call(call) => Ready::Call(call),
            Entry::Token(token) => match (token.0 >> 56) as u8 {
                TASK => Ready::Task(token.index(), token.generation() as u16),
                ROOT => Ready::Root(token.index() as u16),
                TIMER => Ready::Timer(TimerKey {
                    index: token.index(),
                    generation: token.generation(),
                }),
                POSTED => Ready::Posted,
                STOP => Ready::Stop(token.index()),
                _ => Ready::Hole,
            },
        })
    }

    /// Takes a callback out of the line, leaving a hole; `None` once it has run. The caller drops it with no borrow
    /// held.
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

    #[test]
    fn an_entry_is_two_words() {
        assert_eq!(size_of::<Entry>(), 16);
    }

    #[test]
    fn a_sequence_number_finds_its_own_callback_only() {
        let mut queue = ReadyQueue::with_capacity(0);
        queue.push_posted();
        let first = queue.push_call(Box::new(|| ()));
        let second = queue.push_call(Box::new(|| ()));
        assert!(matches!(queue.pop(), Some(Ready::Posted)));
        assert!(queue.cancel(second).is_some());
        assert!(queue.cancel(second).is_none());
        assert!(matches!(queue.pop(), Some(Ready::Call(_))));
        assert!(queue.cancel(first).is_none());
        assert!(matches!(queue.pop(), Some(Ready::Hole)));
        assert!(queue.pop().is_none() && queue.is_empty());
    }

    #[test]
    fn tokens_give_back_what_they_were_made_of() {
        let mut queue = ReadyQueue::with_capacity(0);
        queue.push_task(u32::MAX - 1, u16::MAX);
        queue.push_timer(TimerKey {
            index: 7,
            generation: 0xff12_3456,
        });
        queue.push_stop(u32::MAX);
        queue.push_root(9);
        assert!(matches!(queue.pop(), Some(Ready::Task(slot, u16::MAX)) if slot == u32::MAX - 1));
        assert!(matches!(
            queue.pop(),
            Some(Ready::Timer(TimerKey {
                index: 7,
                generation: 0x12_3456
            }))
        ));
        assert!(matches!(queue.pop(), Some(Ready::Stop(u32::MAX))));
        assert!(matches!(queue.pop(), Some(Ready::Root(9))));
    }
}
