//! Waiting for a time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::event_loop::free::{YieldNow, get_running_loop, yield_now};
use crate::kernel::inline_fn::InlineFn;
use crate::kernel::loop_state::{LoopState, TimerPayload};
use crate::kernel::task::waker::{current, key_of};
use crate::kernel::timers::TimerKey;

/// Waits for `delay`, counted from this call; called outside a running loop, from the first poll. Never early; a delay
/// too long for the clock never ends. A zero delay gives up one turn, as [`yield_now`] does.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropping it disarms its timer.
///
/// ```
/// use std::time::{Duration, Instant};
/// callsoon::run(async {
///     let start = Instant::now();
///     callsoon::sleep(Duration::from_millis(2)).await;
///     assert!(start.elapsed() >= Duration::from_millis(2));
/// }).unwrap();
/// ```
pub fn sleep(delay: Duration) -> Sleep {
    let stage = match current() {
        _ if delay.is_zero() => Stage::Yield(yield_now()),
        Some(state) => Stage::New(state.clock.after(delay), state),
        None => Stage::After(delay),
    };
    Sleep { stage }
}

/// Waits until `when`, on the loop's clock. A time in the past gives up one turn.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropping it disarms its timer.
///
/// ```
/// use std::time::Duration;
/// callsoon::run(async {
///     let when = callsoon::get_running_loop().time() + Duration::from_millis(2);
///     callsoon::sleep_until(when).await;
///     assert!(callsoon::get_running_loop().time() >= when);
/// }).unwrap();
/// ```
pub fn sleep_until(when: Instant) -> Sleep {
    Sleep {
        stage: Stage::Until(when),
    }
}

/// The future of [`sleep`] and [`sleep_until`]. It belongs to the loop in which it is first polled, or was made.
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    stage: Stage,
}

enum Stage {
    /// Made outside a loop, not polled yet.
    After(Duration),
    /// Not polled yet.
    Until(Instant),
    /// Made inside a loop, with its deadline, not polled yet.
    New(u64, Rc<LoopState>),
    /// The timer is armed, or has fired: it is gone then.
    Armed(TimerKey, Rc<LoopState>),
    /// A zero delay.
    Yield(YieldNow),
    Done,
}

impl Sleep {
    fn arm(&mut self, state: Rc<LoopState>, deadline: u64, waker: &Waker) -> Poll<()> {
        match state.arm_timer(deadline, payload(waker)) {
            Ok(key) => self.stage = Stage::Armed(key, state),
            // The loop is closed: nobody will ever wake whoever polls this.
            Err(refused) => drop(refused),
        }
        Poll::Pending
    }
}

/// The timer wakes the newest waker. One that fired is gone.
fn check(key: TimerKey, state: &LoopState, waker: &Waker) -> Poll<()> {
    let fresh = payload(waker);
    let replaced = state.timers(|timers| Some(std::mem::replace(timers.payload_mut(key)?, fresh)));
    if replaced.is_some() {
        Poll::Pending
    } else {
        Poll::Ready(())
    }
}

#[track_caller]
fn running_loop() -> Rc<LoopState> {
    get_running_loop().state
}

/// What the timer does: a waker of ours is one word, a foreign one becomes a callback.
fn payload(waker: &Waker) -> TimerPayload {
    match key_of(waker) {
        Some(key) => TimerPayload::Wake(key),
        None => {
            let waker = waker.clone();
            TimerPayload::Call(InlineFn::new(move || waker.wake()))
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker();
        let done = match &mut self.stage {
            Stage::Armed(key, state) => check(*key, state, waker),
            Stage::Yield(once) => Pin::new(once).poll(context),
            Stage::Done => return Poll::Ready(()),
            Stage::New(deadline, state) => {
                let (state, deadline) = (Rc::clone(state), *deadline);
                return self.arm(state, deadline, waker);
            }
            Stage::After(delay) => {
                let state = running_loop();
                let deadline = state.clock.after(*delay);
                return self.arm(state, deadline, waker);
            }
            Stage::Until(when) => {
                let state = running_loop();
                let deadline = state.clock.raw(*when);
                return self.arm(state, deadline, waker);
            }
        };
        if done.is_ready() {
            self.stage = Stage::Done;
        }
        done
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Stage::Armed(key, state) = &self.stage {
            let payload = state.timers(|timers| timers.cancel(*key));
            drop(payload);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::New(..) | Stage::After(_) | Stage::Until(_) => "not polled yet",
            Stage::Armed(..) => "armed",
            Stage::Yield(_) => "yields",
            Stage::Done => "done",
        };
        f.debug_tuple("Sleep")
            .field(&format_args!("{stage}"))
            .finish()
    }
}
