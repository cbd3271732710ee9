//! Limits of time, after which a test that hangs fails.

use std::cell::{Cell, RefCell};
use std::future::{Future, IntoFuture};
use std::io::Write as _;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use callsoon::{EventLoop, LoopHandle, RunError, TimerHandle, get_running_loop};

/// How many seconds a test may take: far beyond what any needs on a busy machine, in debug mode, under a sanitizer.
const LIMIT: u32 = 600;

/// Shorter, so that a loop whose timers work can report itself what did not happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// After so many periods in a row in which the loop had no other turn than that of the period's end, the test fails.
const QUIET_PERIODS: u32 = 2;

/// A test whose loop goes on running turns fails after this many periods.
const PERIODS: u32 = 15;

/// How long a handshake between threads is waited for, all together 20 seconds. Counted in pieces, and each of them
/// once however long it took: a machine that is suspended has not let the other thread run either.
pub(crate) struct Patience {
    pieces: u32,
    piece_began: Instant,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self {
            pieces: 200,
            piece_began: Instant::now(),
        }
    }

    /// Gives the processor to other threads. Returns false after they have had it for long enough.
    pub(crate) fn lets_others_run(&mut self) -> bool {
        thread::yield_now();
        if self.piece_began.elapsed() >= Duration::from_millis(100) {
            self.piece_began = Instant::now();
            self.pieces -= 1;
        }
        self.pieces > 0
    }
}

/// Ends the process if `test` does not end. For tests that no timer of their own loop could end.
#[track_caller]
pub(crate) fn watched(test: impl FnOnce() + Send + 'static) -> impl FnOnce() + Send + 'static {
    let place = Location::caller();
    move || {
        let _watchdog = Watchdog::new(place);
        test();
    }
}

struct Watchdog {
    /// Dropped first, by which the thread learns that the test has ended.
    alive: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    fn new(place: &'static Location<'static>) -> Self {
        let (alive, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            // Second by second, so that a machine that is suspended uses up one of them and not all.
            let second = Duration::from_secs(1);
            let goes_on = |_| ended.recv_timeout(second) == Err(RecvTimeoutError::Timeout);
            if (0..LIMIT).all(goes_on) {
                // Past the harness, which would keep the line to itself until a test ends that never does.
                let _ = writeln!(std::io::stderr(), "the test at {place} hangs");
                std::process::abort();
            }
        });
        Self {
            alive: Some(alive),
            thread: Some(thread),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// `run_until_complete` on the real clock, which fails once the loop has had nothing to do for a while.
///
/// The future is boxed: a main task is much to compile for each of a thousand futures.
#[track_caller]
pub(crate) fn complete<F: IntoFuture>(event_loop: &EventLoop, future: F) -> F::Output {
    complete_box(event_loop, Box::pin(future.into_future()))
}

#[track_caller]
fn complete_box<T>(event_loop: &EventLoop, future: Pin<Box<dyn Future<Output = T> + '_>>) -> T {
    let pulse = Rc::new(Pulse::default());
    feel(Rc::clone(&pulse), event_loop.handle());
    let ended = event_loop.run_until_complete(future);
    if let Some(timer) = pulse.timer.take() {
        timer.cancel();
    }
    match ended {
        Ok(value) => value,
        Err(RunError::Stopped) if pulse.quiet.get() >= QUIET_PERIODS => {
            panic!("hang: nothing happened for {:?}", PATIENCE * QUIET_PERIODS)
        }
        Err(RunError::Stopped) => panic!("hang: stopped after {} periods", pulse.periods.get()),
        Err(error) => panic!("the run failed: {error}"),
    }
}

/// What is known of a run that may hang. The turns distinguish a test that is slow, because it has much to do
/// on a busy machine, from one that waits for what does not come.
#[derive(Default)]
struct Pulse {
    timer: RefCell<Option<TimerHandle>>,
    turns: Cell<u64>,
    quiet: Cell<u32>,
    periods: Cell<u32>,
}

/// Checks at the end of each period whether the loop had turns, and stops the loop if not.
fn feel(pulse: Rc<Pulse>, handle: LoopHandle) {
    pulse.turns.set(handle.metrics().turns);
    let (felt, same) = (Rc::clone(&pulse), handle.clone());
    let timer = handle.call_later(PATIENCE, move || {
        let turned = same.metrics().turns - felt.turns.get();
        // The turn that ends the period, and perhaps the one that began it.
        let quiet = if turned <= 2 { felt.quiet.get() + 1 } else { 0 };
        felt.quiet.set(quiet);
        felt.periods.set(felt.periods.get() + 1);
        if quiet >= QUIET_PERIODS || felt.periods.get() >= PERIODS {
            same.stop();
        } else {
            feel(felt, same);
        }
    });
    pulse.timer.replace(Some(timer));
}

/// Ends the threads of the running loop's own pool, which hold a descriptor of the loop until then. They end soon,
/// unless one of them hangs.
pub(crate) async fn end_default_executor() {
    let ended = get_running_loop().shutdown_default_executor(Duration::from_secs(3600));
    ended.await.unwrap();
}

/// Runs the loop for this time and returns how many turns it had. Two of them belong to the measurement.
pub(crate) fn turns_in(event_loop: &EventLoop, window: Duration) -> u64 {
    let handle = event_loop.handle();
    event_loop.call_later(window, move || handle.stop());
    let before = event_loop.metrics().turns;
    event_loop.run_forever().unwrap();
    event_loop.metrics().turns - before
}
