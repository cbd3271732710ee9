//! The error of a program that cannot be started.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::Command as StdCommand;

/// Which program cannot be started, in which folder, and why: the system's own message names neither. It comes inside an
/// [`io::Error`] of the same kind. An error that is not about the program, such as a lack of processes, has none inside.
///
/// ```
/// # callsoon::doctest::run(async {
/// use callsoon::process::StartError;
/// let error = callsoon::create_subprocess_exec("/no/such/program", [""; 0]).await.unwrap_err();
/// assert!(error.to_string().starts_with("cannot start /no/such/program: "));
/// assert_eq!(StartError::of(&error).unwrap().error().raw_os_error(), Some(libc::ENOENT));
/// # Ok(()) });
/// ```
#[derive(Debug)]
pub struct StartError {
    program: String,
    error: io::Error,
}

impl StartError {
    /// Adds the program's name to an error that is about the program or its folder.
    ///
    /// Any other error, such as a lack of processes, is returned as it is, with its number.
    pub(crate) fn wrap(command: &StdCommand, error: io::Error) -> io::Error {
        use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
        if !matches!(error.kind(), NotADirectory | NotFound | PermissionDenied) {
            return error;
        }
        let mut program = Path::new(command.get_program()).display().to_string();
        if let Some(folder) = command.get_current_dir() {
            program += &format!(" in {}", folder.display());
        }
        io::Error::new(error.kind(), Self { program, error })
    }

    /// Returns the one inside an error, if there is one.
    ///
    /// ```
    /// # use callsoon::process::StartError;
    /// assert!(StartError::of(&std::io::ErrorKind::NotFound.into()).is_none());
    /// ```
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns the program, and after ` in ` its folder, if it has one of its own.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # use callsoon::process::StartError;
    /// let error = callsoon::create_subprocess_exec("/no/such/program", [""; 0]).await.unwrap_err();
    /// assert_eq!(StartError::of(&error).unwrap().program(), "/no/such/program");
    /// # Ok(()) });
    /// ```
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Returns the system's error.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # use callsoon::process::StartError;
    /// let error = callsoon::create_subprocess_exec("/no/such/program", [""; 0]).await.unwrap_err();
    /// assert_eq!(StartError::of(&error).unwrap().error().kind(), std::io::ErrorKind::NotFound);
    /// # Ok(()) });
    /// ```
    pub fn error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, error } = self;
        write!(f, "cannot start {}: {error}", program.escape_debug())
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}
