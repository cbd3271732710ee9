//! What a run was measured on, and with which versions: for saved runs and for the footer of pages.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::failure::Failure;

/// A machine, and what was compiled for it. An unknown part is `unknown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The processor's name, and how many cores this process may use.
    pub(crate) processor: String,
    /// The kernel's name and release.
    pub(crate) system: String,
    /// The compiler in the path; cargo uses that one unless it is told otherwise.
    pub(crate) compiler: String,
    /// The runtimes and their versions, as the lock file has them.
    pub(crate) versions: Vec<(String, String)>,
}

/// The crates whose versions decide what is measured.
const CRATES: [&str; 8] = [
    "callsoon",
    "mio",
    "tokio",
    "async-executor",
    "async-io",
    "polling",
    "hyper",
    "rustls",
];

impl Machine {
    /// This machine.
    pub(crate) fn this() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let lock = include_str!("../../Cargo.lock");
        Self {
            processor: format!("{}, {cores} cores", processor().unwrap_or_else(unknown)),
            system: system().unwrap_or_else(unknown),
            compiler: compiler().unwrap_or_else(unknown),
            versions: versions(lock, &CRATES),
        }
    }

    /// What a table begins with: what was measured, when, and on what.
    pub(crate) fn heading(&self, bench: &str, date: &str) -> String {
        let versions = self.versions.iter();
        let versions: Vec<_> = versions
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        format!(
            "{bench}, {date}: {}\n{}; {}; {}\n",
            versions.join(", "),
            self.processor,
            self.system,
            self.compiler
        )
    }

    /// The same as a line of JSON.
    pub(crate) fn json_line(&self, bench: &str, date: &str) -> Value {
        json!({ "bench": bench, "date": date, "machine": self.to_json() })
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "processor": self.processor,
            "system": self.system,
            "compiler": self.compiler,
            "versions": self.versions,
        })
    }

    /// The reverse of [`to_json`](Self::to_json).
    pub(crate) fn from_json(value: &Value) -> Result<Self, Failure> {
        let text = |name: &str| {
            let text = value[name].as_str().map(str::to_owned);
            text.ok_or_else(|| format!("its machine has no {name}"))
        };
        let pair =
            |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned()));
        let versions = value["versions"].as_array();
        Ok(Self {
            processor: text("processor")?,
            system: text("system")?,
            compiler: text("compiler")?,
            versions: versions
                .and_then(|versions| versions.iter().map(pair).collect())
                .ok_or("its machine has no versions")?,
        })
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The name in `/proc/cpuinfo`, without the blanks that pad it, and what tells processors of that name apart: a virtual
/// machine may say no more than the brand.
fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let of = |name: &str| {
        let (_, value) = lines.clone().find(|(key, _)| key.trim() == name)?;
        Some(value.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let name = of("model name")?;
    Some(match (of("cpu family"), of("model")) {
        (Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        _ => name,
    })
}

fn system() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(format!("Linux {}", release.trim()))
}

fn compiler() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The versions that a lock file has of these crates.
pub(crate) fn versions(lock: &str, crates: &[&str]) -> Vec<(String, String)> {
    let field = |package: &str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_matches([' ', '=', '"']).to_owned())
    };
    let mut found = Vec::new();
    for package in lock.split("[[package]]").skip(1) {
        if let (Some(name), Some(version)) = (field(package, "name"), field(package, "version")) {
            found.push((name, version));
        }
    }
    found.retain(|(name, _)| crates.contains(&name.as_str()));
    found.sort_by_key(|(name, _)| crates.iter().position(|known| known == name));
    found
}
