//! The methods of a loop for its own thread: callbacks, timers, time, stop, futures and debug mode.

use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::event_loop::remote::RemoteHandle;
use crate::kernel::callback::{Handle, TimerHandle};
use crate::kernel::future::Future as LoopFuture;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::Phase;

impl LoopHandle {
    /// Queues a callback. It runs once, in the next turn, after everything that was queued before it.
    ///
    /// It never runs inside this call. If it panics, the panic is reported to the exception handler. The returned handle
    /// can cancel it. Dropping the handle cancels nothing. A closure that captures up to 24 bytes costs no allocation.
    ///
    /// # Panics
    /// If the loop is closed; while it is closing, or the thread unwinds, the callback is dropped instead.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let order = std::rc::Rc::new(std::cell::RefCell::new(vec![]));
    /// for n in 0..3 {
    ///     let order = order.clone();
    ///     event_loop.call_soon(move || order.borrow_mut().push(n));
    /// }
    /// event_loop.stop();
    /// event_loop.run_forever().unwrap();
    /// assert_eq!(*order.borrow(), [0, 1, 2]);
    /// ```
    #[track_caller]
    #[inline]
    pub fn call_soon(&self, callback: impl FnOnce() + 'static) -> Handle {
        self.queue_call(callback, Location::caller())
    }

    /// Queues a callback that runs when `delay` has passed.
    ///
    /// It never runs early. A delay beyond the end of the clock, such as `Duration::MAX`, never passes.
    ///
    /// # Panics
    /// If the loop is closed; while it is closing, or the thread unwinds, the callback is dropped instead.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let handle = event_loop.handle();
    /// event_loop.call_later(Duration::from_millis(2), move || handle.stop());
    /// event_loop.call_later(Duration::MAX, || unreachable!());
    /// event_loop.run_forever().unwrap();
    /// ```
    #[track_caller]
    #[inline]
    pub fn call_later(&self, delay: Duration, callback: impl FnOnce() + 'static) -> TimerHandle {
        let state = &self.state;
        if delay.is_zero() {
            // The timer is due already, so the next turn must check the timers.
            state.event_polls.force();
        }
        let when = state.clock.after(delay);
        self.queue_timer(when, callback, Location::caller(), "call_later")
    }

    /// Queues a callback that runs at `when`, on the clock of [`time`](Self::time).
    ///
    /// Timers run in the order of their deadlines, and timers of the same deadline in the order of their creation. A timer
    /// whose deadline has passed runs in the next turn.
    ///
    /// # Differences from asyncio
    /// asyncio runs timers of the same deadline in any order, and runs a timer early by up to the clock's resolution.
    ///
    /// # Panics
    /// If the loop is closed; while it is closing, or the thread unwinds, the callback is dropped instead.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let handle = event_loop.handle();
    /// let timer = event_loop.call_at(event_loop.time() + Duration::from_millis(2), move || handle.stop());
    /// event_loop.run_forever().unwrap();
    /// assert!(event_loop.time() >= timer.when());
    /// ```
    #[track_caller]
    #[inline]
    pub fn call_at(&self, when: Instant, callback: impl FnOnce() + 'static) -> TimerHandle {
        let when = self.state.clock.raw(when);
        self.queue_timer(when, callback, Location::caller(), "call_at")
    }

    /// Returns the current time of the loop's clock. It is read anew by each call, and not once a turn.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let start = event_loop.time();
    /// assert!(event_loop.time() >= start);
    /// ```
    pub fn time(&self) -> Instant {
        self.state.clock.instant(self.state.clock.now())
    }

    /// Ends the run after the current turn.
    ///
    /// Everything that this turn was to run still runs. What that schedules waits for the next run. If the loop is not
    /// running, the next run ends after one turn.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.stop();
    /// event_loop.run_forever().unwrap();
    /// ```
    pub fn stop(&self) {
        self.state.stopping.set(true);
    }

    /// Returns whether the loop is inside `run_forever`, `run_until_complete` or `turn`.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// assert!(!event_loop.is_running());
    /// assert!(event_loop.run_until_complete(async { callsoon::get_running_loop().is_running() }).unwrap());
    /// ```
    pub fn is_running(&self) -> bool {
        self.state.phase.get() == Phase::Running
    }

    /// Returns whether the loop has been closed, or is being closed.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let handle = event_loop.handle();
    /// drop(event_loop);
    /// assert!(handle.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.state.is_closed()
    }

    /// Returns whether something is queued that the next turn runs without waiting.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// assert!(!event_loop.has_ready());
    /// event_loop.call_soon(|| ());
    /// assert!(event_loop.has_ready());
    /// ```
    pub fn has_ready(&self) -> bool {
        self.state.inbox.has_posts() || self.state.queues(|queues| !queues.ready.is_empty())
    }

    /// Creates a future of this loop, whose result is set by [`Future::set_result`](crate::Future::set_result).
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future::<u32>();
    /// assert!(!future.done());
    /// ```
    #[track_caller]
    pub fn create_future<T>(&self) -> LoopFuture<T> {
        LoopFuture::new(self, Location::caller())
    }

    /// Returns a handle with which other threads post callbacks and coroutines to this loop.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let remote = event_loop.remote();
    /// std::thread::spawn(move || remote.call_soon_threadsafe(|| callsoon::get_running_loop().stop()));
    /// event_loop.run_forever().unwrap();
    /// ```
    pub fn remote(&self) -> RemoteHandle {
        RemoteHandle::new(&self.state)
    }

    /// Returns whether debug mode is on.
    ///
    /// ```
    /// assert!(!callsoon::EventLoop::builder().debug(false).build()?.debug());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn debug(&self) -> bool {
        self.state.debug.get()
    }

    /// Switches debug mode on or off. Callbacks that are queued already are not measured.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.set_debug(true);
    /// assert!(event_loop.debug());
    /// ```
    pub fn set_debug(&self, debug: bool) {
        self.state.debug.set(debug);
        self.state.observe_as_set();
    }

    /// Returns from how long on a call or a step of a task is slow. It is reported in debug mode, and without it if the
    /// program has set the duration.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// assert_eq!(event_loop.slow_callback_duration().as_millis(), 100);
    /// ```
    pub fn slow_callback_duration(&self) -> Duration {
        self.state.slow_callback_duration.get()
    }

    /// Sets from how long on a call or a step of a task is slow. From now on it is reported, also without debug mode:
    /// see [`Builder::slow_callback_duration`](crate::Builder::slow_callback_duration).
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.set_slow_callback_duration(std::time::Duration::from_millis(1));
    /// assert_eq!(event_loop.slow_callback_duration().as_millis(), 1);
    /// ```
    pub fn set_slow_callback_duration(&self, duration: Duration) {
        self.state.slow_callback_duration.set(duration);
        self.state.slow_counts.set(true);
        self.state.observe_as_set();
    }

    /// Writes what the `Debug` of a handle and of its owner shows.
    pub(crate) fn describe(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("running", &self.is_running())
            .field("closed", &self.is_closed())
            .field("debug", &self.debug())
            .finish()
    }
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe("LoopHandle", f)
    }
}
