//! Handles of a loop for other threads: they post callbacks into the loop's inbox.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::LoopClosed;
use crate::kernel::enter::guard_posted;
use crate::kernel::inbox::Inbox;
use crate::kernel::inline_fn::SendFn;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::waker::with_current;

/// A handle of a loop that any thread may clone, send and use.
///
/// It may outlive the loop. After the loop has closed, posting is an error and the closure is dropped by the caller.
///
/// ```
/// let event_loop = callsoon::EventLoop::new()?;
/// let remote = event_loop.remote();
/// let worker = std::thread::spawn(move || {
///     remote.call_soon_threadsafe(|| callsoon::get_running_loop().stop()).unwrap();
/// });
/// event_loop.run_forever().unwrap();
/// worker.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RemoteHandle {
    inbox: &'static Inbox,
    /// Which loop of the inbox is meant: an inbox outlives its loop and is used by another loop later.
    epoch: u64,
}

impl RemoteHandle {
    pub(crate) fn new(state: &LoopState) -> Self {
        Self {
            inbox: state.inbox,
            epoch: state.epoch,
        }
    }

    /// Queues a callback from any thread, and wakes the loop if it sleeps.
    ///
    /// Callbacks run in the order in which they arrive; those of one thread arrive in the order of its calls. A closure
    /// that captures up to 16 bytes costs no allocation.
    ///
    /// # Errors
    /// [`LoopClosed`] if the loop has been closed. The closure has then been dropped on the calling thread.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let remote = event_loop.remote();
    /// remote.call_soon_threadsafe(|| callsoon::get_running_loop().stop())?;
    /// event_loop.run_forever().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A closure that is not `Send` cannot be posted:
    ///
    /// ```compile_fail,E0277
    /// let event_loop = callsoon::EventLoop::new().unwrap();
    /// let local = std::rc::Rc::new(());
    /// event_loop.remote().call_soon_threadsafe(move || drop(local));
    /// ```
    #[track_caller]
    #[inline]
    pub fn call_soon_threadsafe(
        &self,
        callback: impl FnOnce() + Send + 'static,
    ) -> Result<ThreadsafeHandle, LoopClosed> {
        Ok(ThreadsafeHandle {
            posted: self.post(callback)?,
            cancelled: OnceLock::new(),
        })
    }

    /// [`call_soon_threadsafe`](Self::call_soon_threadsafe) for a caller that needs no more than to cancel the callback.
    #[track_caller]
    #[inline]
    pub(crate) fn post(
        &self,
        callback: impl FnOnce() + Send + 'static,
    ) -> Result<Posted, LoopClosed> {
        let callback = guard_posted(callback, Location::caller());
        let posted = self.inbox.post(self.epoch, callback);
        let sequence = posted.map_err(|_refused| LoopClosed)?;
        self.queue_at_once();
        Ok(Posted {
            inbox: self.inbox,
            epoch: self.epoch,
            sequence,
        })
    }

    /// Moves the inbox into the ready queue at once if this is the loop's own thread. So the callback keeps its order with
    /// those that `call_soon` queues before and after it.
    fn queue_at_once(&self) {
        with_current(|state| {
            if state.epoch == self.epoch {
                state.drain_inbox();
            }
        });
    }

    /// Returns whether this thread runs the loop at the moment.
    pub(crate) fn is_current(&self) -> bool {
        with_current(|state| state.epoch == self.epoch) == Some(true)
    }

    /// Returns whether this is a handle of the loop that has this state.
    #[cfg(feature = "hyper")]
    pub(crate) fn is_of(&self, state: &LoopState) -> bool {
        self.epoch == state.epoch
    }

    /// Returns whether the current thread is the loop's own.
    pub(crate) fn is_own_thread(&self) -> bool {
        self.inbox.is_home(self.epoch)
    }

    /// Returns whether the current process is a forked child of the loop's process.
    pub(crate) fn is_inherited(&self) -> bool {
        self.inbox.is_inherited()
    }

    /// Returns whether the loop has been closed.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let remote = event_loop.remote();
    /// assert!(!remote.is_closed());
    /// drop(event_loop);
    /// assert!(remote.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        !self.inbox.is_open(self.epoch)
    }
}

impl fmt::Debug for RemoteHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHandle")
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// The position of a posted closure in its inbox.
#[derive(Clone, Copy)]
pub(crate) struct Posted {
    inbox: &'static Inbox,
    epoch: u64,
    /// The number of the closure among all that were posted to this inbox.
    sequence: u64,
}

impl Posted {
    /// Takes the closure out of the inbox, for the caller to drop. Calls `mark`, which must not run user code, under the
    /// inbox's lock: so no thread can find the closure gone and `mark` not yet called.
    #[must_use]
    pub(crate) fn cancel(&self, mark: impl FnOnce()) -> Option<SendFn> {
        self.inbox.cancel(self.epoch, self.sequence, mark)
    }
}

/// A callback that was posted by [`RemoteHandle::call_soon_threadsafe`], as a handle that can cancel it.
///
/// Dropping it cancels nothing. Clones are handles of the same callback.
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// let posted = event_loop.remote().call_soon_threadsafe(|| unreachable!())?;
/// assert!(posted.cancel());
/// event_loop.stop();
/// event_loop.run_forever().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ThreadsafeHandle {
    posted: Posted,
    /// Whether a `cancel` took the callback out of the inbox, which itself does not remember it. All clones share it. It
    /// is allocated by the first clone or cancel, so that posting costs no allocation.
    cancelled: OnceLock<Arc<AtomicBool>>,
}

impl ThreadsafeHandle {
    /// Cancels the callback, from any thread. It never waits for a callback that is running.
    ///
    /// Returns `true` if the callback will never run because of this call. Returns `false` if it has run, is running,
    /// or was cancelled before.
    ///
    /// # Differences from asyncio
    /// asyncio's `cancel` returns nothing. Here exactly one of "it ran" and "it was cancelled" is true, on every thread.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let posted = event_loop.remote().call_soon_threadsafe(|| ())?;
    /// event_loop.stop();
    /// event_loop.run_forever().unwrap();
    /// assert!(!posted.cancel());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel(&self) -> bool {
        let mark = self.mark();
        let callback = self.posted.cancel(|| mark.store(true, Ordering::Release));
        callback.is_some()
    }

    /// Returns whether a [`cancel`](Self::cancel), of this handle or a clone, prevented the callback.
    ///
    /// It is `false` if every cancel came too late, and if the loop closed before it ran the callback. So after a cancel
    /// that returned `false`, this says whether an earlier cancel was the reason.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let remote = event_loop.remote();
    /// let (ran, taken_back) = (remote.call_soon_threadsafe(|| ())?, remote.call_soon_threadsafe(|| ())?);
    /// std::thread::spawn({
    ///     let taken_back = taken_back.clone();
    ///     move || taken_back.cancel()
    /// }).join().unwrap();
    /// event_loop.stop();
    /// event_loop.run_forever()?;
    /// ran.cancel();
    /// assert!(taken_back.cancelled());
    /// assert!(!ran.cancelled());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancelled(&self) -> bool {
        let cancelled = self.cancelled.get();
        cancelled.is_some_and(|cancelled| cancelled.load(Ordering::Acquire))
    }

    /// Returns the flag that all clones share.
    fn mark(&self) -> &Arc<AtomicBool> {
        self.cancelled.get_or_init(Arc::default)
    }
}

impl Clone for ThreadsafeHandle {
    fn clone(&self) -> Self {
        Self {
            posted: self.posted,
            cancelled: Arc::clone(self.mark()).into(),
        }
    }
}

impl fmt::Debug for ThreadsafeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadsafeHandle")
            .field("sequence", &self.posted.sequence)
            .field("cancelled", &self.cancelled())
            .finish_non_exhaustive()
    }
}
