//! epoll, as little of it as the floor and the load generator need.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// An epoll instance.
pub(crate) struct Epoll {
    instance: OwnedFd,
    /// What the last wait filled.
    events: Vec<libc::epoll_event>,
}

/// Events taken by one wait, the number that mio's users commonly choose too.
const EVENTS: usize = 1024;

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call takes a flag and returns a new descriptor or -1.
        let instance = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if instance < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `instance` is open and nobody else owns it.
        let instance = unsafe { OwnedFd::from_raw_fd(instance) };
        Ok(Self {
            instance,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS],
        })
    }

    /// Watches `source` for `interest`; its events carry `token`. Closing the source ends it.
    pub(crate) fn add(
        &self,
        source: &impl AsRawFd,
        token: u64,
        interest: libc::c_int,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest as u32,
            u64: token,
        };
        let (instance, source) = (self.instance.as_raw_fd(), source.as_raw_fd());
        // SAFETY: both descriptors are open, and `event` is valid for the duration of the call.
        match unsafe { libc::epoll_ctl(instance, libc::EPOLL_CTL_ADD, source, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits; gives tokens with their event bits. No event within `timeout` milliseconds (-1: none) is an empty slice.
    pub(crate) fn wait(&mut self, timeout: libc::c_int) -> io::Result<&[libc::epoll_event]> {
        let instance = self.instance.as_raw_fd();
        loop {
            // SAFETY: `events` has room for EVENTS entries, which the kernel fills from the front.
            let count = unsafe {
                libc::epoll_wait(
                    instance,
                    self.events.as_mut_ptr(),
                    EVENTS as libc::c_int,
                    timeout,
                )
            };
            if count >= 0 {
                return Ok(&self.events[..count as usize]);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}
