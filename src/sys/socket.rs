//! Socket calls that neither mio nor socket2 offers in safe form: receiving into a byte slice with flags or with the
//! sender's address, asking who the peer is and how much has come, and the addresses of Unix sockets.
//!
//! A peer chooses its own address, so reading one is total over every length. Linux lets a socket be bound to a path
//! that fills `sun_path` to the last byte. The kernel then reports a length beyond `sockaddr_un`, since it counts the
//! NUL byte that has no room there. mio's `accept` and socket2's `as_unix` panic on such a length, so neither is used.

#![allow(unsafe_code)]

use std::borrow::Cow;
use std::io::{self, IoSliceMut};
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use socket2::{SockAddr, SockAddrStorage};

use crate::sys::fault::{may_be_short, may_fail};
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::sys::result::opened;
use crate::sys::result::{count, number};

/// Where the name begins in the address of a Unix socket.
const NAME_OFFSET: usize = offset_of!(libc::sockaddr_un, sun_path);

/// The longest name that the address of a Unix socket has room for.
const LONGEST_NAME: usize = size_of::<libc::sockaddr_un>() - NAME_OFFSET;

/// What the address of a Unix socket says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum UnixName<'a> {
    /// The socket was not bound.
    Unnamed,
    /// A path, without the NUL byte that may end it.
    Path(&'a [u8]),
    /// An abstract name, without the NUL byte before it. It exists on Linux only.
    Abstract(&'a [u8]),
}

/// Reads the name of a Unix socket; `None` for an address of another family. Any address is fine, of any length.
pub(crate) fn unix_name(address: &SockAddr) -> Option<UnixName<'_>> {
    if !address.is_unix() {
        return None;
    }
    let length = (address.len() as usize).min(size_of::<SockAddrStorage>());
    // SAFETY: a `SockAddr` owns a whole `SockAddrStorage`, which it points to here and which is initialised throughout.
    // `length` is at most its size, and the slice borrows `address`.
    let bytes = unsafe { std::slice::from_raw_parts(address.as_ptr().cast::<u8>(), length) };
    Some(match bytes.get(NAME_OFFSET..).unwrap_or_default() {
        [] => UnixName::Unnamed,
        [0, name @ ..] if cfg!(any(target_os = "linux", target_os = "android")) => {
            UnixName::Abstract(name)
        }
        // Elsewhere an unnamed socket reports zeros.
        [0, ..] => UnixName::Unnamed,
        path => UnixName::Path(path.split(|byte| *byte == 0).next().unwrap_or_default()),
    })
}

/// Returns the address of a Unix socket with this name: a path, or an abstract name after a NUL byte. A path may fill
/// the whole of `sun_path`, as that of a peer may.
pub(crate) fn unix_address(name: &[u8]) -> io::Result<SockAddr> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the address of a Unix socket is empty or too long",
        ));
    }
    // A path ends with a NUL byte where there is room for one.
    let end = usize::from(name[0] != 0 && name.len() < LONGEST_NAME);
    Ok(address_of(name, NAME_OFFSET + name.len() + end))
}

/// Returns an address of that length with a name that fits into `sun_path`.
fn address_of(name: &[u8], length: usize) -> SockAddr {
    assert!(name.len() <= LONGEST_NAME);
    let mut storage = SockAddrStorage::zeroed();
    let address = (&raw mut storage).cast::<libc::sockaddr_un>();
    // SAFETY: a storage is at least as large as a `sockaddr_un` and as well aligned, and all zeros are a value of both.
    // `name` fits into `sun_path`, as was checked, and is other memory. Then the storage holds an address: a family, and a
    // name inside `sun_path`. It is initialised throughout, so a length that says more than is there reads zeros.
    unsafe {
        (*address).sun_family = libc::AF_UNIX as libc::sa_family_t;
        let path = (&raw mut (*address).sun_path).cast::<u8>();
        std::ptr::copy_nonoverlapping(name.as_ptr(), path, name.len());
        SockAddr::new(storage, length as libc::socklen_t)
    }
}

/// Returns an address in the form in which the system takes it back. It reports the length of a path that fills
/// `sun_path` with a NUL byte that is not there, and refuses that length itself.
pub(crate) fn sendable(address: &SockAddr) -> io::Result<Cow<'_, SockAddr>> {
    match unix_name(address) {
        Some(UnixName::Path(path)) if path.len() == LONGEST_NAME => {
            unix_address(path).map(Cow::Owned)
        }
        _ => Ok(Cow::Borrowed(address)),
    }
}

/// `accept4(2)`: a client's socket, in non-blocking mode and closed in child processes, with its address as it is.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let listener = listener.as_raw_fd();
    may_fail!(Accept, listener);
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `try_init` lends a zeroed storage and its size: the kernel writes at most that many bytes of an address, and
    // leaves a valid one of the stated length behind when it succeeds; where it writes nothing, the zeroed storage is an
    // unspecified address. The listener is borrowed, so it is open for the time of the call. The descriptor that the call
    // opens is known here alone.
    unsafe {
        SockAddr::try_init(|address, length| {
            opened(libc::accept4(listener, address.cast(), length, flags))
        })
    }
}

/// `accept(2)`, where the mode takes a second call.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let (socket, address) = socket2::SockRef::from(&listener).accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), address))
}

/// `recv(2)`: fills `buffer` from its beginning and returns the number of bytes. It does not block, whatever mode the
/// socket is in.
pub(crate) fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
    may_fail!(Recv, socket.as_raw_fd());
    may_be_short!(Recv, socket.as_raw_fd(), mut buffer);
    // SAFETY: `buffer` is live and writable for its whole length, which is what the kernel is told; it writes bytes,
    // which any `u8` may be. The descriptor is borrowed, so it is open for the time of the call.
    let returned = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            flags | libc::MSG_DONTWAIT,
        )
    };
    count(returned)
}

/// `recvmsg(2)`: the same for several buffers, at most as many as one call takes.
pub(crate) fn recv_vectored(
    socket: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
) -> io::Result<usize> {
    may_fail!(Recv, socket.as_raw_fd());
    // SAFETY: all zeros is a message header that names nothing. An `IoSliceMut` has the layout of an `iovec`, as the
    // standard library promises; all of them are live and name writable memory, into which the kernel writes bytes, and
    // the header says how many they are. The descriptor is borrowed, so it is open for the time of the call.
    let returned = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = buffers.as_mut_ptr().cast();
        message.msg_iovlen = buffers.len() as _;
        libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_DONTWAIT)
    };
    count(returned)
}

/// `recvfrom(2)`: the same for one datagram, with its sender.
pub(crate) fn recv_from(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: i32,
) -> io::Result<(usize, SockAddr)> {
    may_fail!(Recv, socket.as_raw_fd());
    let flags = flags | libc::MSG_DONTWAIT;
    // SAFETY: `buffer` is live and writable for its whole length, which is what the kernel is told; it writes bytes. The
    // descriptor is borrowed, so it is open for the time of the call. `try_init` lends a zeroed storage and its size: the
    // kernel writes at most that many bytes of an address and says in `length` how long it is. So a successful call leaves
    // a valid address behind; one that knows no sender leaves the zeroed storage, an unspecified address.
    unsafe {
        SockAddr::try_init(|address, length| {
            let (start, room) = (buffer.as_mut_ptr().cast(), buffer.len());
            let socket = socket.as_raw_fd();
            count(libc::recvfrom(
                socket,
                start,
                room,
                flags,
                address.cast(),
                length,
            ))
        })
    }
}

/// Returns how many bytes have come that were not read yet.
pub(crate) fn unread(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: `FIONREAD` writes one `int`, and `count` is a live one. The descriptor is borrowed, so it is open.
    number(unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Process, user and group of the other end of a Unix stream, as they were when it connected.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn peer_cred(socket: BorrowedFd<'_>) -> io::Result<(i32, u32, u32)> {
    let mut cred = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `cred` and `length` are live and writable, `length` is the size of `cred`, and the kernel writes no more
    // than that; every bit pattern is a valid `ucred`, which is three numbers.
    number(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut cred).cast(),
            &mut length,
        )
    })?;
    Ok((cred.pid, cred.uid, cred.gid))
}

/// No such question is asked the same way elsewhere.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn peer_cred(_: BorrowedFd<'_>) -> io::Result<(i32, u32, u32)> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "SO_PEERCRED does not exist on this system",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an address of a Unix socket as a system may report it: `length` counts bytes of the name, there or not.
    fn reported(name: &[u8], length: usize) -> SockAddr {
        address_of(name, NAME_OFFSET + length)
    }

    #[test]
    fn names_of_every_length_are_read() {
        for length in 0..=LONGEST_NAME {
            let path = vec![b'p'; length];
            let expected = match length {
                0 => UnixName::Unnamed,
                _ => UnixName::Path(&path),
            };
            for counted in [length, length + usize::from(length > 0)] {
                let address = reported(&path, counted);
                assert_eq!(unix_name(&address), Some(expected), "{length}, {counted}");
            }
            let mut hidden = path.clone();
            if let Some(first) = hidden.first_mut() {
                *first = 0;
                let address = reported(&hidden, length);
                let expected = match cfg!(target_os = "linux") {
                    true => UnixName::Abstract(&hidden[1..]),
                    false => UnixName::Unnamed,
                };
                assert_eq!(unix_name(&address), Some(expected), "{length}");
            }
        }
    }

    #[test]
    fn a_length_beyond_the_storage_is_cut() {
        let address = reported(b"path", 4096);
        assert_eq!(unix_name(&address), Some(UnixName::Path(b"path")));
    }

    #[test]
    fn names_that_are_made_are_read_back() {
        for length in 1..=LONGEST_NAME {
            let name = vec![b'n'; length];
            let address = unix_address(&name).unwrap();
            assert_eq!(unix_name(&address), Some(UnixName::Path(&name)));
        }
        assert!(unix_address(b"").is_err());
        assert!(unix_address(&[b'n'; LONGEST_NAME + 1]).is_err());
    }
}
