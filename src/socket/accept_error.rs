//! What an error of `accept` is about, decided once for [`SocketListener`](crate::net::SocketListener) and for servers.
//!
//! Linux reports an error that a connection has met before it was accepted as an error of `accept` itself. accept(2)
//! lists these errors and says to try again. A remote peer or a firewall causes them, so they cost that client its
//! connection and harm no other. Some of their numbers also mean that the descriptor is no listening stream socket, which
//! does not pass. Therefore a listener that fails [`FAILURES_IN_A_ROW`] times and accepts no client pauses as if
//! resources had run out.

use std::io;

/// How many clients may fail one after the other before their listener pauses: asyncio's usual backlog.
pub(crate) const FAILURES_IN_A_ROW: u32 = 100;

/// Errors of one connection, by accept(2): "already-pending network errors on the new socket", the firewall's EPERM, and
/// what various kernels give besides.
const OF_A_CLIENT: &[i32] = &[
    libc::ECONNABORTED,
    libc::ECONNRESET,
    libc::EHOSTDOWN,
    libc::EHOSTUNREACH,
    libc::ENETDOWN,
    libc::ENETUNREACH,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    libc::ENONET,
    libc::ENOPROTOOPT,
    libc::EOPNOTSUPP,
    libc::EPERM,
    libc::EPROTO,
    libc::EPROTONOSUPPORT,
    libc::ESOCKTNOSUPPORT,
    libc::ETIMEDOUT,
];

/// Errors of the process or the system, which pass.
const OF_EXHAUSTION: &[i32] = &[
    libc::EMFILE,
    libc::ENFILE,
    libc::ENOBUFS,
    libc::ENOMEM,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    libc::ENOSR,
];

/// Returns whether an error is about one client, whose connection has failed. The next one may be fine.
pub(crate) fn is_of_client(error: &io::Error) -> bool {
    is_among(error, OF_A_CLIENT)
}

/// Returns whether the process or the system has run out of descriptors or memory. That passes, but no event tells when.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    is_among(error, OF_EXHAUSTION)
}

fn is_among(error: &io::Error, numbers: &[i32]) -> bool {
    let number = error.raw_os_error();
    number.is_some_and(|number| numbers.contains(&number))
}
