//! The current context of a loop: reading, copying and replacing it.
//!
//! A loop has one cell for it. `None` is a context without values that was not needed yet. In a loop that is not
//! instrumented every context is `None`, so a copy costs one test.

use crate::kernel::context::Context;
use crate::kernel::loop_state::LoopState;

impl LoopState {
    /// Returns the current context, if a variable was ever set in it.
    pub(crate) fn peek_context(&self) -> Option<Context> {
        if !self.instrumented.get() {
            return None;
        }
        let context = self.context.take();
        self.context.set(context.clone());
        context
    }

    /// Returns a copy of the current context, for work that is made now and runs later.
    pub(crate) fn copy_context(&self) -> Option<Context> {
        self.peek_context().map(|context| context.copy())
    }

    /// Returns the current context, made if there is none yet. From now on the loop is instrumented.
    pub(crate) fn context_for_writing(&self) -> Context {
        self.instrumented.set(true);
        let context = self.context.take().unwrap_or_default();
        self.context.set(Some(context.clone()));
        context
    }

    /// Makes a context the current one. Returns the former, for the caller to drop with nothing borrowed.
    pub(crate) fn swap_context(&self, context: Option<Context>) -> Option<Context> {
        if context.is_some() {
            self.instrumented.set(true);
        }
        self.context.replace(context)
    }
}
