//! `add_reader` and `add_writer`: callbacks for file descriptors that the program owns.

use std::io;
use std::os::fd::AsRawFd;

use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_handle::LoopHandle;

impl LoopHandle {
    /// Calls `callback` in every turn that polls for events and finds the descriptor readable, at its end, or failed.
    ///
    /// It is level-triggered: it is called again as long as there is something left to read. A turn without ready work polls
    /// always. While work is ready, a turn polls when 25 µs have passed since the last poll: a chain of a thousand short
    /// callbacks may see its reader called twice. [`event_interval(1)`](crate::Builder::event_interval) polls in every turn,
    /// as asyncio does.
    ///
    /// It replaces the previous reader of the same descriptor, and runs in a copy of the current context. If it panics, the
    /// panic is reported and the callback stays registered. The caller still owns the descriptor and must remove the reader
    /// before closing it.
    ///
    /// # Errors
    /// The callback has been dropped in each case.
    /// - `EPERM`, of kind `PermissionDenied`, for a regular file or a folder, which cannot be polled and is always ready.
    /// - `AlreadyExists` for a socket that this loop itself watches.
    /// - `EBADF` for a closed descriptor.
    /// - [`LoopClosed`](crate::LoopClosed), inside an `io::Error`, if the loop is closed.
    /// - `Unsupported` on other systems than Linux.
    ///
    /// ```
    /// use std::{io::{Read, Write}, os::unix::net::UnixStream, rc::Rc};
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let (near, mut far) = UnixStream::pair()?;
    /// let near = Rc::new(near);
    /// let reader = Rc::clone(&near);
    /// event_loop.add_reader(&near, move || {
    ///     let mut data = [0; 5];
    ///     (&*reader).read_exact(&mut data).unwrap();
    ///     assert_eq!(&data, b"hello");
    ///     let event_loop = callsoon::get_running_loop();
    ///     event_loop.remove_reader(&reader);
    ///     event_loop.stop();
    /// })?;
    /// far.write_all(b"hello")?;
    /// event_loop.run_forever()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn add_reader(
        &self,
        fd: &impl AsRawFd,
        callback: impl FnMut() + 'static,
    ) -> io::Result<()> {
        let context = self.state.copy_context();
        self.add_fd_callback(fd.as_raw_fd(), Direction::Read, context, Box::new(callback))
    }

    /// Removes the callback of [`add_reader`](Self::add_reader). A writer of the same descriptor stays.
    ///
    /// Returns whether there was a reader. It is not called any more, even if its event has arrived already.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let (near, _far) = std::os::unix::net::UnixStream::pair()?;
    /// event_loop.add_reader(&near, || ())?;
    /// assert!(event_loop.remove_reader(&near));
    /// assert!(!event_loop.remove_reader(&near));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_reader(&self, fd: &impl AsRawFd) -> bool {
        self.remove_fd_callback(fd.as_raw_fd(), Direction::Read)
    }

    /// Calls `callback` in every turn that polls for events and finds the descriptor writable or failed. Otherwise like
    /// [`add_reader`](Self::add_reader).
    ///
    /// # Errors
    /// Those of [`add_reader`](Self::add_reader).
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
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
        let context = self.state.copy_context();
        self.add_fd_callback(
            fd.as_raw_fd(),
            Direction::Write,
            context,
            Box::new(callback),
        )
    }

    /// Removes the callback of [`add_writer`](Self::add_writer). A reader of the same descriptor stays.
    ///
    /// Returns whether there was a writer.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let (near, _far) = std::os::unix::net::UnixStream::pair()?;
    /// event_loop.add_writer(&near, || ())?;
    /// assert!(event_loop.remove_writer(&near));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_writer(&self, fd: &impl AsRawFd) -> bool {
        self.remove_fd_callback(fd.as_raw_fd(), Direction::Write)
    }
}
