//! Errors of signal handlers and signal streams.

use std::error::Error;
use std::fmt;
use std::io;

use crate::error::LoopClosed;

/// The error of adding a listener for a signal.
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
    /// The system lets no program catch this signal, or the signal reports a fault of the running instruction.
    Uncatchable(i32),
    /// The loop is closed.
    Closed,
    /// The system refused the handler, or the loop a descriptor.
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

/// An error of the system's is that error, a closed loop is `NotConnected`, every other one is inside, as `InvalidInput`.
///
/// ```
/// let error = std::io::Error::from(callsoon::SignalError::Uncatchable(libc::SIGKILL));
/// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
/// assert_eq!(error.to_string(), "signal 9 cannot be caught");
/// ```
impl From<SignalError> for io::Error {
    fn from(error: SignalError) -> Self {
        match error {
            SignalError::Io(error) => error,
            SignalError::Closed => LoopClosed.into(),
            error => Self::new(io::ErrorKind::InvalidInput, error),
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
