//! How a protocol is called: in the context of its transport and with nothing borrowed. Its panic is reported, and in debug
//! mode that it held up all others.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::time::Instant;

use crate::error::Panicked;
use crate::kernel::callback::warn_slow;
use crate::kernel::context::Context;
use crate::kernel::loop_state::LoopState;
use crate::kernel::report::ExceptionContext;

/// A callback of the protocol panicked, or there was no protocol to call.
pub(crate) struct Failed;

/// On whose behalf a protocol is called.
pub(crate) struct Entry<'a> {
    pub(crate) state: &'a LoopState,
    pub(crate) context: &'a Option<Context>,
    /// Where the transport was made.
    pub(crate) location: &'static Location<'static>,
}

impl Entry<'_> {
    /// Calls the protocol. `call` is the callback's name.
    pub(crate) fn enter<P: ?Sized, R>(
        &self,
        protocol: Rc<P>,
        call: &str,
        f: impl FnOnce(&P) -> R,
    ) -> Result<R, Failed> {
        let state = self.state;
        let careful = state.careful.get();
        let outer = careful.then(|| state.swap_context(self.context.clone()));
        let start = (careful && state.debug.get()).then(Instant::now);
        let result = catch_unwind(AssertUnwindSafe(|| f(&*protocol)));
        let took = start.map(|start| start.elapsed());
        if let Some(took) = took.filter(|took| *took >= state.slow_callback_duration.get()) {
            warn_slow(call, self.location, took);
        }
        let result = result.map_err(|payload| {
            state.report(ExceptionContext {
                message: format!("Exception in a protocol's {call}"),
                panic: Some(Panicked::new(payload)),
                location: Some(self.location),
                ..ExceptionContext::default()
            });
            Failed
        });
        if let Some(outer) = outer {
            let own = state.swap_context(outer);
            state.shielded("Exception in the destructor of a context", || drop(own));
        }
        // The last reference, if the protocol was replaced or let go of meanwhile.
        if Rc::strong_count(&protocol) == 1 {
            state.shielded("Exception in the destructor of a protocol", || {
                drop(protocol)
            });
        }
        result
    }
}
