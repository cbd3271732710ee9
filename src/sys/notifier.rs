//! The descriptor by which other threads end a wait.
//!
//! mio has a waker too, but does not reveal its descriptor, which is needed when the poller's set is rebuilt. So on
//! Linux this is an event counter of our own, used as mio uses its own: registered edge-triggered, added to, and read
//! only when it is about to overflow. Elsewhere it is mio's waker.

#![allow(unsafe_code)]

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::fs::File;
use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::io::{Read as _, Write as _};
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::{AsRawFd as _, OwnedFd};

use crate::sys::epoll::Descriptor;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::sys::fault::may_fail;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::sys::result::{opened, uninterrupted};

/// Makes an event counter: readable from the first write on until it is read.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn event_counter() -> io::Result<OwnedFd> {
    may_fail!(Eventfd, -1);
    // SAFETY: the call takes numbers, and the descriptor that it opens is known here alone.
    unsafe { opened(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) }
}

/// An event counter.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) struct Notifier(File);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Notifier {
    /// Makes a counter and registers it under `token`.
    pub(crate) fn new(registry: &mio::Registry, token: mio::Token) -> io::Result<Self> {
        let counter = File::from(event_counter()?);
        may_fail!(EpollCtl, counter.as_raw_fd());
        registry.register(
            &mut mio::unix::SourceFd(&counter.as_raw_fd()),
            token,
            mio::Interest::READABLE,
        )?;
        Ok(Self(counter))
    }

    /// Ends the current wait, or the next one.
    pub(crate) fn notify(&self) -> io::Result<()> {
        match uninterrupted(|| self.add()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
        // The counter is full. Another thread may have emptied it first.
        match uninterrupted(|| (&self.0).read(&mut [0; 8])) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        uninterrupted(|| self.add())
    }

    fn add(&self) -> io::Result<()> {
        may_fail!(Notify, self.0.as_raw_fd());
        (&self.0).write(&1_u64.to_ne_bytes()).map(drop)
    }

    /// Returns the descriptor under which it is registered.
    pub(crate) fn number(&self) -> Option<Descriptor> {
        Some(self.0.as_raw_fd())
    }
}

/// mio's waker.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) struct Notifier(mio::Waker);

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Notifier {
    /// Makes a waker and registers it under `token`.
    pub(crate) fn new(registry: &mio::Registry, token: mio::Token) -> io::Result<Self> {
        mio::Waker::new(registry, token).map(Self)
    }

    /// Ends the current wait, or the next one.
    pub(crate) fn notify(&self) -> io::Result<()> {
        self.0.wake()
    }

    /// `None`: there is no set that could be rebuilt.
    pub(crate) fn number(&self) -> Option<Descriptor> {
        None
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_is_full_notifies_nevertheless() {
        let mut poll = mio::Poll::new().unwrap();
        let notifier = Notifier::new(poll.registry(), mio::Token(7)).unwrap();
        let full = (u64::MAX - 1).to_ne_bytes();
        (&notifier.0).write_all(&full).unwrap();
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, None).unwrap();
        notifier.notify().unwrap();
        poll.poll(&mut events, None).unwrap();
        let tokens: Vec<_> = events.iter().map(mio::event::Event::token).collect();
        assert_eq!(tokens, [mio::Token(7)]);
    }
}
