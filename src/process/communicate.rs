//! Giving a child all its input and taking all its output, at the same time: one after the other would be a deadlock as
//! soon as a pipe is full.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::process::Output;
use std::task::{Context, Poll};

use crate::process::child::Process;
use crate::stream::reader::StreamReader;

impl Process {
    /// Writes `input`, closes the child's input, reads its output and errors to their ends, and waits for its exit.
    /// What is not piped is left alone, and empty in the result.
    ///
    /// A child that reads nothing, or ends before it has read everything, is no error. It ends when the pipes do: where a
    /// grandchild holds them open, [`wait`](Self::wait) is the sooner.
    ///
    /// # Errors
    /// Those of [`wait`](Self::wait), and of reading.
    ///
    /// # Cancellation
    /// Dropped, it does nothing to the child and loses nothing: the input goes on being written, and what was read is
    /// kept for another `communicate(None)`, or for the reader's own methods.
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
            // It is kept, and goes while we read; dropped, the writer closes the pipe behind it.
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
    reader
        .as_mut()
        .map_or_else(|| Ok(Vec::new()), StreamReader::take_all)
}

/// Both to their ends, or to the first error.
async fn both(
    one: impl Future<Output = io::Result<()>>,
    other: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut one_over, mut other_over) = (false, false);
    poll_fn(|context| {
        for (future, over) in [
            (
                one.as_mut() as Pin<&mut dyn Future<Output = _>>,
                &mut one_over,
            ),
            (other.as_mut(), &mut other_over),
        ] {
            advance(future, over, context)?;
        }
        if one_over && other_over {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}

fn advance(
    future: Pin<&mut dyn Future<Output = io::Result<()>>>,
    over: &mut bool,
    context: &mut Context<'_>,
) -> io::Result<()> {
    if !*over {
        if let Poll::Ready(result) = future.poll(context) {
            *over = true;
            return result;
        }
    }
    Ok(())
}
