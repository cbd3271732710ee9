//! Why none of several addresses could be connected to.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::socket::dns::no_address;

/// Makes one error of those of all attempts. If they are all alike, it is that one.
pub(crate) fn together(mut attempts: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let Some((_, first)) = attempts.first() else {
        return no_address();
    };
    let (kind, text) = (first.kind(), first.to_string());
    let same = attempts.iter().all(|(_, error)| error.to_string() == text);
    if same {
        return attempts.remove(0).1;
    }
    let one_kind = attempts.iter().all(|(_, error)| error.kind() == kind);
    let kind = if one_kind { kind } else { io::ErrorKind::Other };
    io::Error::new(kind, ConnectError { attempts })
}

/// Why none of several addresses could be connected to. It comes inside an [`io::Error`].
///
/// ```
/// use callsoon::net::{ConnectError, TcpStream};
/// let targets = ["127.0.0.1:1".parse().unwrap(), "255.255.255.255:1".parse().unwrap()];
/// let error = callsoon::run(async { TcpStream::connect(&targets[..]).await }).unwrap().unwrap_err();
/// let all = error.get_ref().and_then(|inner| inner.downcast_ref::<ConnectError>()).unwrap();
/// assert_eq!(all.attempts()[0].0, targets[0]);
/// ```
#[derive(Debug)]
pub struct ConnectError {
    attempts: Vec<(SocketAddr, io::Error)>,
}

impl ConnectError {
    /// Returns each address and the error of its attempt, in the order in which they were tried.
    ///
    /// ```
    /// # use callsoon::net::{ConnectError, TcpStream};
    /// # let targets = ["127.0.0.1:1".parse().unwrap(), "255.255.255.255:1".parse().unwrap()];
    /// # let error = callsoon::run(async { TcpStream::connect(&targets[..]).await }).unwrap().unwrap_err();
    /// let all: &ConnectError = error.get_ref().unwrap().downcast_ref().unwrap();
    /// assert_eq!(all.attempts().len(), 2);
    /// ```
    pub fn attempts(&self) -> &[(SocketAddr, io::Error)] {
        &self.attempts
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no address could be connected to")?;
        for (number, (address, error)) in self.attempts.iter().enumerate() {
            let separator = if number == 0 { ": " } else { "; " };
            write!(f, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

impl Error for ConnectError {}
