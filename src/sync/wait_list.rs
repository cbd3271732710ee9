//! The line before a primitive: everything about waiting that must be right once, and is written once.
//!
//! A waiter stands in line with its newest waker. There are two ways out of it, and a primitive uses one of them:
//!
//! - It is **called**: whoever releases takes the first waiter out of the line, together with what it waited for. A
//!   id that is no longer in line has been called, which is all that the waiter must find out. [`Wait`] is the future
//!   of this kind; dropped after it was called, it hands on what it was given ([`Acquire::give_up`]).
//! - It is **notified**: it is woken where it stands and leaves by itself, once there is something for everybody before
//!   it. Nothing was given to it meanwhile, so nothing can be lost, and others who may help themselves still can.
//!
//! Cloning, waking and dropping a foreign waker runs foreign code, which may use the same primitive again. So a line is
//! never borrowed meanwhile, and what a clone may have changed is looked at once more. Tasks of ours are queued by key,
//! which runs nobody's code.

use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::kernel::enter::wake;
use crate::kernel::task::key::Key;
use crate::kernel::task::waker::{key_of, wake_key, with_current};
use crate::kernel::wait::waiters::{WaiterId, Waiters};

/// Whom to wake.
pub(crate) enum Awaiter {
    /// A task of ours; [`Key::NONE`] where somebody stands in line who has been woken already.
    Task(Key),
    /// Whoever polled us with another runtime's waker, or through a combinator that has its own.
    Other(Waker),
}

impl Awaiter {
    const WOKEN: Self = Self::Task(Key::NONE);

    /// Clones a foreign waker, so nothing may be borrowed.
    #[inline]
    pub(crate) fn new(waker: &Waker) -> Self {
        match key_of(waker) {
            Some(key) => Self::Task(key),
            None => Self::Other(waker.clone()),
        }
    }

    /// May run another runtime's waker, so nothing may be borrowed.
    // Not inlined: in a function of its own what is queued comes from registers, and not from the stack, where it was
    // just written.
    #[inline(never)]
    pub(crate) fn wake(self) {
        match self {
            Self::Task(Key::NONE) => {}
            Self::Task(key) => wake_key(key),
            Self::Other(waker) => wake(waker),
        }
    }
}

/// A wait is over because what it waits on was shut down, and so will be the next one: it takes one from what its task may
/// do in this poll. Where nothing is left it is pending once, so that a loop of such waits lets others run.
#[cold]
pub(crate) fn poll_shut_down(context: &Context<'_>) -> Poll<()> {
    with_current(|state| state.poll_begin(context)).unwrap_or(Poll::Ready(()))
}

/// Who waits, each for an amount `A` of something.
pub(crate) struct WaitList<A = ()> {
    waiters: RefCell<Waiters<(A, Awaiter)>>,
    /// What belongs to a loop's thread stays there.
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

    /// Whether nobody is in this id any more: its waiter was called.
    pub(crate) fn was_granted(&self, id: WaiterId) -> bool {
        self.waiters.borrow().position(id).is_none()
    }

    /// How many stand before this id; for somebody without one, how many stand in line at all.
    #[inline]
    pub(crate) fn ahead(&self, id: Option<WaiterId>) -> usize {
        let waiters = self.waiters.borrow();
        match id {
            Some(id) => waiters.position(id).unwrap_or_default(),
            None => waiters.len(),
        }
    }

    /// `Ready` as soon as `may` says so to the waiter in `id`; until then it stands in line with the newest waker.
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

    /// Joins at the end of the line.
    #[inline]
    pub(crate) fn join(&self, amount: A, awaiter: Awaiter) -> WaiterId {
        self.waiters.borrow_mut().join((amount, awaiter))
    }

    /// Stands in line: in `id`, or at the end. The waker that is replaced is to be dropped with nothing borrowed.
    #[inline]
    pub(crate) fn enqueue(
        &self,
        id: &mut Option<WaiterId>,
        amount: A,
        awaiter: Awaiter,
    ) -> Option<Awaiter> {
        let mut waiters = self.waiters.borrow_mut();
        match id.and_then(|id| waiters.get_mut(id)) {
            Some(waiter) => Some(std::mem::replace(&mut waiter.1, awaiter)),
            None => {
                *id = Some(waiters.join((amount, awaiter)));
                None
            }
        }
    }

    /// Leaves the line. `None` where the waiter had been called; else its waker, to be dropped with nothing borrowed.
    #[inline]
    pub(crate) fn leave(&self, id: WaiterId) -> Option<Awaiter> {
        let left = self.waiters.borrow_mut().leave(id);
        left.map(|(_, awaiter)| awaiter)
    }

    /// Takes the first waiter out of the line. The caller notes what it gives, then wakes.
    #[inline]
    pub(crate) fn take_first(&self) -> Option<Awaiter> {
        let first = self.waiters.borrow_mut().take_first();
        first.map(|(_, awaiter)| awaiter)
    }

    /// Takes the first waiter out of the line if `enough` agrees to the amount that it waits for.
    pub(crate) fn take_first_if(&self, enough: impl FnOnce(A) -> bool) -> Option<(A, Awaiter)> {
        let mut waiters = self.waiters.borrow_mut();
        let &(amount, _) = waiters.first()?.1;
        if enough(amount) {
            waiters.take_first()
        } else {
            None
        }
    }

    /// Calls the first `at_most` of those who stand in line now, in order. Whoever joins meanwhile is not meant.
    pub(crate) fn grant(&self, at_most: usize) {
        let mut end = None;
        for _ in 0..at_most {
            let mut waiters = self.waiters.borrow_mut();
            let end = *end.get_or_insert(waiters.end());
            let first = waiters.first().filter(|(id, _)| *id < end);
            if first.is_none() {
                return;
            }
            let first = waiters.take_first();
            drop(waiters);
            if let Some((_, awaiter)) = first {
                awaiter.wake();
            }
        }
    }

    /// The places of all who stand in line, in order.
    pub(crate) fn ids(&self, out: &mut Vec<WaiterId>) {
        out.extend(self.waiters.borrow().ids());
    }

    /// Wakes the waiter with so many before it, where it stands, if there is one that was not woken yet.
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

    /// Wakes the first `at_most` waiters where they stand, in order.
    pub(crate) fn notify_first(&self, at_most: usize) {
        let awaiters: Vec<_> = {
            let mut waiters = self.waiters.borrow_mut();
            let count = waiters.len().min(at_most);
            let waken = (0..count).filter_map(|ahead| {
                let waiter = waiters.at_mut(ahead)?;
                Some(std::mem::replace(&mut waiter.1, Awaiter::WOKEN))
            });
            waken.collect()
        };
        awaiters.into_iter().for_each(Awaiter::wake);
    }
}

/// A primitive whose waiters are called.
pub(crate) trait Acquire {
    /// How much of it one waits for.
    type Amount: Copy;

    /// What whoever was let in gets.
    type Guard<'a>
    where
        Self: 'a;

    fn wait_list(&self) -> &WaitList<Self::Amount>;

    /// Lets somebody in who has just come, if there is enough and nobody waits who would have to go first.
    fn try_take(&self, amount: Self::Amount) -> bool;

    /// The pass of somebody who taken or was called.
    fn guard(&self, amount: Self::Amount) -> Self::Guard<'_>;

    /// A waiter gives up. If it was called, what it was given must go on to others; if it stood in line, those behind
    /// it may have waited for it only.
    fn give_up(&self, amount: Self::Amount, granted: bool);
}

/// Where a [`Wait`] stands.
enum Stage {
    /// Not in line: nothing is owed to anybody.
    New,
    /// In line, or called out of it.
    Queued(WaiterId),
    /// Let in without waiting, in a poll that is not over.
    Taken,
}

/// Waits until a [`Acquire`] lets it in.
///
/// # Cancellation
/// Dropped, it leaves the line, or gives back what it was called for.
#[must_use = "futures do nothing unless they are awaited"]
#[repr(C)]
pub(crate) struct Wait<'a, A: Acquire> {
    primitive: &'a A,
    // Between the two words of a semaphore's pass: side by side they would be copied as one, right after they were
    // written as two, for which processors wait.
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

    /// A poll that may have to wait, or has.
    fn poll_wait(&mut self, waker: &Waker) -> Poll<()> {
        let (primitive, amount) = (self.primitive, self.amount);
        let mut id = match self.stage {
            Stage::Queued(id) => Some(id),
            Stage::New | Stage::Taken => None,
        };
        let stage = &mut self.stage;
        let condition = |id| match id {
            Some(id) => primitive.wait_list().was_granted(id),
            None => {
                let taken = primitive.try_take(amount);
                if taken {
                    *stage = Stage::Taken;
                }
                taken
            }
        };
        let polled = primitive
            .wait_list()
            .poll_until(&mut id, amount, waker, condition);
        self.stage = match (polled, id) {
            (Poll::Pending, Some(id)) => Stage::Queued(id),
            _ => Stage::New,
        };
        polled
    }
}

/// A id is a number; nothing is held in id.
impl<A: Acquire> Unpin for Wait<'_, A> {}

impl<'a, A: Acquire> Future for Wait<'a, A> {
    type Output = A::Guard<'a>;

    // The pass is made in the caller's frame: returned by a call, a guard of three words would be copied from where it
    // was just written, for which processors wait.
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
