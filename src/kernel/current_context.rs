//! The current context of a loop: reading, copying and replacing it.
//!
//! A loop has one cell for it. `None` stands for a context without values that nobody has asked for yet. As long as a loop
//! is not instrumented every context is `None`, so a copy costs one test.

use crate::kernel::context::Context;
use crate::kernel::loop_state::LoopState;

impl LoopState {
    /// The current context, if it has ever been written to.
    pub(crate) fn peek_context(&self) -> Option<Context> {
        if !self.instrumented.get() {
            return None;
        }
        let context = self.context.take();
        self.context.set(context.clone());
        context
    }

    /// A copy of the current context, for work that is made now and runs later.
    pub(crate) fn copy_context(&self) -> Option<Context> {
        self.peek_context().map(|context| context.copy())
    }

    /// The current context, made if there is none yet. From here on the loop looks after contexts.
    pub(crate) fn context_for_writing(&self) -> Context {
        self.instrumented.set(true);
        let context = self.context.take().unwrap_or_default();
        self.context.set(Some(context.clone()));
        context
    }

    /// Makes a context the current one and gives back the former, to be dropped with nothing borrowed.
    pub(crate) fn swap_context(&self, context: Option<Context>) -> Option<Context> {
        if context.is_some() {
            self.instrumented.set(true);
        }
        self.context.replace(context)
    }
}
