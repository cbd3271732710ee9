//! The system calls that the crate writes itself.
//!
//! mio waits for events and wraps sockets. What mio lacks is here, one file for each kernel object: the raw monotonic
//! clock, the timer descriptor, level-triggered registrations in the poller's set, the resolver, the fork, signal
//! dispositions, the child, the socket. Every function returns what the system reports and decides nothing. Some files
//! are no system calls: what the number that a call returns means, the C library's search for a byte, the locks of the
//! inbox, which the loom test replaces, two requests to the processor, for memory and for its time, and the plan by which
//! calls fail in tests.

#[cfg(target_os = "linux")]
pub(crate) mod child_exit;
pub(crate) mod clock;
pub(crate) mod dns;
pub(crate) mod epoll;
pub(crate) mod fault;
pub(crate) mod fd;
pub(crate) mod fork;
pub(crate) mod memchr;
pub(crate) mod notifier;
#[cfg(target_os = "linux")]
pub(crate) mod pidfd;
pub(crate) mod prefetch;
pub(crate) mod result;
pub(crate) mod sendfile;
pub(crate) mod signal;
pub(crate) mod sigpipe;
pub(crate) mod socket;
pub(crate) mod source;
pub(crate) mod sync;
#[cfg(target_os = "linux")]
pub(crate) mod thread_mark;
pub(crate) mod ticks;
pub(crate) mod timerfd;
