//! Whom a loop tells: its exception handler of what went wrong, its task hook of every new task.
//!
//! Both are the user's, so both are called with nothing borrowed, may replace themselves meanwhile, and cannot stop the
//! loop: a handler that panics gives way to the one of last resort, which never does.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::error::Panicked;
use crate::kernel::loop_state::{LoopState, Phase, TaskHook};
use crate::kernel::report::{
    ExceptionContext, ReportHandler, default_handler, drop_quietly, run_quietly,
};
use crate::kernel::task::cell::{Header, Run};
use crate::kernel::task::key::Key;

impl LoopState {
    /// Puts the exception handler in place and gives back what has to be dropped, with no borrow held: the former one,
    /// or the new one where the loop is closed and nobody would ever drop it.
    pub(crate) fn replace_handler(
        &self,
        handler: Option<Rc<dyn ReportHandler>>,
    ) -> Option<Rc<dyn ReportHandler>> {
        if self.phase.get() == Phase::Closed {
            return handler;
        }
        std::mem::replace(&mut *self.handler.borrow_mut(), handler)
    }

    /// The exception handler, shared.
    pub(crate) fn handler(&self) -> Option<Rc<dyn ReportHandler>> {
        self.handler.borrow().clone()
    }

    /// Puts the task hook in place; gives back what has to be dropped, as [`replace_handler`](Self::replace_handler) does.
    pub(crate) fn replace_task_hook(&self, hook: Option<TaskHook>) -> Option<TaskHook> {
        if self.phase.get() == Phase::Closed {
            return hook;
        }
        self.instrumented.set(true);
        std::mem::replace(&mut *self.task_hook.borrow_mut(), hook)
    }

    /// Tells the task hook, if there is one.
    #[inline(never)]
    pub(crate) fn call_task_hook(&self, task: &Rc<dyn Run>, key: Key) {
        let hook = self.task_hook.borrow().clone();
        if let Some(hook) = hook {
            self.catch_panic("Exception in the task hook", || hook(Rc::clone(task), key));
            drop_quietly(hook);
        }
    }

    /// Tells the exception handler; the one of last resort where there is none, or where it panics itself.
    #[cold]
    pub(crate) fn report(&self, context: ExceptionContext) {
        self.call_handler(&context);
        // A panic's payload is foreign too.
        drop_quietly(context);
    }

    /// [`report`](Self::report) for a context that its owner keeps.
    pub(crate) fn call_handler(&self, context: &ExceptionContext) {
        let Some(handler) = self.handler() else {
            return call_default_handler(context);
        };
        let call = AssertUnwindSafe(|| handler.report(context));
        if let Err(payload) = catch_unwind(call) {
            let text = "Exception in the exception handler, which was told of the following";
            let second = ExceptionContext {
                message: text.to_owned(),
                panic: Some(Panicked::new(payload)),
                ..ExceptionContext::default()
            };
            call_default_handler(&second);
            drop_quietly(second);
            call_default_handler(context);
        }
        // Maybe the last reference, if the handler has replaced itself.
        drop_quietly(handler);
    }

    /// Runs user code that must not stop the loop: a panic becomes a report that starts with `message`.
    pub(crate) fn catch_panic(&self, message: &str, foreign: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(foreign)) {
            self.report_panic(message, payload);
        }
    }

    /// Apart from [`catch_panic`](Self::catch_panic), of which there is one for each foreign type.
    #[cold]
    fn report_panic(&self, message: &str, payload: Box<dyn Any + Send>) {
        self.report(ExceptionContext {
            message: message.to_owned(),
            panic: Some(Panicked::new(payload)),
            ..ExceptionContext::default()
        });
    }

    /// Reports a destructor that panicked while its task ended, if one did.
    pub(crate) fn report_drop_panic(&self, task: &dyn Run) {
        let header = task.header();
        let Some(payload) = header.peek_cold(|cold| cold.drop_panic.take()).flatten() else {
            return;
        };
        let message = "Exception in a destructor while its task ended";
        self.report(of_task(header, message, Panicked::new(payload)));
    }

    /// Reports a task's panic in that task's context, where a handler finds what the task has set.
    #[cold]
    pub(crate) fn report_in_context_of(&self, header: &Header, message: &str, panic: Panicked) {
        let own = header.peek_cold(|cold| cold.context.take()).flatten();
        let outer = self.swap_context(own);
        self.report(of_task(header, message, panic));
        let own = self.swap_context(outer);
        let message = "Exception in the destructor of a context";
        self.catch_panic(message, || drop(own));
    }
}

/// A report about a task's panic.
pub(crate) fn of_task(header: &Header, message: &str, panic: Panicked) -> ExceptionContext {
    ExceptionContext {
        message: message.to_owned(),
        panic: Some(panic),
        exception: None,
        task: Some(header.name()),
        location: Some(header.location()),
    }
}

/// The handler of last resort.
fn call_default_handler(context: &ExceptionContext) {
    run_quietly(|| default_handler(context));
}
