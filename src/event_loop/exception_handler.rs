//! The exception handler of a loop: it receives every failure that no other code can receive.

use std::any::Any;
use std::rc::{Rc, Weak};

use crate::kernel::events::default_handler;
use crate::kernel::loop_handle::{ExceptionHandler, LoopHandle};
use crate::kernel::loop_state::LoopState;
use crate::kernel::report::{ExceptionContext, ReportHandler};

/// A program's exception handler, as its loop stores it.
struct Handler {
    /// The loop, which owns this.
    state: Weak<LoopState>,
    call: ExceptionHandler,
}

impl ReportHandler for Handler {
    fn report(&self, context: &ExceptionContext) {
        if let Some(state) = self.state.upgrade() {
            (self.call)(&LoopHandle { state }, context);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl LoopHandle {
    /// Sets the function that receives every failure which no other code can receive.
    ///
    /// Such failures are panics in callbacks and destructors, and failures of tasks and futures whose result nobody has
    /// retrieved. If the handler itself panics, the default handler receives both failures.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.set_exception_handler(|_, context| eprintln!("log: {context}"));
    /// event_loop.call_exception_handler(&callsoon::ExceptionContext::new("disk is slow"));
    /// ```
    pub fn set_exception_handler(
        &self,
        handler: impl Fn(&LoopHandle, &ExceptionContext) + 'static,
    ) {
        self.restore_exception_handler(Some(Rc::new(handler)));
    }

    /// Returns the handler that is set, or `None` for the default one.
    ///
    /// A new handler can wrap it. [`restore_exception_handler`](Self::restore_exception_handler) puts it back.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let former = event_loop.exception_handler();
    /// let inner = former.clone();
    /// event_loop.set_exception_handler(move |event_loop, context| {
    ///     eprintln!("in the backup: {context}");
    ///     match &inner {
    ///         Some(inner) => inner(event_loop, context),
    ///         None => event_loop.default_exception_handler(context),
    ///     }
    /// });
    /// assert!(event_loop.exception_handler().is_some());
    /// event_loop.restore_exception_handler(former);
    /// assert!(event_loop.exception_handler().is_none());
    /// ```
    #[doc(alias = "get_exception_handler")]
    pub fn exception_handler(&self) -> Option<ExceptionHandler> {
        let handler = self.state.handler()?;
        let handler = handler.as_any().downcast_ref::<Handler>()?;
        Some(Rc::clone(&handler.call))
    }

    /// Sets the handler that [`exception_handler`](Self::exception_handler) returned, without a wrapper around it.
    ///
    /// `None` is the default handler. The handler may come from another loop.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// # let other_loop = callsoon::EventLoop::new()?;
    /// event_loop.restore_exception_handler(other_loop.exception_handler());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore_exception_handler(&self, handler: Option<ExceptionHandler>) {
        let handler = handler.map(|call| {
            let state = Rc::downgrade(&self.state);
            Rc::new(Handler { state, call }) as Rc<dyn ReportHandler>
        });
        // The former one is dropped with nothing borrowed.
        drop(self.state.replace_handler(handler));
    }

    /// Sets the default handler, which emits a `tracing` error, or writes to stderr if there is no subscriber.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.set_exception_handler(|_, _| unreachable!());
    /// event_loop.reset_exception_handler();
    /// event_loop.call_exception_handler(&callsoon::ExceptionContext::new("to the default handler"));
    /// ```
    pub fn reset_exception_handler(&self) {
        self.restore_exception_handler(None);
    }

    /// Calls the exception handler with a report.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.call_exception_handler(&callsoon::ExceptionContext::new("out of paper"));
    /// ```
    pub fn call_exception_handler(&self, context: &ExceptionContext) {
        self.state.call_handler(context);
    }

    /// Handles a report as the default handler does. A handler may call it for reports that it does not handle.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.set_exception_handler(|event_loop, context| event_loop.default_exception_handler(context));
    /// ```
    pub fn default_exception_handler(&self, context: &ExceptionContext) {
        default_handler(context);
    }
}
