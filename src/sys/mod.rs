//! The system calls that the crate writes itself.
//!
//! mio waits for events and wraps sockets; what it lacks stands here, one file for each kernel object: the raw
//! monotonic clock, the timer descriptor, the fork, signal dispositions, the child. Every function returns what the system said and
//! decides nothing.

pub(crate) mod clock;
pub(crate) mod fork;
#[cfg(target_os = "linux")]
pub(crate) mod pidfd;
#[cfg(unix)]
pub(crate) mod signal;
pub(crate) mod timerfd;
