//! `Stdio`: what a child's standard descriptors are connected to.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio as StdStdio;

use mio::unix::pipe;

/// What one of a child's standard descriptors is connected to.
///
/// It is [`PIPE`], [`DEVNULL`], [`STDOUT`], [`INHERIT`], or is made from an object that turns into an `OwnedFd`: a file, a
/// socket, or one end of `std::io::pipe`. The child gets a duplicate of that descriptor. With such a pipe one child's output
/// is the next one's input, as with `os.pipe()` in asyncio. A [`PIPE`] connects a child to this process only.
///
/// ```
/// use callsoon::process::{PIPE, create_subprocess_shell};
/// callsoon::run(async {
///     let null = std::fs::File::open("/dev/null")?;
///     let mut process = create_subprocess_shell("wc -c").stdin(null).stdout(PIPE).await?;
///     assert_eq!(process.communicate(None).await?.stdout.trim_ascii(), b"0");
///
///     let (from, to) = std::os::unix::net::UnixStream::pair()?;
///     let numbers = create_subprocess_shell("seq 3").stdout(from).await?;
///     let mut last = create_subprocess_shell("tail -n 1").stdin(to).stdout(PIPE).await?;
///     assert_eq!(last.communicate(None).await?.stdout, b"3\n");
///     numbers.wait().await
/// }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct Stdio(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    Inherit,
    Pipe,
    Null,
    Stdout,
    Fd(OwnedFd),
}

/// A pipe. The [`Process`](crate::process::Process) holds the other end.
///
/// ```
/// # use callsoon::process::{PIPE, create_subprocess_shell};
/// # callsoon::doctest::run(async {
/// let mut process = create_subprocess_shell("echo hello").stdout(PIPE).await?;
/// assert_eq!(process.communicate(None).await?.stdout, b"hello\n");
/// # Ok(()) });
/// ```
pub const PIPE: Stdio = Stdio(Kind::Pipe);

/// `/dev/null`: input is empty, and output is discarded.
///
/// ```
/// # use callsoon::process::{DEVNULL, create_subprocess_shell};
/// # callsoon::doctest::run(async {
/// let process = create_subprocess_shell("echo hello").stdout(DEVNULL).await?;
/// assert!(process.wait().await?.success());
/// # Ok(()) });
/// ```
pub const DEVNULL: Stdio = Stdio(Kind::Null);

/// For `stderr` only: the child's errors go where its `stdout` goes, in one stream.
///
/// ```
/// # use callsoon::process::{PIPE, STDOUT, create_subprocess_shell};
/// # callsoon::doctest::run(async {
/// let shell = create_subprocess_shell("echo one; echo two >&2");
/// let output = shell.stdout(PIPE).stderr(STDOUT).await?.communicate(None).await?;
/// assert_eq!(output.stdout, b"one\ntwo\n");
/// # Ok(()) });
/// ```
pub const STDOUT: Stdio = Stdio(Kind::Stdout);

/// The descriptor of the parent. This is the default.
///
/// ```
/// # use callsoon::process::{INHERIT, create_subprocess_shell};
/// # callsoon::doctest::run(async {
/// let process = create_subprocess_shell("exit 0").stdin(INHERIT).await?;
/// assert!(process.wait().await?.success());
/// # Ok(()) });
/// ```
pub const INHERIT: Stdio = Stdio(Kind::Inherit);

impl<T: Into<OwnedFd>> From<T> for Stdio {
    fn from(fd: T) -> Self {
        Self(Kind::Fd(fd.into()))
    }
}

impl Stdio {
    /// Converts it for stdin, or for an output that is not shared with the other one.
    ///
    /// # Errors
    /// `InvalidInput` for [`STDOUT`], and what duplicating a descriptor gives.
    pub(crate) fn to_std(&self) -> io::Result<StdStdio> {
        Ok(match &self.0 {
            Kind::Inherit => StdStdio::inherit(),
            Kind::Pipe => StdStdio::piped(),
            Kind::Null => StdStdio::null(),
            Kind::Fd(fd) => fd.try_clone()?.into(),
            Kind::Stdout => {
                let text = "STDOUT is for stderr: it says that both are one stream";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        })
    }

    /// Converts it for stdout and stderr that are one stream. Returns both, and the reading end if it is a pipe.
    pub(crate) fn to_both(&self) -> io::Result<(StdStdio, StdStdio, Option<OwnedFd>)> {
        Ok(match &self.0 {
            Kind::Pipe => {
                let (sender, receiver) = pipe::new()?;
                // The child's end is in blocking mode, as programs expect.
                sender.set_nonblocking(false)?;
                let end = OwnedFd::from(sender);
                (end.try_clone()?.into(), end.into(), Some(receiver.into()))
            }
            Kind::Inherit => {
                let own = io::stdout().as_fd().try_clone_to_owned()?;
                (StdStdio::inherit(), own.into(), None)
            }
            _ => (self.to_std()?, self.to_std()?, None),
        })
    }
}
