//! An open file, by positions and from its beginning to its end.

use std::fmt;
use std::fs::{self, Metadata, OpenOptions};
use std::future::poll_fn;
use std::io::{self, Seek as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::fs::call::{in_thread, naming, with_path};
use crate::fs::sequential::Sequential;
use crate::poll_io::{PollBufRead, PollRead, PollWrite};
use crate::sys::result::uninterrupted;

/// An open file, whose calls are made in threads of the default executor.
///
/// [`read_at`](Self::read_at) and [`write_at`](Self::write_at) take a position and may be awaited side by side.
/// [`read`](Self::read), [`write_all`](Self::write_all) and the traits [`PollRead`], [`PollBufRead`] and [`PollWrite`] read
/// and write from a position that moves, so that [`copy`](crate::copy()) and [`lines`](crate::lines()) work on files. So do the
/// traits of the features `futures` and `tokio-io`. That position is this object's own: another one on the same file does not move it. What has no positions, such as a FIFO or
/// a terminal, is of [`open_read_pipe`](crate::stream::open_read_pipe).
///
/// Bytes that [`write_all`](Self::write_all) has taken are written even if the file is dropped, but only
/// [`flush`](Self::flush) tells whether that has failed. Positioned calls do not wait for them.
///
/// ```
/// # callsoon::doctest::run(async {
/// use callsoon::fs::{File, remove_file};
/// let path = std::env::temp_dir().join(format!("callsoon-file-{}", std::process::id()));
/// let mut file = File::create(&path).await?;
/// file.write_all(b"hello, world").await?;
/// file.flush().await?;
///
/// let mut text = [0; 5];
/// file.read_exact_at(&mut text, 7).await?;
/// assert_eq!(&text, b"world");
/// remove_file(&path).await?;
/// # Ok(()) });
/// ```
pub struct File {
    pub(super) file: Arc<fs::File>,
    /// What it was opened by, which errors then name.
    pub(super) path: Option<Arc<Path>>,
    pub(super) sequential: Sequential,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied` and the others of [`std::fs::File::open`]; the error names the path.
    ///
    /// # Panics
    /// When awaited outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it closes the file.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let file = callsoon::fs::File::open("/proc/self/limits").await?;
    /// let mut start = [0; 5];
    /// file.read_exact_at(&mut start, 0).await?;
    /// assert_eq!(&start, b"Limit");
    /// # Ok(()) });
    /// ```
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true);
        Self::open_with(path, options).await
    }

    /// Makes a file, or cuts the one that exists to no length, for writing and for reading.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    ///
    /// # Panics
    /// When awaited outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it closes the file, which may have been made.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let error = callsoon::fs::File::create("/no/such/folder/file").await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// # Ok(()) });
    /// ```
    pub async fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        Self::open_with(path, options).await
    }

    /// Opens a file as `options` say. With `append` the system writes at the end, whatever the position.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); `InvalidInput` for options that contradict each other.
    ///
    /// # Panics
    /// When awaited outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it closes the file, which may have been made.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let mut options = std::fs::OpenOptions::new();
    /// options.append(true);
    /// let mut log = callsoon::fs::File::open_with("/dev/null", options).await?;
    /// log.write_all(b"started\n").await?;
    /// log.flush().await?;
    /// # Ok(()) });
    /// ```
    pub async fn open_with(path: impl AsRef<Path>, options: OpenOptions) -> io::Result<Self> {
        let open = move |path: &Path| options.open(path);
        let path = Arc::<Path>::from(path.as_ref());
        let file = with_path("open", &path, open).await?;
        Ok(Self::with(file, 0, Some(path)))
    }

    /// Makes one of an open file, whose path no error names. It reads and writes on from that one's position.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let file = callsoon::fs::File::from_std(std::fs::File::open("/etc/hostname")?);
    /// assert_eq!(file.position(), 0);
    /// # Ok(()) });
    /// ```
    pub fn from_std(mut file: fs::File) -> Self {
        // What has no position is not read from any.
        let position = file.stream_position().unwrap_or(0);
        Self::with(file, position, None)
    }

    fn with(file: fs::File, position: u64, path: Option<Arc<Path>>) -> Self {
        Self {
            file: Arc::new(file),
            path,
            sequential: Sequential::at(position),
        }
    }

    /// Returns the open file, for [`sendfile`](crate::LoopHandle::sendfile) and other calls that take one. Its own position
    /// is never used here.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// let file = callsoon::fs::File::open("/etc/hostname").await?;
    /// writer.sendfile(file.as_std(), 0, None).await?;
    /// # Ok(()) });
    /// ```
    pub fn as_std(&self) -> &fs::File {
        &self.file
    }

    /// Makes a call on the file in a thread.
    async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        call: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let file = Arc::clone(&self.file);
        let called = in_thread(move || call(&file)).await;
        called.map_err(naming(operation, self.path.as_deref()))
    }

    /// Reads at a position and returns how many bytes. 0 means that the file ends before it, or that `buffer` is empty.
    ///
    /// # Errors
    /// Those of [`read_at`](std::os::unix::fs::FileExt::read_at).
    ///
    /// # Panics
    /// When awaited outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it changes nothing, neither in the file nor in `buffer`.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let file = callsoon::fs::File::open("/proc/self/limits").await?;
    /// assert_eq!(file.read_at(&mut [0; 16], 1 << 40).await?, 0);
    /// # Ok(()) });
    /// ```
    pub async fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // The thread has a buffer of its own: this one may be gone before the call has ended.
        let mut bytes = vec![0; buffer.len()];
        let read = move |file: &fs::File| {
            let count = uninterrupted(|| file.read_at(&mut bytes, offset))?;
            Ok((bytes, count))
        };
        let (bytes, count) = self.call("read", read).await?;
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Reads exactly as many bytes as `buffer` has, at a position.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before; `buffer` is unchanged then. Those of [`read_at`](Self::read_at).
    ///
    /// # Panics
    /// When awaited outside a running loop.
    ///
    /// # Cancellation
    /// As [`read_at`](Self::read_at).
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let file = callsoon::fs::File::open("/proc/self/limits").await?;
    /// let error = file.read_exact_at(&mut [0; 16], 1 << 40).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    /// # Ok(()) });
    /// ```
    pub async fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut bytes = vec![0; buffer.len()];
        let read = move |file: &fs::File| {
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        };
        buffer.copy_from_slice(&self.call("read", read).await?);
        Ok(())
    }

    /// Writes all bytes at a position. A gap before it reads as zeros.
    ///
    /// # Errors
    /// `StorageFull`, `QuotaExceeded` and the others of [`write_all_at`](std::os::unix::fs::FileExt::write_all_at): a part
    /// may be written then.
    ///
    /// # Panics
    /// When awaited outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before its thread has begun it writes nothing; later it goes on to its end.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let mut options = std::fs::OpenOptions::new();
    /// options.write(true);
    /// let full = callsoon::fs::File::open_with("/dev/full", options).await?;
    /// let error = full.write_at(b"hello", 0).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    /// # Ok(()) });
    /// ```
    pub async fn write_at(&self, bytes: impl Into<Vec<u8>>, offset: u64) -> io::Result<()> {
        let bytes = bytes.into();
        self.call("write", move |file| file.write_all_at(&bytes, offset))
            .await
    }

    /// Returns what the system knows of the file.
    ///
    /// # Errors
    /// Those of [`std::fs::File::metadata`].
    ///
    /// # Panics
    /// When awaited outside a running loop.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let file = callsoon::fs::File::open("/etc").await?;
    /// assert!(file.metadata().await?.is_dir());
    /// # Ok(()) });
    /// ```
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.call("read the metadata of", fs::File::metadata).await
    }

    /// Cuts the file to a length, or extends it by zeros.
    ///
    /// # Errors
    /// `InvalidInput` if it is not open for writing, and the others of [`std::fs::File::set_len`].
    ///
    /// # Panics
    /// When awaited outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before its thread has begun it changes nothing; later it goes on to its end.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let file = callsoon::fs::File::open("/etc/hostname").await?;
    /// assert_eq!(file.set_len(0).await.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    /// # Ok(()) });
    /// ```
    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        self.call("set the length of", move |file| file.set_len(length))
            .await
    }

    /// Writes everything that was written so far to the disk, with the file's metadata: `fsync`. What
    /// [`write_all`](Self::write_all) has taken is written first.
    ///
    /// # Errors
    /// What an earlier write has failed with; those of [`std::fs::File::sync_all`].
    ///
    /// # Panics
    /// When awaited outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before its thread has begun it changes nothing; later it goes on to its end.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let mut file = callsoon::fs::File::open("/etc/hostname").await?;
    /// file.sync_all().await?;
    /// # Ok(()) });
    /// ```
    pub async fn sync_all(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.call("sync", fs::File::sync_all).await
    }

    /// Reads at least one byte from the position on, and returns how many. 0 means that the file ends there, or that
    /// `buffer` is empty.
    ///
    /// # Errors
    /// Those of [`read_at`](Self::read_at).
    ///
    /// # Panics
    /// When awaited outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let mut file = callsoon::fs::File::open("/dev/null").await?;
    /// assert_eq!(file.read(&mut [0; 16]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_read(context, buffer)).await
    }

    /// Writes all bytes from the position on. They may be on their way when this returns: [`flush`](Self::flush) waits for
    /// them.
    ///
    /// # Errors
    /// What an earlier write has failed with, which is returned once.
    ///
    /// # Panics
    /// When awaited outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it has written a part, which [`position`](Self::position) tells.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let mut options = std::fs::OpenOptions::new();
    /// options.write(true);
    /// let mut full = callsoon::fs::File::open_with("/dev/full", options).await?;
    /// full.write_all(b"hello").await?;
    /// assert_eq!(full.flush().await.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    /// # Ok(()) });
    /// ```
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = poll_fn(|context| self.poll_write(context, bytes)).await?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Waits until everything is with the system that [`write_all`](Self::write_all) has taken.
    ///
    /// # Errors
    /// What a write has failed with, which is returned once.
    ///
    /// # Cancellation
    /// Dropped before it is done it changes nothing.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let mut options = std::fs::OpenOptions::new();
    /// options.write(true);
    /// let mut null = callsoon::fs::File::open_with("/dev/null", options).await?;
    /// null.write_all(b"hello").await?;
    /// null.flush().await?;
    /// # Ok(()) });
    /// ```
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_flush(context)).await
    }
}

impl PollRead for File {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let ahead = ready!(self.poll_fill_buf(context))?;
        let count = buffer.len().min(ahead.len());
        buffer[..count].copy_from_slice(&ahead[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl PollBufRead for File {
    fn poll_fill_buf(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let ahead = ready!(self.sequential.poll_ahead(&self.file, context));
        ahead.map_err(naming("read", self.path.as_deref()))?;
        Poll::Ready(Ok(self.sequential.ahead()))
    }

    fn consume(&mut self, count: usize) {
        self.sequential.consume(count);
    }
}

/// A write returns when its bytes are on their way; flushing waits for them.
impl PollWrite for File {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.sequential.poll_write(&self.file, context, bytes);
        written.map_err(naming("write", self.path.as_deref()))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = self.sequential.poll_flush(context);
        written.map_err(naming("write", self.path.as_deref()))
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("file", &self.file)
            .field("position", &self.position())
            .finish()
    }
}
