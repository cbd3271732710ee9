//! The hooks around the loop's sleep, for a host that holds a lock while the loop runs.
//!
//! An interpreter lets one thread run at a time, by a lock. A loop inside it has to release the lock while it sleeps and
//! to take it again before it calls anything, and nowhere else. The hooks are user code: they run with nothing borrowed,
//! and a panic of theirs is reported.

use std::panic::Location;
use std::rc::Rc;

/// What a host does around each sleep of a loop. [`LoopHandle::set_wait_hooks`](crate::LoopHandle::set_wait_hooks) sets it.
///
/// The two are called in pairs, on the loop's thread, and between them there is nothing but the wait in the poller: no
/// callback, waker or destructor runs. A poll that does not wait has no hooks around it, and neither has the time that a
/// loop [spins](crate::Builder::spin).
///
/// Both may call any method of the loop. What [`before_wait`](Self::before_wait) schedules is not slept over. A panic is
/// reported to the exception handler, and the other hook is called nevertheless.
///
/// ```
/// use std::{cell::RefCell, rc::Rc, time::Duration};
/// use callsoon::{WaitEnd, WaitHooks};
/// struct Log(RefCell<Vec<String>>);
/// impl WaitHooks for Log {
///     fn before_wait(&self) {
///         self.0.borrow_mut().push("release the lock".into());
///     }
///     fn after_wait(&self, end: WaitEnd) {
///         self.0.borrow_mut().push(format!("take the lock: {end:?}"));
///     }
/// }
/// let event_loop = callsoon::EventLoop::new()?;
/// let log = Rc::new(Log(RefCell::default()));
/// event_loop.set_wait_hooks(Some(log.clone()));
/// event_loop.run_until_complete(callsoon::sleep(Duration::from_millis(5))).unwrap();
/// assert_eq!(log.0.borrow()[..2], ["release the lock", "take the lock: Woken"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait WaitHooks {
    /// Called before the loop sleeps.
    fn before_wait(&self);

    /// Called after it, with the reason why the wait has ended.
    fn after_wait(&self, end: WaitEnd);
}

/// Why a wait has ended.
///
/// ```
/// use callsoon::WaitEnd;
/// assert_ne!(WaitEnd::Interrupted, WaitEnd::Woken);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WaitEnd {
    /// An event has come, a timer is due, another thread has posted, or the time of a
    /// [`turn`](crate::EventLoop::turn) is over. Also if the loop did not sleep since
    /// [`before_wait`](WaitHooks::before_wait) gave it something to do.
    Woken,
    /// A signal handler has run on this thread (`EINTR`). A host calls its own handlers now. The loop goes on waiting after
    /// that, unless this was a [`turn`](crate::EventLoop::turn), which returns.
    Interrupted,
    /// The system refused to wait. The run ends with the error.
    Failed,
}

/// The hooks of a loop.
#[derive(Clone)]
pub(crate) struct HostHooks {
    pub(crate) hooks: Rc<dyn WaitHooks>,
    /// Where they were set.
    pub(crate) location: &'static Location<'static>,
}
