//! Asks the inspector's socket: a line, and a line of JSON.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Returns the inspector's line.
pub(crate) fn ask(path: &Path, request: &str) -> Result<String, String> {
    let asked = || -> io::Result<String> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        writeln!(stream, "{request}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    asked().map_err(|error| format!("{}: {error}", path.display()))
}

/// Returns the answer of a loop that has answered. Of a loop that is busy, the error says with what.
fn answered(path: &Path, request: &str) -> Result<Value, String> {
    let text = ask(path, request)?;
    if text.is_empty() {
        return Err("the inspector has closed the connection".to_owned());
    }
    let answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if answer["answered"] == true {
        return Ok(answer);
    }
    let running = &answer["running"];
    if running.is_null() {
        return Err("the loop does not run".to_owned());
    }
    Err(format!(
        "the loop is held up by a {} {} from {}, for {:.3} s",
        running["what"].as_str().unwrap_or_default(),
        running["name"].as_str().unwrap_or_default(),
        running["place"].as_str().unwrap_or_default(),
        running["since"].as_f64().unwrap_or_default()
    ))
}

/// Returns a snapshot of the loop.
pub(crate) fn tasks(path: &Path) -> Result<Value, String> {
    answered(path, "snapshot")
}

/// Returns the text of a dump.
pub(crate) fn dump(path: &Path) -> Result<String, String> {
    let answer = answered(path, "dump")?;
    Ok(answer["dump"].as_str().unwrap_or_default().to_owned())
}
