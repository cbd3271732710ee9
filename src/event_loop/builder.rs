//! How a loop is set up.

use std::io;
use std::time::Duration;

use crate::event_loop::owner::EventLoop;
use crate::kernel::clock::Clock;
use crate::kernel::loop_state::{LoopState, Settings};
use crate::kernel::task::waker::watch_forks;

/// Between two readings of the clock the loop runs at most this many entries: at 10 ns each less than a microsecond, and
/// the reading costs a third of a nanosecond an entry.
const EVENT_INTERVAL: u32 = 64;

/// Two hundred sleepers then cost 1 to 1.2 µs of CPU each instead of 4.5, at a median lateness of 50 µs.
const TIMER_SLACK: Duration = Duration::from_micros(75);

/// asyncio's figure.
const SLOW_CALLBACK: Duration = Duration::from_millis(100);

/// Sets up an [`EventLoop`].
///
/// ```
/// use std::time::Duration;
/// let event_loop = callsoon::EventLoop::builder().debug(true).timer_slack(Duration::ZERO).build()?;
/// assert!(event_loop.debug());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing until `build()`"]
pub struct Builder {
    settings: Settings,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let settings = Settings {
            clock: Clock::Monotonic,
            debug: std::env::var_os("CALLSOON_DEBUG")
                .is_some_and(|value| !value.is_empty() && value != "0"),
            event_interval: EVENT_INTERVAL,
            timer_slack: TIMER_SLACK,
            spin: Duration::ZERO,
            capacity: 0,
            slow_callback_duration: SLOW_CALLBACK,
            counts: 0,
        };
        Self { settings }
    }

    /// Debug mode: slow callbacks are warned of through `tracing`. Off by default, unless the environment variable
    /// `CALLSOON_DEBUG` is set to anything but `0`.
    ///
    /// ```
    /// assert!(callsoon::EventLoop::builder().debug(true).build()?.debug());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn debug(mut self, debug: bool) -> Self {
        self.settings.debug = debug;
        self
    }

    /// The clock that timers live by; the system's monotonic clock by default.
    ///
    /// ```
    /// use callsoon::{Clock, EventLoop};
    /// let event_loop = EventLoop::builder().clock(Clock::Virtual).build()?;
    /// let before = event_loop.time();
    /// assert_eq!(event_loop.time(), before, "a virtual clock moves only while the loop waits");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = clock;
        self
    }

    /// The most entries that run between two readings of the clock while work is ready; 64 by default. 1 looks for
    /// events and timers in every turn, as asyncio does, which makes an entry ten times slower. 0 means 1.
    ///
    /// ```
    /// let strict = callsoon::EventLoop::builder().event_interval(1).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn event_interval(mut self, entries: u32) -> Self {
        self.settings.event_interval = entries.max(1);
        self
    }

    /// How far apart timers may be and still share a wake-up; 75 µs by default. A lone timer wakes exactly; of several
    /// within the slack the earlier may wait for the last. Zero is exact. No timer is ever early, and a virtual clock has no slack.
    ///
    /// ```
    /// let exact = callsoon::EventLoop::builder().timer_slack(std::time::Duration::ZERO).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn timer_slack(mut self, slack: Duration) -> Self {
        // Beyond a second it would be no slack but another deadline.
        self.settings.timer_slack = slack.min(Duration::from_secs(1));
        self
    }

    /// How long the loop polls busily before it sleeps; zero by default. A wake from another thread then takes less than
    /// a tenth of the time, for the price of a core that is never idle for so long.
    ///
    /// ```
    /// let eager = callsoon::EventLoop::builder().spin(std::time::Duration::from_micros(50)).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spin(mut self, duration: Duration) -> Self {
        self.settings.spin = duration;
        self
    }

    /// For how many tasks, timers and sockets room is made at once; 0 by default, and it grows as needed.
    ///
    /// ```
    /// let roomy = callsoon::EventLoop::builder().capacity(10_000).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capacity(mut self, entries: usize) -> Self {
        self.settings.capacity = entries;
        self
    }

    /// From which duration on debug mode warns of a callback; 100 ms by default.
    ///
    /// ```
    /// use std::time::Duration;
    /// let builder = callsoon::EventLoop::builder().debug(true).slow_callback_duration(Duration::from_millis(5));
    /// assert_eq!(builder.build()?.slow_callback_duration(), Duration::from_millis(5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn slow_callback_duration(mut self, duration: Duration) -> Self {
        self.settings.slow_callback_duration = duration;
        self
    }

    /// Where the loop's counts of tasks, timers, scopes, turns and done callbacks begin: for this crate's own tests, which
    /// have no time to count to 2³².
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::builder().counts(1 << 32).build()?;
    /// assert_eq!(event_loop.create_task(async {}).name(), "Task-4294967297");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(hidden)]
    pub fn counts(mut self, first: u64) -> Self {
        self.settings.counts = first;
        self
    }

    /// Makes the loop.
    ///
    /// # Errors
    /// What the system says where it has no descriptors or memory left, for the [`capacity`](Self::capacity) too; nothing
    /// is leaked then.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::builder().build()?;
    /// assert!(!event_loop.is_running());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn build(self) -> io::Result<EventLoop> {
        watch_forks();
        let capacity = self.settings.capacity;
        let event_loop = EventLoop::from_state(LoopState::new(self.settings)?);
        // Where there is no room the loop is dropped, and gives back what it has.
        event_loop.handle().state.make_room(capacity)?;
        Ok(event_loop)
    }
}

impl EventLoop {
    /// A loop with the default settings.
    ///
    /// # Errors
    /// What the system says where it has no descriptors or memory left.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Sets up a loop with other settings.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::builder().capacity(100).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }
}
