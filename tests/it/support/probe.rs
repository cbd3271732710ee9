//! Probes: values that record their drop, wakers that count.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::Trace;

/// Writes `drop <name>` when it is dropped.
pub(crate) struct DropProbe {
    trace: Trace,
    name: String,
}

impl DropProbe {
    pub(crate) fn new(trace: &Trace, name: impl Display) -> Self {
        Self {
            trace: trace.clone(),
            name: name.to_string(),
        }
    }
}

impl Drop for DropProbe {
    fn drop(&mut self) {
        self.trace.push(format!("drop {}", self.name));
    }
}

/// A waker of another runtime, which counts its wakes.
#[derive(Default)]
pub(crate) struct CountingWaker {
    wakes: AtomicUsize,
}

impl CountingWaker {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::new(Self::default());
        (Arc::clone(&counter), Waker::from(counter))
    }

    pub(crate) fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }
}

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
    }
}
