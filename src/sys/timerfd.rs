//! The timer descriptor that ends a wait at a deadline, to the microsecond.
//!
//! epoll counts its timeout in whole milliseconds. A timer descriptor among the sources has no such limit, and once it
//! is armed no later wait needs a timeout. It is armed with absolute times only, so that a slow turn between computing
//! and arming never makes a timer late. Where there is no timerfd, [`Alarm::arm`] says so and the reactor waits in
//! milliseconds, rounded up.

#![allow(unsafe_code)]

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd as _;

#[cfg(target_os = "linux")]
use crate::sys::fault::may_fail;
#[cfg(target_os = "linux")]
use crate::sys::result::{number, opened};

#[cfg(target_os = "linux")]
pub(crate) struct Alarm {
    /// The timer descriptor; closed by its owner's drop, after the epoll set that it is registered in.
    fd: std::os::fd::OwnedFd,
}

#[cfg(target_os = "linux")]
impl Alarm {
    /// Returns a disarmed timer, registered edge-triggered under `token`: re-arming it makes a new edge, so it is never
    /// read.
    pub(crate) fn new(registry: &mio::Registry, token: mio::Token) -> io::Result<Option<Self>> {
        may_fail!(TimerfdCreate, -1);
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: the call takes numbers, and the descriptor that it opens is known here alone.
        let fd = unsafe { opened(libc::timerfd_create(libc::CLOCK_MONOTONIC, flags))? };
        may_fail!(EpollCtl, fd.as_raw_fd());
        registry.register(
            &mut mio::unix::SourceFd(&fd.as_raw_fd()),
            token,
            mio::Interest::READABLE,
        )?;
        Ok(Some(Self { fd }))
    }

    /// Returns the descriptor under which it is registered.
    pub(crate) fn number(&self) -> Option<i32> {
        Some(self.fd.as_raw_fd())
    }

    /// Arms the timer for `deadline`, in nanoseconds of the monotonic clock; a past one fires at once.
    pub(crate) fn arm(&self, deadline: u64) -> io::Result<()> {
        // An all-zero value would disarm the timer; one nanosecond after boot is as past as zero.
        let deadline = deadline.max(1);
        let spec = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: libc::timespec {
                tv_sec: (deadline / 1_000_000_000) as libc::time_t,
                tv_nsec: (deadline % 1_000_000_000) as libc::c_long,
            },
        };
        // SAFETY: `fd` is a live timerfd that `self` owns; `spec` is initialised, is only read, and outlives the call;
        // the null old-value pointer is allowed and means "not wanted".
        let returned = unsafe {
            libc::timerfd_settime(
                self.fd.as_raw_fd(),
                libc::TFD_TIMER_ABSTIME,
                &spec,
                std::ptr::null_mut(),
            )
        };
        number(returned).map(drop)
    }
}

/// Uninhabited where the system has no timer descriptors.
#[cfg(not(target_os = "linux"))]
pub(crate) enum Alarm {}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    /// `None`: the reactor falls back to timeouts.
    pub(crate) fn new(_registry: &mio::Registry, _token: mio::Token) -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// Cannot be called.
    pub(crate) fn number(&self) -> Option<i32> {
        match *self {}
    }

    /// Cannot be called.
    pub(crate) fn arm(&self, _deadline: u64) -> io::Result<()> {
        match *self {}
    }
}
