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
pub struct SocketFile {
    /// Path, device and inode; `None` if there is no file to remove.
    made: Option<(PathBuf, u64, u64)>,
    /// The drop removes the file.
    removes: bool,
    /// The fork generation in which it was made. A forked child's copy removes nothing: the file is its parent's.
    forks: u32,
}

impl SocketFile {
    /// Returns a value with nothing to remove.
    pub(crate) fn none() -> Self {
        Self {
            made: None,
            removes: true,
            forks: fork::generation(),
        }
    }

    /// Leaves the file where it is.
    pub(crate) fn forget(mut self) {
        self.made = None;
    }

    /// Returns the file that was just made at `path`. Abstract names have none. It stays behind unless `removes` is
    /// set.
    pub(crate) fn at(path: &Path, removes: bool) -> Self {
        let mut file = Self::none();
        file.removes = removes;
        if path.as_os_str().as_bytes().first() == Some(&0) {
            return file;
        }
        // Absolute, so that it is found from any later working directory.
        let absolute = std::path::absolute(path);
        let made = absolute.and_then(|path| fs::symlink_metadata(&path).map(|data| (path, data)));
        file.made = made.ok().map(|(path, data)| (path, data.dev(), data.ino()));
        file
    }

    /// Checks that clients still find the socket under its path. A socket that is bound and does not listen yet refuses
    /// every client, so another server takes it for a dead one and replaces its file. Call this after `listen`, when
    /// that can no longer happen.
    ///
    /// # Errors
    /// `AddrInUse` if another file is there, `NotFound` if none is.
    pub(crate) fn check(&self) -> io::Result<()> {
        let Some((path, device, inode)) = &self.made else {
            return Ok(());
        };
        let data = fs::symlink_metadata(path)?;
        if (data.dev(), data.ino()) == (*device, *inode) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another socket has taken the path before this one listened",
        ))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.removes && self.forks == fork::generation() && self.check().is_ok() {
            if let Some((path, ..)) = &self.made {
                // Another process may have removed it since.
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Binds a socket to a path or an abstract name. If `replace` is set, a file that a dead server has left there is
/// replaced. Any other file that is there is in use.
pub(crate) fn bind(socket: &Socket, path: &Path, replace: bool) -> io::Result<()> {
    let address = address_of(path)?;
    let address = SockAddr::unix(address.as_pathname().unwrap_or(path))?;
    match socket.bind(&address) {
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse
                && replace
                && is_stale(path, &address, socket.r#type()?) =>
        {
            match fs::remove_file(path) {
                // Another server may have removed it first.
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => socket.bind(&address),
            }
        }
        result => result,
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
