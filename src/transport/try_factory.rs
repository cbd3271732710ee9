//! `TryFactory`: a factory of protocols that may fail, and its error as an error of I/O.

use std::error::Error;
use std::io;

/// A factory of protocols that may fail. [`LoopHandle::try_create_connection`] and its siblings wrap one.
///
/// [`LoopHandle::try_create_connection`]: crate::LoopHandle::try_create_connection
///
/// ```
/// use callsoon::transport::{CreateConnection, TryFactory};
/// # use callsoon::doctest::Idle;
/// # let event_loop = callsoon::doctest::event_loop();
/// let factory = || Err::<Idle, _>("no licence");
/// let connecting: CreateConnection<TryFactory<_>> = event_loop.try_create_connection(factory, ("localhost", 80));
/// # drop(connecting);
/// ```
pub struct TryFactory<F>(pub(crate) F);

impl<F, P, E> TryFactory<F>
where
    F: FnOnce() -> Result<P, E>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    /// Calls the factory.
    pub(crate) fn make(self) -> io::Result<P> {
        (self.0)().map_err(|error| as_io_error(error.into()))
    }
}

/// Returns an `io::Error` as it is, and any other error inside of one.
fn as_io_error(error: Box<dyn Error + Send + Sync>) -> io::Error {
    match error.downcast::<io::Error>() {
        Ok(error) => *error,
        Err(error) => io::Error::other(error),
    }
}
