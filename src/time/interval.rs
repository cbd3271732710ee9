//! Ticks at equal distances.
//!
//! An interval stores the time of its next tick, not the time since the last one, so that lateness does not add up: a
//! tick may be late, but the schedule does not move. [`MissedTickBehavior`] says whether the schedule adapts to a
//! program that cannot keep up; names and meanings are tokio's.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::event_loop::free::get_running_loop;
use crate::kernel::clock::NEVER;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::waker::current;
use crate::time::sleep::{Sleep, sleep_until};

/// Lateness below this is not a missed tick but the noise of a busy machine; shifting the schedule for it would make
/// [`MissedTickBehavior::Delay`] drift. tokio uses 5 ms too.
const NOISE: u64 = 5_000_000;

/// Ticks every `period`; the first tick is due at once. Called outside a running loop, it begins with the first tick.
///
/// With a period that is too long for the clock there is only the first tick.
///
/// # Panics
/// If the period is zero.
///
/// ```
/// use std::time::{Duration, Instant};
/// callsoon::run(async {
///     let start = Instant::now();
///     let mut interval = callsoon::interval(Duration::from_millis(2));
///     for _ in 0..3 {
///         interval.tick().await;
///     }
///     assert!(start.elapsed() >= Duration::from_millis(4));
/// }).unwrap();
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    new(None, period)
}

/// Ticks every `period`; the first tick is due at `start`, on the clock of
/// [`LoopHandle::time`](crate::LoopHandle::time).
///
/// # Panics
/// If the period is zero.
///
/// ```
/// use std::time::Duration;
/// callsoon::run(async {
///     let period = Duration::from_millis(2);
///     let start = callsoon::get_running_loop().time() + period;
///     let mut interval = callsoon::interval_at(start, period);
///     assert_eq!(interval.tick().await, start);
///     assert_eq!(interval.tick().await, start + period);
/// }).unwrap();
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    new(Some(start), period)
}

#[track_caller]
fn new(start: Option<Instant>, period: Duration) -> Interval {
    assert!(
        !period.is_zero(),
        "interval: the period must be longer than zero"
    );
    let schedule = match current() {
        Some(state) => Schedule::Next(begin(&state, start), state),
        None => Schedule::Unborn(start),
    };
    Interval {
        period,
        schedule,
        sleep: None,
        behavior: MissedTickBehavior::Burst,
    }
}

/// Returns when the first tick is due, on the loop's clock.
fn begin(state: &LoopState, start: Option<Instant>) -> u64 {
    match start {
        Some(start) => state.clock.raw(start),
        None => state.clock.now(),
    }
}

/// What happens to the schedule when ticks were missed.
///
/// ```
/// use callsoon::MissedTickBehavior;
/// let interval = callsoon::interval(std::time::Duration::from_secs(1));
/// assert_eq!(interval.missed_tick_behavior(), MissedTickBehavior::Burst);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MissedTickBehavior {
    /// It stays: the missed ticks follow, one a turn, until the schedule is kept again.
    #[default]
    Burst,
    /// It starts again: the next tick is due one period after a tick that was late by more than 5 ms.
    Delay,
    /// Missed ticks are skipped: the next tick is the first one of the schedule in the future.
    Skip,
}

impl MissedTickBehavior {
    /// Returns when the next tick is due, if the one that was due at `due` was taken at `now`.
    fn next(self, due: u64, now: u64, period: u64) -> u64 {
        let late = now.saturating_sub(due);
        match self {
            Self::Delay if late > NOISE || late >= period => now.saturating_add(period),
            Self::Skip => now.saturating_add(period - late % period),
            Self::Burst | Self::Delay => due.saturating_add(period),
        }
    }
}

/// Ticks at equal distances; made by [`interval`] and [`interval_at`].
///
/// ```
/// use std::time::Duration;
/// callsoon::run(async {
///     let mut interval = callsoon::interval(Duration::from_millis(2));
///     let first = interval.tick().await;
///     assert_eq!(interval.tick().await - first, Duration::from_millis(2));
/// }).unwrap();
/// ```
pub struct Interval {
    /// Never zero.
    period: Duration,
    schedule: Schedule,
    /// Waits for the next tick; `None` between a tick and the next poll. It outlives the future of `tick`, so a tick
    /// that was due when that was dropped is still due.
    sleep: Option<Sleep>,
    behavior: MissedTickBehavior,
}

enum Schedule {
    /// Made outside a loop: the clock is not known yet. `None` begins at the first poll.
    Unborn(Option<Instant>),
    /// When the next tick is due, in raw nanoseconds of this loop's clock; [`NEVER`] past the end of the scale.
    Next(u64, Rc<LoopState>),
}

impl Interval {
    /// Waits for the next tick. Returns the time at which it was due, which may be in the past.
    ///
    /// A tick that is due already lets others run for one turn, so that a burst does not block the loop.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// Dropping it loses no tick: the next call waits for the same one.
    ///
    /// ```
    /// use std::time::Duration;
    /// callsoon::run(async {
    ///     let mut interval = callsoon::interval(Duration::from_millis(2));
    ///     let due = interval.tick().await;
    ///     assert!(callsoon::get_running_loop().time() >= due);
    /// }).unwrap();
    /// ```
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|context| self.poll_tick(context)).await
    }

    /// Polls for the next tick: [`tick`](Self::tick) as a poll function.
    ///
    /// # Panics
    /// As [`tick`](Self::tick).
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # use std::time::Duration;
    /// callsoon::run(async {
    ///     let mut ticks = callsoon::interval(Duration::from_millis(1));
    ///     let first = poll_fn(|context| ticks.poll_tick(context)).await;
    ///     assert!(ticks.tick().await > first);
    /// }).unwrap();
    /// ```
    pub fn poll_tick(&mut self, context: &mut Context<'_>) -> Poll<Instant> {
        let (due, state) = self.settle();
        let when = state.clock.instant(due);
        let sleep = self.sleep.get_or_insert_with(|| sleep_until(when));
        ready!(Pin::new(sleep).poll(context));
        self.sleep = None;
        let next = self.behavior.next(due, state.clock.now(), self.nanos());
        self.schedule = Schedule::Next(next, state);
        Poll::Ready(when)
    }

    /// Returns when the next tick is due, and the loop on whose clock; chooses the current loop if there was none.
    fn settle(&mut self) -> (u64, Rc<LoopState>) {
        match &self.schedule {
            Schedule::Next(due, state) => (*due, Rc::clone(state)),
            Schedule::Unborn(start) => {
                let state = get_running_loop().state;
                let due = begin(&state, *start);
                self.schedule = Schedule::Next(due, Rc::clone(&state));
                (due, state)
            }
        }
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.period.as_nanos()).unwrap_or(NEVER)
    }

    /// Begins anew: the next tick is due one period from now.
    ///
    /// # Panics
    /// Outside a running loop, if the interval was made outside one too and has not ticked yet.
    ///
    /// ```
    /// use std::time::Duration;
    /// callsoon::run(async {
    ///     let period = Duration::from_millis(2);
    ///     let mut interval = callsoon::interval(period);
    ///     let now = callsoon::get_running_loop().time();
    ///     interval.reset();
    ///     assert!(interval.tick().await >= now + period, "not at once, as the first tick would have been");
    /// }).unwrap();
    /// ```
    #[track_caller]
    pub fn reset(&mut self) {
        let state = match &self.schedule {
            Schedule::Next(_, state) => Rc::clone(state),
            Schedule::Unborn(_) => get_running_loop().state,
        };
        let next = state.clock.after(self.period);
        self.schedule = Schedule::Next(next, state);
        self.sleep = None;
    }

    /// Returns the distance between two ticks.
    ///
    /// ```
    /// # use std::time::Duration;
    /// assert_eq!(callsoon::interval(Duration::from_secs(1)).period(), Duration::from_secs(1));
    /// ```
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Returns what happens when ticks are missed.
    ///
    /// ```
    /// # use callsoon::MissedTickBehavior;
    /// let mut interval = callsoon::interval(std::time::Duration::from_secs(1));
    /// interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    /// assert_eq!(interval.missed_tick_behavior(), MissedTickBehavior::Skip);
    /// ```
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.behavior
    }

    /// Changes what happens when ticks are missed.
    ///
    /// ```
    /// use callsoon::{Clock, EventLoop, MissedTickBehavior};
    /// use std::time::Duration;
    /// const SECOND: Duration = Duration::from_secs(1);
    /// let event_loop = EventLoop::builder().clock(Clock::Virtual).build()?;
    /// event_loop.run_until_complete(async {
    ///     let mut interval = callsoon::interval(SECOND);
    ///     interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ///     let first = interval.tick().await;
    ///     callsoon::sleep(SECOND * 9 / 2).await;
    ///     assert_eq!(interval.tick().await, first + SECOND, "the tick that is late");
    ///     assert_eq!(interval.tick().await, first + 5 * SECOND, "the others are left out");
    /// }).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.behavior = behavior;
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval")
            .field("period", &self.period)
            .field("missed_tick_behavior", &self.behavior)
            .finish_non_exhaustive()
    }
}
