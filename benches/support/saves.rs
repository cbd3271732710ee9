//! Runs that are kept: `target/bench-saves/BENCH/NAME.json`, one file a run.
//!
//! A file holds every round of every figure, so that a later run can be compared with it by the rounds, and what the
//! machine was. `latency` keeps its distributions in it too. What is not a file of this form is an error with the file's
//! name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::failure::{Failure, Usage};
use super::machine::Machine;
use super::table::Series;

/// The form of the files. A file of another form is refused.
const FORM: u64 = 1;

/// One run of one bench.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Saved {
    pub(crate) bench: String,
    /// Whether it was a quick run, whose figures a full run's are not compared with without a word.
    pub(crate) quick: bool,
    /// When it was measured.
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) series: Vec<Series>,
    /// What one bench alone keeps; null for the others.
    pub(crate) more: Value,
}

impl Saved {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "form": FORM,
            "bench": self.bench,
            "quick": self.quick,
            "date": self.date,
            "machine": self.machine.to_json(),
            "series": self.series.iter().map(Series::to_json).collect::<Vec<_>>(),
            "more": self.more,
        })
    }

    /// The reverse of [`to_json`](Self::to_json).
    pub(crate) fn from_json(value: &Value) -> Result<Self, Failure> {
        if value["form"] != FORM {
            return Err(format!("its form is {}, not {FORM}", value["form"]).into());
        }
        let series = value["series"].as_array().ok_or("it has no series")?;
        Ok(Self {
            bench: value["bench"].as_str().ok_or("it has no bench")?.to_owned(),
            quick: value["quick"].as_bool().ok_or("it has no quick")?,
            // Runs from before dates were kept can be compared as well.
            date: value["date"].as_str().unwrap_or("undated").to_owned(),
            machine: Machine::from_json(&value["machine"])?,
            series: series
                .iter()
                .map(Series::from_json)
                .collect::<Result<_, _>>()?,
            more: value["more"].clone(),
        })
    }

    /// Writes the run below `folder`, over one of the same name, and returns the file's path.
    pub(crate) fn save(&self, folder: &Path, name: &str) -> Result<PathBuf, Failure> {
        let folder = folder.join(&self.bench);
        let file = folder.join(format!("{name}.json"));
        let write = || {
            fs::create_dir_all(&folder)?;
            // The text first and the name last: a run that is cut off leaves no half of a file under that name.
            let unfinished = file.with_extension("tmp");
            fs::write(&unfinished, format!("{}\n", self.to_json()))?;
            fs::rename(unfinished, &file)
        };
        write().map_err(|error: io::Error| format!("{}: {error}", file.display()))?;
        Ok(file)
    }

    /// Reads the run `name` of `bench` below `folder`. A name that does not exist is a [`Usage`] with those that do.
    pub(crate) fn load(folder: &Path, bench: &str, name: &str) -> Result<Self, Failure> {
        let file = folder.join(bench).join(format!("{name}.json"));
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let names = names(folder, bench).join(", ");
                let known = if names.is_empty() { "none" } else { &names };
                let message = format!("no run of {bench} is saved as {name:?}; there are: {known}");
                return Err(Usage(message).into());
            }
            Err(error) => return Err(format!("{}: {error}", file.display()).into()),
        };
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| format!("{}: not JSON: {error}", file.display()))?;
        Self::from_json(&value)
            .map_err(|error| format!("{}: not a saved run: {error}", file.display()).into())
    }
}

/// The names of the saved runs of a bench, sorted.
fn names(folder: &Path, bench: &str) -> Vec<String> {
    let entries = fs::read_dir(folder.join(bench)).into_iter().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let saved = path
                .extension()
                .is_some_and(|extension| extension == "json");
            saved.then(|| path.file_stem()?.to_str().map(str::to_owned))?
        })
        .collect();
    names.sort();
    names
}

/// Whether this may name a run: it is a file's name everywhere, and leads into no other folder.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= 100
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c))
}

/// Cargo's target folder: the one above this binary that cargo has tagged as a cache.
pub(crate) fn target_folder() -> Result<PathBuf, Failure> {
    let binary = std::env::current_exe()?;
    let tagged = binary
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists());
    Ok(tagged
        .or_else(|| binary.parent())
        .ok_or("this binary is in no folder")?
        .to_owned())
}

/// Where runs are saved.
pub(crate) fn folder() -> Result<PathBuf, Failure> {
    Ok(target_folder()?.join("bench-saves"))
}
