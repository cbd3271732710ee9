//! Context variables: asyncio's `contextvars`.
//!
//! A variable has a value in each context. Tasks, callbacks, timers and done callbacks run in a copy of the context in
//! which they were created. So a value that one of them sets is not seen by its siblings, and a value that its parent
//! sets later is not seen by it.
//!
//! Values belong to the loop's thread and need not be `Send`. [`to_thread`](crate::to_thread) propagates the values of
//! variables that are declared with [`crossing`](ContextVar::crossing): the job runs in a context of its own thread,
//! with copies of these values.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kernel::context::{Carried, Carry, Context};
use crate::kernel::report::drop_quietly;
use crate::kernel::task::waker::with_current;

/// The number of the next variable.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A static that has a separate value in every context: asyncio's `contextvars.ContextVar`.
///
/// # Differences from asyncio
/// - A variable is a static, and its values belong to the loop's thread.
/// - [`to_thread`](crate::to_thread) propagates only variables that are declared with [`crossing`](Self::crossing).
///   asyncio copies the whole context. Here a value need not be `Send`.
/// - [`get`](Self::get) returns `None` for a variable without a value and a default. Python raises `LookupError`.
///
/// ```
/// static REQUEST: callsoon::ContextVar<u32> = callsoon::ContextVar::new("request");
///
/// async fn handle(number: u32) -> Option<u32> {
///     REQUEST.set(number);
///     callsoon::yield_now().await;
///     REQUEST.get()
/// }
///
/// callsoon::run(async {
///     let (a, b) = (callsoon::create_task(handle(1)), callsoon::create_task(handle(2)));
///     assert_eq!((a.await.unwrap(), b.await.unwrap()), (Some(1), Some(2)));
///     assert_eq!(REQUEST.get(), None, "the tasks had contexts of their own");
/// }).unwrap();
/// ```
pub struct ContextVar<T> {
    name: &'static str,
    /// This variable's index in every context, assigned at the first use.
    number: OnceLock<usize>,
    default: Option<fn() -> T>,
    /// Copies a value to be propagated to another thread.
    propagate: Option<Carry>,
}

thread_local! {
    /// The context of a job of `to_thread`, on a thread without a loop.
    static JOB_CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// The value of a variable before [`ContextVar::set`], for [`ContextVar::reset`].
///
/// ```
/// static LEVEL: callsoon::ContextVar<u8> = callsoon::ContextVar::with_default("level", || 0);
/// callsoon::run(async {
///     let before = LEVEL.set(3);
///     LEVEL.reset(before);
///     assert_eq!(LEVEL.get(), Some(0));
/// }).unwrap();
/// ```
pub struct ContextToken<T> {
    former: Option<Rc<dyn Any>>,
    of: PhantomData<fn() -> T>,
}

impl<T: 'static> ContextVar<T> {
    /// Creates a variable that has no value until it is set.
    ///
    /// ```
    /// static USER: callsoon::ContextVar<String> = callsoon::ContextVar::new("user");
    /// assert_eq!(USER.get(), None);
    /// ```
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            number: OnceLock::new(),
            default: None,
            propagate: None,
        }
    }

    /// Creates a variable that has the value of `default()` until it is set.
    ///
    /// ```
    /// static DEPTH: callsoon::ContextVar<u32> = callsoon::ContextVar::with_default("depth", || 0);
    /// assert_eq!(DEPTH.get(), Some(0));
    /// ```
    pub const fn with_default(name: &'static str, default: fn() -> T) -> Self {
        let mut variable = Self::new(name);
        variable.default = Some(default);
        variable
    }

    /// Makes [`to_thread`](crate::to_thread) propagate this variable. A job sees a copy of the value that was current
    /// at the first poll of `to_thread`. A value that the job sets stays in the job.
    ///
    /// ```
    /// static REQUEST: callsoon::ContextVar<u32> = callsoon::ContextVar::new("request").crossing();
    /// callsoon::run(async {
    ///     REQUEST.set(7);
    ///     let seen = callsoon::to_thread(|| REQUEST.get()).await;
    ///     assert_eq!(seen.unwrap(), Some(7));
    /// }).unwrap();
    /// ```
    pub const fn crossing(mut self) -> Self
    where
        T: Clone + Send,
    {
        self.propagate = Some(copy_for_thread::<T>);
        self
    }

    /// Returns the variable's name, which is for people only.
    ///
    /// ```
    /// static USER: callsoon::ContextVar<String> = callsoon::ContextVar::new("user");
    /// assert_eq!(USER.name(), "user");
    /// ```
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn number(&self) -> usize {
        *self
            .number
            .get_or_init(|| NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the value in the current context, otherwise the default. Outside a running loop, and outside a job of
    /// [`to_thread`](crate::to_thread), there is no context, so this is the default.
    ///
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// callsoon::run(async {
    ///     USER.set("ann");
    ///     assert_eq!(USER.get(), Some("ann"));
    /// }).unwrap();
    /// ```
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        let number = self.number();
        let value = match with_current(|state| state.peek_context()?.value(number)) {
            Some(value) => value,
            None => with_job_context(|context| context.value(number)).flatten(),
        };
        match value.and_then(|value| value.downcast::<T>().ok()) {
            Some(value) => Some((*value).clone()),
            None => self.default.map(|default| default()),
        }
    }

    /// Sets the value in the current context. Returns the token with which [`reset`](Self::reset) undoes this.
    ///
    /// # Panics
    /// Outside a running loop, and outside a job of [`to_thread`](crate::to_thread).
    ///
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// callsoon::run(async {
    ///     let before = USER.set("ann");
    ///     USER.reset(before);
    ///     assert_eq!(USER.get(), None);
    /// }).unwrap();
    /// ```
    #[track_caller]
    pub fn set(&'static self, value: T) -> ContextToken<T> {
        let former = self.replace(Some(Rc::new(value)));
        ContextToken {
            former,
            of: PhantomData,
        }
    }

    /// Restores the value that the variable had before the `set` that made the token, or removes the value if there was
    /// none.
    ///
    /// # Panics
    /// Outside a running loop, and outside a job of [`to_thread`](crate::to_thread).
    ///
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// callsoon::run(async {
    ///     USER.set("ann");
    ///     let before = USER.set("bob");
    ///     USER.reset(before);
    ///     assert_eq!(USER.get(), Some("ann"));
    /// }).unwrap();
    /// ```
    #[track_caller]
    pub fn reset(&'static self, token: ContextToken<T>) {
        let replaced = self.replace(token.former);
        drop(replaced);
    }

    #[track_caller]
    fn replace(&'static self, value: Option<Rc<dyn Any>>) -> Option<Rc<dyn Any>> {
        let context = with_current(|state| state.context_for_writing());
        let Some(context) = context.or_else(|| with_job_context(Context::clone)) else {
            panic!(
                "no running event loop: a context variable is set inside a task or callback of one"
            );
        };
        context.replace(self.number(), value, self.propagate)
    }
}

fn copy_for_thread<T: Clone + Send + 'static>(value: &dyn Any) -> Option<Box<dyn Any + Send>> {
    let value = value.downcast_ref::<T>()?;
    Some(Box::new(value.clone()))
}

/// Calls `f` with the context of the job that runs on this thread, if there is one.
fn with_job_context<R>(f: impl FnOnce(&Context) -> R) -> Option<R> {
    // A thread that is ending has no context.
    let seen = JOB_CONTEXT.try_with(|job| job.borrow().as_ref().map(f));
    seen.ok().flatten()
}

/// Copies the values of the current context that are propagated to a job.
pub(crate) fn propagated() -> Vec<Carried> {
    let context = with_current(|state| state.peek_context()).flatten();
    context.map_or_else(Vec::new, |context| context.carry())
}

/// Runs a job on a thread without a loop, with the propagated values as its context.
pub(crate) fn run_with<R>(propagated: Vec<Carried>, job: impl FnOnce() -> R) -> R {
    let _restore = RestoreContext(JOB_CONTEXT.replace(Some(Context::arrived(propagated))));
    job()
}

/// Restores the thread's previous context when it is dropped.
struct RestoreContext(Option<Context>);

impl Drop for RestoreContext {
    fn drop(&mut self) {
        let ended = JOB_CONTEXT.replace(self.0.take());
        // The destructors of values are user code, and the job may be unwinding.
        drop_quietly(ended);
    }
}

impl<T> fmt::Debug for ContextVar<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextVar")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ContextToken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextToken")
            .field("was_set", &self.former.is_some())
            .finish()
    }
}

/// Returns a copy of the current context; an empty one outside a running loop.
///
/// ```
/// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
/// callsoon::run(async {
///     USER.set("ann");
///     assert_eq!(callsoon::copy_context().len(), 1);
/// }).unwrap();
/// ```
pub fn copy_context() -> Context {
    let copied = with_current(|state| state.copy_context());
    let copied = copied.or_else(|| with_job_context(|context| Some(context.copy())));
    copied.flatten().unwrap_or_default()
}

impl Context {
    /// Calls `f` in this context. Values that `f` sets stay in the context.
    ///
    /// # Panics
    /// Outside a running loop. A panic of `f` is passed to the caller.
    ///
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// callsoon::run(async {
    ///     let context = callsoon::Context::new();
    ///     context.run(|| { USER.set("ann"); });
    ///     assert_eq!(USER.get(), None);
    ///     assert_eq!(context.run(|| USER.get()), Some("ann"));
    /// }).unwrap();
    /// ```
    #[track_caller]
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        let entered = with_current(|state| state.swap_context(Some(self.clone())));
        let Some(outer) = entered else {
            panic!("no running event loop: a context is entered inside a task or callback of one");
        };
        let result = catch_unwind(AssertUnwindSafe(f));
        let inner = with_current(|state| state.swap_context(outer));
        drop(inner);
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }
}
