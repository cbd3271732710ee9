//! A child process of this same binary: lines out, lines in, a deadline, and no way to outlive its parent for long.
//!
//! Three things end a child that does not end by itself. The parent kills and reaps it by its id when the `Child` is
//! dropped, which every error path does. A parent that is itself killed closes the child's standard input, which the
//! servers and the load generator watch. And an alarm inside the child ends it in any case.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::rounds::Failure;

/// How long one child may live: the longest (a million timers held in a balanced tree) takes under ten seconds.
const LIFETIME: Duration = Duration::from_secs(60);
/// By how much the alarm inside the child comes later than the parent's deadline, which has the better message.
const ALARM_GRACE: Duration = Duration::from_secs(5);

/// A running child. Dropping it kills and reaps the process.
pub(crate) struct Child {
    /// The process; taken by nobody, waited for exactly once, by `finish` or by `drop`.
    process: std::process::Child,
    /// The child's standard input, until it is closed to say "that is all".
    input: Option<ChildStdin>,
    /// The lines of the child's standard output, read by a thread so that waiting can have a limit.
    lines: Receiver<std::io::Result<String>>,
    /// When patience ends, and how long it lasts from the start.
    deadline: Instant,
    patience: Duration,
    /// What this child is, for messages.
    what: String,
}

impl Child {
    /// Starts this binary again with `--child` and `order`.
    pub(crate) fn start(order: &[&str], quick: bool) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        if quick {
            command.arg("--quick");
        }
        command.arg("--child").args(order);
        Self::start_program(command, order.join(" "))
    }

    /// Starts another program, which is `what` in messages.
    pub(crate) fn start_program(mut command: Command, what: String) -> Result<Self, Failure> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command
            .spawn()
            .map_err(|error| format!("{what}: cannot start: {error}"))?;
        let (sender, lines) = channel();
        let input = process.stdin.take();
        if let Some(output) = process.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines() {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self {
            process,
            input,
            lines,
            deadline: Instant::now() + LIFETIME,
            patience: LIFETIME,
            what,
        })
    }

    /// Ends patience after this time from now, if that is sooner.
    pub(crate) fn limit(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        if deadline < self.deadline {
            (self.deadline, self.patience) = (deadline, patience);
        }
    }

    /// The next line of output, or `None` at its end.
    pub(crate) fn line(&mut self) -> Result<Option<String>, Failure> {
        match self
            .lines
            .recv_timeout(self.deadline.saturating_duration_since(Instant::now()))
        {
            Ok(Ok(line)) => Ok(Some(line)),
            Ok(Err(error)) => Err(format!("{}: {error}", self.what).into()),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("{}: not done after {:?}", self.what, self.patience).into())
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
        }
    }

    /// The rest of the next line, which must begin with `word`.
    pub(crate) fn expect(&mut self, word: &str) -> Result<String, Failure> {
        let line = self
            .line()?
            .ok_or_else(|| format!("{}: ended before it said {word:?}", self.what))?;
        match line.strip_prefix(word) {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => Err(format!("{}: said {line:?}, not {word:?}", self.what).into()),
        }
    }

    /// Sends a line to the child.
    pub(crate) fn tell(&mut self, line: &str) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or("the child's input is closed")?;
        input
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|error| format!("{}: {error}", self.what))?;
        Ok(())
    }

    /// Closes the child's input and waits until it ends; an exit code other than 0 is a failure.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        drop(self.input.take());
        while self.line()?.is_some() {}
        loop {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("{}: {status}", self.what).into()),
                None if Instant::now() > self.deadline => {
                    return Err(
                        format!("{}: did not end after {:?}", self.what, self.patience).into(),
                    );
                }
                // Its output has ended, so it is about to be reaped.
                None => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both are no-ops for a child that `finish` has reaped.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Called first thing in a child: the kernel ends this process when its time is over, whatever it hangs in.
pub(crate) fn limit_lifetime() {
    let seconds = (LIFETIME + ALARM_GRACE).as_secs() as libc::c_uint;
    // SAFETY: `alarm` takes a number and touches no memory of ours; SIGALRM keeps its default, which ends the process.
    unsafe { libc::alarm(seconds) };
}
