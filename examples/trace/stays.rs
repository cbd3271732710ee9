//! When each span was entered and left: what the subscriber is told, as events of the trace.

use std::time::Instant;

use serde_json::{Map, Value, json};
use tracing::Metadata;
use tracing::span::{Attributes, Id};

use super::fields::Fields;

/// All that was seen.
#[derive(Default)]
pub(crate) struct Stays {
    /// When the first span was entered.
    begin: Option<Instant>,
    /// What each span is, by its id less one.
    spans: Vec<(&'static Metadata<'static>, Map<String, Value>)>,
    /// When the spans that are entered were, in nanoseconds from the beginning.
    entered: Vec<u128>,
    /// The events, each with its beginning and how long it took.
    pub(crate) events: Vec<(u128, u128, Value)>,
}

impl Stays {
    pub(crate) fn add(&mut self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Map::new();
        attributes.record(&mut Fields(&mut fields));
        self.spans.push((attributes.metadata(), fields));
        Id::from_u64(self.spans.len() as u64)
    }

    fn now(&mut self) -> u128 {
        self.begin
            .get_or_insert_with(Instant::now)
            .elapsed()
            .as_nanos()
    }

    pub(crate) fn enter(&mut self) {
        let now = self.now();
        self.entered.push(now);
    }

    pub(crate) fn exit(&mut self, id: &Id) {
        let (now, began) = (self.now(), self.entered.pop().unwrap_or_default());
        let took = now - began;
        let (metadata, fields) = &self.spans[id.into_u64() as usize - 1];
        let name = fields.get("task.name").or_else(|| fields.get("what"));
        let name = name
            .and_then(Value::as_str)
            .unwrap_or_else(|| metadata.name());
        let micros = |nanos: u128| nanos as f64 / 1000.0;
        self.events.push((
            began,
            took,
            json!({"ph": "X", "name": name, "cat": metadata.name(), "ts": micros(began),
            "dur": micros(took), "pid": 1, "tid": 1, "args": fields}),
        ));
    }
}
