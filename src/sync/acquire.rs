//! Waiting for what a primitive grants: [`Acquire`] is the primitive, [`Wait`] the future of its waiters.
//!
//! The task that releases removes the first waiter from the [`WaitList`] and gives it what it waited for. If the future is
//! dropped after the grant, it gives the grant to the next waiter ([`Acquire::give_up`]).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::kernel::note_wait::{address, note_wait_anew};
use crate::kernel::task::waker::with_current;
use crate::kernel::wait::list::{Awaiter, WaitList};
use crate::kernel::wait::wait_kind::WaitKind;
use crate::kernel::wait::waiters::WaiterId;

/// Takes one unit from the poll budget for a wait that ended because its object was shut down. The next wait on that
/// object ends at once too, so a loop of such waits would never let other tasks run. When the budget is used up, this
/// is pending once.
#[cold]
pub(crate) fn poll_shut_down(context: &Context<'_>) -> Poll<()> {
    with_current(|state| state.poll_begin(context)).unwrap_or(Poll::Ready(()))
}

/// A primitive that grants its waiters what they wait for.
pub(crate) trait Acquire {
    /// What a task that waits is said to wait for.
    const KIND: WaitKind;

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
    /// queued, the waiters behind it may have waited for it alone, and are checked. Nothing is to be done where all
    /// waiters are granted at once, since none depends on another.
    fn give_up(&self, _amount: Self::Amount, _granted: bool) {}
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
            // While the stage still says what was taken: if the waker's destructor panics, the wait gives it back.
            drop(awaiter);
            self.stage = Stage::New;
            return Poll::Ready(());
        }
        let list = self.primitive.wait_list();
        let is_new = !matches!(self.stage, Stage::Queued(_));
        match self.stage {
            Stage::Queued(id) => drop(list.enqueue(&mut Some(id), self.amount, awaiter)),
            _ => self.stage = Stage::Queued(list.join(self.amount, awaiter)),
        }
        note_wait_anew(A::KIND, is_new, || address(list));
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
