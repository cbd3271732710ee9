//! A region: a timeout around a future.
//!
//! At the deadline the inner future is cancelled as `cancel` would: its innermost scopes are asked first, and their
//! clean-up is awaited. Only then the inner future is dropped and the timeout reported. So a timeout around a task
//! cancels that task and waits until it has ended, and a timeout around a future that refuses to end waits for ever.
//!
//! ```text
//! poll:  1  enter the node    2  to be torn down? → 6    3  poll the inner future; a result counts, even a late one
//!        4  time over? ask the inner nodes    5  else arm the timer    6  to be torn down: drop the inner future, report
//! ```
//!
//! The first poll is tentative: the inner future is polled before there is a node. If it is ready at once there never
//! is one. Otherwise the node is opened around the nodes that were opened in that poll, as if it had been there before.
//!
//! No future is polled twice in one poll, however deeply timeouts are nested. If several are due at once, the earliest
//! deadline goes first, and among equal ones the outermost: it alone reports a timeout.
//!
//! One deviation from asyncio: a delay counts from the end of the first poll. A future that is ready at once never gets
//! there, so it does not pay for reading the clock, which costs more than all the rest. If a delay inside has begun in
//! that poll, the outer one counts from the same time: so of two equal delays, one around the other, the outer reports
//! the timeout, on every clock.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::error::{CancelOrigin, Cancellation, TimedOut};
use crate::event_loop::free::get_running_loop;
use crate::kernel::cancel::node::{Kind, NodeKey};
use crate::kernel::cancel::scope::Scope;
use crate::kernel::clock::NEVER;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::cell::Held;
use crate::time::sleep::Sleep;

/// The state of a [`Timeout`](crate::Timeout).
///
/// ```
/// use callsoon::{Timeout, TimeoutState};
/// let limit = Timeout::at(None);
/// assert_eq!(limit.reschedule(None), Err(TimeoutState::Created));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeoutState {
    /// Its future was not polled yet.
    Created,
    /// It holds.
    Active,
    /// Its time is over, and its future has not ended yet.
    Expiring,
    /// Its time was over.
    Expired,
    /// Its future has ended in time, or was dropped.
    Finished,
}

impl fmt::Display for TimeoutState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "the timeout has not been entered",
            Self::Active => "the timeout is active",
            Self::Expiring => "the timeout is expiring",
            Self::Expired => "the timeout has expired",
            Self::Finished => "the timeout has finished",
        })
    }
}

impl std::error::Error for TimeoutState {}

/// What a `Timeout` shares with the region around its future.
pub(crate) struct Shared {
    pub(crate) limit: Cell<Limit>,
    pub(crate) state: Cell<TimeoutState>,
    /// `run` was called: a limit is used once.
    pub(crate) used: Cell<bool>,
    pub(crate) expired: Cell<bool>,
    /// The limit was moved since the last poll.
    pub(crate) moved: Cell<bool>,
    /// The waker of the newest poll.
    pub(crate) waker: RefCell<Option<Waker>>,
    /// The region's node: a moved deadline is noted there at once, since regions inside compare theirs with it.
    pub(crate) region: RefCell<Option<(Rc<LoopState>, NodeKey)>>,
}

impl Shared {
    pub(crate) fn new(limit: Limit) -> Self {
        Self {
            limit: Cell::new(limit),
            state: Cell::new(TimeoutState::Created),
            used: Cell::new(false),
            expired: Cell::new(false),
            moved: Cell::new(false),
            waker: RefCell::new(None),
            region: RefCell::new(None),
        }
    }
}

/// When the time is over.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    Never,
    /// Counted from the end of the first poll, or from the beginning of a delay inside it.
    After(Duration),
    At(Instant),
}

/// The output of a region.
pub(crate) trait Answer: Unpin {
    type Output<T>;
    fn in_time<T>(value: T) -> Self::Output<T>;
    fn late<T>() -> Self::Output<T>;
}

/// Being late is an error.
pub(crate) struct OrTimedOut;

impl Answer for OrTimedOut {
    type Output<T> = Result<T, TimedOut>;

    fn in_time<T>(value: T) -> Self::Output<T> {
        Ok(value)
    }

    fn late<T>() -> Self::Output<T> {
        Err(TimedOut)
    }
}

/// Being late is no error.
pub(crate) struct OrNone;

impl Answer for OrNone {
    type Output<T> = Option<T>;

    fn in_time<T>(value: T) -> Self::Output<T> {
        Some(value)
    }

    fn late<T>() -> Self::Output<T> {
        None
    }
}

/// What is kept beside a future in a region.
pub(crate) struct Region<A> {
    scope: Scope,
    limit: Limit,
    /// The timer, once it was needed.
    sleep: Option<Sleep>,
    /// The inner future was polled and was pending: from then on the limit is a deadline.
    begun: bool,
    expired: bool,
    /// Shared with a `Timeout`, which can read and move the limit.
    shared: Option<Rc<Shared>>,
    answer: PhantomData<A>,
}

/// Puts a limit around a future.
#[inline]
pub(crate) fn region<F: IntoFuture, A: Answer>(
    limit: Limit,
    shared: Option<Rc<Shared>>,
    future: F,
) -> Held<F::IntoFuture, Region<A>> {
    let region = Region {
        scope: Scope::new(Kind::Region),
        limit,
        sleep: None,
        begun: false,
        expired: false,
        shared,
        answer: PhantomData,
    };
    Held::new(future.into_future(), region)
}

impl<A> Region<A> {
    fn note(&self, state: TimeoutState) {
        if let Some(shared) = &self.shared {
            shared.state.set(state);
            shared.expired.set(self.expired);
        }
    }

    /// Returns whether the time is over. If it is not, the timer is armed.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        if !self.begun
            || self
                .shared
                .as_ref()
                .is_some_and(|shared| shared.moved.take())
        {
            self.begun = true;
            let handle = get_running_loop().state;
            if let Some(over) = self.set_out(&handle) {
                return over;
            }
        }
        match &mut self.sleep {
            Some(sleep) => Pin::new(sleep).poll(context).is_ready(),
            None => false,
        }
    }

    /// Computes the deadline. Returns `Some` if there is nothing to wait for: whether the time is over already.
    fn set_out(&mut self, state: &Rc<LoopState>) -> Option<bool> {
        if let Some(shared) = &self.shared {
            self.limit = shared.limit.get();
        }
        self.sleep = None;
        let deadline = match self.limit {
            Limit::Never => self.set_deadline(NEVER),
            Limit::After(delay) if delay.is_zero() => self.set_deadline(0),
            Limit::After(delay) => self.scope.begin_delay(state.clock.now(), delay),
            Limit::At(when) => self.set_deadline(state.clock.raw(when)),
        };
        if let (Some(shared), Limit::After(_)) = (&self.shared, self.limit) {
            let now = state.clock.now().max(deadline);
            shared.limit.set(Limit::At(state.clock.instant(now)));
        }
        if deadline == NEVER {
            return Some(false);
        }
        let is_delay = matches!(self.limit, Limit::After(_));
        let is_past = deadline == 0 || !is_delay && deadline <= state.clock.now();
        // A program that uses up timeouts that are over at once lets others run: without budget, a timeout waits for
        // its timer.
        if is_past && state.budget.take() {
            return Some(true);
        }
        self.sleep = Some(Sleep::on_clock(deadline, Rc::clone(state)));
        None
    }

    fn set_deadline(&self, deadline: u64) -> u64 {
        self.scope.set_deadline(deadline);
        deadline
    }

    /// Notes the node where a `Timeout` finds it, if the limit can be moved.
    #[inline]
    fn note_place(&self) {
        if let Some(shared) = &self.shared {
            let place = self
                .scope
                .state()
                .map(|state| (Rc::clone(state), self.scope.key()));
            let former = shared.region.replace(place);
            drop(former);
        }
    }

    /// Sets the deadline at a new node, in a task that goes on with a region that another task has begun.
    #[cold]
    fn note_deadline(&self) {
        if let Some(deadline) = self.sleep.as_ref().and_then(Sleep::deadline) {
            self.scope.set_deadline(deadline);
        }
    }

    /// Asks the inner nodes to end.
    fn expire(&mut self, at_once: bool) {
        self.expired = true;
        self.sleep = None;
        self.note(TimeoutState::Expiring);
        if let Some(state) = self.scope.state() {
            let now = state.event_polls.last.get();
            let request = Cancellation::new(None, CancelOrigin::Timeout, None);
            self.scope.expire(now, request, at_once);
        }
    }

    /// Keeps the waker that is woken when the limit is moved.
    fn keep_waker(&self, waker: &Waker) {
        if let Some(shared) = self.shared.as_ref().filter(|_| !self.expired) {
            let waker = waker.clone();
            let former = shared.waker.replace(Some(waker));
            drop(former);
        }
    }

    /// Drops the inner future, if the region is to be torn down. Returns whether the timeout is to be reported.
    fn tear_down<F>(&mut self, mut future: Pin<&mut Option<F>>, in_task: bool) -> bool {
        // Outside any task there are no nodes to ask.
        let torn_down = if in_task {
            self.scope.tear_down_region()
        } else {
            self.expired
        };
        if !torn_down {
            return false;
        }
        future.set(None);
        !in_task || !self.scope.pass()
    }
}

impl<F: Future, A: Answer> Future for Held<F, Region<A>> {
    type Output = A::Output<F::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut future, region) = self.project();
        if !region.begun && region.shared.is_none() {
            let inside = future.as_mut().as_pin_mut();
            let Some(inside) = inside else {
                return Poll::Pending;
            };
            // Most futures in a timeout are ready at once, and need neither a node nor the time.
            let (polled, mark) = Scope::tentatively(|| inside.poll(context));
            if let Poll::Ready(value) = polled {
                return Poll::Ready(A::in_time(value));
            }
            let in_task = region.scope.enter_around(context.waker(), mark);
            return region.watch(future, context, in_task);
        }
        region.poll(future, context)
    }
}

impl<A: Answer> Region<A> {
    /// Polls a region that has a node, or gets one before its inner future is polled.
    fn poll<F: Future>(
        &mut self,
        mut future: Pin<&mut Option<F>>,
        context: &mut Context<'_>,
    ) -> Poll<A::Output<F::Output>> {
        let former = self.scope.key();
        let in_task = self.scope.enter(context.waker());
        if !self.begun {
            self.note(TimeoutState::Active);
        } else if self.scope.key() != former {
            self.note_deadline();
        }
        self.note_place();
        if self.expired && self.tear_down(future.as_mut(), in_task) {
            return self.late();
        }
        let polled = self.scope.within(|| match future.as_mut().as_pin_mut() {
            Some(future) => future.poll(context),
            // It was cancelled from outside: pending until dropped.
            None => Poll::Pending,
        });
        if let Poll::Ready(value) = polled {
            self.scope.within(|| future.set(None));
            self.scope.complete();
            self.sleep = None;
            self.note(TimeoutState::Finished);
            return Poll::Ready(A::in_time(value));
        }
        self.watch(future, context, in_task)
    }

    /// Ends a poll in which the inner future was pending.
    fn watch<F: Future>(
        &mut self,
        future: Pin<&mut Option<F>>,
        context: &mut Context<'_>,
        in_task: bool,
    ) -> Poll<A::Output<F::Output>> {
        if !self.expired && future.is_some() {
            let first = !self.begun;
            if self.is_over(context) {
                self.expire(first);
            } else {
                self.keep_waker(context.waker());
            }
        }
        if self.expired && self.tear_down(future, in_task) {
            return self.late();
        }
        Poll::Pending
    }

    fn late<T>(&mut self) -> Poll<A::Output<T>> {
        self.scope.forget();
        self.note(TimeoutState::Expired);
        Poll::Ready(A::late())
    }
}

impl<A> Drop for Region<A> {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            if shared.state.get() != TimeoutState::Expired {
                shared.state.set(TimeoutState::Finished);
            }
            drop(shared.waker.take());
            drop(shared.region.take());
        }
    }
}
