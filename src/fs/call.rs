//! One call in a thread of the default executor.

use std::io;
use std::path::{Path, PathBuf};

use crate::event_loop::free::get_running_loop;
use crate::executor::error::ExecutorError;
use crate::fs::error::PathError;

/// Makes a call in a thread of the running loop's executor. It is submitted at the first poll.
pub(crate) async fn in_thread<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    flatten(get_running_loop().run_in_executor(None, call).await)
}

/// Makes a call with a path, which its error then names.
pub(crate) async fn with_path<T: Send + 'static>(
    operation: &'static str,
    path: &Path,
    call: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = path.to_owned();
    in_thread(move || call(&path).map_err(|error| named(operation, path, None, error))).await
}

/// Makes the error that names one path or two.
pub(crate) fn named(
    operation: &'static str,
    path: PathBuf,
    to: Option<PathBuf>,
    error: io::Error,
) -> io::Error {
    let error = PathError {
        operation,
        path,
        to,
        error,
    };
    error.into()
}

/// Makes one error of the executor's and the call's.
pub(crate) fn flatten<T>(result: Result<io::Result<T>, ExecutorError>) -> io::Result<T> {
    match result {
        Ok(result) => result,
        Err(error) => Err(error.into()),
    }
}
