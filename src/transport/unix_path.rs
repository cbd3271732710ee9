//! Names of Unix sockets, and the files that they leave behind.
//!
//! A server's file outlives it if it is killed, and the next one cannot bind. So a file is taken out of the way, but only
//! if it is a socket and nobody answers there: a live server's file is never stolen, nor anything that is not a socket
//! removed. A closing server removes its own file alone, which it knows by its inode.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// The address of a path, or of an abstract name where it begins with a zero byte.
pub(crate) fn address(path: &Path) -> io::Result<SockAddr> {
    let bytes = path.as_os_str().as_bytes();
    let refused = match bytes {
        // The system would make up an abstract name.
        [] => Some("an empty path names no socket"),
        [0, ..] => None,
        // The system would read up to it, and make a socket that nobody asked for.
        _ if bytes.contains(&0) => Some("the path of a socket must not contain a zero byte"),
        _ => None,
    };
    match refused {
        Some(why) => Err(io::Error::new(io::ErrorKind::InvalidInput, why)),
        None => SockAddr::unix(path),
    }
}

pub(crate) fn new_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A bound socket, and its file where it has one.
pub(crate) fn bind(path: &Path) -> io::Result<(Socket, Option<SocketFile>)> {
    let address = address(path)?;
    let socket = new_socket()?;
    if path.as_os_str().as_bytes().starts_with(&[0]) {
        socket.bind(&address)?;
        return Ok((socket, None));
    }
    remove_stale(path, &address)?;
    socket.bind(&address)?;
    Ok((socket, SocketFile::of(path)))
}

/// Removes a socket's file at which nobody answers.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let is_socket =
        fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if !is_socket {
        // `bind` says what is wrong with it, if anything is.
        return Ok(());
    }
    match new_socket()?.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        }
        // Somebody answers, or may.
        _ => Ok(()),
    }
}

/// The file of a bound socket.
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode: tells our file from one that another has put in its place.
    identity: (u64, u64),
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl SocketFile {
    fn of(path: &Path) -> Option<Self> {
        // The working directory may change before the file has to be removed.
        let path = std::path::absolute(path).ok()?;
        let identity = identity(&path).ok()?;
        Some(Self { path, identity })
    }

    /// Removes the file, if it is still the same. One that is gone, or cannot be removed, is left to itself.
    pub(crate) fn remove(&self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
