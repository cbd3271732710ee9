//! Timeouts: functions for fixed ones, and [`Timeout`] for one that can be read and moved while it holds. What a
//! timeout does is in `region`; here are its public names and outputs.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::error::TimedOut;
use crate::kernel::clock::NEVER;
use crate::time::region::{Limit, OrNone, OrTimedOut, Shared, TimeoutState, region};

/// Runs `future` for at most `delay`. Then cancels what it awaits, also a `task` or `&mut task`, waits until that has
/// ended, and returns [`TimedOut`]. A task behind [`shield`](crate::shield()) runs on.
///
/// A result in time is returned, also at the last moment, and also if the future was asked to end and returned a result
/// nevertheless. A zero delay polls the future once. Unlike in asyncio, the time counts from the end of the first poll.
///
/// # Errors
/// [`TimedOut`] if the time was over.
///
/// # Panics
/// If it has to wait outside a running loop.
///
/// # Cancellation
/// A cancellation reaches `future` first. Dropping it drops `future`.
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
/// [`TimedOut`] if the time was over.
///
/// # Panics
/// If it has to wait outside a running loop.
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

/// Waits for `future`, for at most `delay` or, with `None`, without a limit: [`timeout`] under asyncio's name and with
/// its arguments. A task, passed as `task` or `&mut task`, is cancelled when the time is over.
///
/// If another callback of the deadline's turn has set the result before the caller runs, the result is returned.
/// asyncio reports a timeout there, and the result is lost.
///
/// # Errors
/// [`TimedOut`] if the time was over.
///
/// # Panics
/// If it has to wait outside a running loop.
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

/// Runs `future` like [`timeout`], and returns `None` if the time was over. A `task` or `&mut task` is cancelled.
///
/// # Panics
/// If it has to wait outside a running loop.
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

/// A timeout that can be read and moved while it holds: asyncio's `Timeout`. Clones are the same timeout.
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
    /// Returns a limit at a time of the loop's clock, or none yet.
    ///
    /// ```
    /// let limit = callsoon::Timeout::at(None);
    /// assert_eq!(callsoon::run(limit.run(async { 1 })).unwrap(), Ok(1));
    /// ```
    pub fn at(when: Option<Instant>) -> Self {
        Self::new(when.map_or(Limit::Never, Limit::At))
    }

    /// Returns a limit some time after the first poll of what it is put around.
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
    /// [`TimedOut`] if the time was over.
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

    /// Returns the deadline; `None` if there is none, or if the time counts from a first poll that is still to come.
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

    /// Moves or removes the deadline. If it is in the past, the future is asked to end when it is polled next.
    ///
    /// # Errors
    /// The [`TimeoutState`], if the timeout is not active: created, expiring, expired or finished.
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

    /// Returns whether the time is or was over before the future has ended.
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
