//! A subscriber that writes down what it is told, one line each.
//!
//! ```text
//! + turn number=1     a span was made, with its fields
//! > turn              it was entered
//! ! waker.wake_by_ref Task-1
//! = Task-1 task.name=other  a field was given another value
//! < turn              it was left
//! - turn              it was closed
//! ```

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Fields by their names. A text has quotation marks, and a number has none.
#[derive(Clone, Default)]
pub(crate) struct Fields(pub(crate) BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl fmt::Display for Fields {
    /// Writes all but the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.iter().filter(|(name, _)| !name.starts_with("loc."));
        shown.try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

/// A span that was made.
#[derive(Clone)]
pub(crate) struct Made {
    /// The task's name, or the span's.
    pub(crate) name: String,
    pub(crate) target: &'static str,
    pub(crate) is_root: bool,
    pub(crate) fields: Fields,
}

#[derive(Default)]
struct Log {
    lines: Vec<String>,
    made: Vec<Made>,
    entered: Vec<u64>,
}

/// The subscriber. A clone is the same one.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Log>>);

impl Heard {
    /// Runs `f` and returns the lines of what this thread told meanwhile.
    pub(crate) fn lines_of(f: impl FnOnce()) -> Vec<String> {
        let heard = Self::default();
        tracing::subscriber::with_default(heard.clone(), f);
        heard.lines()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().lines.clone()
    }

    pub(crate) fn made(&self) -> Vec<Made> {
        self.0.lock().unwrap().made.clone()
    }

    fn note(&self, sign: char, id: &Id) {
        let mut log = self.0.lock().unwrap();
        let place = id.into_u64() as usize - 1;
        let line = format!("{sign} {}", log.made[place].name);
        match sign {
            '>' => log.entered.push(id.into_u64()),
            '<' => assert_eq!(log.entered.pop(), Some(id.into_u64()), "spans nest"),
            _ => {}
        }
        log.lines.push(line);
    }
}

impl Subscriber for Heard {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let name = fields.0.get("task.name").cloned();
        let metadata = attributes.metadata();
        let mut log = self.0.lock().unwrap();
        log.lines.push(format!("+ {}{fields}", metadata.name()));
        log.made.push(Made {
            name: name.unwrap_or_else(|| metadata.name().to_owned()),
            target: metadata.target(),
            is_root: attributes.is_root(),
            fields,
        });
        Id::from_u64(log.made.len() as u64)
    }

    /// Writes a wake as `! op name`, with the name of the task, and any other event as `! message in name`, with the name
    /// of the span that is entered.
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut log = self.0.lock().unwrap();
        let name = |id: Option<u64>| match id {
            Some(id) => log.made[id as usize - 1].name.clone(),
            None => "nothing".to_owned(),
        };
        let line = match fields.0.get("op") {
            Some(op) => {
                assert_eq!(event.metadata().target(), "tokio::task::waker");
                let task = fields.0["task.id"].parse().ok();
                format!("! {} {}", op.trim_matches('"'), name(task))
            }
            None => {
                let inside = name(log.entered.last().copied());
                format!("! {} in {inside}", fields.0["message"])
            }
        };
        log.lines.push(line);
    }

    fn enter(&self, id: &Id) {
        self.note('>', id);
    }

    fn exit(&self, id: &Id) {
        self.note('<', id);
    }

    fn try_close(&self, id: Id) -> bool {
        self.note('-', &id);
        true
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        let mut log = self.0.lock().unwrap();
        let name = log.made[id.into_u64() as usize - 1].name.clone();
        log.lines.push(format!("= {name}{fields}"));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
}
