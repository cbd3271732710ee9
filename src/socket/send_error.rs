//! To whom a message could not be sent, and why.

use std::error::Error;
use std::fmt;
use std::io;

use crate::socket::address::{Address, NetAddress};

/// To whom a message could not be sent, and why. It comes inside an [`io::Error`], whose `raw_os_error` is `None` since it
/// says more than a number: the number is here. A `WouldBlock` is returned without one.
///
/// ```
/// # callsoon::doctest::run(async {
/// use callsoon::net::{SendError, UdpSocket};
/// let socket = UdpSocket::bind("127.0.0.1:0").await?;
/// let error = socket.send_to(&[0; 70_000], "127.0.0.1:9").await.unwrap_err();
/// assert!(error.to_string().starts_with("cannot send to 127.0.0.1:9: "));
/// assert_eq!(SendError::of(&error).unwrap().raw_os_error(), Some(libc::EMSGSIZE));
/// # Ok(()) });
/// ```
#[derive(Debug)]
pub struct SendError {
    place: String,
    error: io::Error,
}

impl SendError {
    /// Returns what puts the place into an error. A `WouldBlock` is an answer that programs wait for, so it stays as it is.
    pub(crate) fn naming(place: impl fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
        move |error| match error.kind() {
            io::ErrorKind::WouldBlock => error,
            kind => {
                let place = place.to_string();
                io::Error::new(kind, Self { place, error })
            }
        }
    }

    /// Returns what puts the address into an error.
    pub(crate) fn to(address: &impl NetAddress) -> impl FnOnce(io::Error) -> io::Error {
        |error| match address.to_system() {
            Ok(address) => Self::naming(Address::from(address))(error),
            Err(_) => Self::naming("a socket without a name")(error),
        }
    }

    /// Returns the one inside an error, if there is one.
    ///
    /// ```
    /// # use callsoon::net::SendError;
    /// assert!(SendError::of(&std::io::ErrorKind::NetworkUnreachable.into()).is_none());
    /// ```
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns the address, the path, or the abstract name with `@` before it, as text.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # use callsoon::net::{SendError, UnixDatagram};
    /// let error = UnixDatagram::unbound()?.send_to(b"x", "/nobody/here").await.unwrap_err();
    /// assert_eq!(SendError::of(&error).unwrap().place(), "/nobody/here");
    /// # Ok(()) });
    /// ```
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the error without the place.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # use callsoon::net::{SendError, UnixDatagram};
    /// let error = UnixDatagram::unbound()?.send_to(b"x", "/nobody/here").await.unwrap_err();
    /// assert_eq!(SendError::of(&error).unwrap().error().raw_os_error(), Some(libc::ENOENT));
    /// # Ok(()) });
    /// ```
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// Returns the system's number of the error, such as `EMSGSIZE`. `None` if the system has not been asked.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # use callsoon::net::{SendError, UnixDatagram};
    /// let error = UnixDatagram::unbound()?.send_to(b"x", "/nobody/here").await.unwrap_err();
    /// assert_eq!(SendError::of(&error).unwrap().raw_os_error(), Some(libc::ENOENT));
    /// # Ok(()) });
    /// ```
    pub fn raw_os_error(&self) -> Option<i32> {
        self.error.raw_os_error()
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, error } = self;
        write!(f, "cannot send to {}: {error}", place.escape_debug())
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}
