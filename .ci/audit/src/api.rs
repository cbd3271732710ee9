//! The public API: every item that a user can name, one a line with its whole signature, sorted.
//!
//! It is what rustdoc says with all features on. Of traits, blanket implementations are left out, since they are another
//! crate's; auto traits are in, since a type that stops being `Send` breaks programs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Failure;
use crate::render::{Names, list, variant};

/// What of rustdoc's JSON this program can read. Another compiler may write another format, and name items of the
/// standard library by other paths.
const FORMAT: u64 = 57;

/// How a snapshot begins.
const HEADER: &str = "\
# The public API of callsoon with all features, one item a line. `.ci/run api` holds the crate to it; a change that is meant
# is written by `.ci/run api_write`, and its lines are the change that users see.
";

/// Compares, and names each line that is new or gone.
pub fn compare(rustdoc: &Value, snapshot: &str) -> Result<(), Failure> {
    let Some(now) = text(rustdoc)? else {
        return Ok(());
    };
    let before = std::fs::read_to_string(snapshot)?;
    if before == now {
        println!("{} items, as in {snapshot}", now.lines().count());
        return Ok(());
    }
    let (before, now): (BTreeSet<_>, BTreeSet<_>) =
        (before.lines().collect(), now.lines().collect());
    for gone in before.difference(&now) {
        println!("- {gone}");
    }
    for new in now.difference(&before) {
        println!("+ {new}");
    }
    Err(
        format!("the public API is not that of {snapshot}: `.ci/run api_write` writes it anew")
            .into(),
    )
}

/// Writes the snapshot.
pub fn write(rustdoc: &Value, snapshot: &str) -> Result<(), Failure> {
    let text = text(rustdoc)?.ok_or("there is nothing to write")?;
    std::fs::write(snapshot, &text)?;
    println!("{} lines written: {snapshot}", text.lines().count());
    Ok(())
}

/// The whole snapshot; nothing, with a word, if rustdoc writes another format.
fn text(rustdoc: &Value) -> Result<Option<String>, Failure> {
    let format = rustdoc["format_version"]
        .as_u64()
        .ok_or("this is not rustdoc's JSON")?;
    if format != FORMAT {
        println!(
            "not compared: rustdoc writes format {format}, and the snapshot was written from {FORMAT}"
        );
        return Ok(None);
    }
    let mut walk = Walk::new(rustdoc);
    walk.all(Pass::Names);
    walk.all(Pass::Lines);
    let lines = walk
        .lines
        .into_iter()
        .fold(String::new(), |text, line| text + &line + "\n");
    Ok(Some(HEADER.to_owned() + &lines))
}

/// The first pass finds the public paths, which the second one writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Names,
    Lines,
}

struct Walk<'a> {
    index: &'a Value,
    root: u64,
    names: Names<'a>,
    lines: BTreeSet<String>,
    /// Modules and re-exports that are being walked, so that a circle of them ends.
    open: Vec<u64>,
}

impl<'a> Walk<'a> {
    fn new(rustdoc: &'a Value) -> Self {
        Self {
            index: &rustdoc["index"],
            root: rustdoc["root"].as_u64().unwrap_or_default(),
            names: Names {
                public: BTreeMap::new(),
                others: &rustdoc["paths"],
            },
            lines: BTreeSet::new(),
            open: Vec::new(),
        }
    }

    fn all(&mut self, pass: Pass) {
        let root = self.item(self.root);
        let name = root["name"].as_str().unwrap_or_default().to_owned();
        self.children(pass, &name, &root["inner"]["module"]["items"]);
    }

    fn item(&self, id: u64) -> &'a Value {
        &self.index[id.to_string()]
    }

    fn items(&self, ids: &'a Value) -> impl Iterator<Item = (u64, &'a Value)> + use<'a> {
        let index = self.index;
        let ids = list(ids).iter().filter_map(Value::as_u64);
        ids.map(move |id| (id, &index[id.to_string()]))
            .filter(|(_, item)| !item.is_null())
    }

    fn children(&mut self, pass: Pass, path: &str, ids: &'a Value) {
        for (id, item) in self.items(ids) {
            if !self.open.contains(&id) {
                self.open.push(id);
                self.child(pass, path, id, item);
                self.open.pop();
            }
        }
    }

    /// An item of a module, or what a re-export stands for.
    fn child(&mut self, pass: Pass, path: &str, id: u64, item: &'a Value) {
        let (kind, data) = variant(&item["inner"]);
        if kind != "use" {
            let path = format!("{path}::{}", item["name"].as_str().unwrap_or_default());
            return self.named(pass, &path, id, item);
        }
        let target = data["id"].as_u64();
        let found = target.map(|target| (target, self.item(target)));
        let found = found.filter(|(_, item)| !item.is_null());
        // `pub use time::sleep` names the function, and inside the crate a module of that name too.
        if found.is_some_and(|(_, item)| !["public", "default"].contains(&visibility(item))) {
            return;
        }
        let name = data["name"].as_str().unwrap_or_default();
        match (found, data["is_glob"].as_bool()) {
            (Some((_, item)), Some(true)) => {
                let (kind, data) = variant(&item["inner"]);
                let inside = if kind == "enum" { "variants" } else { "items" };
                self.children(pass, path, &data[inside]);
            }
            (Some((target, item)), _) => self.named(pass, &format!("{path}::{name}"), target, item),
            (None, _) if pass == Pass::Lines => {
                let source = data["source"].as_str().unwrap_or_default();
                self.lines.insert(format!("use {path}::{name} = {source}"));
            }
            (None, _) => {}
        }
    }

    fn named(&mut self, pass: Pass, path: &str, id: u64, item: &'a Value) {
        let (kind, data) = variant(&item["inner"]);
        if pass == Pass::Names {
            let known = self.names.public.get(&id);
            // The shortest, of equal ones the first by name.
            if known.is_none_or(|known| (path.len(), path) < (known.len(), known.as_str())) {
                self.names.public.insert(id, path.to_owned());
            }
        } else {
            self.lines_of(path, item);
        }
        if kind == "module" {
            self.children(pass, path, &data["items"]);
        }
    }

    fn line(&mut self, line: String) {
        self.lines.insert(line);
    }

    fn lines_of(&mut self, path: &str, item: &'a Value) {
        let (kind, data) = variant(&item["inner"]);
        let generics = &data["generics"];
        let head = self.names.params(generics) + &self.names.wheres(generics);
        let marks = marks(item);
        match kind {
            "module" => self.line(format!("mod {path}")),
            "function" => {
                let function = self.names.function(path, data);
                self.line(format!("{marks}{function}"));
            }
            "struct" => {
                let (shape, fields) = variant(&data["kind"]);
                let fields = if shape == "plain" {
                    &fields["fields"]
                } else {
                    fields
                };
                self.line(format!("{marks}struct {path}{head}"));
                self.fields(path, fields);
                self.impls(path, &data["impls"]);
            }
            "enum" => {
                self.line(format!("{marks}enum {path}{head}"));
                for (_, item) in self.items(&data["variants"]) {
                    let name = item["name"].as_str().unwrap_or_default();
                    let path = format!("{path}::{name}");
                    let (shape, fields) = variant(&item["inner"]["variant"]["kind"]);
                    let fields = if shape == "struct" {
                        &fields["fields"]
                    } else {
                        fields
                    };
                    self.line(format!("{}variant {path}", self::marks(item)));
                    self.fields(&path, fields);
                }
                self.impls(path, &data["impls"]);
            }
            "trait" => {
                let bounds = self.names.bounds(&data["bounds"]);
                let colon = if bounds.is_empty() { "" } else { ": " };
                self.line(format!("{marks}trait {path}{head}{colon}{bounds}"));
                self.members(path, &data["items"]);
                self.impls(path, &data["implementations"]);
            }
            "type_alias" => {
                let ty = self.names.ty(&data["type"]);
                self.line(format!("{marks}type {path}{head} = {ty}"));
            }
            "constant" | "static" => {
                let ty = self.names.ty(&data["type"]);
                self.line(format!("{marks}{kind} {path}: {ty}"));
            }
            "macro" => {
                let rules = data.as_str().unwrap_or_default().split_whitespace();
                let rules: Vec<_> = rules.collect();
                self.line(format!("{marks}macro {path}: {}", rules.join(" ")));
            }
            kind => self.line(format!("{marks}{kind} {path}")),
        }
    }

    /// Public fields. Those of tuples are by place, where a private one is null.
    fn fields(&mut self, path: &str, ids: &'a Value) {
        for (_, item) in self.items(ids) {
            let name = item["name"].as_str().unwrap_or_default();
            let ty = self.names.ty(&item["inner"]["struct_field"]);
            self.line(format!("field {path}::{name}: {ty}"));
        }
    }

    /// What a trait or an inherent implementation has.
    fn members(&mut self, path: &str, ids: &'a Value) {
        for (_, item) in self.items(ids) {
            let path = format!("{path}::{}", item["name"].as_str().unwrap_or_default());
            let (kind, data) = variant(&item["inner"]);
            let marks = marks(item);
            let line = match kind {
                "function" => {
                    let provided = if data["has_body"] == true {
                        ""
                    } else {
                        "required "
                    };
                    format!("{provided}{}", self.names.function(&path, data))
                }
                "assoc_type" => {
                    let bounds = self.names.bounds(&data["bounds"]);
                    format!("type {path}: {bounds}{}", self.equals(&data["type"]))
                }
                "assoc_const" => format!("const {path}: {}", self.names.ty(&data["type"])),
                kind => format!("{kind} {path}"),
            };
            self.line(format!("{marks}{line}"));
        }
    }

    fn equals(&self, ty: &Value) -> String {
        match ty.is_null() {
            true => String::new(),
            false => format!(" = {}", self.names.ty(ty)),
        }
    }

    fn impls(&mut self, path: &str, ids: &'a Value) {
        for (_, item) in self.items(ids) {
            let data = &item["inner"]["impl"];
            if data["trait"].is_null() {
                self.inherent(path, data);
            } else if data["blanket_impl"].is_null() {
                let (generics, names) = (&data["generics"], &self.names);
                let not = if data["is_negative"] == true { "!" } else { "" };
                let line = format!(
                    "impl{} {not}{} for {}{}",
                    names.params(generics),
                    names.path(&data["trait"]),
                    names.ty(&data["for"]),
                    names.wheres(generics),
                );
                let types: Vec<_> = self
                    .items(&data["items"])
                    .filter_map(|(_, item)| {
                        let given = item["inner"].get("assoc_type")?;
                        let name = item["name"].as_str()?;
                        Some(format!(
                            "{line} {{ type {name}{} }}",
                            self.equals(&given["type"])
                        ))
                    })
                    .collect();
                self.lines.extend(types);
                self.line(line);
            }
        }
    }

    /// Methods. What they are implemented for is said only where it is more than the type as it was declared.
    fn inherent(&mut self, path: &str, data: &'a Value) {
        let (generics, names) = (&data["generics"], &self.names);
        let own = names.ty(&data["for"]);
        let own = own.split_once('<').map_or("", |(_, arguments)| arguments);
        let given = names.params(generics) + &names.wheres(generics);
        let path = match own.is_empty() && given.is_empty() {
            true => path.to_owned(),
            false => format!("<impl{given} {path}<{own}>"),
        };
        self.members(&path, &data["items"]);
    }
}

/// A visibility inside the crate is an object.
fn visibility(item: &Value) -> &str {
    item["visibility"].as_str().unwrap_or("restricted")
}

/// Attributes that users notice.
fn marks(item: &Value) -> String {
    let mut text = String::new();
    for attribute in list(&item["attrs"]) {
        // Why a result must be used is a message, no part of the API.
        let (kind, _) = variant(attribute);
        if ["non_exhaustive", "must_use", "repr"].contains(&kind) {
            text += &format!("#[{kind}] ");
        }
    }
    if !item["deprecation"].is_null() {
        text += "#[deprecated] ";
    }
    text
}
