//! Which host could not be looked up, and why.

use std::error::Error;
use std::fmt;
use std::io;

use crate::socket::gai_error::GaiError;

/// Which host could not be looked up, and why. It comes inside an [`io::Error`] of the same kind.
///
/// ```
/// use callsoon::net::{LookupError, lookup_host};
/// let answer = callsoon::run(async { lookup_host(("1.2.3.4.5", 80)).await }).unwrap();
/// let error = answer.unwrap_err();
/// assert!(error.to_string().starts_with("cannot look up 1.2.3.4.5: "));
/// assert_eq!(LookupError::of(&error).unwrap().host(), "1.2.3.4.5");
/// ```
#[derive(Debug)]
pub struct LookupError {
    host: String,
    error: io::Error,
}

impl LookupError {
    /// Returns what puts the host into an error.
    pub(crate) fn naming(host: impl Into<String>) -> impl FnOnce(io::Error) -> io::Error {
        |error| {
            let (kind, host) = (error.kind(), host.into());
            io::Error::new(kind, Self { host, error })
        }
    }

    /// Returns the one inside an error, if there is one.
    ///
    /// ```
    /// # use callsoon::net::LookupError;
    /// assert!(LookupError::of(&std::io::ErrorKind::NotFound.into()).is_none());
    /// ```
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns the host, as the program has given it; without one, the service. For
    /// [`getnameinfo`](crate::LoopHandle::getnameinfo) it is the address.
    ///
    /// ```
    /// # use callsoon::net::{LookupError, lookup_host};
    /// # let error = callsoon::run(async { lookup_host(("1.2.3.4.5", 80)).await }).unwrap().unwrap_err();
    /// assert_eq!(LookupError::of(&error).unwrap().host(), "1.2.3.4.5");
    /// ```
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the error without the host.
    ///
    /// ```
    /// # use callsoon::net::{LookupError, lookup_host};
    /// # let error = callsoon::run(async { lookup_host(("1.2.3.4.5", 80)).await }).unwrap().unwrap_err();
    /// assert_eq!(LookupError::of(&error).unwrap().error().kind(), std::io::ErrorKind::NotFound);
    /// ```
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// Returns the error of the system's resolver, if it was the one that failed.
    ///
    /// ```
    /// # use callsoon::net::{LookupError, lookup_host};
    /// # let error = callsoon::run(async { lookup_host(("1.2.3.4.5", 80)).await }).unwrap().unwrap_err();
    /// let reason = LookupError::of(&error).unwrap().gai_error().unwrap();
    /// assert_eq!(reason.code(), libc::EAI_NONAME);
    /// ```
    pub fn gai_error(&self) -> Option<&GaiError> {
        self.error.get_ref()?.downcast_ref()
    }

    /// Returns the system's number of the error, for the failures of the resolver that have one.
    ///
    /// ```
    /// # use callsoon::net::{LookupError, lookup_host};
    /// # let error = callsoon::run(async { lookup_host(("1.2.3.4.5", 80)).await }).unwrap().unwrap_err();
    /// assert_eq!(LookupError::of(&error).unwrap().raw_os_error(), None);
    /// ```
    pub fn raw_os_error(&self) -> Option<i32> {
        self.error.raw_os_error()
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, error } = self;
        if host.is_empty() {
            return write!(f, "cannot look up \"\": {error}");
        }
        write!(f, "cannot look up {}: {error}", host.escape_debug())
    }
}

impl Error for LookupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}
