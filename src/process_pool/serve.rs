//! `worker`: the worker's side of a pool. It runs one job after the other, without an event loop or a thread.
//!
//! Requests come from a socket, which is the worker's standard input when it starts. Output of functions goes to the output
//! of the program. When the socket is at its end, the pool or its process has ended, and the worker exits.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::exit;
use std::sync::OnceLock;

use crate::process_pool::function::{Registered, parts};
use crate::sys::child_exit::forget_stdin;

/// The argument that makes this program a worker. An environment variable would be inherited by children of the worker,
/// which may be this program too and are no workers.
pub(crate) const WORKER_ARGUMENT: &str = "--callsoon-process-pool-worker";

/// The exit status of a worker that was started by hand, or that received an invalid request: `EX_SOFTWARE`.
const PROTOCOL_ERROR: i32 = 70;

static FUNCTIONS: OnceLock<Vec<&'static dyn Registered>> = OnceLock::new();

/// Registers the functions that worker processes can run. In a worker it runs them and never returns.
///
/// Call it first in `main`: code before it runs in every worker as well. Without this call no pool starts a worker.
///
/// # Panics
/// If two functions have the same name.
///
/// ```no_run
/// use callsoon::process_pool::{Function, worker};
/// static SQUARE: Function<u64, u64> = Function::new("square", |n| n * n);
///
/// fn main() {
///     worker(&[&SQUARE]);
///     // The program.
/// }
/// ```
pub fn worker(functions: &[&'static dyn Registered]) {
    for (place, function) in functions.iter().enumerate() {
        let same = |other: &&&dyn Registered| other.key() == function.key();
        assert!(
            !functions[..place].iter().any(|other| same(&other)),
            "process_pool::worker: two functions are called {}",
            function.key()
        );
    }
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new(WORKER_ARGUMENT)) {
        match serve(functions) {
            Ok(()) => exit(0),
            Err(error) => {
                let _ = writeln!(io::stderr(), "callsoon: a worker without a pool: {error}");
                exit(PROTOCOL_ERROR);
            }
        }
    }
    // A later call has no effect.
    let _ = FUNCTIONS.set(functions.to_vec());
}

/// Returns whether [`worker`] was called with a function of this name, or `None` if it was not called.
pub(crate) fn is_registered(name: &str) -> Option<bool> {
    let functions = FUNCTIONS.get()?;
    Some(functions.iter().any(|function| function.key() == name))
}

/// Answers requests until the socket is at its end.
fn serve(functions: &[&'static dyn Registered]) -> io::Result<()> {
    // A duplicate, since it is close-on-exec: children of the worker would inherit standard input itself.
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.local_addr()?;
    forget_stdin()?;
    let mut request = Vec::new();
    while let Some(length) = length(&mut socket)? {
        request.clear();
        let read = (&mut socket).take(length).read_to_end(&mut request)?;
        if (read as u64) < length {
            return Ok(());
        }
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "an unknown request");
        let (name, argument) = parts(&request).ok_or_else(unknown)?;
        let function = functions.iter().find(|function| function.key() == name);
        let response = function.ok_or_else(unknown)?.answer(argument);
        socket.write_all(&(response.len() as u64).to_le_bytes())?;
        socket.write_all(&response)?;
    }
    Ok(())
}

/// Reads the length of the next request. Returns `None` at the end of the socket.
fn length(socket: &mut UnixStream) -> io::Result<Option<u64>> {
    use io::ErrorKind::{ConnectionReset, UnexpectedEof};
    let mut length = [0; 8];
    match socket.read_exact(&mut length) {
        Ok(()) => Ok(Some(u64::from_le_bytes(length))),
        Err(error) if matches!(error.kind(), UnexpectedEof | ConnectionReset) => Ok(None),
        Err(error) => Err(error),
    }
}
