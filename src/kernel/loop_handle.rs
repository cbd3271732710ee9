//! `LoopHandle`, and the type of exception handlers, which are called with one.
//!
//! The handle is a counted reference to a loop's state. Its methods are in `event_loop/`, above the kernel; the kernel
//! needs the types because user code is given them. A loop stores its exception handler as a
//! [`ReportHandler`](crate::kernel::report::ReportHandler), since the state cannot name a type that is made of it.

use std::rc::Rc;

use crate::kernel::loop_state::LoopState;
use crate::kernel::report::ExceptionContext;

/// A loop, for code on its thread: clone it freely.
///
/// Everything but running and closing is done through it; those belong to the owner, [`EventLoop`](crate::EventLoop).
/// It keeps the loop's memory alive, never the loop itself: after the owner has closed it, every call fails as its docs
/// say.
///
/// ```
/// let event_loop = callsoon::EventLoop::new()?;
/// let handle = event_loop.handle();
/// handle.call_soon(move || callsoon::get_running_loop().stop());
/// event_loop.run_forever().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It stays on its thread, which the compiler checks:
///
/// ```compile_fail,E0277
/// let event_loop = callsoon::EventLoop::new().unwrap();
/// let handle = event_loop.handle();
/// std::thread::spawn(move || handle.stop());
/// ```
#[derive(Clone)]
pub struct LoopHandle {
    pub(crate) state: Rc<LoopState>,
}

impl LoopHandle {
    /// Returns a handle of the loop that has this state.
    pub(crate) fn of(state: &Rc<LoopState>) -> Self {
        Self {
            state: Rc::clone(state),
        }
    }
}

/// An exception handler, which is called with the loop and a report of what went wrong.
/// [`LoopHandle::exception_handler`](crate::LoopHandle::exception_handler) returns one.
///
/// ```
/// let log: callsoon::ExceptionHandler = std::rc::Rc::new(|_, context| eprintln!("log: {context}"));
/// let event_loop = callsoon::EventLoop::new()?;
/// event_loop.restore_exception_handler(Some(log));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type ExceptionHandler = Rc<dyn Fn(&LoopHandle, &ExceptionContext)>;
