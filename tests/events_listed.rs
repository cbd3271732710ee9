//! A process of its own because it tests the source, not the library: each event and each span of `tracing` is in its
//! table of `docs/events`, with its level or target, its message or name, and its fields, and the tables have nothing
//! else.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Every source file by its module's path, as in `kernel/turn`.
fn modules() -> BTreeMap<String, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut folders) = (BTreeMap::new(), vec![source.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&source).unwrap().with_extension("");
                let text = fs::read_to_string(&path).unwrap();
                found.insert(name.to_str().unwrap().to_owned(), text);
            }
        }
    }
    found
}

/// Code without comments and without its unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// An event: its level, its message, and the names of its fields.
type Event = (String, String, Vec<String>);

/// The text from an opening parenthesis to the one that closes it, without both. Texts of these calls hold none.
fn within_parentheses(text: &str) -> &str {
    let mut depth = 0;
    for (place, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return &text[1..place],
            ')' => depth -= 1,
            _ => {}
        }
    }
    panic!("no end: {text}")
}

/// The events that a file sends.
fn events_sent(text: &str) -> Vec<Event> {
    let text = code(text);
    let calls = text.match_indices("tracing::").filter_map(|(place, path)| {
        let (level, rest) = text[place + path.len()..].split_once('!')?;
        let is_level =
            ["error", "warn", "info", "debug", "trace", "event", "span"].contains(&level);
        is_level.then(|| (level, within_parentheses(rest)))
    });
    let events = calls.map(|(level, call)| {
        let (before, message) = call
            .trim_end_matches([',', '\n', ' '])
            .split_once('"')
            .unwrap();
        assert_eq!(before.trim(), "target:", "an event without a target");
        let (target, rest) = message.split_once("\",").unwrap();
        assert_eq!(target, "callsoon");
        let (fields, message) = rest.split_once('"').unwrap();
        let fields = fields
            .split(',')
            .map(|field| field.trim().trim_start_matches('%'));
        let fields = fields.filter(|field| !field.is_empty());
        let message = message.trim_end_matches('"').to_owned();
        (
            level.to_owned(),
            message,
            fields.map(str::to_owned).collect(),
        )
    });
    events.collect()
}

/// The spans that a file makes, and its events that are for tools and not for people: target, name and fields. Such an
/// event has no message, and its name here is its first field.
fn spans_made(text: &str) -> Vec<Event> {
    let text = code(text);
    let calls = text.match_indices("tracing::trace").map(|(place, path)| {
        let (kind, rest) = text[place + path.len()..].split_once('!').unwrap();
        (kind == "_span", within_parentheses(rest))
    });
    let made = calls.map(|(is_span, call)| {
        let mut parts: Vec<_> = call.split(',').map(str::trim).collect();
        parts.retain(|part| !part.is_empty() && *part != "parent: None");
        let target = parts.remove(0).strip_prefix("target: ").unwrap();
        let name = match is_span {
            true => parts.remove(0).trim_matches('"').to_owned(),
            false => "an event".to_owned(),
        };
        let fields = parts.iter().map(|part| part.split(" = ").next().unwrap());
        let fields = fields.map(str::to_owned).collect();
        (target.trim_matches('"').to_owned(), name, fields)
    });
    made.collect()
}

/// The rows of one of the tables.
fn rows_listed(page: &str) -> Vec<Event> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("//! | "));
    let rows = rows.filter(|row| !row.starts_with("level ") && !row.starts_with("target "));
    let codes = |cell: &str| {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        let [message] = &codes(cells[1])[..] else {
            panic!("no message: {row}")
        };
        let first = cells[0].trim_matches('`');
        (first.to_owned(), message.clone(), codes(cells[2]))
    })
    .collect()
}

#[test]
fn every_event_is_in_the_table_and_nothing_else_is() {
    let planted = "f(|| tracing::warn!(target: \"callsoon\", took, %location, \"slow {what}\"));";
    let expected = ["took", "location"].map(str::to_owned).to_vec();
    let found = events_sent(planted);
    assert_eq!(
        found,
        [("warn".to_owned(), "slow {what}".to_owned(), expected)]
    );

    let modules = modules();
    let (events, _) = modules["docs/events"].split_once(SPANS).unwrap();
    let others = modules
        .iter()
        .filter(|(module, _)| *module != "kernel/spans");
    let mut sent: Vec<_> = others.flat_map(|(_, text)| events_sent(text)).collect();
    let mut listed = rows_listed(events);
    assert!(sent.len() > 10, "only {} events were found", sent.len());
    sent.sort();
    listed.sort();
    assert_eq!(
        sent, listed,
        "the events of the source, and those of docs/events"
    );
    for (module, text) in &modules {
        let uses = code(text).contains("tracing::");
        let may = ["kernel/events", "kernel/inbox", "kernel/spans"].contains(&module.as_str());
        assert!(
            may || !uses,
            "{module} uses tracing: kernel/events is the place, and kernel/spans for spans"
        );
    }
}

/// The heading between the two tables.
const SPANS: &str = "//! # Spans\n";

#[test]
fn every_span_is_in_the_second_table_and_nothing_else_is() {
    let planted =
        "tracing::trace_span!(target: \"a\", parent: None, \"b\", c, d.e = %f.g(), h = i)";
    let fields = ["c", "d.e", "h"].map(str::to_owned).to_vec();
    assert_eq!(
        spans_made(planted),
        [("a".to_owned(), "b".to_owned(), fields)]
    );
    let modules = modules();
    let (_, page) = modules["docs/events"].split_once(SPANS).unwrap();
    let (mut made, mut listed) = (spans_made(&modules["kernel/spans"]), rows_listed(page));
    assert_eq!(made.len(), 6);
    made.sort();
    listed.sort();
    assert_eq!(
        made, listed,
        "the spans of the source, and those of docs/events"
    );
}
