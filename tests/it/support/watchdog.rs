//! Limits that a hang does not outlive.

use std::future::{Future, IntoFuture};
use std::io::Write as _;
use std::panic::Location;
use std::pin::Pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use callsoon::{EventLoop, RunError};

/// Far beyond what any test needs on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Shorter, so that a loop whose timers work says itself what did not happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends the process if `test` does not end. For what no timer of the loop under test can be trusted to end.
#[track_caller]
pub(crate) fn watched(test: impl FnOnce() + Send + 'static) -> impl FnOnce() + Send + 'static {
    watched_box(Box::new(test), Location::caller())
}

/// One closure for all tests, so that what it goes through is compiled once.
fn watched_box(
    test: Box<dyn FnOnce() + Send>,
    place: &'static Location<'static>,
) -> impl FnOnce() + Send + 'static {
    move || {
        let _watchdog = Watchdog::new(place);
        test();
    }
}

struct Watchdog {
    /// Dropped first, which tells the thread that all is well.
    alive: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    fn new(place: &'static Location<'static>) -> Self {
        let (alive, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            if ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
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

/// `run_until_complete` on the real clock, with a deadline.
///
/// The future is boxed: a main task is much to compile for each of a thousand futures.
#[track_caller]
pub(crate) fn complete<F: IntoFuture>(event_loop: &EventLoop, future: F) -> F::Output {
    complete_box(event_loop, Box::pin(future.into_future()))
}

#[track_caller]
fn complete_box<T>(event_loop: &EventLoop, future: Pin<Box<dyn Future<Output = T> + '_>>) -> T {
    let handle = event_loop.handle();
    let deadline = event_loop.call_later(PATIENCE, move || handle.stop());
    match event_loop.run_until_complete(future) {
        Ok(value) => {
            deadline.cancel();
            value
        }
        Err(RunError::Stopped) => panic!("hang: nothing happened for {PATIENCE:?}"),
        Err(error) => panic!("the run failed: {error}"),
    }
}

/// Runs the loop for so long and says how many turns that took; two of them are the measurement's own.
pub(crate) fn turns_in(event_loop: &EventLoop, window: Duration) -> u64 {
    let handle = event_loop.handle();
    event_loop.call_later(window, move || handle.stop());
    let before = event_loop.metrics().turns;
    event_loop.run_forever().unwrap();
    event_loop.metrics().turns - before
}
