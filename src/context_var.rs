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
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kernel::context::{Carried, Carry, Context};
use crate::kernel::current_context::{
    swap_thread_context, thread_context, thread_context_for_writing,
};
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

    /// Returns the value in the current context, otherwise the default. Outside a running loop that is the thread's
    /// context.
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
            None => thread_context().and_then(|context| context.value(number)),
        };
        match value.and_then(|value| value.downcast::<T>().ok()) {
            Some(value) => Some((*value).clone()),
            None => self.default.map(|default| default()),
        }
    }

    /// Sets the value in the current context. Returns the token with which [`reset`](Self::reset) undoes this.
    ///
    /// Outside a running loop that is the thread's context. Tasks and callbacks that are created there, and the future of
    /// `run_until_complete`, run in copies of it. A job of [`run_in_executor`](crate::run_in_executor) sets the value for
    /// its thread, also for later jobs there, as in asyncio; a job of [`to_thread`](crate::to_thread) for itself.
    ///
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// callsoon::run(async {
    ///     let before = USER.set("ann");
    ///     USER.reset(before);
    ///     assert_eq!(USER.get(), None);
    /// }).unwrap();
    /// ```
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
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// callsoon::run(async {
    ///     USER.set("ann");
    ///     let before = USER.set("bob");
    ///     USER.reset(before);
    ///     assert_eq!(USER.get(), Some("ann"));
    /// }).unwrap();
    /// ```
    pub fn reset(&'static self, token: ContextToken<T>) {
        let replaced = self.replace(token.former);
        drop(replaced);
    }

    fn replace(&'static self, value: Option<Rc<dyn Any>>) -> Option<Rc<dyn Any>> {
        let context = with_current(|state| state.context_for_writing());
        let context = context.unwrap_or_else(thread_context_for_writing);
        context.replace(self.number(), value, self.propagate)
    }
}

fn copy_for_thread<T: Clone + Send + 'static>(value: &dyn Any) -> Option<Box<dyn Any + Send>> {
    let value = value.downcast_ref::<T>()?;
    Some(Box::new(value.clone()))
}

/// Copies the values of the current context that are propagated to a job.
pub(crate) fn propagated() -> Vec<Carried> {
    let context = with_current(|state| state.peek_context());
    let context = context.unwrap_or_else(thread_context);
    context.map_or_else(Vec::new, |context| context.carry())
}

/// Runs a job on a thread without a loop, with the propagated values as its context.
pub(crate) fn run_with<R>(propagated: Vec<Carried>, job: impl FnOnce() -> R) -> R {
    let arrived = (!propagated.is_empty()).then(|| Context::arrived(propagated));
    let _restore = RestoreContext::OfThread(swap_thread_context(arrived));
    job()
}

/// Restores the former context when it is dropped, also while a panic unwinds.
enum RestoreContext {
    OfThread(Option<Context>),
    OfLoop(Option<Context>),
}

impl Drop for RestoreContext {
    fn drop(&mut self) {
        let ended = match self {
            Self::OfThread(former) => swap_thread_context(former.take()),
            Self::OfLoop(former) => {
                with_current(|state| state.swap_context(former.take())).flatten()
            }
        };
        // The destructors of values are user code, and the caller may be unwinding.
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

/// Returns a copy of the current context; of the thread's context outside a running loop.
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
    let copied = copied.unwrap_or_else(|| thread_context().map(|context| context.copy()));
    copied.unwrap_or_default()
}

impl Context {
    /// Calls `f` in this context. Values that `f` sets stay in the context.
    ///
    /// Outside a running loop the context takes the place of the thread's context for that time.
    ///
    /// # Panics
    /// A panic of `f` is passed to the caller, with the former context restored.
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
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        let inside = || Some(self.clone());
        let _restore = match with_current(|state| state.swap_context(inside())) {
            Some(outer) => RestoreContext::OfLoop(outer),
            None => RestoreContext::OfThread(swap_thread_context(inside())),
        };
        f()
    }
}
