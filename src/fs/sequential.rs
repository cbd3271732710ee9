//! Reading and writing a file from its beginning to its end, by jobs in threads.
//!
//! The position is ours and not the description's, and every job reads or writes at an offset. So a read that is given up
//! has moved nothing, and a job whose result nobody wants does no harm.
//!
//! ```text
//!              read                       the job has read
//!   Idle ─────────────────► Reading ───────────────────────► Idle, with bytes ahead
//!    │  ◄── its position moved, or a write: the job's result is dropped ──┘
//!    │         write, of a copy                the job has written, or failed
//!    └────────────────────► Writing ───────────────────────► Idle, perhaps with an error
//!    │         seek from the end                 the length is known
//!    └────────────────────► Measuring ─────────────────────► Idle, at a new position
//! ```
//!
//! A write returns when its job is queued, since a write that is polled twice may come with other bytes the second time.
//! So its error comes with the next write or flush. The bytes are in [`Unwritten`], which writes them when it is dropped if
//! no thread has: neither a file that is dropped nor an executor that shuts down loses them.

use std::fs::File;
use std::io::{self, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::error::invalid_input;
use crate::event_loop::free::get_running_loop;
use crate::executor::job::ExecutorFuture;
use crate::fs::call::flatten;
use crate::kernel::proceed::poll_within_budget;
use crate::sys::result::uninterrupted;

/// How much a job reads or writes at most. It takes about as long as the job's way to its thread and back.
const AT_ONCE: usize = 64 * 1024;

#[derive(Default)]
enum Step {
    #[default]
    Idle,
    /// Reads at `position`. The job gives its buffer back.
    Reading(ExecutorFuture<(Vec<u8>, io::Result<usize>)>),
    Writing(ExecutorFuture<io::Result<()>>),
    /// Asks for the length of the file, for a seek from its end.
    Measuring(ExecutorFuture<io::Result<u64>>),
}

/// How far a file was read and written.
#[derive(Default)]
pub(crate) struct Sequential {
    /// Of the next byte that is taken or written.
    position: u64,
    /// What was read from `position` on and not taken, from `taken` on.
    ahead: Vec<u8>,
    taken: usize,
    step: Step,
    /// What a write has failed with.
    failed: Option<io::Error>,
    /// Where a seek of tokio's trait goes, which says so in one call and waits in another.
    #[cfg(feature = "tokio-io")]
    pub(crate) target: Option<SeekFrom>,
}

impl Sequential {
    pub(crate) fn at(position: u64) -> Self {
        Self {
            position,
            ..Self::default()
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn set_position(&mut self, position: u64) {
        self.forget_ahead();
        self.position = position;
    }

    /// Returns what was read and not taken.
    pub(crate) fn ahead(&self) -> &[u8] {
        &self.ahead[self.taken..]
    }

    pub(crate) fn consume(&mut self, count: usize) {
        assert!(
            count <= self.ahead().len(),
            "consume: more than there is to take"
        );
        self.taken += count;
        self.position += count as u64;
    }

    /// Waits until there are bytes ahead. There are none at the end of the file.
    pub(crate) fn poll_ahead(
        &mut self,
        file: &Arc<File>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        poll_within_budget(context, |context| {
            loop {
                if !self.ahead().is_empty() {
                    return Poll::Ready(Ok(()));
                }
                match &mut self.step {
                    // The length is of no use to a seek that was given up.
                    Step::Idle | Step::Measuring(_) => self.begin_reading(file),
                    // Bytes that were written are read from the file.
                    Step::Writing(_) => ready!(self.poll_written(context)),
                    Step::Reading(job) => {
                        let read = ready!(Pin::new(job).poll(context));
                        self.step = Step::Idle;
                        let (bytes, count) = flatten(read.map(Ok))?;
                        self.ahead = bytes;
                        self.ahead.truncate(*count.as_ref().unwrap_or(&0));
                        self.taken = 0;
                        return Poll::Ready(count.map(drop));
                    }
                }
            }
        })
    }

    fn begin_reading(&mut self, file: &Arc<File>) {
        let mut buffer = std::mem::take(&mut self.ahead);
        self.taken = 0;
        let (file, position) = (Arc::clone(file), self.position);
        let read = move || {
            buffer.resize(AT_ONCE, 0);
            let count = uninterrupted(|| file.read_at(&mut buffer, position));
            (buffer, count)
        };
        self.step = Step::Reading(get_running_loop().run_in_executor(None, read));
    }

    /// Takes bytes to write, when those before are written.
    ///
    /// # Errors
    /// What an earlier write has failed with. Nothing was taken then.
    pub(crate) fn poll_write(
        &mut self,
        file: &Arc<File>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        poll_within_budget(context, |context| {
            ready!(self.poll_written(context));
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(error));
            }
            if bytes.is_empty() {
                return Poll::Ready(Ok(0));
            }
            // What was read ahead may be what is written over.
            self.forget_ahead();
            let bytes = &bytes[..bytes.len().min(AT_ONCE)];
            let unwritten = Unwritten {
                file: Arc::clone(file),
                position: self.position,
                bytes: bytes.to_vec(),
            };
            self.position = self.position.saturating_add(bytes.len() as u64);
            let job = get_running_loop().run_in_executor(None, move || unwritten.write());
            self.step = Step::Writing(job);
            Poll::Ready(Ok(bytes.len()))
        })
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// What a write has failed with.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_within_budget(context, |context| {
            ready!(self.poll_written(context));
            Poll::Ready(self.failed.take().map_or(Ok(()), Err))
        })
    }

    /// Moves the position, and returns it.
    pub(crate) fn poll_seek(
        &mut self,
        file: &Arc<File>,
        context: &mut Context<'_>,
        target: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        poll_within_budget(context, |context| {
            let (from, by) = match target {
                SeekFrom::Start(position) => (position, 0),
                SeekFrom::Current(by) => (self.position, by),
                SeekFrom::End(by) => (ready!(self.poll_length(file, context))?, by),
            };
            let Some(position) = from.checked_add_signed(by) else {
                let why = "a position before the beginning of the file, or too large";
                return Poll::Ready(Err(invalid_input(why)));
            };
            // What was read ahead stays for those who only ask where they are.
            if position != self.position {
                self.set_position(position);
            }
            Poll::Ready(Ok(position))
        })
    }

    /// Waits for the length of the file, with everything that was written.
    fn poll_length(
        &mut self,
        file: &Arc<File>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<u64>> {
        loop {
            match &mut self.step {
                Step::Writing(_) => ready!(self.poll_written(context)),
                Step::Measuring(job) => {
                    let measured = ready!(Pin::new(job).poll(context));
                    self.step = Step::Idle;
                    return Poll::Ready(flatten(measured));
                }
                // What a read brings is dropped: the position moves.
                Step::Idle | Step::Reading(_) => {
                    let file = Arc::clone(file);
                    let measure = move || file.metadata().map(|metadata| metadata.len());
                    let job = get_running_loop().run_in_executor(None, measure);
                    self.step = Step::Measuring(job);
                }
            }
        }
    }

    /// Waits for the job that writes, and keeps its error.
    fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Step::Writing(job) = &mut self.step {
            let written = ready!(Pin::new(job).poll(context));
            self.step = Step::Idle;
            self.failed = flatten(written).err();
        }
        Poll::Ready(())
    }

    fn forget_ahead(&mut self) {
        self.ahead.clear();
        self.taken = 0;
        if matches!(self.step, Step::Reading(_) | Step::Measuring(_)) {
            self.step = Step::Idle;
        }
    }
}

/// Bytes that a write has taken and that are not in the file yet.
struct Unwritten {
    file: Arc<File>,
    position: u64,
    bytes: Vec<u8>,
}

impl Unwritten {
    fn write(mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        self.file.write_all_at(&bytes, self.position)
    }
}

impl Drop for Unwritten {
    /// Writes what no thread has begun to write. Nobody is left whom an error could be told: a program that wants to know
    /// flushes.
    fn drop(&mut self) {
        let _ = self.file.write_all_at(&self.bytes, self.position);
    }
}
