//! Socket calls that neither mio nor socket2 offers in safe form: receiving into a byte slice with flags or with the
//! sender's address, and asking who the peer is and how much has come.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::SockAddr;

/// `recv(2)`: fills `buffer` from its beginning and gives the number of bytes.
pub(crate) fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
    // SAFETY: `buffer` is live and writable for its whole length, which is what the kernel is told; it writes bytes, which
    // any `u8` may be. The descriptor is borrowed, so it is open for the time of the call.
    let count = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            flags,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// `recvfrom(2)`: the same for one datagram, with its sender.
pub(crate) fn recv_from(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: i32,
) -> io::Result<(usize, SockAddr)> {
    let receive = |address: *mut socket2::SockAddrStorage, length: *mut libc::socklen_t| {
        // SAFETY: `buffer` as in `recv`. `address` and `length` come from `try_init`, which lends a zeroed storage and its
        // size: the kernel writes at most that many bytes of an address and says in `length` how long it is.
        let count = unsafe {
            libc::recvfrom(
                socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                flags,
                address.cast(),
                length,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    };
    // SAFETY: `try_init` wants a closure that leaves a valid address of the stated length behind when it returns `Ok`, which
    // is what a successful `recvfrom` does; one that knows no sender leaves the zeroed storage, an unspecified address.
    unsafe { SockAddr::try_init(receive) }
}

/// How many bytes have come that were not read yet.
pub(crate) fn unread(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: `FIONREAD` writes one `int`, and `count` is a live one. The descriptor is borrowed, so it is open.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
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
    // SAFETY: `cred` and `length` are live and writable, `length` is the size of `cred`, and the kernel writes no more than
    // that; every bit pattern is a valid `ucred`, which is three numbers.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut cred).cast(),
            &mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
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
