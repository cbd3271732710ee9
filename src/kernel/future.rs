//! `Future`: a result that is set once and that any number of tasks may await.
//!
//! Awaiters and done callbacks are in one list, in the order in which they came. Setting the result queues all of them
//! in that order and runs none of them. The result stays in the future, so awaiting clones it; `take` moves it out. How
//! a future is awaited is in `await_future`.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use crate::error::{CancelOrigin, Cancellation, FutureError, InvalidState};
use crate::kernel::callee::Callee;
use crate::kernel::cancel::node::NodeKey;
use crate::kernel::context::Context;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::report::{ExceptionContext, FailedFuture};
use crate::kernel::task::reference::CallbackId;
use crate::kernel::wait::waiters::{WaiterId, Waiters};

pub(super) enum Stage<T> {
    Pending,
    Done(Result<T, FutureError>),
    Taken,
}

/// Queues a done callback, which is then called with the future.
pub(super) type QueueCallback<T> = Box<dyn FnOnce(&Future<T>)>;

/// Cancels a future of any type, with a message and the place of the call.
pub(crate) type Canceller = Rc<dyn Fn(Option<Cow<'static, str>>, &'static Location<'static>)>;

/// A waker or callback that is queued when the result is set.
pub(super) enum Listener<T> {
    Awaiter(Waker),
    Callback(QueueCallback<T>),
}

pub(super) struct Shared<T> {
    pub(super) state: Rc<LoopState>,
    /// Where the future was created.
    location: &'static Location<'static>,
    stage: RefCell<Stage<T>>,
    /// In order of arrival, numbered by the loop's [`CallbackId`]s; empty once the result is set.
    pub(super) listeners: RefCell<Waiters<Listener<T>>>,
    /// The result was read, or need not be. An error that was not read is reported by the drop.
    retrieved: Cell<bool>,
}

/// A result that is not available yet: asyncio's `Future`.
///
/// Clones share the result. Awaiting returns a clone of the value; a value that cannot be cloned is moved out by
/// [`take`](Self::take), or shared by an `Rc`. The future belongs to the loop that made it; awaiting it in another loop
/// returns [`FutureError::OtherLoop`]. Dropping the last handle of a future with an error that was never read reports
/// the error to the exception handler.
///
/// Inside an `impl Future` block write `callsoon::Future<T>`, and never import it: the name would hide the trait's.
///
/// ```
/// let event_loop = callsoon::EventLoop::new()?;
/// let future = event_loop.create_future();
/// let setter = future.clone();
/// event_loop.call_soon(move || setter.set_result("slow answer").unwrap());
/// assert_eq!(event_loop.run_until_complete(future).unwrap().unwrap(), "slow answer");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// let event_loop = callsoon::EventLoop::new().unwrap();
/// let future = event_loop.create_future::<u8>();
/// std::thread::spawn(move || future.set_result(1));
/// ```
#[must_use = "a future nobody awaits or sets does nothing"]
pub struct Future<T> {
    pub(super) shared: Rc<Shared<T>>,
    /// This handle's place among the listeners, while it is awaited.
    pub(super) waiting: Option<WaiterId>,
    /// The await of this handle as a node of its awaiter's tree.
    pub(super) node: NodeKey,
}

/// A handle pins nothing, so it is `Unpin`.
impl<T> Unpin for Future<T> {}

impl<T> Clone for Future<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Rc::clone(&self.shared),
            waiting: None,
            node: NodeKey::NONE,
        }
    }
}

impl<T> Future<T> {
    pub(crate) fn new(handle: &LoopHandle, location: &'static Location<'static>) -> Self {
        let shared = Shared {
            state: Rc::clone(&handle.state),
            location,
            stage: RefCell::new(Stage::Pending),
            listeners: RefCell::new(Waiters::new()),
            retrieved: Cell::new(false),
        };
        Self {
            shared: Rc::new(shared),
            waiting: None,
            node: NodeKey::NONE,
        }
    }

    /// Returns whether there is a result, an error or a cancellation.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future();
    /// assert!(!future.done());
    /// future.set_result(()).unwrap();
    /// assert!(future.done());
    /// ```
    pub fn done(&self) -> bool {
        !matches!(*self.shared.stage.borrow(), Stage::Pending)
    }

    /// Returns whether the future was cancelled.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future::<()>();
    /// future.cancel();
    /// assert!(future.cancelled());
    /// ```
    pub fn cancelled(&self) -> bool {
        matches!(
            *self.shared.stage.borrow(),
            Stage::Done(Err(FutureError::Cancelled(_)))
        )
    }

    /// Returns the loop that the future belongs to.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future::<()>();
    /// assert!(!future.event_loop().is_closed());
    /// ```
    #[doc(alias = "get_loop")]
    pub fn event_loop(&self) -> LoopHandle {
        LoopHandle::of(&self.shared.state)
    }

    /// Sets the future's value.
    ///
    /// # Errors
    /// [`InvalidState`] with the value if the future is done already.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future();
    /// future.set_result(1).unwrap();
    /// assert_eq!(future.set_result(2).unwrap_err().0, 2);
    /// ```
    pub fn set_result(&self, value: T) -> Result<(), InvalidState<T>> {
        if self.done() {
            return Err(InvalidState(value));
        }
        self.finish(Ok(value));
        Ok(())
    }

    /// Sets an error, which all awaiters of the future share.
    ///
    /// # Errors
    /// [`InvalidState`] with the error if the future is done already.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future::<()>();
    /// future.set_exception("no route").unwrap();
    /// let error = event_loop.run_until_complete(future).unwrap().unwrap_err();
    /// assert_eq!(error.to_string(), "no route");
    /// ```
    pub fn set_exception(
        &self,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Result<(), InvalidState<Box<dyn Error + Send + Sync>>> {
        let error = error.into();
        if self.done() {
            return Err(InvalidState(error));
        }
        self.finish(Err(FutureError::Exception(Arc::from(error))));
        Ok(())
    }

    /// Cancels the future; `false` if it is done already. If it has an error, that is then not reported any more, as in
    /// asyncio.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future::<()>();
    /// assert!(future.cancel());
    /// assert!(!future.cancel());
    /// ```
    #[track_caller]
    pub fn cancel(&self) -> bool {
        self.end_cancelled(None, Location::caller())
    }

    /// Cancels the future like [`cancel`](Self::cancel), with a message for its awaiters.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future::<()>();
    /// future.cancel_with("host is gone");
    /// let error = event_loop.run_until_complete(future).unwrap().unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().message(), Some("host is gone"));
    /// ```
    #[track_caller]
    pub fn cancel_with(&self, message: impl Into<Cow<'static, str>>) -> bool {
        self.end_cancelled(Some(message.into()), Location::caller())
    }

    fn end_cancelled(
        &self,
        message: Option<Cow<'static, str>>,
        location: &'static Location<'static>,
    ) -> bool {
        if self.done() {
            // A caller that cancels a failed future does not need a report of its error.
            self.shared.retrieved.set(true);
            return false;
        }
        self.finish(Err(FutureError::Cancelled(Cancellation::new(
            message,
            CancelOrigin::Task,
            Some(location),
        ))));
        true
    }

    /// Stores the result, then queues all listeners in their order.
    pub(super) fn finish(&self, result: Result<T, FutureError>) {
        *self.shared.stage.borrow_mut() = Stage::Done(result);
        let mut listeners = Vec::new();
        self.shared.listeners.borrow_mut().take_all(&mut listeners);
        for listener in listeners {
            match listener {
                Listener::Awaiter(waker) => self.shared.state.wake(waker),
                Listener::Callback(queue) => self.queue(queue),
            }
        }
    }

    fn queue(&self, queue: QueueCallback<T>) {
        let state = &self.shared.state;
        if state.is_closed() {
            // The loop will never run it. Its captures are dropped here, with nothing of the future borrowed.
            state.catch_panic("Exception in the destructor of a done callback", || {
                drop(queue)
            });
        } else {
            queue(self);
        }
    }

    /// Returns the error that ended the future; `Ok(None)` if it has a value.
    ///
    /// # Errors
    /// [`InvalidState`] while there is no result.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future::<()>();
    /// assert!(future.exception().is_err());
    /// future.set_exception("broken").unwrap();
    /// assert_eq!(future.exception().unwrap().unwrap().to_string(), "broken");
    /// ```
    pub fn exception(&self) -> Result<Option<FutureError>, InvalidState> {
        let exception = match &*self.shared.stage.borrow() {
            Stage::Pending => return Err(InvalidState(())),
            Stage::Done(Ok(_)) => None,
            Stage::Done(Err(error)) => Some(error.clone()),
            Stage::Taken => Some(FutureError::Taken),
        };
        self.shared.retrieved.set(true);
        Ok(exception)
    }

    /// Moves the value out, if there is a result. Later reads return [`FutureError::Taken`]. An error stays.
    ///
    /// # Errors
    /// [`InvalidState`] while there is no result.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// struct Unique;
    /// let future = event_loop.create_future();
    /// future.set_result(Unique).unwrap();
    /// let Unique = future.try_take().unwrap().unwrap();
    /// assert!(future.try_take().unwrap().is_err());
    /// ```
    pub fn try_take(&self) -> Result<Result<T, FutureError>, InvalidState> {
        let mut stage = self.shared.stage.borrow_mut();
        self.shared.retrieved.set(true);
        match std::mem::replace(&mut *stage, Stage::Taken) {
            Stage::Pending => {
                *stage = Stage::Pending;
                self.shared.retrieved.set(false);
                Err(InvalidState(()))
            }
            Stage::Done(Ok(value)) => Ok(Ok(value)),
            Stage::Done(Err(error)) => {
                *stage = Stage::Done(Err(error.clone()));
                Ok(Err(error))
            }
            Stage::Taken => Ok(Err(FutureError::Taken)),
        }
    }
}

impl<T: 'static> Future<T> {
    /// Returns what cancels the future and does not keep it.
    pub(crate) fn canceller(&self) -> Canceller {
        let weak = Rc::downgrade(&self.shared);
        Rc::new(move |message, location| {
            if let Some(shared) = weak.upgrade() {
                let future = Self {
                    shared,
                    waiting: None,
                    node: NodeKey::NONE,
                };
                future.end_cancelled(message, location);
            }
        })
    }

    /// Drops `guard`, which runs no user code, as soon as the future is done or dropped.
    pub(crate) fn keep_until_done<G: 'static>(&self, guard: G) {
        let listener = Listener::Callback(Box::new(move |_: &Self| drop(guard)));
        self.shared.listeners.borrow_mut().join(listener);
    }

    /// Queues `callback` once the future is done, or at once if it is done already. Callbacks and awaiters are queued
    /// in the order in which they came.
    ///
    /// # Panics
    /// If the loop is closed and the future is done.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future();
    /// future.add_done_callback(|future| assert_eq!(future.result().unwrap().unwrap(), 3));
    /// future.set_result(3).unwrap();
    /// event_loop.run_until_complete(callsoon::yield_now()).unwrap();
    /// ```
    #[track_caller]
    pub fn add_done_callback(&self, callback: impl FnOnce(&Self) + 'static) -> CallbackId {
        self.listen(self.shared.state.copy_context(), callback)
    }

    /// Adds a done callback that runs in a given context.
    #[track_caller]
    #[inline(always)]
    pub(crate) fn listen(
        &self,
        context: Option<Context>,
        callback: impl FnOnce(&Self) + 'static,
    ) -> CallbackId {
        let location = Location::caller();
        let id = CallbackId::next(&self.shared.state);
        let queue = move |future: &Self| {
            let future = future.clone();
            let handle = LoopHandle::of(&future.shared.state);
            handle.queue_call_in(
                context,
                move || callback(&future),
                Callee::Callback,
                location,
            );
        };
        if self.done() {
            queue(self);
        } else {
            let mut listeners = self.shared.listeners.borrow_mut();
            listeners.number_from(id.number);
            listeners.join(Listener::Callback(Box::new(queue)));
        }
        id
    }

    /// Removes a done callback; `false` if it was removed before or is queued already, or is none of this future.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future::<()>();
    /// let id = future.add_done_callback(|_| unreachable!());
    /// assert!(future.remove_done_callback(id));
    /// ```
    pub fn remove_done_callback(&self, id: CallbackId) -> bool {
        // Awaiters have numbers too, but none that this loop has given to a callback.
        let Some(number) = id.of(&self.shared.state) else {
            return false;
        };
        let removed = self.shared.listeners.borrow_mut().leave_number(number);
        removed.is_some()
    }
}

impl<T: Clone> Future<T> {
    /// Returns a clone of the result.
    ///
    /// # Errors
    /// [`InvalidState`] while there is no result.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future();
    /// assert!(future.result().is_err());
    /// future.set_result("here").unwrap();
    /// assert_eq!(future.result().unwrap().unwrap(), "here");
    /// ```
    pub fn result(&self) -> Result<Result<T, FutureError>, InvalidState> {
        // Cloning runs user code. The value is moved out of the cell for that time, so that nothing is borrowed.
        let stage = std::mem::replace(&mut *self.shared.stage.borrow_mut(), Stage::Taken);
        let restore = Restore {
            shared: &self.shared,
            stage: Some(stage),
        };
        match restore.stage.as_ref() {
            None | Some(Stage::Pending) => Err(InvalidState(())),
            Some(Stage::Taken) => Ok(Err(FutureError::Taken)),
            Some(Stage::Done(result)) => {
                self.shared.retrieved.set(true);
                Ok(result.clone())
            }
        }
    }
}

/// Puts a stage back that was moved out for a user's `clone`, also if that panics.
struct Restore<'a, T> {
    shared: &'a Shared<T>,
    stage: Option<Stage<T>>,
}

impl<T> Drop for Restore<'_, T> {
    fn drop(&mut self) {
        if let Some(stage) = self.stage.take() {
            let replaced = std::mem::replace(&mut *self.shared.stage.borrow_mut(), stage);
            drop(replaced);
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.retrieved.get() {
            return;
        }
        if let Stage::Done(Err(FutureError::Exception(error))) = self.stage.get_mut() {
            self.state.report(ExceptionContext {
                message: "Future exception was never retrieved".to_owned(),
                exception: Some(Arc::clone(error)),
                location: Some(self.location),
                future: Some(FailedFuture {
                    exception: Arc::clone(error),
                    location: self.location,
                }),
                ..ExceptionContext::default()
            });
        }
    }
}

impl<T> fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &*self.shared.stage.borrow() {
            Stage::Pending => "pending",
            Stage::Done(Err(FutureError::Cancelled(_))) => "cancelled",
            Stage::Done(Err(_)) => "failed",
            Stage::Done(Ok(_)) | Stage::Taken => "finished",
        };
        f.debug_struct("Future")
            .field("state", &format_args!("{stage}"))
            .field("created_at", &format_args!("{}", self.shared.location))
            .finish()
    }
}
