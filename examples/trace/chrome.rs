//! A `tracing` subscriber for one thread that gives each stay in a span as an event of a trace in the Trace Event Format:
//! complete events (`X`), whose times are microseconds, and the names of the process and its thread (`M`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::stays::Stays;

/// The subscriber. A clone is the same one.
#[derive(Clone, Default)]
pub(crate) struct Chrome(Arc<Mutex<Stays>>);

impl Chrome {
    fn stays(&self) -> MutexGuard<'_, Stays> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the trace. What began first is first, and before what is inside it.
    pub(crate) fn trace(&self, process: &str) -> Value {
        let mut stays = std::mem::take(&mut self.stays().events);
        stays.sort_by_key(|(began, took, _)| (*began, u128::MAX - took));
        let name = |what: &str, name: &str| json!({"ph": "M", "name": what, "ts": 0, "pid": 1, "tid": 1, "args": {"name": name}});
        let names = [name("process_name", process), name("thread_name", "loop")];
        let stays = stays.into_iter().map(|(_, _, event)| event);
        let events: Vec<_> = names.into_iter().chain(stays).collect();
        json!({"traceEvents": events, "displayTimeUnit": "ns"})
    }
}

impl Subscriber for Chrome {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.stays().add(attributes)
    }

    fn enter(&self, _: &Id) {
        self.stays().enter();
    }

    fn exit(&self, id: &Id) {
        self.stays().exit(id);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
}
