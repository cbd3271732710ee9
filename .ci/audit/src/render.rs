//! Types, bounds and generics of rustdoc's JSON as Rust writes them. Paths are public ones: a name is that under which
//! users of the crate find it, whatever private module it comes from.

use std::collections::BTreeMap;

use serde_json::Value;

/// The public paths of the crate's own items by id, and rustdoc's paths of other crates' items.
pub struct Names<'a> {
    pub public: BTreeMap<u64, String>,
    pub others: &'a Value,
}

/// The one key of a JSON object that stands for an enum, and its value. A variant without data is a string.
pub fn variant(value: &Value) -> (&str, &Value) {
    match value.as_object().and_then(|object| object.iter().next()) {
        Some((kind, data)) => (kind, data),
        None => (value.as_str().unwrap_or("nothing"), &Value::Null),
    }
}

/// The elements of a JSON array; none of anything else.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn is(value: &Value, key: &str) -> bool {
    value[key].as_bool().unwrap_or(false)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// What `each` makes of the elements, with commas between.
fn joined(values: &Value, each: impl FnMut(&Value) -> String) -> String {
    list(values).iter().map(each).collect::<Vec<_>>().join(", ")
}

/// `text` after `before`, or nothing.
fn after(before: &str, text: String) -> String {
    if text.is_empty() {
        text
    } else {
        format!("{before}{text}")
    }
}

fn in_angles(text: String) -> String {
    if text.is_empty() {
        text
    } else {
        format!("<{text}>")
    }
}

impl Names<'_> {
    /// A path with its arguments.
    pub fn path(&self, path: &Value) -> String {
        let id = path["id"].as_u64().unwrap_or(u64::MAX);
        let written = word(&path["path"]);
        let other = &self.others[id.to_string()];
        let name = match self.public.get(&id) {
            Some(public) => public.clone(),
            None if other["crate_id"]
                .as_u64()
                .is_some_and(|crate_id| crate_id > 0) =>
            {
                let parts: Vec<_> = list(&other["path"]).iter().map(word).collect();
                parts.join("::")
            }
            None => written.rsplit("::").next().unwrap_or(written).to_owned(),
        };
        name + &self.arguments(&path["args"])
    }

    fn arguments(&self, arguments: &Value) -> String {
        match variant(arguments) {
            ("angle_bracketed", data) => {
                let mut parts: Vec<_> = list(&data["args"])
                    .iter()
                    .map(|argument| self.argument(argument))
                    .collect();
                parts.extend(
                    list(&data["constraints"])
                        .iter()
                        .map(|given| self.constraint(given)),
                );
                in_angles(parts.join(", "))
            }
            ("parenthesized", data) => {
                let inputs = joined(&data["inputs"], |input| self.ty(input));
                format!("({inputs}){}", self.output(&data["output"]))
            }
            ("nothing", _) => String::new(),
            (kind, _) => format!("<{kind}>"),
        }
    }

    fn argument(&self, argument: &Value) -> String {
        match variant(argument) {
            ("type", ty) => self.ty(ty),
            ("lifetime", lifetime) => word(lifetime).to_owned(),
            ("const", constant) => word(&constant["expr"]).to_owned(),
            _ => "_".to_owned(),
        }
    }

    fn constraint(&self, constraint: &Value) -> String {
        let name = word(&constraint["name"]);
        match variant(&constraint["binding"]) {
            ("equality", term) => format!("{name} = {}", self.argument(term)),
            (_, bounds) => format!("{name}: {}", self.bounds(bounds)),
        }
    }

    pub fn ty(&self, ty: &Value) -> String {
        match variant(ty) {
            ("resolved_path", path) => self.path(path),
            ("generic" | "primitive", name) => word(name).to_owned(),
            ("dyn_trait", data) => {
                let traits = list(&data["traits"]).iter();
                let mut traits: Vec<_> = traits.map(|bound| self.poly_trait(bound)).collect();
                traits.extend(data["lifetime"].as_str().map(str::to_owned));
                format!("dyn {}", traits.join(" + "))
            }
            ("impl_trait", bounds) => format!("impl {}", self.bounds(bounds)),
            ("tuple", types) if list(types).len() == 1 => format!("({},)", self.ty(&types[0])),
            ("tuple", types) => format!("({})", joined(types, |ty| self.ty(ty))),
            ("slice", ty) => format!("[{}]", self.ty(ty)),
            ("array", data) => format!("[{}; {}]", self.ty(&data["type"]), word(&data["len"])),
            ("raw_pointer", data) => {
                let kind = if is(data, "is_mutable") {
                    "mut"
                } else {
                    "const"
                };
                format!("*{kind} {}", self.ty(&data["type"]))
            }
            ("borrowed_ref", data) => {
                let lifetime = data["lifetime"].as_str();
                let lifetime = lifetime.map_or(String::new(), |name| format!("{name} "));
                let kind = if is(data, "is_mutable") { "mut " } else { "" };
                format!("&{lifetime}{kind}{}", self.ty(&data["type"]))
            }
            ("qualified_path", data) => {
                let (own, name) = (self.ty(&data["self_type"]), word(&data["name"]));
                let arguments = self.arguments(&data["args"]);
                match data["trait"].is_null() || word(&data["trait"]["path"]).is_empty() {
                    true => format!("{own}::{name}{arguments}"),
                    false => format!(
                        "<{own} as {}>::{name}{arguments}",
                        self.path(&data["trait"])
                    ),
                }
            }
            ("function_pointer", data) => {
                let header = header(&data["header"]);
                let inputs = joined(&data["sig"]["inputs"], |input| self.ty(&input[1]));
                let generic = self.for_lifetimes(&data["generic_params"]);
                format!(
                    "{generic}{header}fn({inputs}){}",
                    self.output(&data["sig"]["output"])
                )
            }
            (kind, _) => format!("<{kind}>"),
        }
    }

    fn output(&self, output: &Value) -> String {
        match output.is_null() {
            true => String::new(),
            false => format!(" -> {}", self.ty(output)),
        }
    }

    fn for_lifetimes(&self, params: &Value) -> String {
        match joined(params, |param| self.param(param)) {
            names if names.is_empty() => names,
            names => format!("for<{names}> "),
        }
    }

    fn poly_trait(&self, bound: &Value) -> String {
        self.for_lifetimes(&bound["generic_params"]) + &self.path(&bound["trait"])
    }

    pub fn bounds(&self, bounds: &Value) -> String {
        let bounds = list(bounds).iter().map(|bound| match variant(bound) {
            ("trait_bound", data) => {
                let mark = match data["modifier"].as_str() {
                    Some("maybe") => "?",
                    _ => "",
                };
                mark.to_owned() + &self.poly_trait(data)
            }
            ("outlives", lifetime) => word(lifetime).to_owned(),
            ("use", names) => {
                let names = joined(names, |name| word(variant(name).1).to_owned());
                format!("use<{names}>")
            }
            (kind, _) => format!("<{kind}>"),
        });
        bounds.collect::<Vec<_>>().join(" + ")
    }

    fn param(&self, param: &Value) -> String {
        let name = word(&param["name"]);
        match variant(&param["kind"]) {
            ("lifetime", data) => {
                let outlives: Vec<_> = list(&data["outlives"]).iter().map(word).collect();
                name.to_owned() + &after(": ", outlives.join(" + "))
            }
            ("type", data) => {
                let default = match data["default"].is_null() {
                    true => String::new(),
                    false => self.ty(&data["default"]),
                };
                name.to_owned()
                    + &after(": ", self.bounds(&data["bounds"]))
                    + &after(" = ", default)
            }
            (_, data) => format!("const {name}: {}", self.ty(&data["type"])),
        }
    }

    /// `<…>`, without what stands for an `impl` among the arguments.
    pub fn params(&self, generics: &Value) -> String {
        let written = list(&generics["params"])
            .iter()
            .filter(|param| !is(&param["kind"]["type"], "is_synthetic"));
        in_angles(
            written
                .map(|param| self.param(param))
                .collect::<Vec<_>>()
                .join(", "),
        )
    }

    /// ` where …`.
    pub fn wheres(&self, generics: &Value) -> String {
        let predicates = joined(&generics["where_predicates"], |given| {
            match variant(given) {
                ("bound_predicate", data) => {
                    let generic = self.for_lifetimes(&data["generic_params"]);
                    let (ty, bounds) = (self.ty(&data["type"]), self.bounds(&data["bounds"]));
                    format!("{generic}{ty}: {bounds}")
                }
                ("lifetime_predicate", data) => {
                    let outlives: Vec<_> = list(&data["outlives"]).iter().map(word).collect();
                    format!("{}: {}", word(&data["lifetime"]), outlives.join(" + "))
                }
                (_, data) => format!(
                    "{} = {}",
                    self.ty(&data["lhs"]),
                    self.argument(&data["rhs"])
                ),
            }
        });
        after(" where ", predicates)
    }

    /// `async fn path<…>(…) -> … where …`
    pub fn function(&self, path: &str, function: &Value) -> String {
        let generics = &function["generics"];
        let inputs = joined(&function["sig"]["inputs"], |input| {
            format!("{}: {}", word(&input[0]), self.ty(&input[1]))
        });
        format!(
            "{}fn {path}{}({inputs}){}{}",
            header(&function["header"]),
            self.params(generics),
            self.output(&function["sig"]["output"]),
            self.wheres(generics),
        )
    }
}

fn header(header: &Value) -> String {
    let mut text = String::new();
    for (key, keyword) in [
        ("is_const", "const "),
        ("is_async", "async "),
        ("is_unsafe", "unsafe "),
    ] {
        if is(header, key) {
            text += keyword;
        }
    }
    if header["abi"].as_str() != Some("Rust") {
        text += &format!("extern {} ", header["abi"]);
    }
    text
}
