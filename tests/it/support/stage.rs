//! What most tests stand on: a trace, and a loop of their own that reports into it, under audit and under a watchdog.

use callsoon::EventLoop;

use super::{Trace, audited, complete, real_loop, virtual_loop, watched};

/// A test whose loop keeps virtual time.
#[track_caller]
pub(crate) fn on_virtual_time(test: impl FnOnce(Trace, EventLoop) + Send + 'static) {
    on_a_loop(virtual_loop, Box::new(test));
}

/// A test whose loop keeps real time.
#[track_caller]
pub(crate) fn on_real_time(test: impl FnOnce(Trace, EventLoop) + Send + 'static) {
    on_a_loop(real_loop, Box::new(test));
}

/// One function for all tests, so that it is compiled once.
#[track_caller]
fn on_a_loop(make: fn(&Trace) -> EventLoop, test: Box<dyn FnOnce(Trace, EventLoop) + Send>) {
    audited(watched(move || {
        let trace = Trace::new();
        let event_loop = make(&trace);
        test(trace, event_loop);
    }));
}

/// A test inside a loop that keeps real time, and is not asked for anything but to run it.
#[track_caller]
pub(crate) fn in_a_loop(test: impl AsyncFnOnce() + Send + 'static) {
    on_real_time(|_, event_loop| complete(&event_loop, test()));
}
