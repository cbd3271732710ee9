//! Waiting for a time: one timer, armed at the first poll, disarmed by dropping.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::event_loop::free::{YieldNow, get_running_loop, yield_now};
use crate::kernel::enter::wake;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::note_wait::note_wait;
use crate::kernel::task::key::Key;
use crate::kernel::task::waker::{current, key_of};
use crate::kernel::timers::{Payload, TimerKey};
use crate::kernel::wait::wait_kind::WaitKind;

/// Waits for `delay`, counted from this call, or from the first poll if it is called outside a running loop. It never
/// ends early; a delay that is too long for the clock never ends. A zero delay lets others run for one turn, as
/// [`yield_now`] does.
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

/// Waits until `when`, on the loop's clock. A time in the past lets others run for one turn.
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

/// Waits like [`sleep`] and then returns a value: asyncio's `sleep(delay, result)`.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropping it disarms its timer and drops the value.
///
/// ```
/// use std::time::Duration;
/// callsoon::run(async {
///     assert_eq!(callsoon::sleep_with(Duration::from_millis(2), "soup").await, "soup");
/// }).unwrap();
/// ```
pub fn sleep_with<T>(delay: Duration, value: T) -> impl Future<Output = T> {
    let sleep = sleep(delay);
    async move {
        sleep.await;
        value
    }
}

/// The future of [`sleep`] and [`sleep_until`]. It belongs to the loop in which it was made, or else to the one in
/// which it is first polled.
///
/// ```
/// let nap: callsoon::Sleep = callsoon::sleep(std::time::Duration::from_millis(1));
/// callsoon::run(nap).unwrap();
/// ```
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
    /// The timer is armed, or has fired and is freed.
    Armed {
        /// The two parts of the timer's key: apart, they leave room for the tag.
        index: u32,
        generation: u64,
        /// It wakes a task, and its time was not over when it was armed: so once that is over, it has left the wheel.
        leaves: bool,
        deadline: u64,
        state: Rc<LoopState>,
    },
    /// A zero delay.
    Yield(YieldNow),
    Done,
}

impl Sleep {
    /// Ends after a delay on the clock of this loop, whichever loop polls it.
    pub(crate) fn after(handle: &LoopHandle, delay: Duration) -> Self {
        Self::on_clock(handle.state.clock.after(delay), Rc::clone(&handle.state))
    }

    /// Makes a sleep until a time on the clock of a loop.
    #[inline]
    pub(crate) fn on_clock(deadline: u64, state: Rc<LoopState>) -> Self {
        Self {
            stage: Stage::New(deadline, state),
        }
    }

    /// Returns the time on the loop's clock for which it waits, once that is known.
    pub(crate) fn deadline(&self) -> Option<u64> {
        match &self.stage {
            Stage::New(deadline, _) | Stage::Armed { deadline, .. } => Some(*deadline),
            _ => None,
        }
    }

    /// Returns whether it has ended.
    #[cfg(feature = "futures")]
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Returns the key of its timer; of none, if none was armed.
    fn key(&self) -> TimerKey {
        match self.stage {
            Stage::Armed {
                index, generation, ..
            } => TimerKey { index, generation },
            _ => TimerKey::STALE,
        }
    }

    fn arm(&mut self, state: Rc<LoopState>, deadline: u64, waker: &Waker) -> Poll<()> {
        // Cloning and waking another runtime's waker runs user code, so its timer is queued like a callback.
        let ours = key_of(waker);
        let armed = match ours {
            Some(task) => state.arm_waking(deadline, task).ok(),
            None => {
                let waker = waker.clone();
                state.arm_timer(deadline, move || wake(waker)).ok()
            }
        };
        note_wait(WaitKind::Sleep, || deadline);
        // Otherwise the loop is closed, and this future will never be woken.
        if let Some(TimerKey { index, generation }) = armed {
            self.stage = Stage::Armed {
                index,
                generation,
                leaves: ours.is_some() && deadline > state.event_polls.last.get(),
                deadline,
                state,
            };
        }
        Poll::Pending
    }

    /// Polls an armed timer. If it has fired it is freed; otherwise it has to wake the newest waker.
    fn check(&mut self, waker: &Waker) -> Poll<()> {
        let Stage::Armed {
            leaves,
            deadline,
            state,
            ..
        } = &self.stage
        else {
            return Poll::Ready(());
        };
        if state.is_closed() {
            // The timer was dropped with the loop and never fires.
            return Poll::Pending;
        }
        let is_over = state.event_polls.last.get() >= *deadline;
        if is_over && *leaves {
            self.stage = Stage::Done;
            return Poll::Ready(());
        }
        // The first test is for a timer with another runtime's waker, which is due but still queued. Without it, a
        // combinator that passes another waker at every poll could delay the end for ever.
        let (key, deadline) = (self.key(), *deadline);
        let wakes = state.timers(|timers| timers.payload(key).map(Payload::task));
        if is_over || wakes.is_none() {
            drop(state.cancel_timer(key));
            self.stage = Stage::Done;
            return Poll::Ready(());
        }
        let ours = key_of(waker).map(Key::bits);
        if ours.is_none() || wakes != Some(ours) {
            let state = Rc::clone(state);
            let former = state.cancel_timer(key);
            self.stage = Stage::Done;
            let polled = self.arm(state, deadline, waker);
            drop(former);
            return polled;
        }
        note_wait(WaitKind::Sleep, || deadline);
        Poll::Pending
    }
}

/// The timer of a sleep, without its loop: what a future that is `Send` may hold.
#[cfg(feature = "hyper")]
#[derive(Clone, Copy)]
pub(crate) struct ArmedTimer {
    key: TimerKey,
    /// As in [`Stage::Armed`].
    leaves: bool,
    deadline: u64,
}

#[cfg(feature = "hyper")]
impl Sleep {
    /// Gives the armed timer up, if there is one, without disarming it. [`attach`](Self::attach) takes it back.
    pub(crate) fn detach(mut self) -> Option<ArmedTimer> {
        let key = self.key();
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Armed {
                leaves, deadline, ..
            } => Some(ArmedTimer {
                key,
                leaves,
                deadline,
            }),
            _ => None,
        }
    }

    /// Makes a sleep of a timer again, with the loop that has it.
    pub(crate) fn attach(timer: ArmedTimer, state: Rc<LoopState>) -> Self {
        let TimerKey { index, generation } = timer.key;
        let stage = Stage::Armed {
            index,
            generation,
            leaves: timer.leaves,
            deadline: timer.deadline,
            state,
        };
        Self { stage }
    }
}

const _: () = assert!(size_of::<Sleep>() == 32);

#[track_caller]
fn running_loop() -> Rc<LoopState> {
    get_running_loop().state
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker();
        let done = match &mut self.stage {
            Stage::Armed { .. } => return self.check(waker),
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
        if let Stage::Armed { state, .. } = &self.stage {
            drop(state.cancel_timer(self.key()));
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::New(..) | Stage::After(_) | Stage::Until(_) => "not polled yet",
            Stage::Armed { .. } => "armed",
            Stage::Yield(_) => "yields",
            Stage::Done => "done",
        };
        f.debug_tuple("Sleep")
            .field(&format_args!("{stage}"))
            .finish()
    }
}
