//! What happened, in order, written by any thread.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

/// A [`Trace`](super::Trace) that other threads and what they post may write to.
#[derive(Clone, Default)]
pub(crate) struct SharedTrace {
    lines: Arc<Mutex<Vec<String>>>,
}

impl SharedTrace {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn push(&self, line: impl Display) {
        let line = line.to_string();
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }

    /// A callback that writes one line.
    pub(crate) fn note(&self, line: impl Display) -> impl FnOnce() + Send + 'static {
        let (trace, line) = (self.clone(), line.to_string());
        move || trace.push(line)
    }

    /// Takes everything out, for comparison.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Compares the whole trace and empties it.
    #[track_caller]
    pub(crate) fn expect<const N: usize>(&self, lines: [&str; N]) {
        assert_eq!(self.take(), lines);
    }
}
