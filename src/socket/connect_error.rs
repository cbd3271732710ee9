//! What could not be connected to, and why.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use socket2::SockAddr;

use crate::socket::address::Address;
use crate::socket::bind_error::BindError;
use crate::socket::dns::no_address;

/// Makes one error of those of all attempts. Its kind is theirs if they agree, and `Other` if not.
pub(crate) fn together(attempts: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let Some((_, first)) = attempts.first() else {
        return no_address();
    };
    let kind = first.kind();
    let one_kind = attempts.iter().all(|(_, error)| error.kind() == kind);
    let kind = if one_kind { kind } else { io::ErrorKind::Other };
    io::Error::new(kind, ConnectError(Tried::Addresses(attempts)))
}

/// What could not be connected to, and why. It comes inside an [`io::Error`], whose `raw_os_error` is `None` since it says
/// more than a number: the number is here.
///
/// ```
/// use callsoon::net::{ConnectError, TcpStream};
/// let error = callsoon::run(async { TcpStream::connect("127.0.0.1:1").await }).unwrap().unwrap_err();
/// assert!(error.to_string().starts_with("cannot connect to 127.0.0.1:1: "));
/// assert_eq!(ConnectError::of(&error).unwrap().raw_os_error(), Some(libc::ECONNREFUSED));
/// let targets = ["127.0.0.1:1".parse().unwrap(), "255.255.255.255:1".parse().unwrap()];
/// let error = callsoon::run(async { TcpStream::connect(&targets[..]).await }).unwrap().unwrap_err();
/// assert_eq!(ConnectError::of(&error).unwrap().attempts()[0].0, targets[0]);
/// ```
#[derive(Debug)]
pub struct ConnectError(Tried);

#[derive(Debug)]
enum Tried {
    /// At least one.
    Addresses(Vec<(SocketAddr, io::Error)>),
    /// The path or the name of a Unix socket, as text.
    Unix(String, io::Error),
}

impl ConnectError {
    /// Returns what puts the address into an error.
    pub(crate) fn naming(address: SocketAddr) -> impl FnOnce(io::Error) -> io::Error {
        move |error| together(vec![(address, error)])
    }

    /// Returns what puts the place of a Unix socket into an error.
    pub(crate) fn naming_unix(place: impl fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
        move |error| {
            let kind = error.kind();
            io::Error::new(kind, Self(Tried::Unix(place.to_string(), error)))
        }
    }

    /// Puts an address of either kind into an error.
    pub(crate) fn wrap(address: &SockAddr, error: io::Error) -> io::Error {
        match address.as_socket() {
            Some(address) => Self::naming(address)(error),
            None => Self::naming_unix(Address::from(address.clone()))(error),
        }
    }

    /// Returns the one inside an error, if there is one.
    ///
    /// ```
    /// # use callsoon::net::ConnectError;
    /// assert!(ConnectError::of(&std::io::ErrorKind::ConnectionRefused.into()).is_none());
    /// ```
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns the address, if there was one attempt, and not to a Unix socket.
    ///
    /// ```
    /// # use callsoon::net::{ConnectError, TcpStream};
    /// # let error = callsoon::run(async { TcpStream::connect("127.0.0.1:1").await }).unwrap().unwrap_err();
    /// assert_eq!(ConnectError::of(&error).unwrap().address(), "127.0.0.1:1".parse().ok());
    /// ```
    pub fn address(&self) -> Option<SocketAddr> {
        match self.attempts() {
            [(address, _)] => Some(*address),
            _ => None,
        }
    }

    /// Returns the addresses, with commas between them, or the path or the name of the Unix socket, as text.
    ///
    /// ```
    /// # use callsoon::net::{ConnectError, UnixStream};
    /// let error = callsoon::run(async { UnixStream::connect("/nobody/here").await }).unwrap().unwrap_err();
    /// assert_eq!(ConnectError::of(&error).unwrap().place(), "/nobody/here");
    /// ```
    pub fn place(&self) -> String {
        match &self.0 {
            Tried::Addresses(attempts) => {
                let places = attempts.iter().map(|(address, _)| address.to_string());
                places.collect::<Vec<_>>().join(", ")
            }
            Tried::Unix(place, _) => place.clone(),
        }
    }

    /// Returns the system's number of the error, such as `ECONNREFUSED`. `None` if the attempts failed differently, or if
    /// the system has not been asked.
    ///
    /// ```
    /// # use callsoon::net::{ConnectError, TcpStream};
    /// # let error = callsoon::run(async { TcpStream::connect("127.0.0.1:1").await }).unwrap().unwrap_err();
    /// assert_eq!(ConnectError::of(&error).unwrap().raw_os_error(), Some(libc::ECONNREFUSED));
    /// ```
    pub fn raw_os_error(&self) -> Option<i32> {
        let error = self.error()?;
        // The socket may have failed before, at its own address.
        let bound = || BindError::of(error)?.raw_os_error();
        error.raw_os_error().or_else(bound)
    }

    /// Returns each address and the error of its attempt, in the order in which they were tried. A Unix socket is not among
    /// them.
    ///
    /// ```
    /// # use callsoon::net::{ConnectError, TcpStream};
    /// # let targets = ["127.0.0.1:1".parse().unwrap(), "255.255.255.255:1".parse().unwrap()];
    /// # let error = callsoon::run(async { TcpStream::connect(&targets[..]).await }).unwrap().unwrap_err();
    /// assert_eq!(ConnectError::of(&error).unwrap().attempts().len(), 2);
    /// ```
    pub fn attempts(&self) -> &[(SocketAddr, io::Error)] {
        match &self.0 {
            Tried::Addresses(attempts) => attempts,
            Tried::Unix(..) => &[],
        }
    }

    /// Returns the error that all attempts have in common. `None` if they failed differently.
    ///
    /// ```
    /// # use callsoon::net::{ConnectError, UnixStream};
    /// # let error = callsoon::run(async { UnixStream::connect("/nobody/here").await }).unwrap().unwrap_err();
    /// let error = ConnectError::of(&error).unwrap().error().unwrap();
    /// assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    /// ```
    pub fn error(&self) -> Option<&io::Error> {
        let attempts = match &self.0 {
            Tried::Addresses(attempts) => attempts,
            Tried::Unix(_, error) => return Some(error),
        };
        let (_, first) = attempts.first()?;
        let text = first.to_string();
        let mut rest = attempts.iter().skip(1);
        rest.all(|(_, error)| error.to_string() == text)
            .then_some(first)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = self.error() {
            let place = self.place();
            return write!(f, "cannot connect to {}: {error}", place.escape_debug());
        }
        f.write_str("no address could be connected to")?;
        for (number, (address, error)) in self.attempts().iter().enumerate() {
            let separator = if number == 0 { ": " } else { "; " };
            write!(f, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.error()?)
    }
}
