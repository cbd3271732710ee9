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

/// Returns what puts the path of an open file into an error, if the path is known. A job that the executor has refused is
/// no matter of the file: its error stays as it is.
pub(crate) fn naming(
    operation: &'static str,
    path: Option<&Path>,
) -> impl FnOnce(io::Error) -> io::Error {
    move |error| match path {
        Some(path)
            if error
                .get_ref()
                .is_none_or(|inner| !inner.is::<ExecutorError>()) =>
        {
            named(operation, path.to_owned(), None, error)
        }
        _ => error,
    }
}

/// Makes one error of the executor's and the call's.
pub(crate) fn flatten<T>(result: Result<io::Result<T>, ExecutorError>) -> io::Result<T> {
    match result {
        Ok(result) => result,
        Err(error) => Err(error.into()),
    }
}
