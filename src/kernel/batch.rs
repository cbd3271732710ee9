//! The closures that the loop has drained from its inbox and has not run yet. The loop takes one after the other without a
//! lock, and any thread may cancel one meanwhile.
//!
//! One word, `front`, decides between the two: the number of the next closure, and a flag. The loop takes a closure by
//! adding one to the number. A canceller, which holds the lock, sets the flag. Both are atomic steps that also tell what
//! the word was before, so one of the two comes first:
//!
//! ```text
//!   the loop first       the canceller sees that the number has passed, and leaves the closure alone
//!   the canceller first  the loop sees the flag, waits for the lock, and finds the number among the cancelled ones
//! ```
//! The flag stays until the loop, with the lock held, finds that no cancelled number is left. Without a cancel it takes no
//! lock.
//!
//! No slot is written while it is in the batch. The loop or a canceller copies the closure out, and leaves bytes that
//! nobody owns. So both only read the buffer, at the same time too. The buffer itself is changed through [`Locked`] only:
//! on the loop's thread, with the lock held.

#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::collections::BTreeSet;
use std::mem::{self, ManuallyDrop};
use std::ptr;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU32;
use std::thread::{self, ThreadId};

use super::inline_fn::SendFn;
use crate::sys::prefetch::AHEAD;
use crate::sys::sync::{AtomicU64, CHECKED, Mutex, MutexGuard, Ordering};

/// What a drain reports to the loop, in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Poll the task with this key, if there is one.
    Wake(u64),
    /// Queue markers of so many closures in the ready queue. When one reaches the front, [`Batch::take`] returns its
    /// closure.
    Calls(u32),
}

/// A place of a closure, `None` where one was cancelled before the drain. What it holds is moved out, never dropped
/// there.
pub(crate) type Slot = ManuallyDrop<Option<SendFn>>;

/// Closures that a buffer may hold room for while it is empty. Enough that a loop under steady load allocates nothing
/// (the two buffers then keep 64 KiB), little enough that one burst of a million does not cost 50 MB for ever.
pub(super) const KEPT: usize = 1024;

/// How many polls for events larger buffers outlast. A loop that is busy with posts polls every few microseconds, and to
/// free a buffer and to let it grow again for each burst would cost as much as the posts. A loop that falls asleep frees
/// them at once.
const CALM: u32 = 255;

/// The flag of `front`. The number is in the other bits.
const CANCELLED: u64 = 1;

/// One step of the number.
const ONE: u64 = 2;

pub(crate) struct Batch {
    /// Twice the number of the next closure to be taken, plus the flag.
    front: AtomicU64,
    /// After how many further polls for events the buffers are freed, which a burst has made large; 0 if they are not.
    /// Only the loop uses it.
    pub(super) burst: AtomicU32,
    /// Locked by cancellers, and by the loop while it changes the buffer.
    guarded: Mutex<Guarded>,
    /// Changed by the loop's thread with the lock held. So that thread may read it at any time, and others with the lock.
    drained: UnsafeCell<Drained>,
}

// SAFETY: `front`, `burst` and `guarded` are `Sync`. `drained` is read by the loop's thread, by no other without the lock,
// and changed by the loop's thread with the lock, so no read meets a change; but for `taken`, which that thread alone
// reads and writes. What is moved out of it on another thread is a `SendFn`, which is `Send`.
unsafe impl Sync for Batch {}

#[derive(Default)]
struct Guarded {
    /// The numbers that were cancelled and that the loop has not come to.
    cancelled: BTreeSet<u64>,
    /// Empty except during a drain: the buffer that the inbox gets in exchange for its own.
    order: Vec<Delivery>,
}

#[derive(Default)]
struct Drained {
    /// Closures with consecutive numbers. Those that were taken or cancelled are bytes that nobody owns.
    slots: Vec<Slot>,
    /// The number of the first slot.
    first: u64,
    /// How many slots the front has passed.
    taken: Cell<usize>,
    /// The thread of the loop, if that is checked.
    owner: Option<ThreadId>,
}

impl Drained {
    /// Returns the number after the last closure.
    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Returns the number of the next closure.
    fn front(&self) -> u64 {
        self.first + self.taken.get() as u64
    }

    /// Returns whether all closures were taken.
    fn is_spent(&self) -> bool {
        self.taken.get() == self.slots.len()
    }

    /// Forgets the slots that the front has passed, and returns the buffer.
    fn forget_taken(&mut self) -> &mut Vec<Slot> {
        self.first = self.front();
        self.slots.drain(..self.taken.take());
        &mut self.slots
    }

    /// Panics on another thread than the loop's, in builds that check. Only crate code that breaks a rule gets there.
    #[inline]
    fn check_owner(&self) {
        if CHECKED {
            let here = Some(thread::current().id());
            assert!(
                self.owner.is_none() || self.owner == here,
                "a batch is used on another thread than its loop's"
            );
        }
    }
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            front: AtomicU64::new(0),
            burst: AtomicU32::new(0),
            guarded: Mutex::new(Guarded::default()),
            drained: UnsafeCell::new(Drained::default()),
        }
    }

    /// Takes the next closure; `None` if it was cancelled, or if there is none. Called on the loop's thread.
    #[inline]
    pub(crate) fn take(&self) -> Option<SendFn> {
        // SAFETY: this is the loop's thread, the only one that changes the value, and no change is under way: changes
        // call nothing that gets here. Others at most read it too.
        let drained = unsafe { &*self.drained.get() };
        drained.check_owner();
        let place = drained.taken.get();
        let slot: *const Slot = drained.slots.get(place)?;
        drained.taken.set(place + 1);
        // The word is all that is decided by this step. What it is about was written by this thread, or is read under
        // the lock.
        let before = self.front.fetch_add(ONE, Ordering::Relaxed);
        debug_assert_eq!(before / ONE, drained.first + place as u64);
        if before & CANCELLED != 0 && self.was_cancelled(before / ONE) {
            return None;
        }
        // Moved out or not, its bytes are those of a closure.
        let ahead = drained.slots.get(place + AHEAD);
        if let Some(closure) = ahead.and_then(|slot| slot.as_ref()) {
            closure.prefetch();
        }
        // SAFETY: the pointer comes from a reference. The closure is in its place: this is the one step that takes this
        // number, since the front only rises, and no canceller has taken it. One that came before has left the number
        // behind; one that comes later finds that the front has passed it. So the copy is the only owner.
        ManuallyDrop::into_inner(unsafe { ptr::read(slot) })
    }

    /// Returns whether a closure that the front has just passed was cancelled. Waits for a canceller that is at work,
    /// which runs no user code.
    #[cold]
    fn was_cancelled(&self, number: u64) -> bool {
        let mut locked = self.lock();
        let was_cancelled = locked.guarded.cancelled.remove(&number);
        if locked.guarded.cancelled.is_empty() {
            self.front.fetch_and(!CANCELLED, Ordering::Relaxed);
        }
        was_cancelled
    }

    /// Locks the batch, so that no closure comes or is cancelled. The loop may still take some.
    pub(crate) fn lock(&self) -> Locked<'_> {
        let guarded = self.guarded.lock();
        Locked {
            batch: self,
            // As for all locks of the inbox: nothing that runs under it leaves a half-done change.
            guarded: guarded.unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// The batch while it is locked.
pub(crate) struct Locked<'a> {
    batch: &'a Batch,
    guarded: MutexGuard<'a, Guarded>,
}

impl Locked<'_> {
    fn drained(&self) -> &Drained {
        // SAFETY: changes are made with the lock held, by `&mut self`: so none is under way.
        unsafe { &*self.batch.drained.get() }
    }

    /// Returns what may be changed. Called on the loop's thread.
    fn drained_mut(&mut self) -> &mut Drained {
        self.drained().check_owner();
        // SAFETY: the lock is held, so no other thread has a reference. This is the loop's thread, whose other reference
        // lives in `take`, which does not get here. `&mut self` excludes the references that this guard has given.
        unsafe { &mut *self.batch.drained.get() }
    }

    /// Returns the number after the last closure that was drained.
    pub(crate) fn end(&self) -> u64 {
        self.drained().end()
    }

    /// Returns, for each closure that was not taken, whether it will run. Called on the loop's thread.
    pub(crate) fn will_run(&self) -> Vec<bool> {
        let drained = self.drained();
        drained.check_owner();
        let slots = drained.slots[drained.taken.get()..].iter();
        let cancelled = &self.guarded.cancelled;
        // The slot of a number that is in the set is bytes that nobody owns.
        (drained.front()..)
            .zip(slots)
            .map(|(number, slot)| !cancelled.contains(&number) && slot.is_some())
            .collect()
    }

    /// Takes a closure out, for its caller to drop; `None` if it is not here or has been taken. Calls `mark` before the
    /// loop can find it gone.
    pub(crate) fn cancel(&mut self, number: u64, mark: impl FnOnce()) -> Option<SendFn> {
        let front = &self.batch.front;
        // Most cancels come too late: those leave the word alone.
        if number >= self.end() || number < front.load(Ordering::Relaxed) / ONE {
            return None;
        }
        let front = front.fetch_or(CANCELLED, Ordering::Relaxed) / ONE;
        if number < front || !self.guarded.cancelled.insert(number) {
            return None;
        }
        let drained = self.drained();
        let slot: *const Slot = &raw const drained.slots[(number - drained.first) as usize];
        // SAFETY: the pointer comes from a reference. The loop has not taken this closure: the front had not passed it
        // when the flag was set, and a step that finds the flag looks for the number first. No canceller has taken it,
        // or else the number would have been there. So the copy is the only owner.
        let closure = ManuallyDrop::into_inner(unsafe { ptr::read(slot) });
        // `None` was cancelled before the drain.
        closure.inspect(|_| mark())
    }

    /// Appends what was posted since, and leaves empty buffers. Returns what was posted, in its order, as a buffer that is
    /// to be emptied. Called on the loop's thread.
    pub(crate) fn append(
        &mut self,
        calls: &mut Vec<Slot>,
        order: &mut Vec<Delivery>,
    ) -> &mut Vec<Delivery> {
        let drained = self.drained_mut();
        let large = drained.slots.capacity().max(calls.capacity()) > KEPT;
        let burst = calls.len() > KEPT;
        if drained.is_spent() {
            mem::swap(drained.forget_taken(), calls);
        } else {
            if drained.taken.get() > drained.slots.len() / 2 {
                // No more are moved than were taken, so the moves cost no more than the closures do.
                drained.forget_taken();
            }
            drained.slots.append(calls);
        }
        // Further small drains do not prolong the time.
        if burst || large && self.batch.burst.load(Ordering::Relaxed) == 0 {
            self.batch.burst.store(CALM, Ordering::Relaxed);
        }
        mem::swap(&mut self.guarded.order, order);
        &mut self.guarded.order
    }

    /// Takes out all closures that are left, in order, and frees the buffers. The next closure has the number `next`.
    /// Called on the loop's thread.
    pub(crate) fn close(&mut self, next: u64) -> Vec<SendFn> {
        let Guarded { cancelled, .. } = mem::take(&mut *self.guarded);
        self.batch.front.store(next * ONE, Ordering::Relaxed);
        let drained = self.drained_mut();
        let left = mem::take(drained.forget_taken());
        let first = mem::replace(&mut drained.first, next);
        drained.owner = None;
        (first..)
            .zip(left)
            .filter(|(number, _)| !cancelled.contains(number))
            .filter_map(|(_, slot)| ManuallyDrop::into_inner(slot))
            .collect()
    }

    /// Makes the calling thread the loop's.
    pub(crate) fn open(&mut self) {
        self.drained_mut().owner = CHECKED.then(|| thread::current().id());
    }

    /// Frees the buffer if all its closures were taken; otherwise it is left for a later attempt. Returns whether they
    /// were. Called on the loop's thread.
    pub(crate) fn free(&mut self) -> bool {
        let drained = self.drained_mut();
        let spent = drained.is_spent();
        if spent {
            drop(mem::take(drained.forget_taken()));
        }
        let left = if spent { 0 } else { CALM };
        self.batch.burst.store(left, Ordering::Relaxed);
        spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::sync::MODEL;
    use std::sync::Arc;

    /// A batch whose closures send their numbers, and all numbers so far.
    struct Fixture {
        batch: Batch,
        /// The number of the next closure.
        next: u64,
        ran: Arc<std::sync::Mutex<Vec<u64>>>,
    }

    impl Fixture {
        fn new() -> Self {
            let batch = Batch::new();
            batch.lock().open();
            Self {
                batch,
                next: 0,
                ran: Arc::default(),
            }
        }

        fn append(&mut self, count: u64) {
            let mut posted: Vec<Slot> = (self.next..self.next + count)
                .map(|number| {
                    let ran = Arc::clone(&self.ran);
                    let closure = move || ran.lock().unwrap().push(number);
                    ManuallyDrop::new(Some(SendFn::new(closure)))
                })
                .collect();
            self.next += count;
            self.batch.lock().append(&mut posted, &mut Vec::new());
            assert!(posted.is_empty());
        }

        fn cancel(&self, number: u64) -> bool {
            self.batch.lock().cancel(number, || ()).is_some()
        }

        /// Takes and runs so many; returns the numbers that ran.
        fn run(&self, count: u64) -> Vec<u64> {
            for _ in 0..count {
                self.batch.take().into_iter().for_each(SendFn::call);
            }
            mem::take(&mut *self.ran.lock().unwrap())
        }

        fn room(&self) -> usize {
            self.batch.lock().drained().slots.capacity()
        }

        fn is_flagged(&self) -> bool {
            self.batch.front.load(Ordering::Relaxed) & CANCELLED != 0
        }
    }

    #[test]
    fn closures_are_taken_in_order_over_several_drains_and_each_is_dropped_once() {
        if MODEL {
            return;
        }
        let mut this = Fixture::new();
        this.append(3);
        assert_eq!(this.run(1), [0]);
        this.append(2);
        assert_eq!(this.run(3), [1, 2, 3]);
        this.append(1);
        assert_eq!(this.run(2), [4, 5]);
        assert!(this.batch.take().is_none());
        assert_eq!(Arc::strong_count(&this.ran), 1);
    }

    #[test]
    fn a_cancelled_closure_is_passed_over_and_the_flag_goes_with_the_last() {
        if MODEL {
            return;
        }
        let mut this = Fixture::new();
        this.append(6);
        assert_eq!(this.run(1), [0]);
        assert!(!this.cancel(0), "it has run");
        assert!(!this.cancel(6), "it was not posted");
        assert!(!this.is_flagged());
        assert!(this.cancel(2) && this.cancel(4));
        assert!(!this.cancel(2), "it is gone");
        this.append(1);
        assert_eq!(this.run(2), [1]);
        assert!(this.is_flagged());
        assert_eq!(this.run(4), [3, 5, 6]);
        assert!(!this.is_flagged());
        assert_eq!(Arc::strong_count(&this.ran), 1);
    }

    #[test]
    fn what_was_cancelled_before_the_drain_cannot_be_cancelled_again() {
        if MODEL {
            return;
        }
        let this = Fixture::new();
        let mut cancelled = vec![ManuallyDrop::new(None)];
        this.batch.lock().append(&mut cancelled, &mut Vec::new());
        assert!(!this.cancel(0));
        assert!(this.batch.take().is_none());
        assert_eq!(this.batch.lock().end(), 1);
    }

    #[test]
    fn closing_returns_what_is_left_in_order_and_the_next_number_goes_on() {
        if MODEL {
            return;
        }
        let mut this = Fixture::new();
        this.append(5);
        assert_eq!(this.run(1), [0]);
        assert!(this.cancel(2));
        this.next += 3;
        let left = this.batch.lock().close(this.next);
        left.into_iter().for_each(SendFn::call);
        assert_eq!(this.run(1), [1, 3, 4]);
        assert!(!this.cancel(1) && !this.cancel(7));
        assert_eq!(this.room(), 0);
        this.append(1);
        assert!(!this.is_flagged());
        assert_eq!(this.run(1), [8]);
        assert_eq!(Arc::strong_count(&this.ran), 1);
    }

    #[test]
    fn a_buffer_that_is_never_empty_does_not_grow() {
        if MODEL {
            return;
        }
        let mut this = Fixture::new();
        this.append(10);
        for number in 0..10_000 {
            this.append(1);
            assert_eq!(this.run(1), [number]);
            assert!(!this.batch.lock().free());
        }
        assert!(this.room() <= 64);
        assert_eq!(this.run(10).len(), 10);
        assert!(this.batch.lock().free());
        assert_eq!(this.room(), 0);
        this.append(1);
        assert_eq!(this.run(1), [10_010]);
    }

    #[test]
    fn another_thread_may_cancel_but_not_take() {
        if MODEL {
            return;
        }
        let mut this = Fixture::new();
        this.append(2);
        let batch = &this.batch;
        std::thread::scope(|scope| {
            assert!(scope.spawn(|| this.cancel(1)).join().unwrap());
            assert!(scope.spawn(|| batch.take().is_some()).join().is_err());
        });
        assert_eq!(this.run(2), [0]);
    }
}
