//! The two sides of a connection, borrowed or owned.
//!
//! A stream can be read and written through `&self`, so a half only says which side is meant. Owned halves share the
//! stream. Dropping the owned write half shuts the writing direction down.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::rc::Rc;

use crate::net::stream::SocketStream;
use crate::net::tcp::Tcp;

impl<K> SocketStream<K> {
    /// Returns a reader and a writer that borrow the connection.
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// let (reader, writer) = server.split();
    /// client.write_all(b"?").await?;
    /// reader.read_exact(&mut [0; 1]).await?;
    /// writer.write_all(b"!").await?;
    /// # Ok(()) });
    /// ```
    pub fn split(&self) -> (ReadHalf<'_, K>, WriteHalf<'_, K>) {
        (ReadHalf { stream: self }, WriteHalf { stream: self })
    }

    /// Returns a reader and a writer that own the connection together, for two tasks. Dropping the writer shuts the
    /// writing direction down. The connection closes when both are dropped.
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// let (reader, writer) = client.into_split();
    /// callsoon::create_task(async move { writer.write_all(b"from a task").await }).detach();
    /// let mut buffer = [0; 11];
    /// server.read_exact(&mut buffer).await?;
    /// assert_eq!(server.read(&mut buffer).await?, 0, "the task's half is gone");
    /// # Ok(()) });
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf<K>, OwnedWriteHalf<K>) {
        let stream = Rc::new(self);
        let writer = OwnedWriteHalf {
            stream: Rc::clone(&stream),
        };
        (OwnedReadHalf { stream }, writer)
    }
}

/// The reading side of a connection, borrowed by [`SocketStream::split`].
///
/// ```
/// # callsoon::doctest::with_tcp(async |client, server| {
/// let (reader, writer) = client.split();
/// server.write_all(b"?").await?;
/// reader.read_exact(&mut [0; 1]).await?;
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ReadHalf<'a, K = Tcp> {
    stream: &'a SocketStream<K>,
}

/// The writing side of a connection, borrowed by [`SocketStream::split`].
///
/// ```
/// # callsoon::doctest::with_tcp(async |client, server| {
/// let (reader, writer) = client.split();
/// writer.write_all(b"!").await?;
/// server.read_exact(&mut [0; 1]).await?;
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WriteHalf<'a, K = Tcp> {
    stream: &'a SocketStream<K>,
}

/// The reading side of a connection, owned.
///
/// ```
/// # callsoon::doctest::with_tcp(async |client, server| {
/// let (reader, _writer) = client.into_split();
/// let task = callsoon::create_task(async move { reader.read(&mut [0; 8]).await });
/// server.write_all(b"hi").await?;
/// assert_eq!(task.await.unwrap()?, 2);
/// # Ok(()) });
/// ```
#[derive(Debug)]
pub struct OwnedReadHalf<K = Tcp> {
    stream: Rc<SocketStream<K>>,
}

/// The writing side of a connection, owned. Its drop shuts the writing direction down.
///
/// ```
/// # callsoon::doctest::with_tcp(async |client, server| {
/// let (_reader, writer) = client.into_split();
/// drop(writer);
/// assert_eq!(server.read(&mut [0; 1]).await?, 0);
/// # Ok(()) });
/// ```
#[derive(Debug)]
pub struct OwnedWriteHalf<K = Tcp> {
    stream: Rc<SocketStream<K>>,
}

impl<K> ReadHalf<'_, K> {
    pub(super) fn stream(&self) -> &SocketStream<K> {
        self.stream
    }

    /// Reads what has come. See [`SocketStream::read`].
    ///
    /// # Errors
    /// Those of [`SocketStream::read`].
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// let (reader, _writer) = client.split();
    /// server.write_all(b"hi").await?;
    /// assert_eq!(reader.read(&mut [0; 8]).await?, 2);
    /// # Ok(()) });
    /// ```
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).await
    }

    /// Fills the whole buffer. See [`SocketStream::read_exact`].
    ///
    /// # Errors
    /// Those of [`SocketStream::read_exact`].
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// let (reader, _writer) = client.split();
    /// server.write_all(b"hi").await?;
    /// reader.read_exact(&mut [0; 2]).await?;
    /// # Ok(()) });
    /// ```
    pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(buffer).await
    }
}

impl<K> WriteHalf<'_, K> {
    pub(super) fn stream(&self) -> &SocketStream<K> {
        self.stream
    }

    /// Writes what the system takes. See [`SocketStream::write`].
    ///
    /// # Errors
    /// Those of [`SocketStream::write`].
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// let (_reader, writer) = client.split();
    /// assert_eq!(writer.write(b"hi").await?, 2);
    /// # Ok(()) });
    /// ```
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes).await
    }

    /// Writes all bytes. See [`SocketStream::write_all`].
    ///
    /// # Errors
    /// Those of [`SocketStream::write_all`].
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// let (_reader, writer) = client.split();
    /// writer.write_all(b"hi").await?;
    /// server.read_exact(&mut [0; 2]).await?;
    /// # Ok(()) });
    /// ```
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Writes what the system takes of several buffers. See [`SocketStream::write_vectored`].
    ///
    /// # Errors
    /// Those of [`SocketStream::write_vectored`].
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// let (_reader, writer) = near.split();
    /// assert_eq!(writer.write_vectored(&[std::io::IoSlice::new(b"hi")]).await?, 2);
    /// # Ok(()) });
    /// ```
    pub async fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(buffers).await
    }

    /// Shuts the writing direction down.
    ///
    /// # Errors
    /// `NotConnected` if the connection has ended already.
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// let (_reader, writer) = client.split();
    /// writer.shutdown()?;
    /// assert_eq!(server.read(&mut [0; 1]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn shutdown(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

impl<K> OwnedReadHalf<K> {
    /// Reads what has come. See [`SocketStream::read`].
    ///
    /// # Errors
    /// Those of [`SocketStream::read`].
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// let (reader, _writer) = client.into_split();
    /// server.write_all(b"hi").await?;
    /// assert_eq!(reader.read(&mut [0; 8]).await?, 2);
    /// # Ok(()) });
    /// ```
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).await
    }

    /// Fills the whole buffer. See [`SocketStream::read_exact`].
    ///
    /// # Errors
    /// Those of [`SocketStream::read_exact`].
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// let (reader, _writer) = client.into_split();
    /// server.write_all(b"hi").await?;
    /// reader.read_exact(&mut [0; 2]).await?;
    /// # Ok(()) });
    /// ```
    pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(buffer).await
    }

    /// Returns the whole connection.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, writer) = client.into_split();
    /// assert_eq!(reader.stream().peer_addr()?, listener.local_addr()?);
    /// # Ok(()) });
    /// ```
    pub fn stream(&self) -> &SocketStream<K> {
        &self.stream
    }
}

impl<K> OwnedWriteHalf<K> {
    /// Writes what the system takes. See [`SocketStream::write`].
    ///
    /// # Errors
    /// Those of [`SocketStream::write`].
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// let (_reader, writer) = client.into_split();
    /// assert_eq!(writer.write(b"hi").await?, 2);
    /// # Ok(()) });
    /// ```
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes).await
    }

    /// Writes all bytes. See [`SocketStream::write_all`].
    ///
    /// # Errors
    /// Those of [`SocketStream::write_all`].
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// let (_reader, writer) = client.into_split();
    /// writer.write_all(b"hi").await?;
    /// server.read_exact(&mut [0; 2]).await?;
    /// # Ok(()) });
    /// ```
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Writes what the system takes of several buffers. See [`SocketStream::write_vectored`].
    ///
    /// # Errors
    /// Those of [`SocketStream::write_vectored`].
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// let (_reader, writer) = near.into_split();
    /// assert_eq!(writer.write_vectored(&[std::io::IoSlice::new(b"hi")]).await?, 2);
    /// # Ok(()) });
    /// ```
    pub async fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(buffers).await
    }

    /// Shuts the writing direction down, as dropping the half does.
    ///
    /// # Errors
    /// `NotConnected` if the connection has ended already.
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// let (_reader, writer) = client.into_split();
    /// writer.shutdown()?;
    /// assert_eq!(server.read(&mut [0; 1]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn shutdown(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Returns the whole connection.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, writer) = client.into_split();
    /// assert_eq!(writer.stream().peer_addr()?, listener.local_addr()?);
    /// # Ok(()) });
    /// ```
    pub fn stream(&self) -> &SocketStream<K> {
        &self.stream
    }
}

impl<K> Drop for OwnedWriteHalf<K> {
    fn drop(&mut self) {
        // An error means that the connection has ended already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
