//! The exception handler of a loop: it receives every failure that no other code can receive.

use std::rc::Rc;

use crate::kernel::loop_state::{ExceptionHandler, Handler, LoopHandle};
use crate::kernel::report::{ExceptionContext, default_handler};

impl LoopHandle {
    /// Who is told of failures that nobody else can hear of: panics in callbacks and destructors, results that nobody
    /// retrieved. A handler that panics is survived: the default one is told instead, of both.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.set_exception_handler(|_, context| eprintln!("log: {context}"));
    /// event_loop.call_exception_handler(&callsoon::ExceptionContext::new("disk is slow"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_exception_handler(
        &self,
        handler: impl Fn(&LoopHandle, &ExceptionContext) + 'static,
    ) {
        self.restore_exception_handler(Some(Rc::new(handler)));
    }

    /// The handler that is set; `None` for the default one. It can be called by another that wraps it, and put back.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
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
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "get_exception_handler")]
    pub fn exception_handler(&self) -> Option<ExceptionHandler> {
        self.state.handler().map(|handler| handler.call)
    }

    /// Puts back the handler that [`exception_handler`](Self::exception_handler) gave: the very same one, with no layer
    /// around it. `None` is the default one. It may come from another loop.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// # let other_loop = callsoon::EventLoop::new()?;
    /// event_loop.restore_exception_handler(other_loop.exception_handler());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore_exception_handler(&self, handler: Option<ExceptionHandler>) {
        let home = Rc::downgrade(&self.state);
        let handler = handler.map(|call| Handler { home, call });
        drop(self.state.replace_handler(handler));
    }

    /// Goes back to the default handler: a `tracing` error, or a line on stderr where nobody subscribed.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.set_exception_handler(|_, _| unreachable!());
    /// event_loop.reset_exception_handler();
    /// event_loop.call_exception_handler(&callsoon::ExceptionContext::new("to the default handler"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset_exception_handler(&self) {
        self.restore_exception_handler(None);
    }

    /// Tells the exception handler.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.call_exception_handler(&callsoon::ExceptionContext::new("out of paper"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call_exception_handler(&self, context: &ExceptionContext) {
        self.state.tell(context);
    }

    /// What happens to a report where no handler is set; a handler may call it too.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.set_exception_handler(|event_loop, context| event_loop.default_exception_handler(context));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn default_exception_handler(&self, context: &ExceptionContext) {
        default_handler(context);
    }
}
