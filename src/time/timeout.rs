//! Limits of time around a future.
//!
//! At the deadline what is inside is cancelled, as `cancel` would: its innermost scopes are asked first, their clean-up is
//! waited for, and only then is it dropped and the caller told. So a limit around a task cancels that task and waits
//! until it has ended; around something that refuses to end it waits for ever.
//!
//! ```text
//! poll:  1  enter the node         2  told to fall? → 6      3  poll what is inside; its result stands, also when late
//!        4  time over? ask what is inside    5  else arm the timer    6  told to fall: drop what is inside, say so
//! ```
//!
//! The first poll is tentative: what is inside is polled before there is a node, and where it is ready at once there never
//! is one. Else the node is opened around what was opened in that poll, as if it had been there before.
//!
//! Nothing is polled twice in one poll, however deeply limits are nested. Where several are due at once, the earliest
//! deadline goes first, and among equal ones the outermost: it alone says that time is over.
//!
//! One deviation from asyncio: a delay counts from the end of the first poll, which a future that is ready at once does
//! not reach; so it costs no look at the clock, which costs more than all the rest.

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

/// Runs `future` for at most `delay`; then cancels what it awaits, also a `task` or `&mut task`, waits until that has
/// ended, and gives [`TimedOut`]. A task behind [`shield`](crate::shield) runs on.
///
/// A result that is there in time is given, also when it comes at the last moment, or when what is inside was asked to
/// end and gave a result nevertheless. A zero delay polls the future once. The time counts from the end of the first
/// poll.
///
/// # Errors
/// [`TimedOut`] where the time was over.
///
/// # Panics
/// When it has to wait outside a running loop.
///
/// # Cancellation
/// Passes through to what is inside. Dropping it drops `future`.
///
/// ```
/// use callsoon::{sleep, timeout};
/// use std::time::Duration;
/// callsoon::run(async {
///     assert_eq!(timeout(Duration::from_secs(9), async { "quick" }).await, Ok("quick"));
///     assert!(timeout(Duration::from_millis(1), sleep(Duration::from_secs(9))).await.is_err());
/// }).unwrap();
/// ```
pub fn timeout<F: IntoFuture>(
    delay: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, TimedOut>> {
    region::<_, OrTimedOut>(Limit::After(delay), None, future)
}

/// [`timeout`] with a time instead of a delay, on the loop's clock. A time in the past polls the future once.
///
/// # Errors
/// [`TimedOut`] where the time was over.
///
/// # Panics
/// When it has to wait outside a running loop.
///
/// # Cancellation
/// As that of [`timeout`].
///
/// ```
/// use callsoon::{get_running_loop, timeout_at};
/// use std::{future::pending, time::Duration};
/// callsoon::run(async {
///     let when = get_running_loop().time() + Duration::from_millis(1);
///     assert!(timeout_at(when, pending::<()>()).await.is_err());
///     assert!(get_running_loop().time() >= when);
/// }).unwrap();
/// ```
pub fn timeout_at<F: IntoFuture>(
    when: Instant,
    future: F,
) -> impl Future<Output = Result<F::Output, TimedOut>> {
    region::<_, OrTimedOut>(Limit::At(when), None, future)
}

/// Waits for `future`, for at most `delay` or, with `None`, for as long as it takes: [`timeout`] under asyncio's name
/// and with its arguments. A task, given as `task` or `&mut task`, is cancelled when the time is over.
///
/// # Errors
/// [`TimedOut`] where the time was over.
///
/// # Panics
/// When it has to wait outside a running loop.
///
/// # Cancellation
/// As that of [`timeout`].
///
/// ```
/// use callsoon::{create_task, wait_for};
/// use std::{future::pending, time::Duration};
/// callsoon::run(async {
///     let mut task = create_task(pending::<()>());
///     assert!(wait_for(&mut task, Duration::from_millis(1)).await.is_err());
///     assert!(task.cancelled());
///     assert_eq!(wait_for(async { 1 }, None).await, Ok(1));
/// }).unwrap();
/// ```
pub fn wait_for<F: IntoFuture>(
    future: F,
    delay: impl Into<Option<Duration>>,
) -> impl Future<Output = Result<F::Output, TimedOut>> {
    let limit = delay.into().map_or(Limit::Never, Limit::After);
    region::<_, OrTimedOut>(limit, None, future)
}

/// [`timeout`] for which being late is no error: `None` then. A `task` or `&mut task` is cancelled.
///
/// # Panics
/// When it has to wait outside a running loop.
///
/// # Cancellation
/// As that of [`timeout`].
///
/// ```
/// use callsoon::move_on_after;
/// use std::{future::pending, time::Duration};
/// callsoon::run(async {
///     assert_eq!(move_on_after(Duration::from_millis(1), pending::<()>()).await, None);
///     assert_eq!(move_on_after(Duration::from_millis(1), async { 7 }).await, Some(7));
/// }).unwrap();
/// ```
pub fn move_on_after<F: IntoFuture>(
    delay: Duration,
    future: F,
) -> impl Future<Output = Option<F::Output>> {
    region::<_, OrNone>(Limit::After(delay), None, future)
}

/// A limit of time that can be looked at and moved while it holds: asyncio's `Timeout`. Clones are the same limit.
///
/// ```
/// use callsoon::{Timeout, get_running_loop, sleep};
/// use std::time::Duration;
/// callsoon::run(async {
///     let limit = Timeout::after(Duration::from_secs(9));
///     let late = limit.run(async {
///         let soon = get_running_loop().time() + Duration::from_millis(1);
///         limit.reschedule(Some(soon)).unwrap();
///         sleep(Duration::from_secs(9)).await
///     });
///     assert!(late.await.is_err());
///     assert!(limit.expired());
/// }).unwrap();
/// ```
#[derive(Clone)]
pub struct Timeout {
    shared: Rc<Shared>,
}

/// Where a [`Timeout`] stands.
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
    /// Its time is over, and what is inside has not ended yet.
    Expiring,
    /// Its time was over.
    Expired,
    /// What is inside has ended in time, or was dropped.
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

struct Shared {
    limit: Cell<Limit>,
    state: Cell<TimeoutState>,
    /// `run` was called: a limit is used once.
    used: Cell<bool>,
    expired: Cell<bool>,
    /// The limit was moved, which the future has not seen yet.
    moved: Cell<bool>,
    /// Whoever polls the future.
    waker: RefCell<Option<Waker>>,
    /// The region, which those inside it look at: who is due first must know of a move at once.
    region: RefCell<Option<(Rc<LoopState>, NodeKey)>>,
}

impl Timeout {
    /// A limit at a time of the loop's clock, or none yet.
    ///
    /// ```
    /// let limit = callsoon::Timeout::at(None);
    /// assert_eq!(callsoon::run(limit.run(async { 1 })).unwrap(), Ok(1));
    /// ```
    pub fn at(when: Option<Instant>) -> Self {
        Self::new(when.map_or(Limit::Never, Limit::At))
    }

    /// A limit some time after the first poll of what it is put around.
    ///
    /// ```
    /// use std::{future::pending, time::Duration};
    /// let limit = callsoon::Timeout::after(Duration::from_millis(1));
    /// assert!(callsoon::run(limit.run(pending::<()>())).unwrap().is_err());
    /// ```
    pub fn after(delay: Duration) -> Self {
        Self::new(Limit::After(delay))
    }

    fn new(limit: Limit) -> Self {
        Self {
            shared: Rc::new(Shared {
                limit: Cell::new(limit),
                state: Cell::new(TimeoutState::Created),
                used: Cell::new(false),
                expired: Cell::new(false),
                moved: Cell::new(false),
                waker: RefCell::new(None),
                region: RefCell::new(None),
            }),
        }
    }

    /// Runs `future` under this limit, as [`timeout`] does.
    ///
    /// # Errors
    /// [`TimedOut`] where the time was over.
    ///
    /// # Panics
    /// Where the limit was used before; when awaited outside a running loop.
    ///
    /// # Cancellation
    /// As that of [`timeout`].
    ///
    /// ```
    /// let limit = callsoon::Timeout::at(None);
    /// assert_eq!(callsoon::run(limit.run(async { 1 })).unwrap(), Ok(1));
    /// ```
    #[track_caller]
    pub fn run<F: IntoFuture>(
        &self,
        future: F,
    ) -> impl Future<Output = Result<F::Output, TimedOut>> + use<F> {
        assert!(
            !self.shared.used.replace(true),
            "a Timeout is put around one future, once"
        );
        let shared = Some(Rc::clone(&self.shared));
        region::<_, OrTimedOut>(self.shared.limit.get(), shared, future)
    }

    /// When the time is over; `None` where there is no limit, or where it counts from a first poll that is still to come.
    ///
    /// ```
    /// assert_eq!(callsoon::Timeout::at(None).when(), None);
    /// ```
    pub fn when(&self) -> Option<Instant> {
        match self.shared.limit.get() {
            Limit::At(when) => Some(when),
            Limit::After(_) | Limit::Never => None,
        }
    }

    /// Moves the limit, or takes it away. A time in the past is over at once: what is inside is asked to end when it is
    /// polled next.
    ///
    /// # Errors
    /// The state of the limit, where it does not hold: not entered yet, expiring, expired or finished.
    ///
    /// ```
    /// use callsoon::{Timeout, TimeoutState};
    /// let limit = Timeout::at(None);
    /// callsoon::run(limit.run(async {})).unwrap().unwrap();
    /// assert_eq!(limit.reschedule(None), Err(TimeoutState::Finished));
    /// ```
    pub fn reschedule(&self, when: Option<Instant>) -> Result<(), TimeoutState> {
        let shared = &self.shared;
        if shared.state.get() != TimeoutState::Active {
            return Err(shared.state.get());
        }
        shared.limit.set(when.map_or(Limit::Never, Limit::At));
        shared.moved.set(true);
        if let Some((state, key)) = &*shared.region.borrow() {
            let deadline = when.map_or(NEVER, |when| state.clock.raw(when));
            state.set_deadline_of(*key, deadline);
        }
        let waker = shared.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Whether the time is or was over before what is inside had ended.
    ///
    /// ```
    /// assert!(!callsoon::Timeout::at(None).expired());
    /// ```
    pub fn expired(&self) -> bool {
        self.shared.expired.get()
    }
}

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("state", &self.shared.state.get())
            .field("when", &self.when())
            .finish()
    }
}

#[derive(Clone, Copy)]
enum Limit {
    Never,
    /// Counted from the end of the first poll.
    After(Duration),
    At(Instant),
}

/// What a region says at its end.
trait Answer: Unpin {
    type Output<T>;
    fn in_time<T>(value: T) -> Self::Output<T>;
    fn late<T>() -> Self::Output<T>;
}

struct OrTimedOut;

impl Answer for OrTimedOut {
    type Output<T> = Result<T, TimedOut>;

    fn in_time<T>(value: T) -> Self::Output<T> {
        Ok(value)
    }

    fn late<T>() -> Self::Output<T> {
        Err(TimedOut)
    }
}

struct OrNone;

impl Answer for OrNone {
    type Output<T> = Option<T>;

    fn in_time<T>(value: T) -> Self::Output<T> {
        Some(value)
    }

    fn late<T>() -> Self::Output<T> {
        None
    }
}

/// What is kept beside a future under a limit.
struct Region<A> {
    scope: Scope,
    limit: Limit,
    /// The timer, once it was needed.
    sleep: Option<Sleep>,
    /// What is inside has been polled and was pending: the limit is a time from then on.
    begun: bool,
    expired: bool,
    /// Where somebody may look at the limit and move it.
    shared: Option<Rc<Shared>>,
    answer: PhantomData<A>,
}

#[inline]
fn region<F: IntoFuture, A: Answer>(
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

    /// Whether the time is over; else the timer is armed.
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

    /// Makes a time of the limit. `Some` where there is nothing to wait for: no limit, or one that is over.
    fn set_out(&mut self, state: &Rc<LoopState>) -> Option<bool> {
        if let Some(shared) = &self.shared {
            self.limit = shared.limit.get();
        }
        self.sleep = None;
        let deadline = match self.limit {
            Limit::Never => NEVER,
            Limit::After(delay) if delay.is_zero() => 0,
            Limit::After(delay) => state.clock.after(delay),
            Limit::At(when) => state.clock.raw(when),
        };
        if let (Some(shared), Limit::After(_)) = (&self.shared, self.limit) {
            let now = state.clock.now().max(deadline);
            shared.limit.set(Limit::At(state.clock.instant(now)));
        }
        self.scope.set_deadline(deadline);
        if deadline == NEVER {
            return Some(false);
        }
        let is_delay = matches!(self.limit, Limit::After(_));
        if deadline == 0 || !is_delay && deadline <= state.clock.now() {
            return Some(true);
        }
        self.sleep = Some(Sleep::on_clock(deadline, Rc::clone(state)));
        None
    }

    /// Where the limit can be moved, whoever moves it has to know the node.
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

    /// Asks what is inside to end.
    fn expire(&mut self, at_once: bool) {
        self.expired = true;
        self.sleep = None;
        self.note(TimeoutState::Expiring);
        if let Some(state) = self.scope.state() {
            let now = state.looks.last.get();
            let request = Cancellation::new(None, CancelOrigin::Timeout, None);
            self.scope.expire(now, request, at_once);
        }
    }

    /// Keeps whom to wake when the limit is moved.
    fn keep_waker(&self, waker: &Waker) {
        if let Some(shared) = self.shared.as_ref().filter(|_| !self.expired) {
            let waker = waker.clone();
            let former = shared.waker.replace(Some(waker));
            drop(former);
        }
    }

    /// The end, if what is inside is to be let go.
    fn falls<F>(&mut self, mut future: Pin<&mut Option<F>>, in_task: bool) -> bool {
        // Outside any task nobody can be asked.
        let falls = if in_task {
            self.scope.region_falls()
        } else {
            self.expired
        };
        if !falls {
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
            // Most futures under a limit are ready at once, and need neither a node nor a look at the clock.
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
    /// A poll of a region that has its node, or is to have it from the beginning.
    fn poll<F: Future>(
        &mut self,
        mut future: Pin<&mut Option<F>>,
        context: &mut Context<'_>,
    ) -> Poll<A::Output<F::Output>> {
        let in_task = self.scope.enter(context.waker());
        if !self.begun {
            self.note(TimeoutState::Active);
        }
        self.note_place();
        if self.expired && self.falls(future.as_mut(), in_task) {
            return self.late();
        }
        let polled = self.scope.within(|| match future.as_mut().as_pin_mut() {
            Some(future) => future.poll(context),
            // Cancelled from outside: pending until dropped.
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

    /// The end of a poll in which what is inside was pending.
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
        if self.expired && self.falls(future, in_task) {
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
