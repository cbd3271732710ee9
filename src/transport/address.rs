//! The name of one end of a connection, whatever its family.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use socket2::SockAddr;

#[cfg(unix)]
use crate::sys::socket::{UnixName, unix_name};

/// Where one end of a connection is: an IP address and port, a path, an abstract name, or nothing at all, which is what
/// the client of a Unix socket usually has.
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
    /// Boxed: nearly all addresses are of the other kind.
    Other(Box<SockAddr>),
}

impl Address {
    /// The IP address and port, where it has them.
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

    /// The path of a Unix socket, where it has one.
    ///
    /// ```
    /// let here = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
    /// assert_eq!(callsoon::transport::Address::from(here).path(), None);
    /// ```
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Internet(_) => None,
            Place::Other(address) => pathname(address),
        }
    }

    pub(crate) fn of(result: io::Result<SockAddr>) -> Option<Self> {
        result.ok().map(Self::from)
    }
}

#[cfg(unix)]
fn pathname(address: &SockAddr) -> Option<&Path> {
    use std::os::unix::ffi::OsStrExt as _;

    match unix_name(address)? {
        UnixName::Path(path) => Some(Path::new(std::ffi::OsStr::from_bytes(path))),
        UnixName::Abstract(_) | UnixName::Unnamed => None,
    }
}

#[cfg(not(unix))]
fn pathname(_: &SockAddr) -> Option<&Path> {
    None
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
        if let Some(path) = self.path() {
            return path.display().fmt(f);
        }
        #[cfg(unix)]
        if let Some(UnixName::Abstract(name)) = unix_name(address) {
            return write!(f, "@{}", name.escape_ascii());
        }
        let _ = address;
        f.write_str("unnamed")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
