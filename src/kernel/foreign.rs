//! Foreign code that is run, and failures that are reported, where there may be no loop: on any thread, in destructors.
//!
//! The loop that the thread runs is told; where it runs none, whoever hears of a loop's failures by default.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Panicked;
use crate::kernel::report::{ExceptionContext, default_handler, run_quietly};
use crate::kernel::task::waker::current;

/// Runs foreign code; a panic becomes a report that starts with `message`.
pub(crate) fn shielded(message: &str, foreign: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(foreign)) {
        report_panic(message, Panicked::new(payload));
    }
}

/// Reports a panic that somebody has caught.
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
            run_quietly(|| default_handler(&context));
            run_quietly(|| drop(context));
        }
    }
}
