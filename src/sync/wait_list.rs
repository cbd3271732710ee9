//! The wait queue of a primitive. Everything about waiting that is easy to get wrong is written here, once.
//!
//! A waiter is queued with its newest waker. It can leave the queue in two ways, and each primitive uses one of them:
//!
//! - **Granted**: the task that releases removes the first waiter from the queue and gives it what it waited for. The
//!   waiter needs to check one thing only: an id that is no longer queued has been granted. [`Wait`] is the future of
//!   this kind. If it is dropped after the grant, it gives the grant to the next waiter ([`Acquire::give_up`]).
//! - **Notified**: the waiter is woken and stays queued. It leaves the queue itself when there is enough for it and for
//!   every waiter before it. Nothing is given to it before that, so nothing can be lost, and operations that do not
//!   wait may still take what is there.
//!
//! Cloning, waking or dropping another runtime's waker runs user code, which may use the same primitive. So the queue
//! is never borrowed during such a call, and the condition is checked again after a clone. Tasks of our own are woken
//! by key, which runs no user code.

use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::kernel::enter::wake;
use crate::kernel::task::key::Key;
use crate::kernel::task::waker::{key_of, wake_key, with_current};
use crate::kernel::wait::waiters::{WaiterId, Waiters};

/// How to wake a waiter.
pub(crate) enum Awaiter {
    /// A task of our own; [`Key::NONE`] if the waiter was woken already and is still queued.
    Task(Key),
    /// Another runtime's waker, or the waker of a combinator that has its own.
    Other(Waker),
}

impl Awaiter {
    const WOKEN: Self = Self::Task(Key::NONE);

    /// Clones `waker` unless it is one of ours. The clone may run user code, so the caller must not hold a borrow.
    #[inline]
    pub(crate) fn new(waker: &Waker) -> Self {
        match key_of(waker) {
            Some(key) => Self::Task(key),
            None => Self::Other(waker.clone()),
        }
    }

    /// Wakes the waiter. This may run another runtime's waker, so the caller must not hold a borrow.
    // Not inlined: a function of its own takes the key from registers, not from the stack, where it was just written.
    #[inline(never)]
    pub(crate) fn wake(self) {
        match self {
            Self::Task(Key::NONE) => {}
            Self::Task(key) => wake_key(key),
            Self::Other(waker) => wake(waker),
        }
    }
}

/// Takes one unit from the poll budget for a wait that ended because its object was shut down. The next wait on that
/// object ends at once too, so a loop of such waits would never let other tasks run. When the budget is used up, this
/// is pending once.
#[cold]
pub(crate) fn poll_shut_down(context: &Context<'_>) -> Poll<()> {
    with_current(|state| state.poll_begin(context)).unwrap_or(Poll::Ready(()))
}

/// A FIFO queue of waiters, each of which waits for an amount `A` of something.
pub(crate) struct WaitList<A = ()> {
    waiters: RefCell<Waiters<(A, Awaiter)>>,
    /// Makes the list `!Send`: it belongs to one thread.
    not_send: PhantomData<*const ()>,
}

impl<A: Copy> WaitList<A> {
    pub(crate) const fn new() -> Self {
        Self {
            waiters: RefCell::new(Waiters::new()),
            not_send: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.borrow().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiters.borrow().len()
    }

    /// Returns whether this waiter was granted what it waits for: it is no longer queued.
    #[inline(always)]
    pub(crate) fn was_granted(&self, id: WaiterId) -> bool {
        !self.waiters.borrow().contains(id)
    }

    /// Returns how many waiters are queued before this one. For a caller that is not queued, this is the length of the
    /// queue.
    #[inline]
    pub(crate) fn ahead(&self, id: Option<WaiterId>) -> usize {
        let mut waiters = self.waiters.borrow_mut();
        match id {
            Some(id) => waiters.position(id).unwrap_or_default(),
            None => waiters.len(),
        }
    }

    /// Returns `Ready` once `condition` holds for the waiter `id`. Until then the waiter is queued with the newest
    /// waker.
    #[inline]
    pub(crate) fn poll_until(
        &self,
        id: &mut Option<WaiterId>,
        amount: A,
        waker: &Waker,
        mut condition: impl FnMut(Option<WaiterId>) -> bool,
    ) -> Poll<()> {
        if condition(*id) {
            return Poll::Ready(());
        }
        let awaiter = Awaiter::new(waker);
        if matches!(awaiter, Awaiter::Other(_)) && condition(*id) {
            return Poll::Ready(());
        }
        let replaced = self.enqueue(id, amount, awaiter);
        drop(replaced);
        Poll::Pending
    }

    /// Adds a waiter to the end of the queue.
    #[inline]
    pub(crate) fn join(&self, amount: A, awaiter: Awaiter) -> WaiterId {
        self.waiters.borrow_mut().join((amount, awaiter))
    }

    /// Replaces the waker of waiter `id`, or adds a new waiter to the end of the queue. Returns the replaced waker; the
    /// caller drops it when nothing is borrowed.
    #[inline]
    pub(crate) fn enqueue(
        &self,
        id: &mut Option<WaiterId>,
        amount: A,
        awaiter: Awaiter,
    ) -> Option<Awaiter> {
        let replaced = self.waiters.borrow_mut().wait(id, (amount, awaiter));
        replaced.map(|(_, awaiter)| awaiter)
    }

    /// Removes a waiter. Returns `None` if it had been granted, otherwise its waker; the caller drops it when nothing
    /// is borrowed.
    #[inline]
    pub(crate) fn leave(&self, id: WaiterId) -> Option<Awaiter> {
        let left = self.waiters.borrow_mut().leave(id);
        left.map(|(_, awaiter)| awaiter)
    }

    /// Removes the first waiter. The caller records what it grants, then wakes the waiter.
    #[inline]
    pub(crate) fn take_first(&self) -> Option<Awaiter> {
        let first = self.waiters.borrow_mut().take_first();
        first.map(|(_, awaiter)| awaiter)
    }

    /// Removes the first waiter if `enough` accepts the amount that it waits for.
    pub(crate) fn take_first_if(&self, enough: impl FnOnce(A) -> bool) -> Option<(A, Awaiter)> {
        let mut waiters = self.waiters.borrow_mut();
        let &(amount, _) = waiters.first()?.1;
        if enough(amount) {
            waiters.take_first()
        } else {
            None
        }
    }

    /// Removes the first `at_most` waiters and wakes them, in order. Waiters that are added during the call are left
    /// alone.
    pub(crate) fn grant(&self, at_most: usize) {
        let end = self.waiters.borrow().end();
        let next = || self.waiters.borrow_mut().take_first_before(end);
        for _ in 0..at_most {
            let Some((_, awaiter)) = next() else { return };
            awaiter.wake();
        }
    }

    /// Appends the ids of all waiters to `out`, in order.
    pub(crate) fn ids(&self, out: &mut Vec<WaiterId>) {
        out.extend(self.waiters.borrow().ids());
    }

    /// Wakes the waiter that has `ahead` others before it, unless it was woken before. It stays queued.
    #[inline]
    pub(crate) fn notify(&self, ahead: usize) {
        let awaiter = {
            let mut waiters = self.waiters.borrow_mut();
            let Some(waiter) = waiters.at_mut(ahead) else {
                return;
            };
            std::mem::replace(&mut waiter.1, Awaiter::WOKEN)
        };
        awaiter.wake();
    }

    /// Wakes the first `at_most` waiters, in order. They stay queued.
    pub(crate) fn notify_first(&self, at_most: usize) {
        let awaiters: Vec<_> = {
            let mut waiters = self.waiters.borrow_mut();
            let woken = waiters.iter_mut().take(at_most);
            woken
                .map(|waiter| std::mem::replace(&mut waiter.1, Awaiter::WOKEN))
                .collect()
        };
        awaiters.into_iter().for_each(Awaiter::wake);
    }
}

/// A primitive that grants its waiters what they wait for.
pub(crate) trait Acquire {
    /// The amount that one waiter asks for.
    type Amount: Copy;

    /// What a successful wait returns.
    type Guard<'a>
    where
        Self: 'a;

    fn wait_list(&self) -> &WaitList<Self::Amount>;

    /// Takes the amount for a caller that is not queued. Returns `false` if there is not enough, or if an earlier
    /// waiter must go first.
    fn try_take(&self, amount: Self::Amount) -> bool;

    /// Returns the guard of a caller for which the amount was taken or granted.
    fn guard(&self, amount: Self::Amount) -> Self::Guard<'_>;

    /// Handles a waiter that was dropped. If it had been granted, the amount goes to other waiters. If it was still
    /// queued, the waiters behind it may have waited for it alone, and are checked.
    fn give_up(&self, amount: Self::Amount, granted: bool);
}

/// The progress of a [`Wait`].
enum Stage {
    /// Not queued, and nothing was granted.
    New,
    /// Queued, or granted and therefore no longer in the list.
    Queued(WaiterId),
    /// The amount was taken without waiting, in a poll that has not returned.
    Taken,
}

/// Waits until the primitive grants the amount.
///
/// # Cancellation
/// Dropping it removes the waiter, or gives back what was granted.
#[must_use = "futures do nothing unless they are awaited"]
#[repr(C)]
pub(crate) struct Wait<'a, A: Acquire> {
    primitive: &'a A,
    // Stands between the two words of a semaphore's guard. Side by side they would be copied as one, right after they
    // were written as two, and the processor would stall on that.
    stage: Stage,
    amount: A::Amount,
}

impl<'a, A: Acquire> Wait<'a, A> {
    #[inline]
    pub(crate) fn new(primitive: &'a A, amount: A::Amount) -> Self {
        Self {
            primitive,
            stage: Stage::New,
            amount,
        }
    }

    /// Polls on the slow path: the caller may have to wait, or waits already.
    fn poll_wait(&mut self, waker: &Waker) -> Poll<()> {
        if self.is_over() {
            self.stage = Stage::New;
            return Poll::Ready(());
        }
        let awaiter = Awaiter::new(waker);
        if matches!(awaiter, Awaiter::Other(_)) && self.is_over_by_now() {
            self.stage = Stage::New;
            return Poll::Ready(());
        }
        let list = self.primitive.wait_list();
        match self.stage {
            Stage::Queued(id) => drop(list.enqueue(&mut Some(id), self.amount, awaiter)),
            _ => self.stage = Stage::Queued(list.join(self.amount, awaiter)),
        }
        Poll::Pending
    }

    /// Returns whether the amount was granted, or takes it if it is free.
    #[inline(always)]
    fn is_over(&mut self) -> bool {
        if let Stage::Queued(id) = self.stage {
            return self.primitive.wait_list().was_granted(id);
        }
        let taken = self.primitive.try_take(self.amount);
        if taken {
            self.stage = Stage::Taken;
        }
        taken
    }

    /// [`is_over`](Self::is_over), after the clone of another runtime's waker.
    #[cold]
    fn is_over_by_now(&mut self) -> bool {
        self.is_over()
    }
}

/// No field is ever pinned.
impl<A: Acquire> Unpin for Wait<'_, A> {}

impl<'a, A: Acquire> Future for Wait<'a, A> {
    type Output = A::Guard<'a>;

    // The guard is built in the caller's frame. If a call returned it, a guard of three words would be copied from
    // where it was just written, and the processor would stall on that.
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let taken = matches!(this.stage, Stage::New) && this.primitive.try_take(this.amount);
        if !taken && this.poll_wait(context.waker()).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(this.primitive.guard(this.amount))
    }
}

impl<A: Acquire> Drop for Wait<'_, A> {
    #[inline]
    fn drop(&mut self) {
        let left = match self.stage {
            Stage::New => return,
            Stage::Queued(id) => self.primitive.wait_list().leave(id),
            Stage::Taken => None,
        };
        self.primitive.give_up(self.amount, left.is_none());
        drop(left);
    }
}
