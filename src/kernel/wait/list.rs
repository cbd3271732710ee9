//! The wait queue of a primitive. Everything about waiting that is easy to get wrong is written here, once.
//!
//! A waiter is queued with its newest waker. It can leave the queue in two ways, and each primitive uses one of them:
//!
//! - **Granted**: the task that releases removes the first waiter from the queue and gives it what it waited for. The
//!   waiter needs to check one thing only: an id that is no longer queued has been granted. `sync/acquire` has the
//!   future of this kind.
//! - **Notified**: the waiter is woken and stays queued. It leaves the queue itself when there is enough for it and for
//!   every waiter before it. Nothing is given to it before that, so nothing can be lost, and operations that do not
//!   wait may still take what is there.
//!
//! A wait for a condition that holds for all or none needs neither: [`WaitList::wait_until`].
//!
//! Cloning, waking or dropping another runtime's waker runs user code, which may use the same primitive. So the queue
//! is never borrowed during such a call, and the condition is checked again after a clone. Tasks of our own are woken
//! by key, which runs no user code.

use std::cell::RefCell;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::task::{Poll, Waker};

use crate::kernel::enter::wake;
use crate::kernel::loop_state::LoopState;
use crate::kernel::note_wait::{address, note_wait_anew};
use crate::kernel::task::key::Key;
use crate::kernel::task::waker::{key_of, wake_key};
use crate::kernel::wait::wait_kind::WaitKind;
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

    /// Wakes a waiter of a loop, to which a panic is reported. The rest is as in [`wake`](Self::wake).
    fn wake_on(self, state: &LoopState) {
        match self {
            Self::Task(_) => self.wake(),
            Self::Other(waker) => state.wake(waker),
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

    /// Does the same for all waiters. A panic of another runtime's waker is reported to the loop that is given, also
    /// where the thread runs another one or none.
    pub(crate) fn grant_all_on(&self, state: &LoopState) {
        let end = self.waiters.borrow().end();
        let next = || self.waiters.borrow_mut().take_first_before(end);
        while let Some((_, awaiter)) = next() {
            awaiter.wake_on(state);
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

impl WaitList {
    /// Waits until `is_so` returns true. Code that changes its value wakes all waiters afterwards: by
    /// [`grant`](Self::grant), after which a waiter whose condition does not hold joins again, or by
    /// [`notify_first`](Self::notify_first).
    pub(crate) async fn wait_until(&self, kind: WaitKind, is_so: impl Fn() -> bool) {
        let mut place = Place {
            list: self,
            id: None,
        };
        poll_fn(|context| {
            let is_new = place.id.is_none();
            let polled = self.poll_until(&mut place.id, (), context.waker(), |_| is_so());
            if polled.is_pending() {
                note_wait_anew(kind, is_new, || address(self));
            }
            polled
        })
        .await;
    }
}

/// The place of one [`wait_until`](WaitList::wait_until) in the list.
struct Place<'a> {
    list: &'a WaitList,
    id: Option<WaiterId>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        drop(self.id.and_then(|id| self.list.leave(id)));
    }
}
