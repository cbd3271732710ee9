//! The ready queue: one FIFO of everything that is ready to run.
//!
//! Callbacks, tasks, fired timers and posts share it, so that they run exactly in the order in which they became ready.
//! An entry is a token of one word that names its owner. The callbacks themselves are in a second FIFO, in the same
//! order: the token only says that the next of them is due. A callback's handle is its number there. Cancelling empties
//! its place and leaves the token, so that no other entry moves.

use std::collections::TryReserveError;
use std::panic::Location;

use crate::kernel::inline_fn::{InlineFn, Stored};
use crate::kernel::io::fd_table::CallbackKey;
use crate::kernel::io::readiness::Direction;
use crate::kernel::io::source_key::SourceKey;
use crate::kernel::meters::Numbers;
use crate::kernel::ready_token::{
    BREAK, FD_READER, FD_WRITER, POSTED, ROOT, SOURCE, STOP, Special, TIMER, Token,
};
use crate::kernel::ring::Ring;
use crate::kernel::task::key::Key;
use crate::kernel::timers::TimerKey;

type Place = &'static Location<'static>;

/// A callback of `call_soon`, and where it was queued.
pub(crate) struct Call {
    /// A number once it was cancelled.
    function: Stored,
    location: Place,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            function: Stored::default(),
            location: Location::caller(),
        }
    }
}

/// The FIFO.
pub(crate) struct ReadyQueue {
    entries: Ring<Token>,
    /// The callback of each [`Token::NEXT_CALL`] of the entries, in their order.
    calls: Ring<Call>,
    /// How many closures the tokens of posts are for, besides the first of each.
    further_posts: usize,
    /// How many entries were queued that are neither tasks nor callbacks of `call_soon`.
    others: u64,
    /// How many callbacks were cancelled or discarded, and so have not run although they were popped.
    idle_calls: u64,
    /// The same of tasks, which had ended.
    idle_tasks: u64,
}

/// What the ready queue has done, from its numbers.
pub(crate) struct Done {
    /// Callbacks of `call_soon` that were called.
    pub(crate) calls: u64,
    /// Tasks that were queued.
    pub(crate) queued_tasks: u64,
    /// Tasks that were taken out to be polled.
    pub(crate) steps: u64,
}

impl ReadyQueue {
    pub(crate) fn new() -> Self {
        Self {
            entries: Ring::new(),
            calls: Ring::new(),
            further_posts: 0,
            others: 0,
            idle_calls: 0,
            idle_tasks: 0,
        }
    }

    /// Returns the numbers of the front entry and of the next one.
    pub(crate) fn numbers(&self) -> Numbers {
        Numbers {
            front: self.entries.head(),
            next: self.entries.tail(),
        }
    }

    /// Returns what was done so far. It looks at each entry that is queued, so that no operation has to count.
    pub(crate) fn done(&mut self) -> Done {
        let queued = (0..self.entries.len()).filter(|&place| self.task_at(place).is_some());
        let queued = queued.count() as u64;
        let queued_tasks = self.entries.tail() - self.calls.tail() - self.others;
        Done {
            calls: self.calls.head() - self.idle_calls,
            queued_tasks,
            steps: queued_tasks - queued - self.idle_tasks,
        }
    }

    /// Notes that the task of an entry that was popped had ended.
    #[cold]
    pub(crate) fn note_idle_task(&mut self) {
        self.idle_tasks += 1;
    }

    /// Notes that the callback of an entry that was popped had been cancelled.
    #[cold]
    pub(crate) fn note_idle_call(&mut self) {
        self.idle_calls += 1;
    }

    /// Queues an entry that is neither a task nor a callback of `call_soon`.
    #[inline]
    fn push_other(&mut self, token: Token) {
        self.others += 1;
        self.push(token);
    }

    /// Makes room for so many entries at once.
    pub(crate) fn make_room(&mut self, entries: usize) -> Result<(), TryReserveError> {
        self.entries.make_room(entries)
    }

    /// Gives memory of a burst back: see [`Ring::trim`].
    pub(crate) fn trim(&mut self) {
        self.entries.trim();
        self.calls.trim();
    }

    /// Returns how many entries there are, of which each closure that was posted is one.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.further_posts
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A push that makes the queue grow is a call of its own, so that a wake saves no register for it.
    #[inline]
    fn push(&mut self, token: Token) {
        if self.entries.is_full() {
            return self.push_growing(token);
        }
        *self.entries.push() = token;
    }

    #[cold]
    #[inline(never)]
    fn push_growing(&mut self, token: Token) {
        *self.entries.push() = token;
    }

    /// Queues a callback and returns its number.
    #[inline]
    pub(crate) fn push_call<F: FnOnce() + 'static>(&mut self, function: F, location: Place) -> u64 {
        self.push(Token::NEXT_CALL);
        let number = self.calls.tail();
        let call = self.calls.push();
        InlineFn::put(&mut call.function, function);
        call.location = location;
        number
    }

    #[inline]
    pub(crate) fn push_task(&mut self, key: Key) {
        self.push(Token::of_task(key));
    }

    /// Removes a task's key if it is the last entry; `false` if it is not.
    pub(crate) fn retract(&mut self, key: Key) -> bool {
        let is_last = self.entries.last().copied() == Some(Token::of_task(key));
        if is_last {
            self.entries.retract();
        }
        is_last
    }

    pub(crate) fn push_root(&mut self, generation: u16) {
        self.push_other(Token::new(ROOT, 0, u32::from(generation)));
    }

    pub(crate) fn push_timer(&mut self, key: TimerKey) {
        self.push_other(Token::new(TIMER, key.generation as u32, key.index));
    }

    /// Queues as many closures as were posted one after the other: at least one.
    pub(crate) fn push_posted(&mut self, count: u32) {
        self.push_other(Token::new(POSTED, 0, count));
        self.further_posts += count as usize - 1;
    }

    /// Puts the token of so many closures that was just popped back, less the first of them.
    #[inline]
    pub(crate) fn unpop_posted(&mut self, count: u32) {
        if count > 1 {
            *self.entries.unpop() = Token::new(POSTED, 0, count - 1);
            self.further_posts -= 1;
        }
    }

    /// Permutes the entries: tasks among the places of tasks, ready descriptors among theirs. `below` gives random
    /// numbers below its argument. All other entries stay where they are, so their numbers stay true.
    pub(crate) fn permute(&mut self, mut below: impl FnMut(usize) -> usize) {
        for of_class in [Token::is_step, Token::is_descriptor] {
            let mut places = Vec::new();
            for place in 0..self.entries.len() {
                if self
                    .entries
                    .in_front(place)
                    .is_some_and(|token| of_class(*token))
                {
                    places.push(place);
                }
            }
            for last in (1..places.len()).rev() {
                self.swap(places[last], places[below(last + 1)]);
            }
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        let taken = self.entries.in_front(one).copied().unwrap_or_default();
        if let Some(token) = self.entries.in_front(other) {
            let taken = std::mem::replace(token, taken);
            if let Some(token) = self.entries.in_front(one) {
                *token = taken;
            }
        }
    }

    pub(crate) fn push_stop(&mut self, run: u32) {
        self.push_other(Token::new(STOP, 0, run));
    }

    /// Ends the run with this number before any other entry runs.
    pub(crate) fn push_break(&mut self, run: u32) {
        let token = Token::new(BREAK, 0, run);
        if self.entries.in_front(0).copied() != Some(token) {
            let next = self.entries.tail();
            *self.entries.push_front() = token;
            // Where nothing has been popped yet, all numbers have moved. No task was queued by that.
            self.others += self.entries.tail() - next;
        }
    }

    /// Makes the queue look empty, so that the turn ends. Nothing may be queued until [`resume`](Self::resume).
    pub(crate) fn suspend(&mut self) {
        self.entries.hide();
    }

    /// Ends [`suspend`](Self::suspend).
    pub(crate) fn resume(&mut self) {
        self.entries.reveal();
    }

    /// Passes every entry to `each`, in their order: a callback with its number and place, unless it was cancelled.
    pub(crate) fn for_each(&mut self, mut each: impl FnMut(Token, Option<(u64, Place)>)) {
        let mut number = self.calls.head();
        for place in 0..self.entries.len() {
            let Some(token) = self.entries.in_front(place).copied() else {
                return;
            };
            let mut call = None;
            if token.is_call() {
                let queued = self.calls.get(number);
                call = queued.filter(|call| matches!(call.function, Stored::Call(_)));
            }
            each(token, call.map(|call| (number, call.location)));
            number += u64::from(token.is_call());
        }
    }

    #[inline]
    pub(crate) fn push_source(&mut self, key: SourceKey) {
        self.push_other(Token::new(SOURCE, key.generation, key.index));
    }

    pub(crate) fn push_fd_callback(&mut self, key: CallbackKey) {
        let kind = match key.direction {
            Direction::Read => FD_READER,
            Direction::Write => FD_WRITER,
        };
        self.push_other(Token::new(kind, key.number, key.fd as u32));
    }

    /// Returns the task of the entry in so many places from the front.
    pub(crate) fn task_at(&mut self, place: usize) -> Option<Key> {
        self.entries.in_front(place)?.task()
    }

    /// Returns the task of the entry with a number, which is `root` if it is the root's of the current run.
    pub(crate) fn task_numbered(&mut self, number: u64, root: Key) -> Option<Key> {
        let token = *self.entries.get(number)?;
        let is_root = || token.special() == Special::Root(root.generation());
        token.task().or_else(|| is_root().then_some(root))
    }

    /// Pops the front entry.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<Token> {
        self.entries.pop().copied()
    }

    /// Pops the callback of a [`Token::NEXT_CALL`], or `None` if it was cancelled. Called once for each.
    #[inline(always)]
    pub(crate) fn pop_call(&mut self) -> Option<(InlineFn, Place)> {
        let call = self.calls.pop()?;
        Some((InlineFn::take(&mut call.function)?, call.location))
    }

    /// Removes all entries up to the next callback, and returns that, or `None` in it if it was cancelled. At close.
    pub(crate) fn discard(&mut self) -> Option<Option<InlineFn>> {
        while let Some(token) = self.pop() {
            if token.is_call() {
                self.note_idle_call();
                return Some(self.pop_call().map(|(function, _)| function));
            }
            if token.task().is_some() {
                self.note_idle_task();
            }
        }
        self.further_posts = 0;
        None
    }

    /// Takes a callback out, or returns `None` if it has run or runs. The caller drops it with nothing borrowed.
    pub(crate) fn cancel(&mut self, number: u64) -> Option<InlineFn> {
        InlineFn::take(&mut self.calls.get(number)?.function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pops what is not a callback.
    fn pop_token(queue: &mut ReadyQueue) -> Token {
        let token = queue.pop().expect("an entry");
        assert!(!token.is_call());
        token
    }

    /// Pops and runs a callback; `false` if it was cancelled.
    fn run_call(queue: &mut ReadyQueue) -> bool {
        assert!(queue.pop().is_some_and(Token::is_call));
        let call = queue.pop_call();
        call.map(|(function, _)| function.call()).is_some()
    }

    #[test]
    fn an_entry_is_one_word_and_a_callback_five() {
        assert_eq!(size_of::<Token>(), 8);
        assert_eq!(size_of::<Call>(), 40);
    }

    #[test]
    fn a_number_finds_its_own_callback_only() {
        let mut queue = ReadyQueue::new();
        let here = Location::caller();
        queue.push_posted(1);
        let first = queue.push_call(|| (), here);
        let second = queue.push_call(|| unreachable!(), here);
        let third = queue.push_call(|| (), here);
        assert_eq!(pop_token(&mut queue).special(), Special::Posted(1));
        assert!(queue.cancel(second).is_some());
        assert!(queue.cancel(second).is_none());
        assert!(run_call(&mut queue));
        assert!(queue.cancel(first).is_none());
        assert!(!run_call(&mut queue));
        assert!(run_call(&mut queue));
        assert!(queue.cancel(third).is_none() && queue.cancel(third + 1).is_none());
        assert!(queue.pop().is_none() && queue.is_empty());
    }

    #[test]
    fn a_task_is_retracted_only_while_it_is_the_last_entry() {
        let mut queue = ReadyQueue::new();
        let (one, other) = (Key::new(1, 0, 1), Key::new(1, 0, 2));
        queue.retract(one);
        queue.push_task(one);
        queue.retract(other);
        assert_eq!(queue.len(), 1);
        queue.push_call(|| (), Location::caller());
        queue.retract(one);
        assert_eq!(queue.len(), 2);
        queue.push_task(other);
        queue.retract(other);
        assert_eq!(pop_token(&mut queue).task(), Some(one));
        assert!(run_call(&mut queue) && queue.is_empty());
    }

    #[test]
    fn posts_are_entries_of_their_own_behind_one_token() {
        let mut queue = ReadyQueue::new();
        queue.push_posted(3);
        queue.push_root(1);
        queue.push_posted(1);
        assert_eq!(queue.len(), 5);
        for left in [3, 2, 1] {
            let popped = pop_token(&mut queue).special();
            assert_eq!(popped, Special::Posted(left));
            queue.unpop_posted(left);
            assert_eq!(queue.len(), 1 + left as usize);
        }
        assert_eq!(pop_token(&mut queue).special(), Special::Root(1));
        assert_eq!(pop_token(&mut queue).special(), Special::Posted(1));
        queue.unpop_posted(1);
        assert_eq!((queue.is_empty(), queue.len()), (true, 0));
        queue.push_posted(3);
        queue.push_call(|| (), Location::caller());
        queue.push_posted(2);
        assert!(queue.discard().is_some_and(|call| call.is_some()));
        assert!(queue.discard().is_none());
        assert_eq!(queue.len(), 0);
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
