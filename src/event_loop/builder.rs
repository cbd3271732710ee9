//! `Builder`: the settings of a loop, and its creation.

use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use crate::event_loop::owner::EventLoop;
use crate::kernel::clock::Clock;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::settings::Settings;
use crate::kernel::task::waker::watch_forks;

/// The most entries that run between two readings of the clock. At 10 ns each they take less than a microsecond, and the
/// reading costs a third of a nanosecond an entry.
const EVENT_INTERVAL: u32 = 64;

/// Where the curve of [`Builder::timer_slack`] flattens.
const TIMER_SLACK: Duration = Duration::from_micros(75);

/// The same as asyncio's `slow_callback_duration`.
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
    /// What is started with the loop.
    starts: Vec<Start>,
}

/// Starts what belongs to a new loop, for modules above this one.
#[derive(Clone)]
pub(crate) struct Start(pub(crate) Arc<StartFn>);

type StartFn = dyn Fn(&LoopHandle) -> io::Result<()> + Send + Sync + UnwindSafe + RefUnwindSafe;

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").finish_non_exhaustive()
    }
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
            metrics: false,
            spans: false,
            slow_callback_duration: SLOW_CALLBACK,
            slow_counts: false,
            inspect: false,
            counts: 0,
            shuffle: None,
        };
        let starts = Vec::new();
        Self { settings, starts }
    }

    /// Has something started with the loop; if that fails, the loop is closed and `build` fails.
    pub(crate) fn starting(mut self, start: Start) -> Self {
        self.starts.push(start);
        self
    }

    /// Sets debug mode, which warns of what [`docs::events`](crate::docs::events) lists: slow callbacks, steps and polls for
    /// events, blocking sockets, and what was not closed before the loop. Without a `tracing` subscriber it writes to standard
    /// error.
    ///
    /// It is off by default, unless the environment variable `CALLSOON_DEBUG` is set to anything but `0`.
    ///
    /// # Differences from asyncio
    /// asyncio's debug mode also checks that methods are called on the loop's thread. Here such a call does not compile.
    ///
    /// ```
    /// assert!(callsoon::EventLoop::builder().debug(true).build()?.debug());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn debug(mut self, debug: bool) -> Self {
        self.settings.debug = debug;
        self
    }

    /// Sets the clock of the timers. The default is the system's monotonic clock.
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

    /// Sets how many entries may run between two readings of the clock while work is ready. The default is 64; 0 means 1.
    ///
    /// With 1 the loop polls for events and timers in every turn, which makes an entry ten times slower.
    ///
    /// # Differences from asyncio
    /// asyncio polls for events in every turn. Here a loop that has work polls when about 25 µs have passed.
    ///
    /// ```
    /// let strict = callsoon::EventLoop::builder().event_interval(1).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn event_interval(mut self, entries: u32) -> Self {
        self.settings.event_interval = entries.max(1);
        self
    }

    /// Sets how far apart timers may be that share one wake-up. The default is 75 µs, and the most is a second.
    ///
    /// A timer that is alone wakes the loop exactly at its deadline. Of several timers within the slack, earlier ones may
    /// wait for the last. With zero each wakes the loop by itself. No timer is ever early, and a virtual clock has no slack.
    ///
    /// How late sleeps of 0.2 to 2 ms end, and what processor time each takes, for 200 tasks at once and for one alone
    /// (`cargo bench --bench timers -- --only slack`):
    ///
    /// | slack | 200: median, 99 % | CPU | alone: median, 99 % | CPU |
    /// |---|---|---|---|---|
    /// | 0 µs | 11, 28 µs | 5.0 µs | 25, 44 µs | 18 µs |
    /// | 10 µs | 16, 34 µs | 4.1 µs | 25, 48 µs | 18 µs |
    /// | 25 µs | 26, 51 µs | 2.8 µs | 26, 56 µs | 19 µs |
    /// | 50 µs | 38, 76 µs | 1.9 µs | 26, 41 µs | 18 µs |
    /// | 75 µs | 50, 100 µs | 1.4 µs | 25, 44 µs | 18 µs |
    /// | 150 µs | 67, 140 µs | 1.1 µs | 26, 57 µs | 18 µs |
    ///
    /// The default is where the curve flattens: 50 µs would cost a third more processor time, and 150 µs save a fifth.
    ///
    /// ```
    /// let exact = callsoon::EventLoop::builder().timer_slack(std::time::Duration::ZERO).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn timer_slack(mut self, slack: Duration) -> Self {
        // More than a second would be another deadline rather than slack.
        self.settings.timer_slack = slack.min(Duration::from_secs(1));
        self
    }

    /// Sets how long the loop polls for events in a busy loop before it sleeps. The default is zero.
    ///
    /// A wake-up from another thread within that time takes less than a tenth of the time of one that ends a sleep. The
    /// price is a core that is busy for so long before each sleep.
    ///
    /// ```
    /// let eager = callsoon::EventLoop::builder().spin(std::time::Duration::from_micros(50)).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spin(mut self, duration: Duration) -> Self {
        self.settings.spin = duration;
        self
    }

    /// Sets for how many tasks, timers and sockets memory is allocated at once. The default is 0; memory grows as needed.
    ///
    /// ```
    /// let roomy = callsoon::EventLoop::builder().capacity(10_000).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capacity(mut self, entries: usize) -> Self {
        self.settings.capacity = entries;
        self
    }

    /// Sets from how long on a call or a step of a task is slow, and has slow ones reported with or without debug mode.
    ///
    /// The default is 100 ms, and then only debug mode reports them. A report is an event of [`docs::events`](crate::docs::events)
    /// with the place where the callback or the task was created, and the task's name. Measuring costs two readings of the
    /// time for each call and step, 17 ns a step on the machine of the README. A duration that nothing takes, such as an hour,
    /// switches the reports off.
    ///
    /// # Differences from asyncio
    /// asyncio reports slow callbacks in debug mode only.
    ///
    /// ```
    /// use std::time::Duration;
    /// let builder = callsoon::EventLoop::builder().debug(true).slow_callback_duration(Duration::from_millis(5));
    /// assert_eq!(builder.build()?.slow_callback_duration(), Duration::from_millis(5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn slow_callback_duration(mut self, duration: Duration) -> Self {
        self.settings.slow_callback_duration = duration;
        self.settings.slow_counts = true;
        self
    }

    /// Sets whether the loop records how long calls and steps take, how long they wait in the ready queue, and how long
    /// the loop sleeps. The default is `false`. [`LoopHandle::latencies`](crate::LoopHandle::latencies) returns what was
    /// recorded; [`LoopHandle::metrics`](crate::LoopHandle::metrics) counts with and without it.
    ///
    /// It costs one reading of the time for each call and step, by the processor's time-stamp counter where that can be
    /// used: 400 instructions or 25 ns a step and 40 ns a callback on the machine of the README's figures (`cargo bench --bench scheduler --
    /// --only yield_100`); and the memory of the histograms, up to 140 KB.
    ///
    /// ```
    /// use callsoon::{CallKind, EventLoop};
    /// let event_loop = EventLoop::builder().metrics(true).build()?;
    /// event_loop.run_until_complete(async {}).unwrap();
    /// let latencies = event_loop.latencies().unwrap();
    /// println!("steps: {:?}", latencies.run_time(CallKind::Step));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn metrics(mut self, metrics: bool) -> Self {
        self.settings.metrics = metrics;
        self
    }

    /// Sets a seed by which the loop permutes what is ready in each turn, to find code that depends on an order that
    /// nothing promises. It is off by default, and a loop without a seed pays nothing for it.
    ///
    /// Tasks that are ready in the same turn continue in any order, which also goes for their first steps, and so do
    /// transports and callbacks of descriptors. These keep their order: callbacks of `call_soon` among themselves and with
    /// timers, timers of callbacks, callbacks that other threads post, and the waiters of a lock, a queue or another
    /// primitive. A loop that shuffles polls for events in every turn.
    ///
    /// [`testing::TestBuilder::shuffle`](crate::testing::TestBuilder::shuffle) also prints the seed if the test fails.
    ///
    /// ```
    /// use callsoon::testing::Trace;
    /// let order = |seed| {
    ///     let event_loop = callsoon::EventLoop::builder().shuffle(seed).build().unwrap();
    ///     let trace = Trace::new();
    ///     event_loop.run_until_complete(async {
    ///         let note = |n| { let trace = trace.clone(); async move { trace.push(n) } };
    ///         callsoon::gather((0..3).map(note)).await.unwrap();
    ///     }).unwrap();
    ///     trace.take()
    /// };
    /// assert!((0..50).any(|seed| order(seed) != ["0", "1", "2"]));
    /// assert_eq!(order(7), order(7));
    /// ```
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.settings.shuffle = Some(seed);
        self
    }

    /// Sets whether the loop makes `tracing` spans of its tasks, turns, calls and polls for events, and events of its wakes.
    /// The default is `false`, which costs nothing. With it a step takes some 1,100 instructions more, 90 ns on the machine
    /// of the README's figures, before a subscriber does anything (`cargo bench --bench scheduler -- --only yield_100`).
    ///
    /// [`docs::events`](crate::docs::events#spans) lists them. A task's span and its wakes are those of tokio's tasks, so
    /// that `console-subscriber` shows the program in tokio-console. The span is entered around each step, and a span or
    /// an event of the task's own code is inside it.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::builder().task_spans(true).build()?;
    /// event_loop.run_until_complete(async { tracing::info!("inside the span `runtime.spawn` of Task-1") }).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task_spans(mut self, spans: bool) -> Self {
        self.settings.spans = spans;
        self
    }

    /// Sets where the loop's counts of tasks, timers, scopes, turns and done callbacks begin. This crate's own tests use it,
    /// since counting to 2³² takes too long.
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

    /// Sets whether the loop keeps notes of what each task does and waits for. Off by default; debug mode and an
    /// inspector switch it on.
    ///
    /// Notes make [`LoopHandle::task_infos`](crate::LoopHandle::task_infos) and the call graphs complete: its table says
    /// what is known without. Each step of a task then takes about 150 ns longer, 1,100 instructions (`cargo bench --bench
    /// scheduler -- --only yield_100`).
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::builder().inspect(true).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn inspect(mut self, inspect: bool) -> Self {
        self.settings.inspect = inspect;
        self
    }

    /// Creates the loop.
    ///
    /// # Errors
    /// Nothing is leaked in each case.
    /// - `EMFILE` or `ENFILE` if the process or the system has no descriptor left.
    /// - `OutOfMemory` if there is no memory, also for the [`capacity`](Self::capacity).
    /// - `Other` if the process has 32,767 loops.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::builder().build()?;
    /// assert!(!event_loop.is_running());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn build(mut self) -> io::Result<EventLoop> {
        watch_forks();
        let Settings {
            capacity, debug, ..
        } = self.settings;
        self.settings.inspect |= debug;
        let event_loop = EventLoop::from_state(LoopState::new(self.settings)?);
        // If there is no memory, the loop is dropped and releases what it has.
        event_loop.handle().state.make_room(capacity)?;
        for Start(start) in self.starts {
            start(&event_loop)?;
        }
        Ok(event_loop)
    }
}

impl EventLoop {
    /// Creates a loop with the default settings.
    ///
    /// # Errors
    /// Those of [`Builder::build`].
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Returns a builder for a loop with other settings.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::builder().capacity(100).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }
}
