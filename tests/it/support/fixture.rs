//! What most tests are built on: a trace, and a loop of their own that reports into it, under audit and under a
//! watchdog.

use std::future::Future;

use callsoon::{EventLoop, LoopHandle, get_running_loop};

use super::{
    Trace, audited, complete, end_default_executor, real_loop, until, virtual_loop, watched,
};

/// Runs a test whose loop has the virtual clock.
#[track_caller]
pub(crate) fn on_virtual_time(test: impl FnOnce(Trace, EventLoop) + Send + 'static) {
    on_a_loop(virtual_loop, Box::new(test));
}

/// Runs a test whose loop has the real clock.
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

/// A test of connections inside a loop that keeps real time. In the end the loop watches nothing and has no threads,
/// and nothing was said that the test has not read.
#[track_caller]
pub(crate) fn settling<F: Future<Output = ()>>(
    test: impl FnOnce(LoopHandle, Trace) -> F + Send + 'static,
) {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            test(get_running_loop(), trace.clone()).await;
            settled().await;
        });
        assert_eq!(trace.take(), [""; 0], "unexpected");
    });
}

/// Waits until the running loop watches nothing, and for its threads, which hold a descriptor of it until they end.
pub(crate) async fn settled() {
    let event_loop = get_running_loop();
    until(|| event_loop.metrics().sources == 0).await;
    end_default_executor().await;
}

/// Runs a test inside a loop with the real clock. The test does not get the loop itself.
#[track_caller]
pub(crate) fn in_a_loop(test: impl AsyncFnOnce() + Send + 'static) {
    on_real_time(|_, event_loop| complete(&event_loop, test()));
}
