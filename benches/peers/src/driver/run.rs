//! Processes: the binaries are built, and each measurement is a run of one of them.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use peers::{Missing, NO_ROW};

use crate::shared::failure::Failure;

/// After so long a run has hung.
const LIMIT: Duration = Duration::from_secs(300);

/// Where the binaries are.
pub struct Bins(PathBuf);

impl Bins {
    /// Builds them beside this program, with the same compiler and target folder.
    pub fn build(plain: bool) -> Result<Self, Failure> {
        let own = std::env::current_exe()?;
        let target = own
            .parent()
            .and_then(std::path::Path::parent)
            .ok_or("this program is in no target folder")?;
        let profile = if plain { "plain" } else { "release" };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--locked", "--bins", "--profile", profile])
            .args([
                "--manifest-path",
                concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
            ])
            .arg("--target-dir")
            .arg(target)
            .status()?;
        if built.success() {
            Ok(Self(target.join(profile)))
        } else {
            Err("the binaries cannot be built".into())
        }
    }

    fn path(&self, runtime: &str) -> PathBuf {
        self.0.join(runtime)
    }

    /// Runs a row; gives its figures by name.
    pub fn figures(
        &self,
        runtime: &str,
        row: &str,
        ops: u64,
    ) -> Result<Vec<(String, f64)>, Missing> {
        let output = run(Command::new(self.path(runtime))
            .arg(row)
            .arg(ops.to_string()))?;
        let figures: Option<Vec<_>> = output.lines().map(parse).collect();
        figures.ok_or_else(|| Missing::Failed(format!("it printed {output:?}")))
    }

    /// The instructions of a row's `ops.1 - ops.0` operations, for one of them.
    pub fn instructions(&self, runtime: &str, row: &str, ops: (u64, u64)) -> Result<f64, Missing> {
        let few = self.collected(runtime, row, ops.0)?;
        let many = self.collected(runtime, row, ops.1)?;
        Ok((many - few) / (ops.1 - ops.0) as f64)
    }

    fn collected(&self, runtime: &str, row: &str, ops: u64) -> Result<f64, Missing> {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        valgrind.env(peers::timed::SLOW, "1");
        let output = output(
            valgrind
                .arg(self.path(runtime))
                .arg(row)
                .arg(ops.to_string()),
        )?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(missing(&output));
        }
        let collected = said
            .lines()
            .find_map(|line| line.split_once("Collected : "));
        let number = collected.and_then(|(_, number)| number.trim().parse().ok());
        number.ok_or_else(|| Missing::Failed("callgrind printed no sum".to_owned()))
    }

    /// What `strace -c` says of a row: system calls by name.
    pub fn syscalls(
        &self,
        runtime: &str,
        row: &str,
        ops: u64,
    ) -> Result<Vec<(String, u64)>, Missing> {
        let table = std::env::temp_dir().join(format!("peers-strace-{}", std::process::id()));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-c", "-o"]).arg(&table);
        let ran = run(strace.arg(self.path(runtime)).arg(row).arg(ops.to_string()));
        let text = std::fs::read_to_string(&table);
        let _ = std::fs::remove_file(&table);
        ran?;
        // "% time  seconds  usecs/call  calls  [errors]  syscall"
        let calls = text?;
        let calls = calls.lines().filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            Some((words.last()?.to_string(), words.get(3)?.parse().ok()?))
        });
        Ok(calls.filter(|(name, _)| name != "total").collect())
    }
}

/// Whether a tool is there.
pub fn is_there(tool: &str) -> bool {
    let asked = Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

fn parse(line: &str) -> Option<(String, f64)> {
    let (name, value) = line.split_once(' ')?;
    Some((name.to_owned(), value.parse().ok()?))
}

/// What a process printed that succeeded.
fn run(command: &mut Command) -> Result<String, Missing> {
    let output = output(command)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(missing(&output))
    }
}

fn missing(output: &Output) -> Missing {
    if output.status.code() == Some(NO_ROW.into()) {
        return Missing::Row;
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // Valgrind's own lines begin with its mark.
    let said: Vec<_> = said
        .lines()
        .filter(|line| !line.starts_with("==") && !line.is_empty())
        .take(3)
        .collect();
    Missing::Failed(format!("{} ({})", said.join(" / "), output.status))
}

/// Runs a process to its end, or to the limit's.
fn output(command: &mut Command) -> Result<Output, Missing> {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // What it prints fits in a pipe.
    while child.try_wait()?.is_none() {
        if started.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Err(Missing::Failed(format!("no end within {LIMIT:?}")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(child.wait_with_output()?)
}
