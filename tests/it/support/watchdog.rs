//! Limits that a hang does not outlive.

use std::cell::RefCell;
use std::future::{Future, IntoFuture};
use std::io::Write as _;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use callsoon::{EventLoop, LoopHandle, RunError, TimerHandle};

/// Far beyond what any test needs on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Shorter, so that a loop whose timers work says itself what did not happen: it looks so often,
const PATIENCE: Duration = Duration::from_secs(20);

/// and finds that it has turned less than this since it last looked,
const TURNS_OF_IDLERS: u64 = 100;

/// or has looked so many times.
const LOOKS: u32 = 5;

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

/// `run_until_complete` on the real clock, for as long as something happens.
///
/// The future is boxed: a main task is much to compile for each of a thousand futures.
#[track_caller]
pub(crate) fn complete<F: IntoFuture>(event_loop: &EventLoop, future: F) -> F::Output {
    complete_box(event_loop, Box::pin(future.into_future()))
}

#[track_caller]
fn complete_box<T>(event_loop: &EventLoop, future: Pin<Box<dyn Future<Output = T> + '_>>) -> T {
    let patience = Patience::new(event_loop);
    let ended = event_loop.run_until_complete(future);
    let next = patience.next.take();
    if let Some(next) = &next {
        next.cancel();
    }
    match ended {
        Ok(value) => value,
        Err(RunError::Stopped) if next.is_none() => panic!("hang: nothing happens any more"),
        Err(error) => panic!("the run failed: {error}"),
    }
}

/// Stops a loop in which nothing happens, while it lives. A slow machine is no hang: what counts is turns, not time.
#[derive(Clone)]
struct Patience {
    handle: LoopHandle,
    /// When the next look is due, and how many more there may be.
    next: Rc<RefCell<Option<TimerHandle>>>,
    left: u32,
}

impl Patience {
    fn new(handle: &LoopHandle) -> Self {
        let new = Self {
            handle: handle.clone(),
            next: Rc::default(),
            left: LOOKS,
        };
        new.look_later();
        new
    }

    fn look_later(&self) {
        let (later, turns) = (self.clone(), self.handle.metrics().turns);
        let next = self.handle.call_later(PATIENCE, move || later.look(turns));
        self.next.replace(Some(next));
    }

    fn look(mut self, turns: u64) {
        self.left -= 1;
        let idle = self.handle.metrics().turns - turns < TURNS_OF_IDLERS;
        if idle || self.left == 0 {
            self.next.replace(None);
            self.handle.stop();
        } else {
            self.look_later();
        }
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
