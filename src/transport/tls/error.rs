//! Errors of TLS as errors of I/O, with the error of rustls inside.

use std::io;

use rustls::Error;

/// Wraps an error of rustls. [`io::Error::get_ref`] gives it back.
pub(crate) fn tls_error(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Returns why a connection is lost whose session has called code of the program that panicked.
pub(crate) fn panicked() -> io::Error {
    io::Error::other("code that TLS calls panicked")
}

/// Returns an equal error, since an `io::Error` cannot be cloned: one for the caller that waits, one for the protocol.
pub(crate) fn copy_of(error: &io::Error) -> io::Error {
    if let Some(code) = error.raw_os_error() {
        return io::Error::from_raw_os_error(code);
    }
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(inner) => io::Error::new(error.kind(), inner.clone()),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
