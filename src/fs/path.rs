//! Calls that name a path: what `std::fs` has under the same names.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use crate::fs::call::{in_thread, named, with_path};

/// Reads a whole file.
///
/// # Errors
/// `NotFound`, `PermissionDenied` and the others of [`std::fs::read`]; the error names the path. `OutOfMemory` if there is
/// no memory for so much.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropped before it is done it changes nothing.
///
/// ```
/// # callsoon::doctest::run(async {
/// let limits = callsoon::fs::read("/proc/self/limits").await?;
/// assert!(limits.starts_with(b"Limit"));
/// # Ok(()) });
/// ```
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    with_path("read", path.as_ref(), |path| fs::read(path)).await
}

/// Reads a whole file as text.
///
/// # Errors
/// Those of [`read`]; `InvalidData` if it is not UTF-8.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropped before it is done it changes nothing.
///
/// ```
/// # callsoon::doctest::run(async {
/// let status = callsoon::fs::read_to_string("/proc/self/status").await?;
/// assert!(status.contains("Pid:"));
/// # Ok(()) });
/// ```
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    with_path("read", path.as_ref(), |path| fs::read_to_string(path)).await
}

/// Writes a whole file: makes it, or replaces what it held.
///
/// # Errors
/// `NotFound` if its folder does not exist, `PermissionDenied`, `StorageFull` and the others of [`std::fs::write`]; the
/// error names the path.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropped before its thread has begun it changes nothing; later it goes on to its end. A file that others read must
/// never be seen half written: write another one and [`rename`] it.
///
/// ```
/// # callsoon::doctest::run(async {
/// let path = std::env::temp_dir().join(format!("callsoon-write-{}", std::process::id()));
/// callsoon::fs::write(&path, "hello").await?;
/// assert_eq!(callsoon::fs::read(&path).await?, b"hello");
/// callsoon::fs::remove_file(&path).await?;
/// # Ok(()) });
/// ```
pub async fn write(path: impl AsRef<Path>, contents: impl Into<Vec<u8>>) -> io::Result<()> {
    let contents = contents.into();
    with_path("write", path.as_ref(), move |path| {
        fs::write(path, contents)
    })
    .await
}

/// Returns what the system knows of a file or a folder: its length, its kind, its times. Follows symbolic links.
///
/// # Errors
/// `NotFound`, `PermissionDenied` and the others of [`std::fs::metadata`]; the error names the path.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropped before it is done it changes nothing.
///
/// ```
/// # callsoon::doctest::run(async {
/// assert!(callsoon::fs::metadata("/").await?.is_dir());
/// # Ok(()) });
/// ```
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    with_path("read the metadata of", path.as_ref(), |path| {
        fs::metadata(path)
    })
    .await
}

/// Removes a file.
///
/// # Errors
/// `NotFound`, `IsADirectory`, `PermissionDenied` and the others of [`std::fs::remove_file`]; the error names the path.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropped before its thread has begun it changes nothing; later it goes on to its end.
///
/// ```
/// # callsoon::doctest::run(async {
/// let error = callsoon::fs::remove_file("/no/such/file").await.unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
/// # Ok(()) });
/// ```
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    with_path("remove", path.as_ref(), |path| fs::remove_file(path)).await
}

/// Renames a file or a folder, and replaces a file that has the new name.
///
/// # Errors
/// `NotFound`, `CrossesDevices`, `PermissionDenied` and the others of [`std::fs::rename`]; the error names both paths.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropped before its thread has begun it changes nothing; later it goes on to its end.
///
/// ```
/// # callsoon::doctest::run(async {
/// let error = callsoon::fs::rename("/no/such/file", "/no/such/place").await.unwrap_err();
/// assert!(error.to_string().starts_with("cannot rename /no/such/file to /no/such/place: "));
/// # Ok(()) });
/// ```
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (from.as_ref().to_owned(), to.as_ref().to_owned());
    in_thread(move || {
        fs::rename(&from, &to).map_err(|error| named("rename", from, Some(to), error))
    })
    .await
}

/// Makes a folder, and the folders above it that do not exist. One that exists is no error.
///
/// # Errors
/// `PermissionDenied`, `AlreadyExists` if a part of the path is a file, and the others of [`std::fs::create_dir_all`]; the
/// error names the path.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropped before its thread has begun it changes nothing; later it goes on to its end.
///
/// ```
/// # callsoon::doctest::run(async {
/// callsoon::fs::create_dir_all(std::env::temp_dir()).await?;
/// # Ok(()) });
/// ```
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    with_path("make", path.as_ref(), |path| fs::create_dir_all(path)).await
}
