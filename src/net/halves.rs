//! The two sides of a connection, lent or owned.
//!
//! A stream can be read and written through `&self`, so a half is a view that says which side is meant. Owned halves
//! share the stream; dropping the writing one tells the peer that nothing more comes.

use std::io;
use std::net::Shutdown;
use std::rc::Rc;

use crate::net::stream::TcpStream;

impl TcpStream {
    /// A reader and a writer that borrow the connection.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, writer) = server.split();
    /// client.write_all(b"?").await?;
    /// reader.read_exact(&mut [0; 1]).await?;
    /// writer.write_all(b"!").await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn split(&self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        (ReadHalf { stream: self }, WriteHalf { stream: self })
    }

    /// A reader and a writer that own the connection together, for two tasks. Dropping the writer ends the writing
    /// direction; the connection closes when both are gone.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, writer) = client.into_split();
    /// callsoon::create_task(async move { writer.write_all(b"from a task").await }).detach();
    /// let mut buffer = [0; 11];
    /// server.read_exact(&mut buffer).await?;
    /// assert_eq!(server.read(&mut buffer).await?, 0, "the task's half is gone");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let stream = Rc::new(self);
        (
            OwnedReadHalf {
                stream: Rc::clone(&stream),
            },
            OwnedWriteHalf { stream },
        )
    }
}

/// The reading side of a connection that [`TcpStream::split`] lent.
///
/// ```
/// # use callsoon::net::{TcpListener, TcpStream};
/// # callsoon::run(async {
/// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// let (reader, writer) = client.split();
/// server.write_all(b"?").await?;
/// reader.read_exact(&mut [0; 1]).await?;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ReadHalf<'a> {
    stream: &'a TcpStream,
}

/// The writing side of a connection that [`TcpStream::split`] lent.
///
/// ```
/// # use callsoon::net::{TcpListener, TcpStream};
/// # callsoon::run(async {
/// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// let (reader, writer) = client.split();
/// writer.write_all(b"!").await?;
/// server.read_exact(&mut [0; 1]).await?;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WriteHalf<'a> {
    stream: &'a TcpStream,
}

/// The reading side of a connection, owned.
///
/// ```
/// # use callsoon::net::{TcpListener, TcpStream};
/// # callsoon::run(async {
/// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// let (reader, _writer) = client.into_split();
/// let task = callsoon::create_task(async move { reader.read(&mut [0; 8]).await });
/// server.write_all(b"hi").await?;
/// assert_eq!(task.await.unwrap()?, 2);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct OwnedReadHalf {
    stream: Rc<TcpStream>,
}

/// The writing side of a connection, owned. Its drop ends the writing direction.
///
/// ```
/// # use callsoon::net::{TcpListener, TcpStream};
/// # callsoon::run(async {
/// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// let (_reader, writer) = client.into_split();
/// drop(writer);
/// assert_eq!(server.read(&mut [0; 1]).await?, 0);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Rc<TcpStream>,
}

impl ReadHalf<'_> {
    /// See [`TcpStream::read`].
    ///
    /// # Errors
    /// The same.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, _writer) = client.split();
    /// server.write_all(b"hi").await?;
    /// assert_eq!(reader.read(&mut [0; 8]).await?, 2);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).await
    }

    /// See [`TcpStream::read_exact`].
    ///
    /// # Errors
    /// The same.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, _writer) = client.split();
    /// server.write_all(b"hi").await?;
    /// reader.read_exact(&mut [0; 2]).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(buffer).await
    }
}

impl WriteHalf<'_> {
    /// See [`TcpStream::write`].
    ///
    /// # Errors
    /// The same.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (_reader, writer) = client.split();
    /// assert_eq!(writer.write(b"hi").await?, 2);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes).await
    }

    /// See [`TcpStream::write_all`].
    ///
    /// # Errors
    /// The same.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (_reader, writer) = client.split();
    /// writer.write_all(b"hi").await?;
    /// server.read_exact(&mut [0; 2]).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Ends the writing direction.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (_reader, writer) = client.split();
    /// writer.shutdown()?;
    /// assert_eq!(server.read(&mut [0; 1]).await?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn shutdown(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

impl OwnedReadHalf {
    /// See [`TcpStream::read`].
    ///
    /// # Errors
    /// The same.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, _writer) = client.into_split();
    /// server.write_all(b"hi").await?;
    /// assert_eq!(reader.read(&mut [0; 8]).await?, 2);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).await
    }

    /// See [`TcpStream::read_exact`].
    ///
    /// # Errors
    /// The same.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, _writer) = client.into_split();
    /// server.write_all(b"hi").await?;
    /// reader.read_exact(&mut [0; 2]).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(buffer).await
    }

    /// The connection as a whole.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, writer) = client.into_split();
    /// assert_eq!(reader.stream().peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl OwnedWriteHalf {
    /// See [`TcpStream::write`].
    ///
    /// # Errors
    /// The same.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (_reader, writer) = client.into_split();
    /// assert_eq!(writer.write(b"hi").await?, 2);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes).await
    }

    /// See [`TcpStream::write_all`].
    ///
    /// # Errors
    /// The same.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (_reader, writer) = client.into_split();
    /// writer.write_all(b"hi").await?;
    /// server.read_exact(&mut [0; 2]).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Ends the writing direction; so does dropping the half.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (_reader, writer) = client.into_split();
    /// writer.shutdown()?;
    /// assert_eq!(server.read(&mut [0; 1]).await?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn shutdown(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// The connection as a whole.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, writer) = client.into_split();
    /// assert_eq!(writer.stream().peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        // A peer that is gone already is no news.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
