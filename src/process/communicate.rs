//! `communicate`: writes all of a child's input and reads all of its output at the same time.
//!
//! One after the other would be a deadlock as soon as a pipe is full: the child would wait for a reader, and this process
//! for the child.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::process::Output;
use std::task::Poll;

use crate::process::child::Process;
use crate::stream::reader::StreamReader;

impl Process {
    /// Writes `input`, closes the child's input, reads its output and errors to their ends, and waits for its exit.
    ///
    /// What is not a pipe is ignored, and is empty in the result. A child that does not read all of its input is no error.
    /// This waits for the end of the pipes: a grandchild that holds them open delays it, but does not delay
    /// [`wait`](Self::wait).
    ///
    /// # Errors
    /// Those of [`wait`](Self::wait); `OutOfMemory` if there is no memory for the output; and what the system says when a
    /// pipe cannot be read.
    ///
    /// # Cancellation
    /// Dropping it does nothing to the child and loses no bytes. The input is still written, and the output that was read
    /// is kept for another `communicate(None)` or for the reader's own methods.
    ///
    /// ```
    /// use callsoon::process::{PIPE, create_subprocess_exec};
    /// callsoon::run(async {
    ///     let mut process = create_subprocess_exec("tr", ["a-z", "A-Z"]).stdin(PIPE).stdout(PIPE).await?;
    ///     let output = process.communicate(Some(b"hello")).await?;
    ///     assert_eq!(output.stdout, b"HELLO");
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap().unwrap();
    /// ```
    pub async fn communicate(&mut self, input: Option<&[u8]>) -> io::Result<Output> {
        if let Some(stdin) = self.stdin.take() {
            // The input is buffered, and is written while the output is read. Dropping the writer closes the pipe after it.
            stdin.write(input.unwrap_or_default());
        }
        both(read_all(&mut self.stdout), read_all(&mut self.stderr)).await?;
        let status = self.wait().await?;
        Ok(Output {
            status,
            stdout: take_all(&mut self.stdout)?,
            stderr: take_all(&mut self.stderr)?,
        })
    }
}

async fn read_all(reader: &mut Option<StreamReader>) -> io::Result<()> {
    match reader {
        Some(reader) => reader.read_all().await,
        None => Ok(()),
    }
}

fn take_all(reader: &mut Option<StreamReader>) -> io::Result<Vec<u8>> {
    match reader {
        Some(reader) => reader.take_all(),
        None => Ok(Vec::new()),
    }
}

/// Polls both futures until both are done or one has failed.
async fn both(
    one: impl Future<Output = io::Result<()>>,
    other: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let mut pending = [
        Some(one.as_mut() as Pin<&mut dyn Future<Output = _>>),
        Some(other.as_mut()),
    ];
    poll_fn(|context| {
        for place in &mut pending {
            let polled = place.as_mut().map(|future| future.as_mut().poll(context));
            if let Some(Poll::Ready(result)) = polled {
                *place = None;
                result?;
            }
        }
        match pending {
            [None, None] => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    })
    .await
}
