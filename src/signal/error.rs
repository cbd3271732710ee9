//! Why a signal cannot be listened for.

use std::error::Error;
use std::fmt;
use std::io;

use crate::error::LoopClosed;

/// Why a signal cannot be listened for.
///
/// ```
/// use callsoon::SignalError;
/// let event_loop = callsoon::EventLoop::new()?;
/// let refused = event_loop.add_signal_handler(libc::SIGKILL, || ());
/// assert!(matches!(refused, Err(SignalError::Uncatchable(libc::SIGKILL))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SignalError {
    /// There is no signal of this number.
    Unknown(i32),
    /// The system lets nobody catch this signal, or it says that the program has failed where it stands.
    Uncatchable(i32),
    /// The loop is closed.
    Closed,
    /// The system refused.
    Io(io::Error),
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(signum) => write!(f, "there is no signal {signum}"),
            Self::Uncatchable(signum) => write!(f, "signal {signum} cannot be caught"),
            Self::Closed => LoopClosed.fmt(f),
            Self::Io(error) => write!(f, "the system refuses a signal handler: {error}"),
        }
    }
}

impl Error for SignalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for SignalError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<LoopClosed> for SignalError {
    fn from(_: LoopClosed) -> Self {
        Self::Closed
    }
}
