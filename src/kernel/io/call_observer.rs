//! Calling the observer of a source, and ending its connection if it panics.
//!
//! Observers catch the panics of user code themselves. Besides that they run the crate's own code and its dependencies
//! on data that a peer has sent. A peer must not be able to end the loop by a bug there. So a panic there is reported
//! and ends the one connection that the observer serves, and the loop goes on with the next turn.
//!
//! The panic is caught once for many turns, in [`survive`], because catching it around each call would cost each call a
//! little. A guard that is dropped by unwinding notes the source's key.

use std::any::Any;
use std::io;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::error::Panicked;
use crate::kernel::io::source_key::SourceKey;
use crate::kernel::loop_state::LoopState;
use crate::kernel::report::ExceptionContext;

/// Notes the source whose observer panics: it is dropped by unwinding only.
struct Serving<'a> {
    state: &'a LoopState,
    key: SourceKey,
}

impl Drop for Serving<'_> {
    #[cold]
    fn drop(&mut self) {
        self.state.broken.set(Some(self.key));
    }
}

/// Calls the observer of a source whose key was taken from the ready queue.
#[inline]
pub(crate) fn call_observer(state: &LoopState, key: SourceKey) {
    let observer = state.reactor(|reactor| reactor.dequeue(key));
    if let Ok(Some(observer)) = observer {
        let serving = Serving { state, key };
        observer.ready();
        forget(serving);
    }
}

/// Runs turns. Returns `None` if the panic of an observer has ended them early; its connection has ended then. Resumes
/// any other panic.
pub(crate) fn survive<R>(state: &LoopState, turns: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(turns)) {
        Ok(result) => Some(result),
        Err(payload) => match state.broken.take() {
            Some(key) => {
                end_observed(state, key, payload);
                None
            }
            None => resume_unwind(payload),
        },
    }
}

#[cold]
fn end_observed(state: &LoopState, key: SourceKey, payload: Box<dyn Any + Send>) {
    state.report(ExceptionContext {
        message: "Exception in the loop's own code, which ends the connection it served".to_owned(),
        panic: Some(Panicked::new(payload)),
        ..ExceptionContext::default()
    });
    // The exception handler may have closed it.
    if let Ok(Some(observer)) = state.reactor(|reactor| reactor.dequeue(key)) {
        let message = "Exception while a connection was ended after a panic";
        let error = io::Error::other("the code that serves the connection panicked");
        state.catch_panic(message, || observer.panicked(error));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::TcpStream;
    use std::rc::Rc;

    use mio::Interest;

    use crate::event_loop::owner::EventLoop;
    use crate::kernel::io::readiness::Observer;
    use crate::kernel::io::readiness::Readiness;
    use crate::kernel::io::source::Io;

    /// An observer whose code has a bug.
    struct Faulty {
        io: RefCell<Option<Io<mio::net::TcpListener>>>,
        trace: Rc<RefCell<Vec<String>>>,
        event_loop: crate::LoopHandle,
    }

    impl Observer for Faulty {
        fn ready(self: Rc<Self>) {
            let _held = self.io.borrow_mut();
            panic!("on purpose: a byte that nobody expected");
        }

        fn panicked(self: Rc<Self>, error: std::io::Error) {
            self.trace.borrow_mut().push(format!("ended: {error}"));
            drop(self.io.take());
            // Another turn, to show that there is one.
            let trace = Rc::clone(&self.trace);
            let event_loop = self.event_loop.clone();
            self.event_loop.call_soon(move || {
                trace.borrow_mut().push("the loop goes on".to_owned());
                event_loop.stop();
            });
        }

        fn abandon(self: Rc<Self>) {
            unreachable!("it has ended before the loop closes");
        }
    }

    #[test]
    fn a_panic_below_the_turn_ends_its_connection_and_not_the_loop() {
        let event_loop = EventLoop::new().unwrap();
        let trace = Rc::new(RefCell::new(Vec::new()));
        let reports = Rc::clone(&trace);
        event_loop.set_exception_handler(move |_, context| {
            let panic = context.panic.as_ref().map(|panic| panic.to_string());
            reports.borrow_mut().push(format!(
                "{}: {}",
                context.message,
                panic.unwrap_or_default()
            ));
        });
        let near = mio::net::TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = near.local_addr().unwrap();
        let handle = event_loop.handle();
        let io = Io::new(
            &handle,
            near,
            Interest::READABLE,
            Readiness::new(false, false),
        );
        let observer = Rc::new(Faulty {
            io: RefCell::new(Some(io.unwrap())),
            trace: Rc::clone(&trace),
            event_loop: handle,
        });
        let watched = Rc::clone(&observer) as Rc<dyn Observer>;
        observer
            .io
            .borrow()
            .as_ref()
            .unwrap()
            .observe(watched)
            .unwrap();
        let _far = TcpStream::connect(address).unwrap();
        event_loop.run_forever().unwrap();
        assert_eq!(
            *trace.borrow(),
            [
                "Exception in the loop's own code, which ends the connection it served: \
                 panicked: on purpose: a byte that nobody expected",
                "ended: the code that serves the connection panicked",
                "the loop goes on",
            ]
        );
        assert_eq!(event_loop.metrics().sources, 0);
        drop(observer);
        event_loop.close().unwrap();
    }
}
