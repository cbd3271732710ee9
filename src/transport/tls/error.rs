//! Errors of TLS as errors of I/O, with the error of rustls inside, and whose handshake has failed.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustls::Error;

/// With whom a TLS handshake has failed, and why. It comes inside an [`io::Error`] of the same kind.
///
/// ```no_run
/// use callsoon::tls::{ClientContext, HandshakeError, rustls};
/// # async fn example(context: ClientContext) {
/// let connecting = callsoon::open_connection(("expired.example", 443)).ssl(context);
/// let error = connecting.await.unwrap_err();
/// assert!(error.to_string().starts_with("TLS handshake with expired.example:443: invalid peer certificate: "));
/// let failed = HandshakeError::of(&error).unwrap();
/// assert!(matches!(failed.tls_error(), Some(rustls::Error::InvalidCertificate(_))));
/// # }
/// ```
#[derive(Debug)]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub struct HandshakeError {
    peer: String,
    error: io::Error,
}

impl HandshakeError {
    /// Puts the peer into an error.
    pub(crate) fn wrap(peer: String, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), Self { peer, error })
    }

    /// Returns the one inside an error, if there is one.
    ///
    /// ```
    /// # use callsoon::tls::HandshakeError;
    /// assert!(HandshakeError::of(&std::io::ErrorKind::InvalidData.into()).is_none());
    /// ```
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns the peer: the name that a server has to prove, with the port that was connected to; without a name the
    /// address.
    ///
    /// ```
    /// # use callsoon::tls::HandshakeError;
    /// fn is_ours(error: &std::io::Error) -> bool {
    ///     HandshakeError::of(error).is_some_and(|failed| failed.peer() == "example.com:443")
    /// }
    /// ```
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Returns the error without the peer.
    ///
    /// ```
    /// # use callsoon::tls::HandshakeError;
    /// fn has_left(error: &std::io::Error) -> bool {
    ///     HandshakeError::of(error).is_some_and(|failed| failed.error().kind() == std::io::ErrorKind::ConnectionReset)
    /// }
    /// ```
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// Returns the error of TLS, if it was one: a certificate, a name that differs, an alert of the peer.
    ///
    /// ```
    /// # use callsoon::tls::{HandshakeError, rustls};
    /// fn is_untrusted(error: &std::io::Error) -> bool {
    ///     let reason = HandshakeError::of(error).and_then(HandshakeError::tls_error);
    ///     matches!(reason, Some(rustls::Error::InvalidCertificate(_)))
    /// }
    /// ```
    pub fn tls_error(&self) -> Option<&Error> {
        self.error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, error } = self;
        write!(f, "TLS handshake with {}: {error}", peer.escape_debug())
    }
}

impl StdError for HandshakeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }
}

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
