//! The worker's side: a blocking loop of one job after the other, with no event loop and no thread.
//!
//! Jobs come over a socket that is the worker's standard input when it starts; what functions print goes where the
//! program's own output goes. When the socket ends, because the pool is done or its process has died, so does the worker.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::exit;
use std::sync::OnceLock;

use crate::process_pool::function::{Registered, parts};
use crate::sys::child_exit::forget_stdin;

/// The argument that makes this program a worker. An environment variable would be inherited by the worker's own
/// children, which may be this program too and mean to be themselves.
pub(crate) const MARK: &str = "--callsoon-process-pool-worker";

/// How a worker leaves that was started by hand, or whose pool speaks in riddles.
const CONFUSED: i32 = 70;

static FUNCTIONS: OnceLock<Vec<&'static dyn Registered>> = OnceLock::new();

/// The first call of `main`: says what functions other processes may run, and in a worker runs them and never returns.
///
/// Without it no pool starts a worker. What stands before it in `main` runs in every worker as well.
///
/// # Panics
/// Where two functions have one name.
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
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new(MARK)) {
        match serve(functions) {
            Ok(()) => exit(0),
            Err(error) => {
                let _ = writeln!(io::stderr(), "callsoon: a worker without a pool: {error}");
                exit(CONFUSED);
            }
        }
    }
    // Only the first call counts.
    let _ = FUNCTIONS.set(functions.to_vec());
}

/// Whether `main` has called [`worker`], and with a function of this name.
pub(crate) fn is_registered(name: &str) -> Option<bool> {
    let functions = FUNCTIONS.get()?;
    Some(functions.iter().any(|function| function.key() == name))
}

fn serve(functions: &[&'static dyn Registered]) -> io::Result<()> {
    // A copy of the descriptor, for what the worker's children would inherit is closed on exec in the copy only.
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

/// The length of the next request; `None` at the end.
fn length(socket: &mut UnixStream) -> io::Result<Option<u64>> {
    let mut length = [0; 8];
    match socket.read_exact(&mut length) {
        Ok(()) => Ok(Some(u64::from_le_bytes(length))),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
