//! What is common to the programs about threads, processes and signals.
//!
//! These keep no common clock, so nothing is said of times, and each program says only what must come in this order.

use std::fmt::Display;
use std::io;
use std::sync::{Arc, Mutex};

use callsoon::{ExecutorError, TaskError, ThreadFutureError};

use crate::asyncio::{self, Program};
use crate::support::quiet_panics;

/// What the Rust side says, on whatever thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn say(&self, line: impl Display) {
        self.0.lock().unwrap().push(line.to_string());
    }

    pub(crate) fn ended<T: Display>(&self, ended: Result<T, TaskError>) {
        match ended {
            Ok(value) => self.say(format!("value {value}")),
            Err(TaskError::Cancelled(_)) => self.say("cancelled"),
            Err(error) => self.say(format!("error {error}")),
        }
    }

    pub(crate) fn job<T: Display>(&self, ended: Result<T, ExecutorError>) {
        match ended {
            Ok(value) => self.say(format!("value {value}")),
            Err(ExecutorError::Cancelled) => self.say("cancelled"),
            Err(ExecutorError::ShutDown) => self.say("refused"),
            Err(ExecutorError::Panicked(panic)) => self.say(format!("error {}", panic.message())),
            Err(error) => self.say(error),
        }
    }

    pub(crate) fn outcome<T: Display>(&self, ended: Result<T, ThreadFutureError>) {
        match ended {
            Ok(value) => self.say(format!("value {value}")),
            Err(ThreadFutureError::Cancelled) => self.say("cancelled"),
            Err(ThreadFutureError::TimedOut) => self.say("timed out"),
            Err(ThreadFutureError::Panicked(panic)) => {
                self.say(format!("error {}", panic.message()));
            }
            Err(error) => self.say(error),
        }
    }

    pub(crate) fn attempt(&self, sent: io::Result<()>) {
        match sent {
            Ok(()) => self.say("done"),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => self.say("no such process"),
            Err(error) => self.say(error),
        }
    }
}

/// Runs all programs on both sides.
pub(crate) fn compare(programs: &[Program<Log>]) {
    quiet_panics();
    asyncio::compare(include_str!("real_time.py"), programs, |program| {
        let log = Log::default();
        callsoon::run((program.rust)(log.clone())).unwrap();
        std::mem::take(&mut *log.0.lock().unwrap())
    });
}
