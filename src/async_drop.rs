//! Asynchronous clean-up, for values whose destructors would have to await.
//!
//! The counterpart of asyncio's finalisation of asynchronous generators. A clean-up is registered with the loop while
//! the value that needs it exists. It runs as a task when the value is dropped, or at the end of the program if the
//! value never is. The end of a program does not cancel clean-ups, but waits for them.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;

use crate::combine::observer::TaskObserver;
use crate::event_loop::free::get_running_loop;
use crate::kernel::enter::catch_panic;
use crate::kernel::local::LoopLocal;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::task::reference::TaskRef;

static REGISTRY: LoopLocal<Registry> = LoopLocal::new(Registry::default);

struct CleanUp {
    future: Pin<Box<dyn Future<Output = ()>>>,
    /// Where it was registered. Reports name this as the place where its task was created.
    location: &'static Location<'static>,
}

/// The clean-ups of one loop.
#[derive(Default)]
struct Registry {
    /// The clean-ups that have not started, in the order of their registration.
    waiting: RefCell<BTreeMap<u64, CleanUp>>,
    /// The number of the next clean-up; each number is used once.
    count: Cell<u64>,
    /// The tasks of clean-ups that run, and of some that have ended. They stay here while `shutdown_async_drops` waits
    /// for them, so that several callers can wait for the same ones, and one that stops waiting changes nothing.
    running: RefCell<Vec<TaskRef>>,
    /// The program is ending: a clean-up whose value is dropped from now on starts in
    /// [`LoopHandle::shutdown_async_drops`].
    ending: Cell<bool>,
}

impl Drop for Registry {
    /// Drops each clean-up by itself: two destructors that panic must not meet.
    fn drop(&mut self) {
        for clean_up in self.waiting.take().into_values() {
            let message = "Exception in the destructor of a clean-up";
            catch_panic(message, || drop(clean_up));
        }
    }
}

impl Registry {
    fn run(&self, handle: &LoopHandle, clean_up: CleanUp) -> TaskRef {
        let builder = handle.task_builder().name("async drop");
        let task = builder.spawn_at(clean_up.future, clean_up.location);
        let mut running = self.running();
        running.push(task.as_ref());
        task.as_ref()
    }

    /// Starts all registered clean-ups.
    fn run_all(&self, handle: &LoopHandle) -> Vec<TaskRef> {
        let due = self.waiting.take().into_values();
        due.map(|clean_up| self.run(handle, clean_up)).collect()
    }

    /// Returns the clean-ups that run.
    fn running(&self) -> RefMut<'_, Vec<TaskRef>> {
        let mut running = self.running.borrow_mut();
        running.retain(|task| !task.done());
        running
    }
}

/// A clean-up that starts when this is dropped. Made by [`defer_async_drop`].
///
/// ```
/// use callsoon::{AsyncDrop, defer_async_drop, sleep};
/// use std::time::Duration;
///
/// struct Connection { _goodbye: AsyncDrop }
///
/// callsoon::run(async {
///     let goodbye = async { sleep(Duration::from_millis(1)).await; println!("said goodbye") };
///     let connection = Connection { _goodbye: defer_async_drop(goodbye) };
///     drop(connection); // the goodbye runs now, as a task
/// }).unwrap();
/// ```
#[must_use = "dropping it is what makes the clean-up due"]
pub struct AsyncDrop {
    handle: LoopHandle,
    /// Its number in the registry; `None` after it was taken out.
    number: Option<u64>,
}

impl LoopHandle {
    /// Registers a clean-up with the loop. It runs as a task when the returned value is dropped, or when the program
    /// ends. A closed loop drops it.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let goodbye = event_loop.defer_async_drop(async { println!("goodbye") });
    /// drop(goodbye);
    /// event_loop.run_until_complete(callsoon::yield_now()).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn defer_async_drop(&self, clean_up: impl Future<Output = ()> + 'static) -> AsyncDrop {
        let location = Location::caller();
        let number = (!self.is_closed()).then(|| {
            REGISTRY.with(self, |registry| {
                let number = registry.count.get();
                registry.count.set(number + 1);
                let future = Box::pin(clean_up);
                let clean_up = CleanUp { future, location };
                registry.waiting.borrow_mut().insert(number, clean_up);
                number
            })
        });
        AsyncDrop {
            handle: self.clone(),
            number,
        }
    }

    /// Starts all registered clean-ups and waits until they have ended, together with those that run already. A panic
    /// of one goes to the exception handler. A clean-up whose value is dropped from now on starts in the next call.
    /// [`run`](crate::run) calls this at the end of a program. It is the counterpart of asyncio's `shutdown_asyncgens`.
    ///
    /// If a clean-up calls this, it waits only for the clean-ups that this call starts. Otherwise two clean-ups that
    /// wait for each other would never end.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait; the clean-ups run on. Several callers may wait at the same time.
    ///
    /// ```
    /// callsoon::run(async {
    ///     let event_loop = callsoon::get_running_loop();
    ///     let kept = callsoon::defer_async_drop(async { println!("goodbye") });
    ///     event_loop.shutdown_async_drops().await;
    ///     drop(kept); // nothing is left to run
    /// }).unwrap();
    /// ```
    #[doc(alias = "shutdown_asyncgens")]
    pub fn shutdown_async_drops(&self) -> impl Future<Output = ()> + use<> {
        let handle = self.clone();
        async move {
            begin_end(&handle);
            let own = handle.current_task();
            let in_clean_up = own.is_some_and(|own| is_clean_up(&handle, &own));
            loop {
                let awaited = REGISTRY.with(&handle, |registry| {
                    let started = registry.run_all(&handle);
                    match in_clean_up {
                        true => started,
                        false => registry.running().clone(),
                    }
                });
                if awaited.is_empty() {
                    return;
                }
                TaskObserver::of(awaited).all_ended().await;
            }
        }
    }
}

/// Marks the program as ending: clean-ups that become due from now on start in [`LoopHandle::shutdown_async_drops`].
pub(crate) fn begin_end(handle: &LoopHandle) {
    REGISTRY.with(handle, |registry| registry.ending.set(true));
}

/// Returns whether a task is a clean-up. The end of a program waits for clean-ups and does not cancel them.
pub(crate) fn is_clean_up(handle: &LoopHandle, task: &TaskRef) -> bool {
    REGISTRY.with(handle, |registry| registry.running.borrow().contains(task))
}

/// Registers a clean-up with the running loop; see [`LoopHandle::defer_async_drop`].
///
/// # Differences from asyncio
/// - It takes the place of `shutdown_asyncgens`, for values of any type.
///
/// # Panics
/// Outside a running loop.
///
/// ```
/// callsoon::run(async {
///     let _goodbye = callsoon::defer_async_drop(async { println!("goodbye") });
/// }).unwrap();
/// ```
#[track_caller]
pub fn defer_async_drop(clean_up: impl Future<Output = ()> + 'static) -> AsyncDrop {
    get_running_loop().defer_async_drop(clean_up)
}

impl AsyncDrop {
    /// Runs the clean-up now, as part of the task that awaits this.
    ///
    /// # Cancellation
    /// Dropping the future drops the clean-up at the point that it has reached.
    ///
    /// ```
    /// callsoon::run(async {
    ///     callsoon::defer_async_drop(async { println!("goodbye") }).run().await;
    /// }).unwrap();
    /// ```
    pub async fn run(mut self) {
        if let Some(clean_up) = self.take() {
            clean_up.future.await;
        }
    }

    /// Drops the clean-up without running it.
    ///
    /// ```
    /// callsoon::run(async {
    ///     callsoon::defer_async_drop(async { unreachable!() }).dismiss();
    /// }).unwrap();
    /// ```
    pub fn dismiss(mut self) {
        drop(self.take());
    }

    fn take(&mut self) -> Option<CleanUp> {
        let number = self.number.take()?;
        REGISTRY.with(&self.handle, |registry| {
            registry.waiting.borrow_mut().remove(&number)
        })
    }
}

impl Drop for AsyncDrop {
    fn drop(&mut self) {
        let ending = REGISTRY.with(&self.handle, |registry| registry.ending.get());
        if ending || self.handle.is_closed() {
            return;
        }
        if let Some(clean_up) = self.take() {
            let handle = &self.handle;
            REGISTRY.with(handle, |registry| registry.run(handle, clean_up));
        }
    }
}

impl fmt::Debug for AsyncDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncDrop").finish_non_exhaustive()
    }
}
