//! A writer of JSON, as far as the inspector needs it: objects, arrays, strings, numbers, `null`.
//!
//! It puts the commas and escapes the strings; that each object and array is closed is its callers' part, who do it by
//! closures.

use std::fmt::Write as _;

/// A JSON text that is being written.
#[derive(Default)]
pub(crate) struct Json {
    text: String,
    /// The next value or name follows another one.
    comma: bool,
}

impl Json {
    /// Writes one object, and returns its text.
    pub(crate) fn of(fields: impl FnOnce(&mut Self)) -> String {
        let mut json = Self::default();
        json.object(fields);
        json.text
    }

    fn separate(&mut self) {
        if std::mem::replace(&mut self.comma, true) {
            self.text.push(',');
        }
    }

    fn nest(&mut self, open: char, close: char, inside: impl FnOnce(&mut Self)) {
        self.separate();
        self.text.push(open);
        self.comma = false;
        inside(self);
        self.text.push(close);
        self.comma = true;
    }

    pub(crate) fn object(&mut self, fields: impl FnOnce(&mut Self)) {
        self.nest('{', '}', fields);
    }

    pub(crate) fn array<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.nest('[', ']', |json| {
            items.into_iter().for_each(|item| write(json, item));
        });
    }

    /// Writes the name of a field, whose value is written next.
    pub(crate) fn name(&mut self, name: &str) -> &mut Self {
        self.string(name);
        self.text.push(':');
        self.comma = false;
        self
    }

    /// Writes a string. What JSON forbids in it, and what ends a line somewhere, is escaped.
    pub(crate) fn string(&mut self, string: &str) {
        self.separate();
        self.text.push('"');
        for character in string.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                control if control.is_control() || matches!(control, '\u{2028}' | '\u{2029}') => {
                    // A `String` takes every text.
                    let _ = write!(self.text, "\\u{:04x}", u32::from(control));
                }
                other => self.text.push(other),
            }
        }
        self.text.push('"');
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.separate();
        let _ = write!(self.text, "{number}");
    }

    /// Writes a duration in seconds.
    pub(crate) fn seconds(&mut self, duration: std::time::Duration) {
        self.separate();
        let (whole, nanos) = (duration.as_secs(), duration.subsec_nanos());
        let _ = write!(self.text, "{whole}.{nanos:09}");
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.separate();
        self.text.push_str(if value { "true" } else { "false" });
    }

    /// Writes a value, or `null`.
    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => {
                self.separate();
                self.text.push_str("null");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn every_character_comes_back_from_another_parser() {
        let hostile: String = (0..0x3000).filter_map(char::from_u32).collect();
        let text = Json::of(|json| {
            json.name("a\"b").string(&hostile);
            json.name("n").number(u64::MAX);
            json.name("none").option(None::<u64>, Json::number);
            json.name("list").array([0, 1], |json, n| json.bool(n == 1));
            json.name("s")
                .seconds(std::time::Duration::new(3, 5_000_000));
            json.name("empty").object(|_| ());
        });
        assert!(!text.contains('\n'));
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed["a\"b"], hostile);
        assert_eq!(parsed["n"], u64::MAX);
        let rest = serde_json::json!([null, [false, true], 3.005, {}]);
        let keys = ["none", "list", "s", "empty"];
        let found: Vec<_> = keys.iter().map(|key| parsed[key].clone()).collect();
        assert_eq!(serde_json::Value::Array(found), rest);
    }
}
