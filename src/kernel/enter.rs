//! THE door into user code: on the loop's thread, it is called through this file alone, the two hooks of
//! `kernel/handlers` and destructors aside.
//!
//! Callbacks, task steps, callbacks of descriptors, protocols, listeners and signal handlers are all called through it.
//! An [`Entry`] names the loop, the callee, and the place where the callee was created. [`Entry::run`] takes these
//! steps:
//!
//! ```text
//!   1 * make the callee's context the current one
//!   2 * tell the observers of the beginning
//!   3   call, and catch a panic
//!   4   report the panic, in the callee's context
//!   5 * tell the observers of the end
//!   6 * restore the caller's context                      * on the instrumented path only
//! ```
//!
//! A loop becomes *instrumented* when it gets an observer, such as debug mode, a context variable is set or a task hook is
//! installed. Until then only steps 3 and 4 take place, and they cost nothing as long as no panic occurs. So there are two
//! places in which user code is measured or traced: [`instrumented`] for calls, and [`observed_step`] for task steps. Both
//! leave that to `kernel/observation`.
//!
//! There are three kinds of calls:
//! - A queued callback carries its own wrapper, [`run_callback`] or [`run_callback_in`], which is chosen when it is
//!   queued.
//! - A task step is entered by [`plain_step`] or [`observed_step`]. `task/cell` catches its panic, since it stores the
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
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::task::{Context as TaskContext, Waker};

use crate::error::Panicked;
use crate::kernel::callee::Callee;
use crate::kernel::context::Context;
use crate::kernel::events::default_handler;
use crate::kernel::inline_fn::SendFn;
use crate::kernel::loop_state::LoopState;
use crate::kernel::observation::{begin, end};
use crate::kernel::report::{ExceptionContext, FailedHandle, drop_quietly};
use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::header::Header;
use crate::kernel::task::key::{Key, ROOT_SLOT};
use crate::kernel::task::state::Step;
use crate::kernel::task::waker::{current, key_of, wake_key, waker, with_current};

/// What a report says of a panic in the destructor of a context's values.
const CONTEXT_DROPPED: &str = "Exception in the destructor of a context";

/// What a report says of a panic in another runtime's waker.
const WAKER: &str = "Exception in a waker";

/// Where the code that is called was created.
type Place = &'static Location<'static>;

/// Says that a call panicked. The panic was reported to the exception handler.
#[derive(Debug)]
pub(crate) struct Failed;

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
        let (result, own) = instrumented(self, own, guarded);
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
            handle: self
                .callee
                .is_callback()
                .then_some(FailedHandle { location }),
            about_transport: self.callee.transport(),
            ..ExceptionContext::default()
        });
    }
}

/// Runs a call that cannot unwind in a context, and returns the context. The observers are told of it.
fn instrumented<R>(
    entry: &Entry<'_>,
    context: Option<Context>,
    call: impl FnOnce() -> R,
) -> (R, Option<Context>) {
    let (state, callee, place) = (entry.state, entry.callee, entry.location);
    let outer = state.swap_context(context);
    let begun = begin(state, callee, place);
    let result = call();
    end(state, begun, callee, place);
    (result, state.swap_context(outer))
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
    callee: Callee<'_>,
    location: Place,
) {
    let Some(state) = current() else {
        return run_callback(callback, location);
    };
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
    SendFn::new(move || {
        if with_current(|state| state.instrumented.get()) == Some(true) {
            return run_callback_in(None, callback, Callee::Posted, location);
        }
        run_callback(callback, location);
    })
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

/// Enters a task for one step between [`enter_context`] and [`leave_context`]. The observers are told of it.
#[inline(always)]
pub(crate) fn observed_step(
    state: &LoopState,
    key: Key,
    task: &AnyTask,
    poll: impl FnOnce(&mut TaskContext<'_>) -> Step,
) -> Step {
    let (callee, place) = (Callee::Step(task.header()), task.header().location());
    let begun = begin(state, callee, place);
    let step = plain_step(state, key, poll);
    end(state, begun, callee, place);
    step
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
            default_handler(&context);
            drop_quietly(context);
        }
    }
}
