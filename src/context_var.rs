//! Context variables: asyncio's `contextvars`.
//!
//! A variable has a value in each context. Tasks, callbacks, timers and done callbacks run in a copy of the context in
//! which they were made, so what one sets does not leak into its siblings, and what its parent sets later it does not
//! see.
//!
//! Values belong to the loop's thread and need not be fit for any other. A variable that says so, by
//! [`crossing`](ContextVar::crossing), is taken along by [`to_thread`](crate::to_thread): the job runs in a context of
//! the thread, with copies of the values of such variables.

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

/// How many variables have a number.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A static that has a value of its own in every context.
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
    /// This variable's number in every context, decided at first use.
    number: OnceLock<usize>,
    default: Option<fn() -> T>,
    /// Copies a value for another thread.
    carry: Option<Carry>,
}

thread_local! {
    /// The context of a job, on a thread that has no loop.
    static JOB: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// What a variable was before it was set, for [`ContextVar::reset`].
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
    /// A variable that has no value until it is set.
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
            carry: None,
        }
    }

    /// A variable that has the value that `default` makes until it is set.
    ///
    /// ```
    /// static DEPTH: callsoon::ContextVar<u32> = callsoon::ContextVar::with_default("depth", || 0);
    /// assert_eq!(DEPTH.get(), Some(0));
    /// ```
    pub const fn with_default(name: &'static str, default: fn() -> T) -> Self {
        Self {
            name,
            number: OnceLock::new(),
            default: Some(default),
            carry: None,
        }
    }

    /// The same variable, with values that [`to_thread`](crate::to_thread) takes along: a job there sees a copy of what
    /// was current when it was awaited first, and what it sets is its own.
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
        self.carry = Some(carry::<T>);
        self
    }

    /// The variable's name, for humans.
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

    /// The value in the current context, else the default. Outside a running loop, and outside a job of
    /// [`to_thread`](crate::to_thread), there is no context, only the default.
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
            None => of_job(|context| context.value(number)).flatten(),
        };
        match value.and_then(|value| value.downcast::<T>().ok()) {
            Some(value) => Some((*value).clone()),
            None => self.default.map(|default| default()),
        }
    }

    /// Sets the value in the current context and gives what [`reset`](Self::reset) needs to undo that.
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

    /// Gives the variable back the value, or the lack of one, that it had before the `set` that made the token.
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
        let Some(context) = context.or_else(|| of_job(Context::clone)) else {
            panic!(
                "no running event loop: a context variable is set inside a task or callback of one"
            );
        };
        context.replace(self.number(), value, self.carry)
    }
}

fn carry<T: Clone + Send + 'static>(value: &dyn Any) -> Option<Box<dyn Any + Send>> {
    let value = value.downcast_ref::<T>()?;
    Some(Box::new(value.clone()))
}

/// What `f` sees of the context of the job that runs here.
fn of_job<R>(f: impl FnOnce(&Context) -> R) -> Option<R> {
    // A thread that is ending has none.
    let seen = JOB.try_with(|job| job.borrow().as_ref().map(f));
    seen.ok().flatten()
}

/// What a job takes along from the current context.
pub(crate) fn propagated() -> Vec<Carried> {
    let context = with_current(|state| state.peek_context()).flatten();
    context.map_or_else(Vec::new, |context| context.carry())
}

/// Runs a job, on a thread without a loop, with what it has taken along.
pub(crate) fn run_with<R>(propagated: Vec<Carried>, job: impl FnOnce() -> R) -> R {
    let _inside = Inside {
        former: JOB.replace(Some(Context::arrived(propagated))),
    };
    job()
}

/// Puts the former context back.
struct Inside {
    former: Option<Context>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        let over = JOB.replace(self.former.take());
        // Values are foreign, and the job may be unwinding.
        drop_quietly(over);
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

/// A copy of the current context; an empty one outside a running loop.
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
    let copied = copied.or_else(|| of_job(|context| Some(context.copy())));
    copied.flatten().unwrap_or_default()
}

impl Context {
    /// Calls `f` in this context: what `f` sets stays here, for whoever holds it.
    ///
    /// # Panics
    /// Outside a running loop. A panic of `f` passes through.
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
