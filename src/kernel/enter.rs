//! THE door into user code: on the loop's thread, it is called through this file alone, the two hooks of
//! `kernel/handlers` and destructors aside.
//!
//! Callbacks, task steps, callbacks of descriptors, protocols, listeners and signal handlers are all called through it.
//! An [`Entry`] names the loop, the callee, and the place where the callee was created. [`Entry::run`] takes these
//! steps:
//!
//! ```text
//!   1 * make the callee's context the current one
//!   2 * read the clock, in debug mode
//!   3   call, and catch a panic
//!   4   report the panic, in the callee's context
//!   5 * warn of a call that took long, in debug mode
//!   6 * restore the caller's context                      * on the instrumented path only
//! ```
//!
//! A loop becomes *instrumented* when debug mode is switched on, a context variable is set or a task hook is installed.
//! Until then only steps 3 and 4 take place, and they cost nothing as long as no panic occurs. So there are two places in
//! which user code is measured or traced: [`instrumented`] for calls, and [`timed_step`] for task steps.
//!
//! There are three kinds of calls:
//! - A queued callback carries its own wrapper, [`run_callback`] or [`run_callback_in`], which is chosen when it is
//!   queued.
//! - A task step is entered by [`plain_step`] or [`timed_step`]. `task/cell` catches its panic, since it stores the
//!   panic as the task's output. The context belongs to the task and stays current for all that the end of the step
//!   runs.
//! - Every other call is an [`Entry`].
//!
//! No borrow and no lock is held while user code runs. Destructors and other runtimes' wakers are user code too,
//! without a context or a name. Their panics are caught by [`LoopState::wake`] and, in `kernel/handlers`,
//! [`LoopState::catch_panic`] on a loop, and by [`wake`] and [`catch_panic`] where there may be no loop. Those of an
//! ended task's future and result are caught in `task/header` and in `turn`. The exception handler and the task hook are
//! called in `kernel/handlers`, which reports a panic of theirs to the default handler or to the exception handler.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::task::{Context as TaskContext, Waker};
use std::time::{Duration, Instant};

use crate::error::Panicked;
use crate::kernel::context::Context;
use crate::kernel::inline_fn::SendFn;
use crate::kernel::loop_state::LoopState;
use crate::kernel::report::{
    ExceptionContext, FailedHandle, call_default_handler, drop_quietly, run_quietly,
};
use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::header::Header;
use crate::kernel::task::key::{Key, ROOT_SLOT};
use crate::kernel::task::state::Step;
use crate::kernel::task::waker::{current, key_of, wake_key, waker};

/// What a report says of a panic in the destructor of a context's values.
const CONTEXT_DROPPED: &str = "Exception in the destructor of a context";

/// What a report says of a panic in another runtime's waker.
const WAKER: &str = "Exception in a waker";

/// Where the code that is called was created.
type Place = &'static Location<'static>;

/// Says that a call panicked. The panic was reported to the exception handler.
#[derive(Debug)]
pub(crate) struct Failed;

/// What is called.
#[derive(Clone, Copy)]
pub(crate) enum Callee<'a> {
    /// A callback.
    Callback,
    /// A callback that accepts connections from a listening socket.
    Listener,
    /// A method of a protocol, by its name, with the transport.
    Protocol(&'static str, &'a dyn Reported),
    /// Several methods of a protocol, in one entry: the cell names the one that is called at the time.
    ProtocolStep(&'a Cell<&'static str>, &'a dyn Reported),
    /// A method of a subprocess protocol, by its name, with the transport.
    SubprocessProtocol(&'static str, &'a dyn Reported),
}

/// A transport, for a report.
pub(crate) trait Reported {
    /// Returns one more reference, of the type that the program sees.
    fn reported(&self) -> Rc<dyn Any>;
}

impl Callee<'_> {
    /// Returns the name for the warning "a slow … held up the loop".
    fn name(self) -> &'static str {
        match self {
            Self::Callback => "callback",
            Self::Listener => "listener",
            Self::Protocol(method, _) | Self::SubprocessProtocol(method, _) => method,
            Self::ProtocolStep(method, _) => method.get(),
        }
    }

    /// Returns the message of the report of a panic.
    fn failure(self) -> String {
        match self {
            Self::Callback => "Exception in callback".to_owned(),
            Self::Listener => "Exception in a listener".to_owned(),
            Self::Protocol(method, _) => format!("Exception in a protocol's {method}"),
            Self::ProtocolStep(method, _) => {
                format!("Exception in a protocol's {}", method.get())
            }
            Self::SubprocessProtocol(method, _) => {
                format!("Exception in a subprocess protocol's {method}")
            }
        }
    }

    /// Returns the transport whose protocol is called.
    fn transport(self) -> Option<Rc<dyn Any>> {
        match self {
            Self::Callback | Self::Listener => None,
            Self::Protocol(_, transport)
            | Self::ProtocolStep(_, transport)
            | Self::SubprocessProtocol(_, transport) => Some(transport.reported()),
        }
    }
}

/// The context in which code is called.
pub(crate) enum InContext<'a> {
    /// This context. If it is `None` and the callee sets a variable, the new context is dropped after the call.
    Of(&'a Option<Context>),
    /// This context, which the callee owns. If it is `None` and the callee sets a variable, the new context is kept for
    /// its next call.
    Kept(&'a mut Option<Context>),
}

/// On whose behalf user code is entered.
pub(crate) struct Entry<'a> {
    pub(crate) state: &'a LoopState,
    pub(crate) callee: Callee<'a>,
    pub(crate) location: Place,
}

impl Entry<'_> {
    /// Calls `user_code`, and catches and reports its panic.
    #[inline]
    pub(crate) fn run<R>(
        &self,
        context: InContext<'_>,
        user_code: impl FnOnce() -> R,
    ) -> Result<R, Failed> {
        let guarded = || {
            catch_unwind(AssertUnwindSafe(user_code)).map_err(|payload| {
                self.report(payload);
                Failed
            })
        };
        if self.state.instrumented.get() {
            return self.run_instrumented(context, guarded);
        }
        let result = guarded();
        if self.state.instrumented.get() {
            // The call has set the first variable of this loop.
            self.keep(context, self.state.swap_context(None));
        }
        result
    }

    /// Like [`run`](Self::run), for a method of a shared receiver. The call may release all other references; then the
    /// receiver is dropped here, and a panic of its destructor is caught.
    pub(crate) fn run_on<P: ?Sized, R>(
        &self,
        context: InContext<'_>,
        receiver: Rc<P>,
        method: impl FnOnce(&P) -> R,
    ) -> Result<R, Failed> {
        let result = self.run(context, || method(&receiver));
        if Rc::strong_count(&receiver) == 1 {
            self.state
                .catch_panic("Exception in the destructor of a protocol", || {
                    drop(receiver)
                });
        }
        result
    }

    fn run_instrumented<R>(&self, mut context: InContext<'_>, guarded: impl FnOnce() -> R) -> R {
        let own = match &mut context {
            InContext::Of(shared) => shared.clone(),
            InContext::Kept(owned) => owned.take(),
        };
        let name = || self.callee.name();
        let (result, own) = instrumented(self.state, own, name, self.location, guarded);
        self.keep(context, own);
        result
    }

    /// Gives the context back to the callee after the call, or drops it.
    fn keep(&self, context: InContext<'_>, own: Option<Context>) {
        match context {
            InContext::Kept(owned) => *owned = own,
            InContext::Of(_) => self.state.catch_panic(CONTEXT_DROPPED, || drop(own)),
        }
    }

    #[cold]
    fn report(&self, payload: Box<dyn Any + Send>) {
        let location = self.location;
        self.state.report(ExceptionContext {
            message: self.callee.failure(),
            panic: Some(Panicked::new(payload)),
            location: Some(location),
            handle: matches!(self.callee, Callee::Callback).then_some(FailedHandle { location }),
            subject: self.callee.transport(),
            ..ExceptionContext::default()
        });
    }
}

/// Runs a call that cannot unwind in a context, and returns the context. In debug mode a slow call is warned of.
fn instrumented<R>(
    state: &LoopState,
    context: Option<Context>,
    name: impl FnOnce() -> &'static str,
    location: Place,
    call: impl FnOnce() -> R,
) -> (R, Option<Context>) {
    let outer = state.swap_context(context);
    let start = state.debug.get().then(Instant::now);
    let result = call();
    if let Some(start) = start {
        let took = start.elapsed();
        if took >= state.slow_callback_duration.get() {
            warn_slow(name(), location, took);
        }
    }
    (result, state.swap_context(outer))
}

/// Warns that one call of user code held up all others.
#[cold]
pub(crate) fn warn_slow(what: &str, location: Place, took: Duration) {
    let took = took.as_secs_f64();
    run_quietly(
        || tracing::warn!(target: "callsoon", took, %location, "a slow {what} held up the loop"),
    );
}

/// Runs a queued callback on the plain path.
#[inline]
pub(crate) fn run_callback<F: FnOnce()>(callback: F, location: Place) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(callback)) {
        report_callback(payload, location);
    }
}

#[cold]
fn report_callback(payload: Box<dyn Any + Send>, location: Place) {
    // Callbacks run inside turns, where there is a current loop.
    if let Some(state) = current() {
        let callee = Callee::Callback;
        let state = &*state;
        Entry {
            state,
            callee,
            location,
        }
        .report(payload);
    }
}

/// Runs a queued callback in the context in which it was queued.
pub(crate) fn run_callback_in<F: FnOnce()>(
    mut context: Option<Context>,
    callback: F,
    location: Place,
) {
    let Some(state) = current() else {
        return run_callback(callback, location);
    };
    let callee = Callee::Callback;
    let entry = Entry {
        state: &state,
        callee,
        location,
    };
    // Its panic is in the report.
    let _ = entry.run(InContext::Kept(&mut context), callback);
    state.catch_panic(CONTEXT_DROPPED, || drop(context));
}

/// Wraps a posted callback as the callbacks of the loop's own thread are wrapped.
#[inline]
pub(crate) fn guard_posted<F: FnOnce() + Send + 'static>(callback: F, location: Place) -> SendFn {
    SendFn::new(move || run_callback(callback, location))
}

/// Runs one entry of the ready queue, which carries its own guard. An entry that runs on the plain path may set the
/// first context variable of its loop. The context that this has made is dropped afterwards: no other code may see it.
#[inline(always)]
pub(crate) fn run_queued(state: &LoopState, entry: impl FnOnce()) {
    entry();
    if state.instrumented.get() {
        forget_context(state);
    }
}

#[inline(never)]
fn forget_context(state: &LoopState) {
    let own = state.swap_context(None);
    state.catch_panic(CONTEXT_DROPPED, || drop(own));
}

/// Enters a task for one step on the plain path: without a context, and not timed.
#[inline]
pub(crate) fn plain_step(
    state: &LoopState,
    key: Key,
    poll: impl FnOnce(&mut TaskContext<'_>) -> Step,
) -> Step {
    state.current_task.set(key);
    let waker = waker(key);
    let step = poll(&mut TaskContext::from_waker(&waker));
    state.current_task.set(Key::NONE);
    step
}

/// Enters a task for one step between [`enter_context`] and [`leave_context`]. In debug mode a slow step is warned of.
#[inline(always)]
pub(crate) fn timed_step(
    state: &LoopState,
    key: Key,
    task: &AnyTask,
    poll: impl FnOnce(&mut TaskContext<'_>) -> Step,
) -> Step {
    let start = state.debug.get().then(Instant::now);
    let step = plain_step(state, key, poll);
    if let Some(start) = start {
        let took = start.elapsed();
        if took >= state.slow_callback_duration.get() {
            warn_slow_step(task.header(), took);
        }
    }
    step
}

/// Warns that one step of a task held up all others.
#[cold]
fn warn_slow_step(header: &Header, took: Duration) {
    let (took, location) = (took.as_secs_f64(), header.location());
    let task = header.name();
    run_quietly(
        || tracing::warn!(target: "callsoon", took, %location, task, "a slow step of a task held up the loop"),
    );
}

/// Makes a task's context the current one. Returns the caller's context, for [`leave_context`].
#[inline]
pub(crate) fn enter_context(state: &LoopState, header: &Header) -> Option<Context> {
    // The task keeps a reference, so that it can be asked for its context meanwhile.
    let own = header.peek_cold(|cold| cold.context.clone()).flatten();
    state.swap_context(own)
}

/// Restores the caller's context after code that ran in a task's context, and gives that one back to the task. The
/// context of an ended task is dropped.
#[inline]
pub(crate) fn leave_context(state: &LoopState, header: &Header, outer: Option<Context>) {
    if let Some(own) = state.swap_context(outer) {
        keep_context(state, header, own);
    }
}

/// Gives a context back to its task, or drops it if the task has ended.
#[inline(never)]
fn keep_context(state: &LoopState, header: &Header, own: Context) {
    if !header.state.is_done() {
        let former = header.with_cold(|cold| cold.context.replace(own));
        return state.catch_panic(CONTEXT_DROPPED, || drop(former));
    }
    let kept = header.peek_cold(|cold| cold.context.take());
    state.catch_panic(CONTEXT_DROPPED, || drop(kept));
    // A runner passes the context of one main future to the next.
    let unneeded = if header.slot.get() == ROOT_SLOT && state.root.keeps_context.get() {
        state.root.context.replace(Some(own))
    } else {
        Some(own)
    };
    state.catch_panic(CONTEXT_DROPPED, || drop(unneeded));
}

impl LoopState {
    /// Wakes one of our tasks by its key, which runs no user code, or another runtime's waker, whose panic is caught
    /// and reported.
    #[inline]
    pub(crate) fn wake(&self, waker: Waker) {
        match key_of(&waker) {
            Some(key) => wake_key(key),
            None => self.catch_panic(WAKER, || waker.wake()),
        }
    }
}

/// Does the same as [`LoopState::wake`] where there may be no loop. A panic is reported to the loop that this thread
/// runs, or to the default handler if it runs none.
#[inline]
pub(crate) fn wake(waker: Waker) {
    match key_of(&waker) {
        Some(key) => wake_key(key),
        None => catch_panic(WAKER, || waker.wake()),
    }
}

/// Runs user code where there may be no loop, as on any thread and in destructors. A panic becomes a report that starts
/// with `message`.
pub(crate) fn catch_panic(message: &str, user_code: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(user_code)) {
        report_panic(message, Panicked::new(payload));
    }
}

/// Reports a caught panic where there may be no loop.
#[cold]
pub(crate) fn report_panic(message: &str, panicked: Panicked) {
    let context = ExceptionContext {
        message: message.to_owned(),
        panic: Some(panicked),
        ..ExceptionContext::default()
    };
    match current() {
        Some(state) => state.report(context),
        None => {
            call_default_handler(&context);
            drop_quietly(context);
        }
    }
}
