//! The error of a program that cannot be started.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::Command as StdCommand;

/// A program that cannot be started, with its name and its folder: the system's own message names neither.
#[derive(Debug)]
pub(crate) struct StartError {
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
