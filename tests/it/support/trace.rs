//! What happened, in order.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

/// A list of lines that callbacks and tasks write and the test compares as a whole.
#[derive(Clone, Default)]
pub(crate) struct Trace {
    lines: Rc<RefCell<Vec<String>>>,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn push(&self, line: impl Display) {
        let line = line.to_string();
        self.lines.borrow_mut().push(line);
    }

    /// A callback that writes one line.
    pub(crate) fn note(&self, line: impl Display) -> impl FnOnce() + 'static {
        let (trace, line) = (self.clone(), line.to_string());
        move || trace.push(line)
    }

    /// Takes everything out, for comparison.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.borrow_mut())
    }

    /// Compares the whole trace and empties it.
    #[track_caller]
    pub(crate) fn expect<const N: usize>(&self, lines: [&str; N]) {
        assert_eq!(self.take(), lines);
    }
}
