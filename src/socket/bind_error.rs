//! Why a socket cannot be bound to an address.

use std::error::Error;
use std::fmt;
use std::io;

/// Why a server or a socket cannot be bound to an address. It comes inside an [`io::Error`], whose `raw_os_error` is `None` since it says
/// more than a number: the number is here.
///
/// ```
/// use callsoon::transport::BindError;
/// # use callsoon::doctest::Idle;
/// # callsoon::doctest::with_loop(async |event_loop| {
/// let taken = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
/// let first = event_loop.create_server(|| Idle, taken).await?;
/// let error = event_loop.create_server(|| Idle, taken).await.unwrap_err();
/// let error = BindError::of(&error).unwrap();
/// assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
/// assert_eq!(error.place(), taken.to_string());
/// # drop(first);
/// # Ok(()) });
/// ```
#[derive(Debug)]
pub struct BindError {
    place: String,
    error: io::Error,
}

impl BindError {
    /// Returns what puts the address or the path into an error.
    pub(crate) fn naming(place: impl fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
        move |error| {
            let place = place.to_string();
            io::Error::new(error.kind(), Self { place, error })
        }
    }

    /// Returns the one inside an error, if there is one.
    ///
    /// ```
    /// # use callsoon::transport::BindError;
    /// assert!(BindError::of(&std::io::ErrorKind::AddrInUse.into()).is_none());
    /// ```
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns the address or the path, as text.
    ///
    /// ```
    /// # use callsoon::{doctest::Idle, transport::BindError};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let error = event_loop.create_unix_server(|| Idle, "/nobody/is/here").await.unwrap_err();
    /// assert_eq!(BindError::of(&error).unwrap().place(), "/nobody/is/here");
    /// # Ok(()) });
    /// ```
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the error without the place.
    ///
    /// ```
    /// # use callsoon::{doctest::Idle, transport::BindError};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let error = event_loop.create_unix_server(|| Idle, "/nobody/is/here").await.unwrap_err();
    /// assert_eq!(BindError::of(&error).unwrap().error().raw_os_error(), Some(libc::ENOENT));
    /// # Ok(()) });
    /// ```
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// Returns the system's number of the error, such as `EADDRINUSE`. `None` if the system has not been asked.
    ///
    /// ```
    /// # use callsoon::{doctest::Idle, transport::BindError};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let error = event_loop.create_unix_server(|| Idle, "/nobody/is/here").await.unwrap_err();
    /// assert_eq!(BindError::of(&error).unwrap().raw_os_error(), Some(libc::ENOENT));
    /// # Ok(()) });
    /// ```
    pub fn raw_os_error(&self) -> Option<i32> {
        self.error.raw_os_error()
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, error } = self;
        write!(f, "cannot bind to {}: {error}", place.escape_debug())
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}
