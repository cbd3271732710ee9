//! Why a name was not resolved.

use std::error::Error;
use std::fmt;
use std::io;

use crate::sys::dns::{Failure, describe};

/// Why the system's resolver has no answer: Python's `gaierror`. A [`LookupError`](crate::net::LookupError) has it.
///
/// ```
/// use callsoon::net::LookupError;
/// let answer = callsoon::run(async { callsoon::net::lookup_host(("1.2.3.4.5", 80)).await }).unwrap();
/// let error = answer.unwrap_err();
/// let reason = LookupError::of(&error).unwrap().gai_error().unwrap();
/// assert_eq!(reason.code(), libc::EAI_NONAME);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GaiError {
    code: i32,
}

impl GaiError {
    /// Returns the code, one of `EAI_…`.
    ///
    /// ```
    /// # let answer = callsoon::run(async { callsoon::net::lookup_host(("1.2.3.4.5", 80)).await }).unwrap();
    /// # let error = answer.unwrap_err();
    /// let lookup = callsoon::net::LookupError::of(&error).unwrap();
    /// let reason: &callsoon::net::GaiError = lookup.gai_error().unwrap();
    /// assert_eq!(reason.code(), libc::EAI_NONAME);
    /// ```
    pub fn code(&self) -> i32 {
        self.code
    }
}

impl fmt::Display for GaiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe(self.code))
    }
}

impl Error for GaiError {}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        if let Some(system) = failure.system {
            return system;
        }
        let kind = match failure.code {
            libc::EAI_NONAME => io::ErrorKind::NotFound,
            // FreeBSD has no such code: a name without an address is EAI_NONAME there.
            #[cfg(not(target_os = "freebsd"))]
            libc::EAI_NODATA => io::ErrorKind::NotFound,
            libc::EAI_MEMORY => io::ErrorKind::OutOfMemory,
            libc::EAI_FAMILY | libc::EAI_SOCKTYPE | libc::EAI_SERVICE | libc::EAI_BADFLAGS => {
                io::ErrorKind::InvalidInput
            }
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, GaiError { code: failure.code })
    }
}
