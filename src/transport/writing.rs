//! What a program writes: straight to the socket while nothing is buffered, and behind what is buffered otherwise.
//!
//! A write never waits and never fails: whoever writes too much is asked to pause, and what comes too late is dropped,
//! since nobody would read it.

use std::io::{self, IoSlice};

use crate::kernel::report::run_quietly;
use crate::transport::buffer::MOST_PIECES;
use crate::transport::flow::InvalidLimits;
use crate::transport::protocol::Transport;

/// How many writes to a lost connection go without a word, as in asyncio: a few cross the news of its end, more are a
/// program that does not listen.
const QUIET_WRITES: u32 = 4;

/// Up to this many pieces are sent without an allocation.
const FEW_PIECES: usize = 16;

impl Transport {
    /// Sends bytes: at once if the system takes them, else they are copied and sent as soon as it does.
    ///
    /// Where there is no memory for the copy, the connection is lost to an error of kind `OutOfMemory`.
    ///
    /// To a connection that is lost it does nothing, and says so in the log from the fifth time on. On one that is
    /// closing and still has something to send, the bytes are sent after that.
    ///
    /// # Panics
    /// After [`write_eof`](Self::write_eof), unless the connection is closing.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// transport.write(b"hello");
    /// let mut hello = [0; 5];
    /// std::io::Read::read_exact(&mut &there, &mut hello)?;
    /// assert_eq!(&hello, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[track_caller]
    pub fn write(&self, data: &[u8]) {
        if !self.takes("write") || data.is_empty() {
            return;
        }
        let connection = &self.connection;
        if connection.sending_file.get() {
            return self.write_behind(data);
        }
        let mut sent = 0;
        if connection.outgoing.borrow().is_empty() {
            match connection.send(data.len(), |socket| socket.send(data)) {
                Ok(count) if count == data.len() => return,
                Ok(count) => sent = count,
                Err(error) => return self.fail_writing(error),
            }
        }
        let kept = connection.outgoing.borrow_mut().push(&data[sent..]);
        match kept {
            Ok(()) => self.buffered_more(),
            Err(error) => self.fail_writing(error.into()),
        }
    }

    /// Sends several pieces of bytes as if they were one, without joining them first.
    ///
    /// # Panics
    /// After [`write_eof`](Self::write_eof), unless the connection is closing.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// transport.writelines(&["hel", "", "lo"]);
    /// let mut hello = [0; 5];
    /// std::io::Read::read_exact(&mut &there, &mut hello)?;
    /// assert_eq!(&hello, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[track_caller]
    pub fn writelines<B: AsRef<[u8]>>(&self, lines: &[B]) {
        if !self.takes("writelines") {
            return;
        }
        if self.connection.sending_file.get() {
            return lines
                .iter()
                .for_each(|line| self.write_behind(line.as_ref()));
        }
        let mut rest = lines;
        // What `as_ref` gives is taken once: it is foreign code.
        let mut few = [IoSlice::new(&[]); FEW_PIECES];
        let mut many = Vec::new();
        while !rest.is_empty() && self.connection.outgoing.borrow().is_empty() {
            let (now, later) = rest.split_at(rest.len().min(MOST_PIECES));
            rest = later;
            let pieces: &[IoSlice<'_>] = if now.len() <= FEW_PIECES {
                for (piece, line) in few.iter_mut().zip(now) {
                    *piece = IoSlice::new(line.as_ref());
                }
                &few[..now.len()]
            } else {
                many.clear();
                many.extend(now.iter().map(|line| IoSlice::new(line.as_ref())));
                &many
            };
            if !self.send_pieces(pieces) {
                return;
            }
        }
        for line in rest {
            let bytes = line.as_ref();
            let kept = self.connection.outgoing.borrow_mut().push(bytes);
            if let Err(error) = kept {
                return self.fail_writing(error.into());
            }
        }
        self.buffered_more();
    }

    /// Sends what the system takes of some pieces and buffers the rest of them; false where the connection failed.
    fn send_pieces(&self, pieces: &[IoSlice<'_>]) -> bool {
        let connection = &self.connection;
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        if total == 0 {
            return true;
        }
        let mut sent = match connection.send(total, |socket| socket.send_vectored(pieces)) {
            Ok(count) => count,
            Err(error) => {
                self.fail_writing(error);
                return false;
            }
        };
        if sent == total {
            return true;
        }
        let kept = pieces.iter().try_for_each(|piece| {
            let skip = sent.min(piece.len());
            sent -= skip;
            connection.outgoing.borrow_mut().push(&piece[skip..])
        });
        if let Err(error) = kept {
            self.fail_writing(error.into());
            return false;
        }
        true
    }

    /// Whether bytes may be written at all.
    #[inline]
    #[track_caller]
    fn takes(&self, call: &str) -> bool {
        let connection = &self.connection;
        if connection.lost.get() {
            self.refuse(call);
            return false;
        }
        if connection.finishing.get() && !connection.closing.get() {
            self.complain(call);
        }
        true
    }

    /// Drops a write on a connection that is lost.
    #[cold]
    fn refuse(&self, call: &str) {
        let connection = &self.connection;
        let refused = connection.writes_refused.get();
        connection.writes_refused.set(refused.saturating_add(1));
        if refused >= QUIET_WRITES {
            let location = connection.location;
            run_quietly(|| {
                tracing::warn!(target: "callsoon", %location, "{call} on a connection that is lost");
            });
        }
    }

    /// Ends a connection whose peer takes too little.
    #[cold]
    fn overflow(&self) {
        self.fail_writing(io::Error::new(
            io::ErrorKind::QuotaExceeded,
            "more was written than may be buffered",
        ));
    }

    #[cold]
    #[track_caller]
    fn complain(&self, call: &str) -> ! {
        match self.connection.pipe_direction() {
            Some(_) => panic!("{call}: this is the reading end of a pipe"),
            None => panic!("{call}: write_eof() was called before"),
        }
    }

    /// Keeps what is written while a file goes out.
    fn write_behind(&self, data: &[u8]) {
        let Some(mut turn) = self.connection.file_turn.take() else {
            return;
        };
        let kept = turn.behind.push(data);
        self.connection.file_turn.set(Some(turn));
        if let Err(error) = kept {
            return self.fail_writing(error.into());
        }
        if self.get_write_buffer_size() > self.connection.marks.borrow().cap {
            self.overflow();
        }
    }

    /// Something may have been buffered: asks the protocol to pause if that is too much.
    fn buffered_more(&self) {
        let connection = &self.connection;
        let size = connection.outgoing.borrow().len();
        if size == 0 {
            return;
        }
        if size > connection.marks.borrow().cap {
            return self.overflow();
        }
        connection.look_again_for_writing();
        self.pause_if_full(size);
    }

    fn pause_if_full(&self, size: usize) {
        if self.connection.marks.borrow_mut().must_pause(size) {
            // Its panic is reported, and costs it this call only.
            let _ = self.enter("pause_writing", |protocol| protocol.pause_writing(self));
        }
    }

    /// Ends the writing side, after what is buffered has been sent; the peer reads to its end and may go on writing.
    /// Calling it again, or on a transport that is closing, changes nothing. It closes nothing: the connection ends by the
    /// peer's end of file or by [`close`](Self::close).
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// transport.write(b"all I have to say");
    /// transport.write_eof();
    /// assert_eq!(std::io::read_to_string(&there)?, "all I have to say");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn write_eof(&self) {
        let connection = &self.connection;
        if connection.closing.get() || connection.finishing.get() {
            return;
        }
        if connection.pipe_direction().is_some() {
            return self.close();
        }
        connection.finishing.set(true);
        if connection.has_sent_all() {
            connection.end_writing();
        }
    }

    /// How many bytes are written and not yet taken by the system.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// transport.write(b"taken at once");
    /// assert_eq!(transport.get_write_buffer_size(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn get_write_buffer_size(&self) -> usize {
        let connection = &self.connection;
        let before = connection.outgoing.borrow().len();
        let Some(turn) = connection.file_turn.take() else {
            return before;
        };
        let behind = turn.behind.len();
        connection.file_turn.set(Some(turn));
        before + behind
    }

    /// The low-water and the high-water mark, in this order, in bytes.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// assert_eq!(transport.get_write_buffer_limits(), (16 * 1024, 64 * 1024));
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn get_write_buffer_limits(&self) -> (usize, usize) {
        self.connection.marks.borrow().limits()
    }

    /// Sets the marks, in bytes: the protocol is asked to pause when more than `high` are buffered, and to resume when
    /// at most `low` are. Where only one is given, high is four times low; where none is, 64 KiB and 16 KiB. With a high
    /// of 0 every byte that is buffered pauses.
    ///
    /// # Errors
    /// If `low` is higher than `high`; then nothing changes.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// transport.set_write_buffer_limits(Some(1_000_000), None).unwrap();
    /// assert_eq!(transport.get_write_buffer_limits(), (250_000, 1_000_000));
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_write_buffer_limits(
        &self,
        high: Option<usize>,
        low: Option<usize>,
    ) -> Result<(), InvalidLimits> {
        self.connection.marks.borrow_mut().set(high, low)?;
        self.pause_if_full(self.get_write_buffer_size());
        Ok(())
    }

    /// How many bytes may be buffered at all; `None`, as at the start, is no bound.
    ///
    /// The marks only ask: what a program writes nevertheless is buffered, as in asyncio, however much it is. With a cap the
    /// write that goes beyond it ends the connection, which is then lost to an error of kind `QuotaExceeded`, and what was
    /// buffered is dropped: so a peer that reads nothing costs at most the cap and one write. Writes between the high mark
    /// and the cap are the program's leeway.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// transport.set_write_buffer_cap(Some(1 << 20));
    /// transport.write(&vec![0; 3 << 20]);
    /// assert!(transport.is_closing());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_write_buffer_cap(&self, bytes: Option<usize>) {
        self.connection.marks.borrow_mut().cap = bytes.unwrap_or(usize::MAX);
        if self.get_write_buffer_size() > bytes.unwrap_or(usize::MAX) {
            self.overflow();
        }
    }
}
