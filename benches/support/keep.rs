//! `--save` and `--compare`, for every bench alike. Names that do not exist are found before anything is measured.

use std::path::PathBuf;

use super::compare;
use super::failure::Failure;
use super::options::{Compare, Options};
use super::saves::{self, Saved};

/// What the options want of a run once it is measured.
pub(crate) struct Keep {
    folder: PathBuf,
    save: Option<String>,
    /// The run to compare with, and its name.
    old: Option<(String, Saved)>,
    /// A second one, if nothing is to be measured.
    new: Option<(String, Saved)>,
    /// Whether standard output belongs to JSON or Markdown.
    not_plain: bool,
}

impl Keep {
    /// Reads the runs that are to be compared.
    pub(crate) fn new(bench: &str, options: &Options) -> Result<Self, Failure> {
        let folder = saves::folder()?;
        let load = |name: &String| {
            let saved = Saved::load(&folder, bench, name)?;
            Ok::<_, Failure>((name.clone(), saved))
        };
        let (old, new) = match &options.compare {
            None => (None, None),
            Some(Compare::With(name)) => (Some(load(name)?), None),
            Some(Compare::Saved(old, new)) => (Some(load(old)?), Some(load(new)?)),
        };
        Ok(Self {
            save: options.save.clone(),
            not_plain: options.json || options.readme,
            folder,
            old,
            new,
        })
    }

    /// The two saved runs to compare, if nothing is to be measured.
    pub(crate) fn saved_pair(&self) -> Option<[&(String, Saved); 2]> {
        Some([self.old.as_ref()?, self.new.as_ref()?])
    }

    /// Prints the comparison of two saved runs, and says whether there are two.
    pub(crate) fn print_saved_pair(&self) -> bool {
        let Some([(old_name, old), (new_name, new)]) = self.saved_pair() else {
            return false;
        };
        print!("{}", compare::table(old_name, old, new_name, new));
        true
    }

    /// The run to compare with, and its name.
    pub(crate) fn old(&self) -> Option<&(String, Saved)> {
        self.old.as_ref()
    }

    /// Saves and compares what was measured.
    pub(crate) fn keep(&self, run: &Saved) -> Result<(), Failure> {
        if let Some((name, old)) = &self.old {
            let table = compare::table(name, old, "this run", run);
            if self.not_plain {
                eprint!("\n{table}");
            } else {
                print!("\n{table}");
            }
        }
        if let Some(name) = &self.save {
            let file = run.save(&self.folder, name)?;
            eprintln!("{}: saved as {}", run.bench, file.display());
        }
        Ok(())
    }
}
