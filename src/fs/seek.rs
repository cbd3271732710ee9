//! Where a file is read and written next: its position, and seeking.

use std::future::poll_fn;
use std::io::{self, SeekFrom};
use std::task::{Context, Poll};

use crate::fs::call::naming;
use crate::fs::file::File;

impl File {
    /// Returns where the next [`read`](Self::read) or [`write_all`](Self::write_all) begins.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let mut file = callsoon::fs::File::open("/proc/self/limits").await?;
    /// file.read(&mut [0; 5]).await?;
    /// assert_eq!(file.position(), 5);
    /// # Ok(()) });
    /// ```
    pub fn position(&self) -> u64 {
        self.sequential.position()
    }

    /// Sets where the next [`read`](Self::read) or [`write_all`](Self::write_all) begins.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let mut file = callsoon::fs::File::open("/proc/self/limits").await?;
    /// file.set_position(2);
    /// let mut buffer = [0; 3];
    /// assert_eq!(file.read(&mut buffer).await?, 3);
    /// assert_eq!(&buffer, b"mit");
    /// # Ok(()) });
    /// ```
    pub fn set_position(&mut self, position: u64) {
        self.sequential.set_position(position);
    }

    /// Sets where the next [`read`](Self::read) or [`write_all`](Self::write_all) begins, and returns it. The end is where the
    /// file ends after everything that [`write_all`](Self::write_all) has taken. As with [`std::io::Seek`] it may be beyond
    /// the end.
    ///
    /// # Errors
    /// `InvalidInput` for a position before the file's beginning. For [`SeekFrom::End`] also those of
    /// [`metadata`](Self::metadata). The position is what it was.
    ///
    /// # Panics
    /// When awaited outside a running loop, with [`SeekFrom::End`].
    ///
    /// # Cancellation
    /// Dropped before it is done it has not moved.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// use std::io::SeekFrom;
    /// let mut file = callsoon::fs::File::open("/proc/self/limits").await?;
    /// assert_eq!(file.seek(SeekFrom::Start(2)).await?, 2);
    /// assert_eq!(file.seek(SeekFrom::Current(-1)).await?, 1);
    /// let error = file.seek(SeekFrom::Current(-2)).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// assert_eq!(file.position(), 1);
    /// # Ok(()) });
    /// ```
    pub async fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        poll_fn(|context| self.poll_seek(context, target)).await
    }

    /// Seeks: [`seek`](Self::seek) as a poll function.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// use std::{future::poll_fn, io::SeekFrom};
    /// let mut file = callsoon::fs::File::open("/dev/null").await?;
    /// assert_eq!(poll_fn(|context| file.poll_seek(context, SeekFrom::End(0))).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn poll_seek(
        &mut self,
        context: &mut Context<'_>,
        target: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        let sought = self.sequential.poll_seek(&self.file, context, target);
        sought.map_err(naming("seek in", self.path.as_deref()))
    }

    /// Notes where [`poll_seek_end`](Self::poll_seek_end) goes.
    #[cfg(feature = "tokio-io")]
    pub(crate) fn start_seek(&mut self, target: SeekFrom) {
        self.sequential.target = Some(target);
    }

    /// Goes where the program has said, and returns the position.
    #[cfg(feature = "tokio-io")]
    pub(crate) fn poll_seek_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let Some(target) = self.sequential.target else {
            return Poll::Ready(Ok(self.position()));
        };
        let sought = std::task::ready!(self.poll_seek(context, target));
        self.sequential.target = None;
        Poll::Ready(sought)
    }
}
