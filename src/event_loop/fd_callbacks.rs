//! `add_reader` and `add_writer`: callbacks for descriptors that the user keeps.

use std::io;
use std::os::fd::AsRawFd;

use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_handle::LoopHandle;

impl LoopHandle {
    /// Has `callback` called in every turn in which the descriptor can be read, has come to its end, or has failed.
    ///
    /// It goes by level and not by edge: as long as the callback leaves something to be read it is called again. It
    /// replaces a former reader of the same descriptor, and runs in the context that is current now. Its panic goes to the
    /// exception handler, and it stays in place. The descriptor stays the caller's: remove the reader before closing it.
    ///
    /// # Errors
    /// What the system says: `PermissionDenied` for a regular file, which is always ready; `AlreadyExists` for a socket of
    /// this loop; a closed descriptor; a closed loop. `Unsupported` outside Linux. The callback has been dropped then.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let (mut near, mut far) = std::os::unix::net::UnixStream::pair()?;
    /// let (handle, descriptor) = (event_loop.handle(), std::os::fd::AsRawFd::as_raw_fd(&near));
    /// event_loop.add_reader(&descriptor, move || {
    ///     near.read_exact(&mut [0; 5]).unwrap();
    ///     handle.remove_reader(&near);
    ///     handle.stop();
    /// })?;
    /// far.write_all(b"hello")?;
    /// event_loop.run_forever().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn add_reader(
        &self,
        fd: &impl AsRawFd,
        callback: impl FnMut() + 'static,
    ) -> io::Result<()> {
        self.add_fd_callback(fd.as_raw_fd(), Direction::Read, Box::new(callback))
    }

    /// Ends what [`add_reader`](Self::add_reader) began; a writer of the same descriptor stays. `true` if there was a
    /// reader; after this it is not called any more, also where its event has come already.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let (near, _far) = std::os::unix::net::UnixStream::pair()?;
    /// event_loop.add_reader(&near, || ())?;
    /// assert!(event_loop.remove_reader(&near));
    /// assert!(!event_loop.remove_reader(&near));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_reader(&self, fd: &impl AsRawFd) -> bool {
        self.remove_fd_callback(fd.as_raw_fd(), Direction::Read)
    }

    /// Has `callback` called in every turn in which the descriptor can be written to or has failed. Everything else is as
    /// [`add_reader`](Self::add_reader) says.
    ///
    /// # Errors
    /// The same.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let (near, _far) = std::os::unix::net::UnixStream::pair()?;
    /// let handle = event_loop.handle();
    /// event_loop.add_writer(&near, move || handle.stop())?;
    /// event_loop.run_forever().unwrap();
    /// event_loop.remove_writer(&near);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn add_writer(
        &self,
        fd: &impl AsRawFd,
        callback: impl FnMut() + 'static,
    ) -> io::Result<()> {
        self.add_fd_callback(fd.as_raw_fd(), Direction::Write, Box::new(callback))
    }

    /// Ends what [`add_writer`](Self::add_writer) began; a reader of the same descriptor stays. `true` if there was a
    /// writer.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let (near, _far) = std::os::unix::net::UnixStream::pair()?;
    /// event_loop.add_writer(&near, || ())?;
    /// assert!(event_loop.remove_writer(&near));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_writer(&self, fd: &impl AsRawFd) -> bool {
        self.remove_fd_callback(fd.as_raw_fd(), Direction::Write)
    }
}
