//! The system calls that the crate writes itself.
//!
//! mio waits for events and wraps sockets; what it lacks stands here, one file for each kernel object: the raw
//! monotonic clock, the timer descriptor, the fork. Every function returns what the system said and decides nothing.

pub(crate) mod clock;
pub(crate) mod fork;
pub(crate) mod timerfd;
