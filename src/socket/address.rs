//! The name of one end of a connection, whatever its family, and the conversions between its three forms.
//!
//! | form | used by |
//! |---|---|
//! | [`Address`] | transports and streams, where one type serves all families |
//! | `std::net::SocketAddr`, `std::os::unix::net::SocketAddr` | `net`, where the family is in the type: [`NetAddress`] |
//! | `socket2::SockAddr` | system calls |
//!
//! asyncio has tuples for the Internet families and text for paths.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt as _;
use std::os::fd::BorrowedFd;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net as unix;
use std::path::Path;

use socket2::{SockAddr, SockRef};

use crate::error::invalid_input;
use crate::socket::nonblocking::send_to;
use crate::sys::socket::{UnixName, unix_address, unix_name};

/// The name of one end of a connection: an IP address and port, a path, an abstract name, or no name at all, which is
/// what the client of a Unix socket usually has.
///
/// ```
/// use callsoon::transport::Address;
/// let address = Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], 80)));
/// assert_eq!(address.to_string(), "127.0.0.1:80");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address(Place);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Place {
    Internet(SocketAddr),
    /// Boxed, since it is large and nearly all addresses are of the other kind.
    Other(Box<SockAddr>),
}

impl Address {
    /// Returns the IP address and port, if it has them.
    ///
    /// ```
    /// let here = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
    /// assert_eq!(callsoon::transport::Address::from(here).internet(), Some(here));
    /// ```
    pub fn internet(&self) -> Option<SocketAddr> {
        match &self.0 {
            Place::Internet(address) => Some(*address),
            Place::Other(_) => None,
        }
    }

    /// Returns the path of a Unix socket, if it has one.
    ///
    /// ```
    /// let here = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
    /// assert_eq!(callsoon::transport::Address::from(here).path(), None);
    /// ```
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Internet(_) => None,
            Place::Other(address) => match unix_name(address)? {
                UnixName::Path(path) => Some(Path::new(OsStr::from_bytes(path))),
                UnixName::Abstract(_) | UnixName::Unnamed => None,
            },
        }
    }

    /// Returns the abstract name of a Unix socket, without the zero byte before it, if it has one. Such names exist on Linux
    /// only, and may have any bytes.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let name = format!("callsoon-doc-{}", std::process::id());
    /// let server = event_loop.create_unix_server(|| Idle, format!("\0{name}")).await?;
    /// assert_eq!(server.sockets()[0].abstract_name(), Some(name.as_bytes()));
    /// # Ok(()) });
    /// ```
    pub fn abstract_name(&self) -> Option<&[u8]> {
        match &self.0 {
            Place::Internet(_) => None,
            Place::Other(address) => match unix_name(address)? {
                UnixName::Abstract(name) => Some(name),
                UnixName::Path(_) | UnixName::Unnamed => None,
            },
        }
    }

    pub(crate) fn of(result: io::Result<SockAddr>) -> Option<Self> {
        result.ok().map(Self::from)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(Place::Internet(address))
    }
}

impl From<SockAddr> for Address {
    fn from(address: SockAddr) -> Self {
        Self(match address.as_socket() {
            Some(address) => Place::Internet(address),
            None => Place::Other(Box::new(address)),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match &self.0 {
            Place::Internet(address) => return address.fmt(f),
            Place::Other(address) => address,
        };
        match unix_name(address) {
            Some(UnixName::Path(path)) => Path::new(OsStr::from_bytes(path)).display().fmt(f),
            Some(UnixName::Abstract(name)) => write!(f, "@{}", name.escape_ascii()),
            Some(UnixName::Unnamed) | None => f.write_str("unnamed"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Converts a Unix address that the system has given into the standard library's form. `None` for a path that fills
/// `sun_path`: the standard library can only read such a one from the system itself.
pub(crate) fn std_address(address: &SockAddr) -> Option<unix::SocketAddr> {
    match unix_name(address) {
        Some(UnixName::Path(path)) => unix::SocketAddr::from_pathname(OsStr::from_bytes(path)).ok(),
        Some(UnixName::Abstract(name)) => abstract_address(name).ok(),
        // The sender of a datagram that is not bound has no address at all.
        Some(UnixName::Unnamed) | None => Some(unnamed()),
    }
}

/// An address as `net` takes it and gives it out: its type says of which family it is.
pub trait NetAddress: Sized {
    /// Returns the address of this end of a socket.
    fn local(socket: BorrowedFd<'_>) -> io::Result<Self>;
    /// Returns the address of a socket's peer.
    fn peer(socket: BorrowedFd<'_>) -> io::Result<Self>;
    /// Converts what `accept` has said of a client.
    fn accepted(address: &SockAddr, client: BorrowedFd<'_>) -> io::Result<Self>;
    /// Sends a datagram to it.
    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize>;
    /// Converts it into the form that the system takes.
    ///
    /// # Errors
    /// `InvalidInput` for the address of a socket without a name.
    fn to_system(&self) -> io::Result<SockAddr>;
}

impl NetAddress for SocketAddr {
    fn local(socket: BorrowedFd<'_>) -> io::Result<Self> {
        internet(&SockRef::from(&socket).local_addr()?)
    }

    fn peer(socket: BorrowedFd<'_>) -> io::Result<Self> {
        internet(&SockRef::from(&socket).peer_addr()?)
    }

    fn accepted(address: &SockAddr, _: BorrowedFd<'_>) -> io::Result<Self> {
        internet(address)
    }

    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        send_to(&socket, bytes, &(*self).into())
    }

    fn to_system(&self) -> io::Result<SockAddr> {
        Ok((*self).into())
    }
}

impl NetAddress for unix::SocketAddr {
    fn local(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let address = std_address(&SockRef::from(&socket).local_addr()?);
        address.map_or_else(|| copy(socket)?.local_addr(), Ok)
    }

    fn peer(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let address = std_address(&SockRef::from(&socket).peer_addr()?);
        address.map_or_else(|| copy(socket)?.peer_addr(), Ok)
    }

    fn accepted(address: &SockAddr, client: BorrowedFd<'_>) -> io::Result<Self> {
        let asked = || copy(client)?.peer_addr();
        let address = std_address(address).map_or_else(asked, Ok);
        Ok(address.unwrap_or_else(|_| unnamed()))
    }

    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        send_to(&socket, bytes, &self.to_system()?)
    }

    fn to_system(&self) -> io::Result<SockAddr> {
        if let Some(path) = self.as_pathname() {
            return unix_address(path.as_os_str().as_bytes());
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(name) = self.as_abstract_name() {
            return unix_address(&[&[0], name].concat());
        }
        Err(invalid_input("a socket without a name cannot be reached"))
    }
}

/// Returns the IP address and port.
#[inline]
pub(crate) fn internet(address: &SockAddr) -> io::Result<SocketAddr> {
    let unknown = || invalid_input("the address is of another family");
    address.as_socket().ok_or_else(unknown)
}

/// Returns a copy of a Unix socket for the questions that only the standard library can put into words of its own.
fn copy(socket: BorrowedFd<'_>) -> io::Result<unix::UnixStream> {
    socket.try_clone_to_owned().map(Into::into)
}

/// Returns the address of a socket that was not bound.
pub(crate) fn unnamed() -> unix::SocketAddr {
    match unix::SocketAddr::from_pathname("") {
        Ok(unnamed) => unnamed,
        Err(_) => unreachable!("an empty path is an unnamed address"),
    }
}

/// Returns the address for a path, or for an abstract name after a NUL byte.
///
/// # Errors
/// `InvalidInput` if it is empty or too long; `Unsupported` for an abstract name on a system that has none.
pub(crate) fn address_of(path: &Path) -> io::Result<unix::SocketAddr> {
    if path.as_os_str().is_empty() {
        return Err(invalid_input("the path of a Unix socket is empty"));
    }
    match path.as_os_str().as_bytes() {
        [0, name @ ..] => abstract_address(name),
        _ => unix::SocketAddr::from_pathname(path),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_address(name: &[u8]) -> io::Result<unix::SocketAddr> {
    unix::SocketAddr::from_abstract_name(name)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_address(_: &[u8]) -> io::Result<unix::SocketAddr> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "abstract names exist on Linux only",
    ))
}
