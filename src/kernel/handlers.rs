//! The hooks of a loop: the exception handler, called with each failure, and the task hook, called with each new task.
//!
//! Both are user code. They are called with nothing borrowed, they may replace themselves meanwhile, and a panic of
//! theirs does not stop the loop: if the handler panics, the default handler gets one report of both failures.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::error::Panicked;
use crate::kernel::events::default_handler;
use crate::kernel::loop_state::{LoopState, Phase, TaskHook};
use crate::kernel::report::{ExceptionContext, ReportHandler, drop_quietly};
use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::key::Key;
use crate::kernel::task::waker::current;

/// What a report says of a panic in the destructor of a future, a context or a result, as its task ends.
const DROP_PANIC: &str = "Exception in a destructor while its task ended";

impl LoopState {
    /// Sets the exception handler. Returns the handler that the caller has to drop with nothing borrowed: the former
    /// one, or the new one if the loop is closed and would never drop it.
    pub(crate) fn replace_handler(
        &self,
        handler: Option<Rc<dyn ReportHandler>>,
    ) -> Option<Rc<dyn ReportHandler>> {
        if self.phase.get() == Phase::Closed {
            return handler;
        }
        std::mem::replace(&mut *self.handler.borrow_mut(), handler)
    }

    /// Returns the exception handler.
    pub(crate) fn handler(&self) -> Option<Rc<dyn ReportHandler>> {
        self.handler.borrow().clone()
    }

    /// Sets the task hook. Returns the hook to be dropped, as [`replace_handler`](Self::replace_handler) does.
    pub(crate) fn replace_task_hook(&self, hook: Option<TaskHook>) -> Option<TaskHook> {
        if self.phase.get() == Phase::Closed {
            return hook;
        }
        self.instrumented.set(true);
        std::mem::replace(&mut *self.task_hook.borrow_mut(), hook)
    }

    /// Calls the task hook, if there is one.
    #[inline(never)]
    pub(crate) fn call_task_hook(&self, task: &AnyTask, key: Key) {
        let hook = self.task_hook.borrow().clone();
        if let Some(hook) = hook {
            self.catch_panic("Exception in the task hook", || hook(task.clone(), key));
            drop_quietly(hook);
        }
    }

    /// Calls the exception handler with a report; the default handler if there is none or it panics. Drops the report.
    #[cold]
    pub(crate) fn report(&self, context: ExceptionContext) {
        self.call_handler(&context);
        // The report may hold a panic's payload, whose destructor is user code.
        drop_quietly(context);
    }

    /// Does the same as [`report`](Self::report) with a report that the caller keeps.
    pub(crate) fn call_handler(&self, context: &ExceptionContext) {
        let Some(handler) = self.handler() else {
            return default_handler(context);
        };
        let call = AssertUnwindSafe(|| handler.report(context));
        if let Err(payload) = catch_unwind(call) {
            let second = ExceptionContext {
                message: "Exception in the exception handler".to_owned(),
                panic: Some(Panicked::new(payload)),
                context: Some(Box::new(context.clone())),
                ..ExceptionContext::default()
            };
            default_handler(&second);
            drop_quietly(second);
        }
        // This is the last reference if the handler has replaced itself.
        drop_quietly(handler);
    }

    /// Runs user code that must not stop the loop: a panic becomes a report that starts with `message`.
    pub(crate) fn catch_panic(&self, message: &str, user_code: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(user_code)) {
            self.report_panic(message, payload);
        }
    }

    /// Split from [`catch_panic`](Self::catch_panic), which is compiled once for each type.
    #[cold]
    fn report_panic(&self, message: &str, payload: Box<dyn Any + Send>) {
        self.report(ExceptionContext {
            message: message.to_owned(),
            panic: Some(Panicked::new(payload)),
            ..ExceptionContext::default()
        });
    }

    /// Reports the drop panic of a task that has ended, if there was one.
    pub(crate) fn report_drop_panic(self: &Rc<Self>, task: &AnyTask) {
        if let Some(payload) = task.header().take_drop_panic() {
            self.report(self.about_panic(task, DROP_PANIC, Panicked::new(payload)));
        }
    }

    /// Reports a task's panic in that task's context, so that the handler sees its variables.
    #[cold]
    pub(crate) fn report_in_context_of(
        self: &Rc<Self>,
        task: &AnyTask,
        message: &str,
        panic: Panicked,
    ) {
        let own = task.header().peek_cold(|cold| cold.context.take());
        let outer = self.swap_context(own.flatten());
        self.report(self.about_panic(task, message, panic));
        let own = self.swap_context(outer);
        let message = "Exception in the destructor of a context";
        self.catch_panic(message, || drop(own));
    }

    /// Makes a report about a task.
    #[cold]
    pub(crate) fn about_task(self: &Rc<Self>, task: &AnyTask, message: &str) -> ExceptionContext {
        let header = task.header();
        let reported = ReportedTask {
            task: task.clone(),
            state: Rc::clone(self),
            key: self.key_of(header),
        };
        ExceptionContext {
            message: message.to_owned(),
            task: Some(header.name()),
            location: Some(header.location()),
            about_task: Some(Rc::new(reported)),
            ..ExceptionContext::default()
        }
    }

    /// Makes a report about a task's panic.
    #[cold]
    pub(crate) fn about_panic(
        self: &Rc<Self>,
        task: &AnyTask,
        message: &str,
        panic: Panicked,
    ) -> ExceptionContext {
        ExceptionContext {
            panic: Some(panic),
            ..self.about_task(task, message)
        }
    }
}

/// Does the same as [`LoopState::report_drop_panic`] for the loop that this thread runs.
#[inline]
pub(crate) fn report_drop_panic(task: &AnyTask) {
    if let Some(payload) = task.header().take_drop_panic() {
        report_panic_of(task, DROP_PANIC, Panicked::new(payload));
    }
}

/// Reports a task's panic to the loop that this thread runs, of which the report holds a reference. Only turns call it, so
/// there is one.
#[cold]
pub(crate) fn report_panic_of(task: &AnyTask, message: &str, panicked: Panicked) {
    if let Some(state) = current() {
        state.report(state.about_panic(task, message, panicked));
    }
}

/// The task of a report: what `TaskRef`, which is above this module, is made of.
pub(crate) struct ReportedTask {
    pub(crate) task: AnyTask,
    pub(crate) state: Rc<LoopState>,
    pub(crate) key: Key,
}
