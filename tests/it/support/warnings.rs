//! What the crate reports through `tracing`.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Runs `f` and returns each event that this thread sent meanwhile as one line: `LEVEL message field=value ...`. Those for
/// debugging are left out.
pub(crate) fn warnings_of(f: impl FnOnce()) -> Vec<String> {
    events_of(Level::INFO, f)
}

/// The same with events of more levels.
pub(crate) fn events_of(level: Level, f: impl FnOnce()) -> Vec<String> {
    let lines = Lines(Arc::default(), level);
    tracing::subscriber::with_default(lines.clone(), f);
    std::mem::take(&mut *lines.0.lock().unwrap())
}

/// A subscriber that knows no spans.
#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<String>>>, Level);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.1
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let level = event.metadata().level();
        let text = format!("{level} {}{}", line.message, line.fields);
        self.0.lock().unwrap().push(text);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.unwrap();
    }
}
