//! What a host needs that embeds a loop: an interpreter, a GUI, another event loop.

use std::panic::Location;
use std::rc::Rc;
use std::time::Instant;

use crate::error::LoopClosed;
use crate::event_loop::remote::RemoteHandle;
use crate::kernel::callback::HandleId;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::Phase;
use crate::kernel::task::waker::with_current;
use crate::kernel::wait_hooks::{HostHooks, WaitHooks};

impl LoopHandle {
    /// Sets the hooks around each sleep of the loop, or none. [`WaitHooks`] says when they are called.
    ///
    /// They take the place of former ones from the next sleep on. While there are some, the loop does not spin for further
    /// posts of other threads before it sleeps: those threads may wait for the lock that the host releases by the hooks. The
    /// time of [`Builder::spin`](crate::Builder::spin) is spent before the hooks. A loop that is closed drops them.
    ///
    /// # Differences from asyncio
    /// asyncio is part of the interpreter, which releases its lock inside `select`.
    ///
    /// ```
    /// use callsoon::{WaitEnd, WaitHooks};
    /// struct Lock;
    /// impl WaitHooks for Lock {
    ///     fn before_wait(&self) {}
    ///     fn after_wait(&self, _: WaitEnd) {}
    /// }
    /// let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.set_wait_hooks(Some(std::rc::Rc::new(Lock)));
    /// event_loop.run_until_complete(callsoon::sleep(std::time::Duration::from_millis(1))).unwrap();
    /// event_loop.set_wait_hooks(None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn set_wait_hooks(&self, hooks: Option<Rc<dyn WaitHooks>>) {
        let state = &self.state;
        let location = Location::caller();
        let hooks = hooks.map(|hooks| HostHooks { hooks, location });
        let unused = if state.is_closed() {
            hooks
        } else {
            state.post_spin.is_off.set(hooks.is_some());
            state.wait_hooks.replace(hooks)
        };
        state.catch_panic("Exception in the destructor of wait hooks", || drop(unused));
    }

    /// Ends the run as soon as the callback or the step of a task that calls it has returned. What is left of the turn runs
    /// first in the next run, in the same order.
    ///
    /// This is for a host whose callbacks can ask to leave at once, as `SystemExit` leaves asyncio's `run_forever`.
    /// [`stop`](Self::stop) ends the run after the whole turn. No entry is lost, none runs twice, and what is queued until the
    /// next run comes after what was left. If the loop is not running, the next run, or the next
    /// [`turn`](crate::EventLoop::turn), ends before it runs anything, but polls for events. On a closed loop this does
    /// nothing, nor while a [`Runner`](crate::Runner) or a [test](crate::testing) ends its loop.
    ///
    /// The run ends as by `stop`: `run_forever` returns `Ok`, and `run_until_complete` returns
    /// [`RunError::Stopped`](crate::RunError::Stopped) unless the main future is ready by then, and drops the future
    /// unless that was borrowed.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let order = std::rc::Rc::new(std::cell::RefCell::new(vec![]));
    /// for n in 0..4 {
    ///     let (order, handle) = (order.clone(), event_loop.handle());
    ///     event_loop.call_soon(move || {
    ///         order.borrow_mut().push(n);
    ///         if n == 1 {
    ///             handle.stop_now();
    ///         }
    ///     });
    /// }
    /// event_loop.run_forever().unwrap();
    /// assert_eq!(*order.borrow(), [0, 1]);
    /// event_loop.stop();
    /// event_loop.run_forever().unwrap();
    /// assert_eq!(*order.borrow(), [0, 1, 2, 3]);
    /// ```
    #[doc(alias = "interrupt")]
    pub fn stop_now(&self) {
        let state = &self.state;
        if state.is_ending.get() || state.admit().is_err() {
            return;
        }
        let runs = state.run_number.get();
        let run = match state.phase.get() {
            Phase::Running => runs,
            _ => runs.wrapping_add(1),
        };
        state.queues(|queues| queues.ready.push_break(run));
    }

    /// Returns when the loop has to run next because of a timer, or `None` if no timer is armed.
    ///
    /// A host that does not watch the loop's descriptor sleeps until then at the latest, unless
    /// [`has_ready`](Self::has_ready). It is never later than the first deadline. It is earlier where sixteen timers or
    /// more lie close together far ahead, which are not searched for the first.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let event_loop = callsoon::doctest::event_loop();
    /// assert_eq!(event_loop.next_deadline(), None);
    /// let timer = event_loop.call_later(Duration::from_secs(5), || ());
    /// assert_eq!(event_loop.next_deadline(), Some(timer.when()));
    /// ```
    pub fn next_deadline(&self) -> Option<Instant> {
        let state = &self.state;
        let next = state.timers(|timers| timers.next_deadline());
        next.map(|deadline| state.clock.instant(deadline))
    }

    /// Does what [`Handle::cancel`](crate::Handle::cancel) and [`TimerHandle::cancel`](crate::TimerHandle::cancel) do, for a
    /// caller that has no handle. Returns whether the callback will not run because of this call.
    ///
    /// It is `false` if the callback has run, is running or was cancelled, and for an id of another loop.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let id = event_loop.call_soon(|| ()).id();
    /// event_loop.stop();
    /// event_loop.run_forever().unwrap();
    /// assert!(!event_loop.cancel_by_id(id), "it has run");
    /// ```
    pub fn cancel_by_id(&self, id: HandleId) -> bool {
        // The callback is dropped here, with nothing borrowed.
        id.take(&self.state).is_some()
    }
}

impl RemoteHandle {
    /// Cancels a callback of the loop from any thread, by its id.
    ///
    /// On the loop's own thread, inside a run, this acts at once. Elsewhere it is a post: the loop drops the callback when it
    /// gets to the post, so that the callback's destructor runs on the loop's thread. A callback that is due before that
    /// runs. An id of another loop, or of a callback that has run, changes nothing.
    ///
    /// # Errors
    /// [`LoopClosed`] if the loop has been closed, which has dropped its callbacks.
    ///
    /// ```
    /// use std::time::Duration;
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let id = event_loop.call_later(Duration::from_secs(3600), || unreachable!()).id();
    /// let remote = event_loop.remote();
    /// std::thread::spawn(move || remote.cancel_by_id(id)).join().unwrap()?;
    /// event_loop.turn(Some(Duration::ZERO)).unwrap();
    /// assert_eq!(event_loop.next_deadline(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn cancel_by_id(&self, id: HandleId) -> Result<(), LoopClosed> {
        let take = move || with_current(|state| id.take(state));
        if self.is_current() {
            drop(take());
            return Ok(());
        }
        self.post(move || drop(take())).map(drop)
    }
}
