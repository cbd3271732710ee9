//! Level-triggered registrations in mio's own epoll set, for descriptors that mio does not know.
//!
//! mio registers edge-triggered. A user's callback reads on its own, so it has to be called again for data that it
//! left. The set reports both kinds alike, with the data of each registration (its *place*). A place can outlive its
//! number: the set holds the open file, so a copy of the descriptor keeps the place when the number is closed, and then
//! no call can name it. [`rebuild`] makes a new set and replaces the old one. The system's own list of places is in
//! `/proc`, which is not mounted everywhere, so the caller passes the places to be kept.

#![allow(unsafe_code)]

use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::OwnedFd;
use std::os::fd::{AsRawFd, RawFd};

#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::sys::fault::may_fail;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::sys::result::{number, opened};

/// A descriptor's number.
pub(crate) type Descriptor = RawFd;

/// A source with a descriptor.
pub(crate) trait Numbered {
    /// Returns the descriptor.
    fn number(&self) -> Option<Descriptor>;
}

impl<S: AsRawFd> Numbered for S {
    fn number(&self) -> Option<Descriptor> {
        Some(self.as_raw_fd())
    }
}

/// One place in a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The number under which the file was registered.
    pub(crate) fd: Descriptor,
    /// What is reported, and how.
    pub(crate) events: u32,
    /// The word that comes with each report.
    pub(crate) data: u64,
}

/// What to do with a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Add,
    Modify,
    Delete,
}

/// Reported while there is something to read.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const READ: u32 = libc::EPOLLIN as u32;
/// Reported while there is room to write.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const WRITE: u32 = libc::EPOLLOUT as u32;

/// `epoll_ctl(2)`.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn control(epoll: Descriptor, change: Change, place: Place) -> io::Result<()> {
    if change == Change::Add {
        may_fail!(EpollCtl, place.fd);
    }
    let operation = match change {
        Change::Add => libc::EPOLL_CTL_ADD,
        Change::Modify => libc::EPOLL_CTL_MOD,
        Change::Delete => libc::EPOLL_CTL_DEL,
    };
    let mut event = libc::epoll_event {
        events: place.events,
        u64: place.data,
    };
    // SAFETY: `event` is live and initialised; the kernel reads it during the call and writes nothing. The two numbers
    // may be anything: one that is no descriptor, or no epoll set, is an error.
    number(unsafe { libc::epoll_ctl(epoll, operation, place.fd, &mut event) }).map(drop)
}

/// Makes a set without places.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn new_set() -> io::Result<OwnedFd> {
    may_fail!(EpollCreate, -1);
    // SAFETY: the call takes a number, and the descriptor that it opens is known here alone.
    unsafe { opened(libc::epoll_create1(libc::EPOLL_CLOEXEC)) }
}

/// Returns the events of a place that mio makes for an interest: edges.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn edges(interest: mio::Interest) -> u32 {
    let mut events = libc::EPOLLET;
    if interest.is_readable() {
        events |= libc::EPOLLIN | libc::EPOLLRDHUP;
    }
    if interest.is_writable() {
        events |= libc::EPOLLOUT;
    }
    if interest.is_priority() {
        events |= libc::EPOLLPRI;
    }
    events as u32
}

/// Replaces the set by one that has these places and no others, under the same number. A place whose number is closed
/// goes too. Edges that have been reported are reported once more.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn rebuild(epoll: Descriptor, places: Vec<Place>) -> io::Result<()> {
    let fresh = new_set()?;
    for place in places {
        match control(fresh.as_raw_fd(), Change::Add, place) {
            // An incomplete set must not take the place of a complete one.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOSPC)) => {
                return Err(error);
            }
            // Else the number was closed without notice, or is now another file that has its own place already.
            _ => {}
        }
    }
    // SAFETY: `epoll` is the number of a set that mio owns for as long as the reactor lives, which calls this. It stays
    // an open epoll descriptor throughout: `dup3` replaces what it names in one step. libc has no `dup3` for Android.
    let returned =
        unsafe { libc::syscall(libc::SYS_dup3, fresh.as_raw_fd(), epoll, libc::O_CLOEXEC) };
    number(returned as libc::c_int).map(drop)
}

/// Gives an edge anew to the places that a plan of faults has kept from being drained.
#[cfg(callsoon_faults)]
pub(crate) fn repeat_edges(epoll: Descriptor, visit: impl Fn(&mut dyn FnMut(Place))) {
    let again = crate::sys::fault::again();
    visit(&mut |place| {
        if again.contains(&place.fd) {
            // One that was closed since needs none.
            let _ = control(epoll, Change::Modify, place);
        }
    });
}

/// A set around another one, readable while that one is. It keeps its number and its file when the other is made anew: who
/// watches it through an epoll set of his own, which holds the file, goes on hearing of it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn around(epoll: Descriptor) -> io::Result<OwnedFd> {
    let outer = new_set()?;
    surround(&outer, epoll)?;
    Ok(outer)
}

/// Puts the inner set in the one around it. A set that was made anew has lost its place there.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn surround(outer: &OwnedFd, epoll: Descriptor) -> io::Result<()> {
    let place = Place {
        fd: epoll,
        events: READ,
        data: 0,
    };
    match control(outer.as_raw_fd(), Change::Add, place) {
        Err(error) if !is_present(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Reported while there is something to read.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const READ: u32 = 1;
/// Reported while there is room to write.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const WRITE: u32 = 2;

/// There is no epoll here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn control(_: Descriptor, _: Change, _: Place) -> io::Result<()> {
    Err(unsupported())
}

/// There is no epoll here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn edges(_: mio::Interest) -> u32 {
    0
}

/// There is no epoll here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn rebuild(_: Descriptor, _: Vec<Place>) -> io::Result<()> {
    Err(unsupported())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn unsupported() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "watching descriptors of one's own needs epoll",
    )
}

/// Returns whether the file has no place in the set: it was closed, or is another one under the same number.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Returns whether the file has a place in the set already.
pub(crate) fn is_present(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use mio::net::{TcpListener, UnixDatagram};
    use mio::{Interest, Token};

    use super::*;

    /// Returns all places of a set, by the kernel's own list.
    fn places(epoll: Descriptor) -> Vec<Place> {
        let list = std::fs::read_to_string(format!("/proc/self/fdinfo/{epoll}")).unwrap();
        let mut places: Vec<_> = list.lines().filter_map(parse).collect();
        places.sort_by_key(|place| place.data);
        places
    }

    /// Returns a line such as `tfd:        5 events:       19 data:                7  pos:0 ino:e sdev:9`.
    fn parse(line: &str) -> Option<Place> {
        let mut words = line.split_whitespace();
        let mut after = |name: &str| words.find(|word| *word == name).and(words.next());
        let fd = after("tfd:")?.parse().ok()?;
        let events = u32::from_str_radix(after("events:")?, 16).ok()?;
        let data = u64::from_str_radix(after("data:")?, 16).ok()?;
        Some(Place { fd, events, data })
    }

    #[test]
    fn the_kernel_s_list_is_understood() {
        let line = "tfd:        5 events:       19 data: 100000007  pos:0 ino:2a sdev:9";
        let place = Place {
            fd: 5,
            events: 0x19,
            data: 0x1_0000_0007,
        };
        assert_eq!(parse(line), Some(place));
        assert_eq!(parse("pos:\t0"), None);
    }

    #[test]
    fn a_set_made_anew_has_the_places_that_mio_has_made() {
        let poll = mio::Poll::new().unwrap();
        let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (mut near, mut far) = UnixDatagram::pair().unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        let all = both | Interest::PRIORITY;
        let registry = poll.registry();
        registry
            .register(&mut listener, Token(1), Interest::READABLE)
            .unwrap();
        registry.register(&mut near, Token(2), both).unwrap();
        registry.register(&mut far, Token(3), all).unwrap();
        let place = |source: &dyn std::os::fd::AsRawFd, interest, data| Place {
            fd: source.as_raw_fd(),
            events: edges(interest),
            data,
        };
        let expected = [
            place(&listener, Interest::READABLE, 1),
            place(&near, both, 2),
            place(&far, all, 3),
        ];
        // The kernel adds errors and hang-ups, which are always reported.
        let always = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
        let reported: Vec<_> = expected
            .iter()
            .map(|place| Place {
                events: place.events | always,
                ..*place
            })
            .collect();
        let set = poll.as_raw_fd();
        assert_eq!(places(set), reported);
        rebuild(set, expected[..2].to_vec()).unwrap();
        assert_eq!(places(set), reported[..2]);
    }
}
