//! Runtimes that this package does not depend on: the binaries of `benches/peers`, which measure the same paths with the
//! same code.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::super::child::Child;
use super::super::rounds::Failure;
use super::super::saves;
use super::cells::Cell;

/// The package's manifest.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/Cargo.toml");

/// The folder of the binaries.
pub(crate) struct Others(PathBuf);

impl Others {
    /// Has cargo build the package, which takes some minutes the first time. What cargo says goes to standard error.
    pub(crate) fn build() -> Result<Self, Failure> {
        let target = saves::target_folder()?.join("peers");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args([
            "build",
            "--locked",
            "--release",
            "--bin",
            "monoio",
            "--bin",
            "compio",
        ]);
        command.args(["--manifest-path", MANIFEST, "--target-dir"]);
        let built = command.arg(&target).status()?;
        if built.success() {
            Ok(Self(target.join("release")))
        } else {
            Err(format!("cargo cannot build {MANIFEST}: {built}").into())
        }
    }

    /// Starts a cell, which prints what a child of this binary would.
    pub(crate) fn start(&self, cell: Cell, length: Duration) -> Result<Child, Failure> {
        let mut command = Command::new(self.0.join(cell.peer()));
        command.args(["latency", &cell.row(), &length.as_millis().to_string()]);
        Child::start_program(command, cell.name())
    }
}
