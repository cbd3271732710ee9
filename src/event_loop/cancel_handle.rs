//! Cancelling a task or a future from another thread: asyncio's `call_soon_threadsafe(task.cancel)`.
//!
//! A handle keeps neither its task nor its future: it has the identity of a task, or the number of a future among those
//! of the loop that have handles. So the loop's thread finds out what is to be cancelled, and whether that is still there.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::error::{CancelOrigin, Cancellation, LoopClosed};
use crate::event_loop::remote::RemoteHandle;
use crate::kernel::future::{Canceller, Future};
use crate::kernel::local::LoopLocal;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::handle::Task;
use crate::kernel::task::key::Identity;
use crate::kernel::task::reference::TaskRef;
use crate::kernel::task::waker::current;

/// The futures of a loop that have handles.
static FUTURES: LoopLocal<Futures> = LoopLocal::new(Futures::default);

#[derive(Default)]
struct Futures {
    /// How many handles were made. A number does not recur.
    made: Cell<u64>,
    /// What cancels each future that is neither done nor dropped.
    cancellers: RefCell<HashMap<u64, Canceller>>,
}

/// Takes a future out of [`FUTURES`] when it is done or dropped.
struct Listed {
    handle: LoopHandle,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let removed = FUTURES.with(&self.handle, |futures| {
            futures.cancellers.borrow_mut().remove(&self.number)
        });
        drop(removed);
    }
}

/// What a handle cancels.
#[derive(Clone, Copy)]
enum Target {
    Task(Identity),
    Future(u64),
}

impl Target {
    /// Cancels it, on the loop's thread. What has ended is not there any more.
    fn cancel(
        self,
        state: Rc<LoopState>,
        message: Option<Cow<'static, str>>,
        location: &'static Location<'static>,
    ) {
        match self {
            Self::Task(task) => {
                let request = Cancellation::new(message, CancelOrigin::Task, Some(location));
                state.cancel_task(task, &request);
            }
            Self::Future(number) => {
                let canceller = FUTURES.with(&LoopHandle { state }, |futures| {
                    futures.cancellers.borrow().get(&number).cloned()
                });
                if let Some(cancel) = canceller {
                    cancel(message, location);
                }
            }
        }
    }
}

/// A handle that any thread may clone, send and use to cancel one task or one future: asyncio's
/// `call_soon_threadsafe(task.cancel)`.
///
/// [`Task::cancel_handle`], [`TaskRef::cancel_handle`] and [`Future::cancel_handle`] make one. It keeps nothing alive, may
/// outlive what it cancels and its loop, and dropping it cancels nothing.
///
/// ```
/// use std::time::Duration;
/// callsoon::run(async {
///     let task = callsoon::create_task(callsoon::sleep(Duration::from_secs(3600)));
///     let handle = task.cancel_handle();
///     let worker = std::thread::spawn(move || handle.cancel_with("enough"));
///     let error = task.await.unwrap_err();
///     assert_eq!(error.cancelled().unwrap().message(), Some("enough"));
///     worker.join().unwrap().unwrap();
/// }).unwrap();
/// ```
#[derive(Clone)]
pub struct CancelHandle {
    remote: RemoteHandle,
    target: Target,
}

impl CancelHandle {
    /// Posts the cancellation to the loop, and wakes the loop if it sleeps.
    ///
    /// The loop then does what [`Task::cancel`] or [`Future::cancel`] does, after what was posted before. If the task or
    /// the future has ended by then, nothing happens. On the loop's own thread the call is queued too, in the order of
    /// `call_soon`.
    ///
    /// # Errors
    /// [`LoopClosed`] if the loop has been closed, which ended its tasks.
    ///
    /// # Differences from asyncio
    /// That a task or a future has ended is known only on the loop's thread, so this does not return it. The report of an
    /// error that ended it before is not withdrawn.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let task = event_loop.create_task(std::future::pending::<()>());
    /// let handle = task.cancel_handle();
    /// std::thread::spawn({
    ///     let handle = handle.clone();
    ///     move || handle.cancel()
    /// }).join().unwrap()?;
    /// assert!(event_loop.run_until_complete(task)?.is_err());
    /// drop(event_loop);
    /// assert!(handle.cancel().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn cancel(&self) -> Result<(), LoopClosed> {
        self.post_cancel(None)
    }

    /// Does the same as [`cancel`](Self::cancel), with a message that the cancellation carries.
    ///
    /// # Errors
    /// [`LoopClosed`] if the loop has been closed.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(std::future::pending::<()>());
    /// task.cancel_handle().cancel_with(format!("after {} tries", 3))?;
    /// let error = event_loop.run_until_complete(task)?.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().message(), Some("after 3 tries"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn cancel_with(&self, message: impl Into<Cow<'static, str>>) -> Result<(), LoopClosed> {
        self.post_cancel(Some(message.into()))
    }

    #[track_caller]
    fn post_cancel(&self, message: Option<Cow<'static, str>>) -> Result<(), LoopClosed> {
        let (target, location) = (self.target, Location::caller());
        let posted = self.remote.post(move || {
            if let Some(state) = current() {
                target.cancel(state, message, location);
            }
        });
        posted.map(drop)
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, number) = match self.target {
            Target::Task(task) => ("task", task.serial),
            Target::Future(number) => ("future", number),
        };
        f.debug_struct("CancelHandle")
            .field(kind, &number)
            .finish_non_exhaustive()
    }
}

impl TaskRef {
    /// Returns a handle by which any thread can cancel the task.
    ///
    /// ```
    /// callsoon::run(async {
    ///     let handle = callsoon::current_task().unwrap().cancel_handle();
    ///     std::thread::spawn(move || handle.cancel());
    ///     std::future::pending::<()>().await;
    /// }).unwrap_err();
    /// ```
    #[doc(alias = "call_soon_threadsafe")]
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle {
            remote: RemoteHandle::new(&self.state),
            target: Target::Task(self.state.identity_of(self.task.header())),
        }
    }
}

impl<T: 'static> Task<T> {
    /// Returns a handle by which any thread can cancel the task.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(std::future::pending::<()>());
    /// let handle = task.cancel_handle();
    /// std::thread::spawn(move || handle.cancel()).join().unwrap()?;
    /// assert!(event_loop.run_until_complete(task)?.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "call_soon_threadsafe")]
    pub fn cancel_handle(&self) -> CancelHandle {
        self.as_ref().cancel_handle()
    }
}

impl<T: 'static> Future<T> {
    /// Returns a handle by which any thread can cancel the future.
    ///
    /// The loop keeps a few words for each handle that was made, other than by `clone`, until the future is done or dropped.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future::<()>();
    /// let handle = future.cancel_handle();
    /// std::thread::spawn(move || handle.cancel_with("enough")).join().unwrap()?;
    /// let error = event_loop.run_until_complete(future)?.unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().message(), Some("enough"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "call_soon_threadsafe")]
    pub fn cancel_handle(&self) -> CancelHandle {
        let handle = self.event_loop();
        let remote = RemoteHandle::new(&handle.state);
        let number = FUTURES.with(&handle, |futures| {
            let number = futures.made.get();
            futures.made.set(number + 1);
            if !self.done() {
                let mut cancellers = futures.cancellers.borrow_mut();
                cancellers.insert(number, self.canceller());
            }
            number
        });
        if !self.done() {
            self.keep_until_done(Listed { handle, number });
        }
        let target = Target::Future(number);
        CancelHandle { remote, target }
    }
}
