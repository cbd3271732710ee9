//! Errors that name the path.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// What was tried with which path, and the system's error. The inner error of what the functions of [`fs`](crate::fs)
/// return.
///
/// ```
/// # callsoon::doctest::run(async {
/// use callsoon::fs::PathError;
/// let error = callsoon::fs::read("/no/such/file").await.unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
/// assert!(error.to_string().starts_with("cannot read /no/such/file: "));
/// let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<PathError>()).unwrap();
/// assert_eq!(inner.path, std::path::Path::new("/no/such/file"));
/// assert_eq!(inner.error.raw_os_error(), Some(2));
/// # Ok(()) });
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct PathError {
    /// The function's verb, such as `read` or `open`.
    pub operation: &'static str,
    /// The path, as it was given.
    pub path: PathBuf,
    /// The second path of a [`rename`](crate::fs::rename).
    pub to: Option<PathBuf>,
    /// The system's error.
    pub error: io::Error,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.operation, self.path.display())?;
        if let Some(to) = &self.to {
            write!(f, " to {}", to.display())?;
        }
        write!(f, ": {}", self.error)
    }
}

impl Error for PathError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl From<PathError> for io::Error {
    fn from(error: PathError) -> Self {
        Self::new(error.error.kind(), error)
    }
}
