//! The loop seen from other threads.

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

/// A loop, for every thread: clone it, send it, share it.
///
/// It outlives the loop harmlessly: after close, posting is an error and the closure comes to its end in the caller.
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
    /// The inbox outlives its loop and gets another one; closures are for this one only.
    epoch: u64,
}

impl RemoteHandle {
    pub(crate) fn new(state: &LoopState) -> Self {
        Self {
            inbox: state.inbox,
            epoch: state.epoch,
        }
    }

    /// Queues a callback from any thread and wakes the loop if it sleeps.
    ///
    /// Callbacks of one thread run in their order; those of several in the order of their arrival. A closure that
    /// captures up to 16 bytes costs no allocation.
    ///
    /// # Errors
    /// [`LoopClosed`] after close; the closure has been dropped, here.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let remote = event_loop.remote();
    /// remote.call_soon_threadsafe(|| callsoon::get_running_loop().stop())?;
    /// event_loop.run_forever().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Only what may change threads can be posted:
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

    /// [`call_soon_threadsafe`](Self::call_soon_threadsafe) for whoever only needs the place.
    #[track_caller]
    #[inline]
    pub(crate) fn post(
        &self,
        callback: impl FnOnce() + Send + 'static,
    ) -> Result<Posted, LoopClosed> {
        let posted = self
            .inbox
            .post(self.epoch, guard_posted(callback, Location::caller()));
        match posted {
            Ok(sequence) => {
                self.queue_at_once();
                Ok(Posted {
                    inbox: self.inbox,
                    epoch: self.epoch,
                    sequence,
                })
            }
            Err(refused) => {
                drop(refused);
                Err(LoopClosed)
            }
        }
    }

    /// Posted by the loop's own thread, a callback takes its place in the queue at once, so that it stays in order with
    /// what `call_soon` queues before and after it.
    fn queue_at_once(&self) {
        with_current(|state| {
            if state.epoch == self.epoch {
                state.drain_inbox();
            }
        });
    }

    /// Whether this is the loop's own thread.
    pub(crate) fn is_own_thread(&self) -> bool {
        self.inbox.is_home(self.epoch)
    }

    /// Whether this is a forked child of the loop's process.
    pub(crate) fn is_inherited(&self) -> bool {
        self.inbox.is_inherited()
    }

    /// Whether the loop has been closed.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let remote = event_loop.remote();
    /// assert!(!remote.is_closed());
    /// drop(event_loop);
    /// assert!(remote.is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
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

/// The place of a posted closure.
#[derive(Clone, Copy)]
pub(crate) struct Posted {
    inbox: &'static Inbox,
    epoch: u64,
    /// The number of the closure among all that this inbox has taken in.
    sequence: u64,
}

impl Posted {
    /// Takes the closure back, for the caller to drop; calls `mark`, which is nothing foreign, before anybody finds it gone.
    #[must_use]
    pub(crate) fn cancel(&self, mark: impl FnOnce()) -> Option<SendFn> {
        self.inbox.cancel(self.epoch, self.sequence, mark)
    }
}

/// A callback that another thread queued.
///
/// Dropping it does nothing: the callback runs. Clones are handles of the same callback.
///
/// ```
/// # let event_loop = callsoon::EventLoop::new()?;
/// let posted = event_loop.remote().call_soon_threadsafe(|| unreachable!())?;
/// assert!(posted.cancel());
/// event_loop.stop();
/// event_loop.run_forever().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ThreadsafeHandle {
    posted: Posted,
    /// Whether a cancel took the callback back: the inbox forgets, once its line has moved on. Made by the first clone or
    /// cancel, and shared by all clones, so that posting costs no allocation.
    cancelled: OnceLock<Arc<AtomicBool>>,
}

impl ThreadsafeHandle {
    /// Takes the callback back, from any thread: `true` says that it will never run, `false` that it has run, is running,
    /// or was cancelled before. It never waits for a callback that is running.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
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

    /// Whether a [`cancel`](Self::cancel), of this handle or a clone, took the callback back: it has not run and never
    /// will. A cancel that came too late leaves it `false`, and so does the close of the loop. After a cancel that gave
    /// `false`, it says which of both was the reason: another cancel, or that the callback had begun or went with its loop.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
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

    /// What all clones share.
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
