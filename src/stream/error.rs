//! Why a read did not give what was asked for.

use std::error::Error;
use std::fmt;
use std::io;

/// The peer finished writing before there was enough. The bytes that had arrived are here, and not in the reader any
/// more.
///
/// ```
/// # callsoon::doctest::run(async {
/// let (here, there) = std::os::unix::net::UnixStream::pair()?;
/// let (mut reader, _writer) = callsoon::stream::open_connection(here).await?;
/// std::io::Write::write_all(&mut &there, b"abc")?;
/// drop(there);
/// let incomplete = reader.readexactly(10).await.unwrap_err().incomplete().unwrap();
/// assert_eq!((&incomplete.partial[..], incomplete.expected), (&b"abc"[..], Some(10)));
/// # Ok(()) });
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct IncompleteRead {
    /// What arrived before the end.
    pub partial: Vec<u8>,
    /// How many bytes were asked for. `None` if it was a separator.
    pub expected: Option<usize>,
}

/// The connection failed before there was enough. The bytes that had arrived are here, and not in the reader any
/// more. The next read returns the error alone, and later ones find the end. asyncio drops such bytes.
///
/// ```
/// # callsoon::doctest::run(async {
/// use callsoon::stream::ReadError;
/// let (here, there) = std::os::unix::net::UnixStream::pair()?;
/// let (mut reader, writer) = callsoon::stream::open_connection(here).await?;
/// std::io::Write::write_all(&mut &there, b"421 too b")?;
/// drop(there);
/// writer.write(b"hello");
/// let Err(ReadError::Failed(failed)) = reader.readuntil(b"\n").await else { panic!() };
/// assert_eq!(failed.partial, b"421 too b");
/// assert_eq!(failed.error.kind(), std::io::ErrorKind::BrokenPipe);
/// # Ok(()) });
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedRead {
    /// What arrived before the connection failed.
    pub partial: Vec<u8>,
    /// How many bytes were asked for. `None` if it was a separator.
    pub expected: Option<usize>,
    /// What the connection was lost to.
    pub error: io::Error,
}

/// There is no separator within the reader's limit. Nothing was taken out of the reader.
///
/// ```
/// # callsoon::doctest::run(async {
/// let (here, there) = std::os::unix::net::UnixStream::pair()?;
/// let limit = std::num::NonZeroUsize::new(4).unwrap();
/// let (mut reader, _writer) = callsoon::stream::open_connection(here).limit(limit).await?;
/// std::io::Write::write_all(&mut &there, b"a long line\n")?;
/// let overrun = reader.readline().await.unwrap_err().limit_overrun().unwrap();
/// assert_eq!(reader.readexactly(overrun.consumed).await?, b"a long line");
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LimitOverrun {
    /// How many bytes can be read without reading into a separator: those before it if there is one, and otherwise
    /// all that cannot be its beginning.
    pub consumed: usize,
}

/// Why a read did not give what was asked for.
///
/// In a function that returns [`io::Error`] the `?` operator converts it: to kind `UnexpectedEof` for an incomplete
/// read, `InvalidData` for a limit, and the kind of the connection's error if that failed.
///
/// ```
/// # callsoon::doctest::run(async {
/// let (here, there) = std::os::unix::net::UnixStream::pair()?;
/// let (mut reader, _writer) = callsoon::stream::open_connection(here).await?;
/// drop(there);
/// let error = reader.readexactly(1).await.unwrap_err();
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::UnexpectedEof);
/// # Ok(()) });
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The peer finished writing too early.
    Incomplete(IncompleteRead),
    /// The separator is not within the limit.
    LimitOverrun(LimitOverrun),
    /// The connection failed, and a part of what was asked for had arrived.
    Failed(FailedRead),
    /// The connection failed.
    Io(io::Error),
}

impl ReadError {
    /// Returns the incomplete read with what had arrived, if it was one, whether the peer finished writing or the
    /// connection failed.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, _writer) = callsoon::stream::open_connection(here).await?;
    /// # drop(there);
    /// let error = reader.readexactly(1).await.unwrap_err();
    /// assert!(error.incomplete().unwrap().partial.is_empty());
    /// # Ok(()) });
    /// ```
    pub fn incomplete(self) -> Option<IncompleteRead> {
        match self {
            Self::Incomplete(incomplete) => Some(incomplete),
            Self::Failed(FailedRead {
                partial, expected, ..
            }) => Some(IncompleteRead { partial, expected }),
            _ => None,
        }
    }

    /// Returns the limit that was overrun, if one was.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, _writer) = callsoon::stream::open_connection(here).await?;
    /// # drop(there);
    /// let error = reader.readexactly(1).await.unwrap_err();
    /// assert!(error.limit_overrun().is_none());
    /// # Ok(()) });
    /// ```
    pub fn limit_overrun(&self) -> Option<LimitOverrun> {
        match self {
            Self::LimitOverrun(overrun) => Some(*overrun),
            _ => None,
        }
    }
}

impl fmt::Display for IncompleteRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.partial.len();
        match self.expected {
            Some(expected) => write!(f, "{count} bytes read on a total of {expected} expected"),
            None => write!(f, "{count} bytes read and no separator among them"),
        }
    }
}

impl fmt::Display for FailedRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partial, error, .. } = self;
        let count = partial.len();
        match self.expected {
            Some(expected) => write!(
                f,
                "{count} bytes read on a total of {expected} expected: {error}"
            ),
            None => write!(f, "{count} bytes read and no separator among them: {error}"),
        }
    }
}

impl fmt::Display for LimitOverrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let consumed = self.consumed;
        write!(
            f,
            "{consumed} bytes without a separator are more than the reader's limit"
        )
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete(error) => error.fmt(f),
            Self::LimitOverrun(error) => error.fmt(f),
            Self::Failed(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl Error for IncompleteRead {}

impl Error for LimitOverrun {}

impl Error for FailedRead {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Incomplete(error) => Some(error),
            Self::LimitOverrun(error) => Some(error),
            Self::Failed(error) => Some(error),
            Self::Io(error) => Some(error),
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Incomplete(error) => Self::new(io::ErrorKind::UnexpectedEof, error),
            ReadError::LimitOverrun(error) => Self::new(io::ErrorKind::InvalidData, error),
            ReadError::Failed(error) => Self::new(error.error.kind(), error),
            ReadError::Io(error) => error,
        }
    }
}
