//! The file of a Unix socket: who makes it, who replaces it, and who removes it.
//!
//! `bind` makes the file. A file that a dead server has left is replaced; asyncio removes any socket file that is there,
//! also a live server's. The socket that has made the file removes it, if it is still the same file and the process did
//! not fork in between.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::socket::address::address_of;
use crate::socket::nonblocking::new_socket;
use crate::sys::fork;

/// The file that a bound socket has made. Its drop removes the file, if it is still the same one.
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// The drop removes the file.
    removes: bool,
    /// The fork generation in which it was made. A forked child's copy removes nothing: the file is its parent's.
    forks: u32,
}

fn identity(data: &fs::Metadata) -> (u64, u64) {
    (data.dev(), data.ino())
}

impl SocketFile {
    /// Returns the file that was just made at `path`. Abstract names have none. It stays behind unless `removes` is
    /// set.
    pub(crate) fn at(path: &Path, removes: bool) -> Option<Self> {
        if path.as_os_str().as_bytes().first() == Some(&0) {
            return None;
        }
        // Absolute, so that it is found from any later working directory.
        let path = std::path::absolute(path).ok()?;
        let identity = identity(&fs::symlink_metadata(&path).ok()?);
        Some(Self {
            path,
            identity,
            removes,
            forks: fork::generation(),
        })
    }

    /// Leaves the file where it is, if there is one.
    pub(crate) fn forget(file: Option<Self>) {
        if let Some(mut file) = file {
            file.removes = false;
        }
    }

    /// Checks that clients still find the socket under its path. A socket that is bound and does not listen yet refuses
    /// every client, so another server takes it for a dead one and replaces its file. Call this after `listen`, when
    /// that can no longer happen.
    ///
    /// # Errors
    /// `AddrInUse` if another file is there, `NotFound` if none is.
    pub(crate) fn check(&self) -> io::Result<()> {
        if identity(&fs::symlink_metadata(&self.path)?) == self.identity {
            return Ok(());
        }
        let why = "another socket has taken the path before this one listened";
        Err(io::Error::new(io::ErrorKind::AddrInUse, why))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.removes && self.forks == fork::generation() && self.check().is_ok() {
            // Another process may have removed it since.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds a socket to a path or an abstract name. If `replace` is set, a file that a dead server has left there is
/// replaced. Any other file that is there is in use.
pub(crate) fn bind(socket: &Socket, path: &Path, replace: bool) -> io::Result<()> {
    let address = address_of(path)?;
    let address = SockAddr::unix(address.as_pathname().unwrap_or(path))?;
    let Err(error) = socket.bind(&address) else {
        return Ok(());
    };
    let in_use = error.kind() == io::ErrorKind::AddrInUse;
    if !(in_use && replace && is_stale(path, &address, socket.r#type()?)) {
        return Err(error);
    }
    match fs::remove_file(path) {
        // Another server may have removed it first.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => socket.bind(&address),
    }
}

/// Returns whether there is a socket file at `path` on which no server answers.
fn is_stale(path: &Path, address: &SockAddr, kind: Type) -> bool {
    if !fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket()) {
        return false;
    }
    let probe = new_socket(Domain::UNIX, kind).and_then(|probe| probe.connect(address));
    // A live server accepts the probe, or is too busy for it. A file without a server refuses it.
    probe.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
