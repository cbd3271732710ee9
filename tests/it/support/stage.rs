//! What most tests stand on: a trace, and a loop of their own that reports into it, under audit and under a watchdog.

use callsoon::EventLoop;

use super::{Trace, audited, complete, real_loop, virtual_loop, watched};

/// A test whose loop keeps virtual time.
#[track_caller]
pub(crate) fn on_virtual_time(test: impl FnOnce(Trace, EventLoop) + Send + 'static) {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        test(trace, event_loop);
    }));
}

/// A test whose loop keeps real time.
#[track_caller]
pub(crate) fn on_real_time(test: impl FnOnce(Trace, EventLoop) + Send + 'static) {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        test(trace, event_loop);
    }));
}

/// A test inside a loop that keeps real time, and is not asked for anything but to run it.
#[track_caller]
pub(crate) fn in_a_loop(test: impl AsyncFnOnce() + Send + 'static) {
    on_real_time(|_, event_loop| complete(&event_loop, test()));
}
