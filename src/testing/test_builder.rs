//! `run`, `try_run`, `shuffle_all` and `TestBuilder`: a test's whole life on a loop of its own.
//!
//! ```text
//! 1  the loop is made, on the virtual clock         2  the test's future runs to its end
//! 3  clean-ups and the default executor end         4  turns run until nothing is ready; the clock stands still
//! 5  what is left is listed                         6  the loop is closed
//! ```

use std::cell::Cell;
use std::env;
use std::future::IntoFuture;

use crate::error::RunError;
use crate::event_loop::builder::Builder;
use crate::event_loop::clock_handle::ClockHandle;
use crate::event_loop::free::get_running_loop;
use crate::event_loop::owner::EventLoop;
use crate::kernel::clock::Clock;
use crate::testing::audit::Audit;
use crate::testing::leftover::TestError;

/// The environment variable that repeats a run with one seed.
const SEED: &str = "CALLSOON_SHUFFLE_SEED";

/// Runs a test on a loop of its own with the virtual clock, and fails it if it leaves something behind.
///
/// An hour of sleeping takes microseconds: an idle loop jumps to its next timer. When the future has ended, what is about
/// to end has the time to do so: callbacks and tasks that are ready run, registered
/// [clean-ups](crate::defer_async_drop) run, and the jobs of the default executor are awaited. The clock stands still, so
/// no timer fires any more. Sockets, threads and child processes that are still there have one second of real time.
///
/// # Panics
/// If the future panics, with the same panic. If something is left: the message lists pending tasks with name and place,
/// timers, callbacks that queue one another for ever, descriptors of the loop, threads, child processes, and the failures
/// that no code has handled. If the test was stopped or cancelled, or runs inside another loop. [`try_run`] returns an
/// error in the last two cases.
///
/// # Differences from asyncio
/// The counterpart is `IsolatedAsyncioTestCase`, which has a real clock, cancels what is left, and lists nothing.
///
/// ```
/// use callsoon::testing;
/// use std::time::Duration;
///
/// let elapsed = testing::run(async {
///     let start = testing::clock().now();
///     callsoon::sleep(Duration::from_secs(3600)).await;
///     testing::clock().now() - start
/// });
/// assert_eq!(elapsed, Duration::from_secs(3600));
/// ```
///
/// ```should_panic
/// callsoon::testing::run(async {
///     callsoon::create_task(std::future::pending::<()>()).detach();
/// });
/// ```
#[track_caller]
pub fn run<F: IntoFuture>(test: F) -> F::Output {
    TestBuilder::new().run(test)
}

/// Does the same as [`run`], and returns what is left instead of panicking.
///
/// # Errors
/// [`TestError::Leftovers`] if something is left. [`TestError::Run`] if the test was stopped or cancelled, if the loop
/// could not be made, or inside a running loop.
///
/// # Panics
/// A panic of the future resumes here.
///
/// ```
/// let value = callsoon::testing::try_run(async { 6 * 7 })?;
/// assert_eq!(value, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn try_run<F: IntoFuture>(test: F) -> Result<F::Output, TestError> {
    TestBuilder::new().try_run(test)
}

/// Runs a test once with each seed, as [`TestBuilder::shuffle`] does: to find code that depends on an order which nothing
/// promises. If `CALLSOON_SHUFFLE_SEED` is set, it runs once, with that seed.
///
/// # Panics
/// As [`run`]. The seed is printed.
///
/// ```
/// use callsoon::testing;
///
/// testing::shuffle_all(0..20, || async {
///     let numbers = callsoon::gather((0..3).map(|n| async move { n })).await.unwrap();
///     assert_eq!(numbers, [0, 1, 2]);
/// });
/// ```
#[track_caller]
pub fn shuffle_all<F: IntoFuture>(
    seeds: impl IntoIterator<Item = u64>,
    mut test: impl FnMut() -> F,
) {
    if seed_of_environment().is_some() {
        TestBuilder::new().shuffle(0).run(test());
        return;
    }
    for seed in seeds {
        TestBuilder::new().shuffle(seed).run(test());
    }
}

/// Returns the settings of a test, to be changed.
///
/// ```
/// use callsoon::{Clock, testing};
/// testing::builder().clock(Clock::Manual).debug(true).run(async {
///     assert!(callsoon::get_running_loop().debug());
/// });
/// ```
pub fn builder() -> TestBuilder {
    TestBuilder::new()
}

/// Returns the clock of the running loop.
///
/// # Panics
/// Outside a running loop, and if its clock is the system's.
///
/// ```
/// use callsoon::testing;
/// use std::time::Duration;
/// testing::run(async {
///     let before = testing::clock().now();
///     testing::clock().advance(Duration::from_secs(1));
///     assert_eq!(testing::clock().now() - before, Duration::from_secs(1));
/// });
/// ```
#[track_caller]
pub fn clock() -> ClockHandle {
    let clock = get_running_loop().clock();
    clock.expect("the running loop has the system's clock, which nobody moves")
}

/// The settings of a test: made by [`builder`].
///
/// ```
/// use callsoon::testing;
/// let answer = testing::builder().shuffle(7).try_run(async { 42 })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder runs nothing until `run()`"]
pub struct TestBuilder {
    builder: Builder,
    seed: Option<u64>,
}

impl TestBuilder {
    fn new() -> Self {
        Self {
            builder: EventLoop::builder().clock(Clock::Virtual),
            seed: None,
        }
    }

    /// Sets the clock. The default is [`Clock::Virtual`]. With [`Clock::Manual`] the test moves it.
    ///
    /// ```
    /// use callsoon::{Clock, testing};
    /// testing::builder().clock(Clock::Monotonic).run(callsoon::yield_now());
    /// ```
    pub fn clock(mut self, clock: Clock) -> Self {
        self.builder = self.builder.clock(clock);
        self
    }

    /// Sets debug mode. It is off by default, unless the environment variable `CALLSOON_DEBUG` says otherwise.
    ///
    /// ```
    /// callsoon::testing::builder().debug(true).run(callsoon::yield_now());
    /// ```
    pub fn debug(mut self, debug: bool) -> Self {
        self.builder = self.builder.debug(debug);
        self
    }

    /// Permutes what is ready in each turn, by this seed: see [`Builder::shuffle`](crate::Builder::shuffle) for what keeps
    /// its order. If the test fails, the seed is printed. The environment variable `CALLSOON_SHUFFLE_SEED` replaces it, so
    /// that one run is repeated without a change of the source.
    ///
    /// ```
    /// callsoon::testing::builder().shuffle(7).run(callsoon::yield_now());
    /// ```
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.seed = Some(seed_of_environment().unwrap_or(seed));
        self
    }

    /// Changes other settings of the loop.
    ///
    /// ```
    /// callsoon::testing::builder().with(|builder| builder.event_interval(1)).run(callsoon::yield_now());
    /// ```
    pub fn with(mut self, change: impl FnOnce(Builder) -> Builder) -> Self {
        self.builder = change(self.builder);
        self
    }

    /// Runs a test: see [`run`].
    ///
    /// # Panics
    /// Those of [`run`].
    ///
    /// ```
    /// callsoon::testing::builder().run(callsoon::sleep(std::time::Duration::from_secs(60)));
    /// ```
    #[track_caller]
    pub fn run<F: IntoFuture>(self, test: F) -> F::Output {
        let seed = SeedNote::new(self.seed);
        let ended = self.try_run_noted(test);
        match ended {
            Ok(value) => {
                seed.is_wanted.set(false);
                value
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Runs a test: see [`try_run`].
    ///
    /// # Errors
    /// Those of [`try_run`].
    ///
    /// # Panics
    /// A panic of the future resumes here.
    ///
    /// ```
    /// let ended = callsoon::testing::builder().try_run(async {
    ///     callsoon::get_running_loop().call_soon(|| panic!("on purpose"));
    /// });
    /// assert!(ended.unwrap_err().to_string().contains("Exception in callback"));
    /// ```
    #[track_caller]
    pub fn try_run<F: IntoFuture>(self, test: F) -> Result<F::Output, TestError> {
        let seed = SeedNote::new(self.seed);
        let ended = self.try_run_noted(test);
        seed.is_wanted.set(ended.is_err());
        ended
    }

    #[track_caller]
    fn try_run_noted<F: IntoFuture>(self, test: F) -> Result<F::Output, TestError> {
        let builder = match self.seed {
            Some(seed) => self.builder.shuffle(seed),
            None => self.builder,
        };
        let audit = Audit::begin();
        let event_loop = builder.build().map_err(RunError::Io)?;
        audit.listen_to(&event_loop);
        let value = event_loop.run_until_complete(test)?;
        let left = audit.leftovers(event_loop)?;
        match left.is_empty() {
            true => Ok(value),
            false => Err(TestError::Leftovers(left)),
        }
    }
}

/// Prints the seed of a test that has failed, by a panic too.
struct SeedNote {
    seed: Option<u64>,
    is_wanted: Cell<bool>,
}

impl SeedNote {
    fn new(seed: Option<u64>) -> Self {
        Self {
            seed,
            is_wanted: Cell::new(true),
        }
    }
}

impl Drop for SeedNote {
    fn drop(&mut self) {
        if let Some(seed) = self.seed.filter(|_| self.is_wanted.get()) {
            eprintln!("the test ran shuffled; {SEED}={seed} repeats this order");
        }
    }
}

/// Returns the seed that a run is to be repeated with.
fn seed_of_environment() -> Option<u64> {
    env::var(SEED).ok()?.trim().parse().ok()
}
