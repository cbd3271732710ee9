//! hyper's timers, on the loop's clock.
//!
//! hyper wants sleeps that are `Send` and `Sync`, since it does not know on how many threads its connections run. So a
//! sleep of ours holds no reference to its loop: it keeps the key of its timer and a [`RemoteHandle`]. Each poll looks
//! the timer up in the running loop, and a sleep that is dropped elsewhere asks its loop to disarm the timer.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use crate::event_loop::free::try_get_running_loop;
use crate::event_loop::remote::RemoteHandle;
use crate::kernel::clock::NEVER;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::waker::current;
use crate::time::sleep::{self, ArmedTimer};

/// Measures hyper's timeouts on the clock of the running loop, so also on a virtual clock.
///
/// Its sleeps are `Send` and `Sync`. They may be dropped on any thread, also after their loop has closed, and a sleep
/// that is polled in another loop than before goes on in that one.
///
/// # Panics
/// A sleep that is polled outside a running loop panics, as [`sleep`](crate::sleep()) does: there a connection has no
/// clock. To make one is no error.
///
/// ```
/// use std::time::Duration;
///
/// use callsoon::interop::hyper::HyperTimer;
/// use hyper::rt::Timer;
///
/// callsoon::run(async {
///     let start = HyperTimer.now();
///     HyperTimer.sleep(Duration::from_millis(2)).await;
///     assert!(HyperTimer.now() >= start + Duration::from_millis(2));
/// }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HyperTimer;

impl Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        let deadline = self.now().checked_add(duration);
        Box::pin(HyperSleep::until(deadline))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HyperSleep::until(Some(deadline)))
    }

    /// Returns the time of the running loop's clock; outside a running loop, that of the system.
    fn now(&self) -> Instant {
        try_get_running_loop().map_or_else(Instant::now, |running| running.time())
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<HyperSleep>() {
            Some(ours) => ours.get_mut().reset(new_deadline),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

/// The sleep of [`HyperTimer`].
struct HyperSleep {
    /// `None` is too late for the clock.
    deadline: Option<Instant>,
    stage: Stage,
}

enum Stage {
    New,
    Armed(RemoteHandle, ArmedTimer),
    Done,
}

impl HyperSleep {
    fn until(deadline: Option<Instant>) -> Self {
        let stage = Stage::New;
        Self { deadline, stage }
    }

    fn reset(&mut self, deadline: Instant) {
        self.disarm();
        self.deadline = Some(deadline);
    }

    /// Disarms the timer, if there is one, wherever this runs.
    fn disarm(&mut self) {
        let Stage::Armed(remote, timer) = std::mem::replace(&mut self.stage, Stage::New) else {
            return;
        };
        match current().filter(|state| remote.is_of(state)) {
            Some(state) => drop(sleep::Sleep::attach(timer, state)),
            None => {
                let disarm = move || {
                    if let Some(state) = current() {
                        drop(sleep::Sleep::attach(timer, state));
                    }
                };
                // A loop that has closed has no timers left.
                let _ = remote.post(disarm);
            }
        }
    }

    /// Takes the timer out, or makes one. It is disarmed if user code, such as the clone of a waker, panics meanwhile.
    fn take(&mut self, state: &Rc<LoopState>) -> Option<sleep::Sleep> {
        match std::mem::replace(&mut self.stage, Stage::New) {
            Stage::Done => {
                self.stage = Stage::Done;
                return None;
            }
            Stage::Armed(remote, timer) if remote.is_of(state) => {
                return Some(sleep::Sleep::attach(timer, Rc::clone(state)));
            }
            elsewhere => self.stage = elsewhere,
        }
        self.disarm();
        let deadline = self.deadline.map_or(NEVER, |at| state.clock.raw(at));
        Some(sleep::Sleep::on_clock(deadline, Rc::clone(state)))
    }
}

impl Sleep for HyperSleep {}

impl Future for HyperSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(state) = current() else {
            panic!(
                "no running event loop: a timeout of HyperTimer belongs inside a task or callback of one"
            )
        };
        let Some(mut sleep) = this.take(&state) else {
            return Poll::Ready(());
        };
        let polled = Pin::new(&mut sleep).poll(context);
        this.stage = match sleep.detach() {
            _ if polled.is_ready() => Stage::Done,
            Some(timer) => Stage::Armed(RemoteHandle::new(&state), timer),
            None => Stage::New,
        };
        polled
    }
}

impl Drop for HyperSleep {
    fn drop(&mut self) {
        self.disarm();
    }
}
