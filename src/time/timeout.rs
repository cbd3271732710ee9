//! Limits of time as programs write them: functions for those that stand, and [`Timeout`] for one that can be looked at and
//! moved while it holds. What a limit does is in `region`; here is what it is called, and what it says at its end.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::error::TimedOut;
use crate::kernel::clock::NEVER;
use crate::time::region::{Limit, OrNone, OrTimedOut, Shared, TimeoutState, region};

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
/// Where another callback of the deadline's turn has set the result before the caller runs, the result is given; asyncio
/// gives a timeout there, and the result is lost.
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
            shared: Rc::new(Shared::new(limit)),
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
