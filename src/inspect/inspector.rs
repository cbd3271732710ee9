//! [`Builder::inspector`]: a Unix socket at which a loop can be asked what it does, also while it is busy.
//!
//! The socket's file has the mode 0600 before anybody can connect, and every client is asked for its user besides. A
//! thread serves it, and ends with the loop, which then removes the file.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use mio::net::UnixListener;
use socket2::{Domain, Type};

use crate::event_loop::builder::{Builder, Start};
use crate::event_loop::remote::RemoteHandle;
use crate::inspect::watcher::{Shared, Watcher};
use crate::kernel::local::LoopLocal;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::nonblocking::new_socket;
use crate::socket::socket_file::{SocketFile, bind};
use crate::sys::fork;

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 16;

/// The inspector of a loop that has one. It is dropped when the loop closes.
static INSPECTOR: LoopLocal<RefCell<Option<Inspector>>> = LoopLocal::new(|| RefCell::new(None));

/// Says why a loop has no inspector. It comes inside an error of [`Builder::build`](crate::Builder::build).
///
/// ```
/// let path = std::env::temp_dir().join(format!("callsoon-inspector-doc-{}", std::process::id()));
/// let first = callsoon::EventLoop::builder().inspector(&path).build()?;
/// let error = callsoon::EventLoop::builder().inspector(&path).build().unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
/// let error = error.get_ref().unwrap().downcast_ref::<callsoon::InspectorError>().unwrap();
/// assert_eq!(error.path(), path);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct InspectorError {
    path: PathBuf,
    cause: io::Error,
}

impl InspectorError {
    /// Returns the path of the socket that was not made.
    ///
    /// ```
    /// let path = std::path::Path::new("/nonexistent/socket");
    /// let error = callsoon::EventLoop::builder().inspector(path).build().unwrap_err();
    /// let error = error.get_ref().unwrap().downcast_ref::<callsoon::InspectorError>().unwrap();
    /// assert_eq!(error.path(), path);
    /// ```
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the error without the path.
    ///
    /// ```
    /// let path = std::path::Path::new("/nonexistent/socket");
    /// let error = callsoon::EventLoop::builder().inspector(path).build().unwrap_err();
    /// let error = error.get_ref().unwrap().downcast_ref::<callsoon::InspectorError>().unwrap();
    /// assert_eq!(error.error().raw_os_error(), Some(libc::ENOENT));
    /// ```
    pub fn error(&self) -> &io::Error {
        &self.cause
    }
}

impl fmt::Display for InspectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "no inspector at {path}: {}", self.cause)
    }
}

impl Error for InspectorError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

impl Builder {
    /// Gives the loop an inspector: a Unix socket at `path`, through which programs of the same user can ask what the loop
    /// does. `cargo run --example inspect -- ps PATH` asks. It switches on [`inspect`](Self::inspect).
    ///
    /// A client sends the line `snapshot` or `dump`, and gets one line of JSON. A thread serves it. If the loop does not
    /// answer within 200 ms, the answer names the task or callback that runs, since when, and where it was created. The file
    /// has the mode 0600, and a client of another user is closed unheard. A socket's file that a dead process has left is
    /// replaced, and the file is removed when the loop closes.
    ///
    /// # Errors
    /// [`build`](Self::build) then fails too if the socket cannot be made, with an [`InspectorError`] inside:
    /// `AddrInUse` if another process serves at `path`, or a file is there that is no socket; `NotFound` or
    /// `PermissionDenied` for its folder; `InvalidInput` if the path is too long, or the name is abstract and has no mode.
    /// Of several loops of one builder only the first gets its socket.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// let path = std::env::temp_dir().join(format!("callsoon-inspect-doc-{}", std::process::id()));
    /// let event_loop = callsoon::EventLoop::builder().inspector(&path).build()?;
    /// let client = std::thread::spawn(move || {
    ///     let mut stream = UnixStream::connect(path)?;
    ///     stream.write_all(b"snapshot\n")?;
    ///     let mut answer = String::new();
    ///     stream.read_to_string(&mut answer)?;
    ///     Ok::<_, std::io::Error>(answer)
    /// });
    /// event_loop.run_until_complete(async {
    ///     while !client.is_finished() {
    ///         callsoon::sleep(std::time::Duration::from_millis(1)).await;
    ///     }
    /// }).unwrap();
    /// assert!(client.join().unwrap()?.contains(r#""name":"Task-1""#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn inspector(self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        let start = move |handle: &LoopHandle| {
            start(&path, handle).map_err(|cause| {
                let (kind, path) = (cause.kind(), path.clone());
                io::Error::new(kind, InspectorError { path, cause })
            })
        };
        self.inspect(true).starting(Start(Arc::new(start)))
    }
}

/// The thread and the file of an inspector.
struct Inspector {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Removed by its drop, after the thread has ended.
    _file: SocketFile,
    /// The fork generation in which it was made. A forked child has no such thread.
    forks: u32,
}

impl Drop for Inspector {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        if self.forks != fork::generation() {
            std::mem::forget(thread);
            return;
        }
        self.shared.close();
        // It runs no code that panics on purpose; a panic has been printed by its hook.
        let _ = thread.join();
    }
}

fn start(path: &Path, handle: &LoopHandle) -> io::Result<()> {
    if path
        .as_os_str()
        .as_bytes()
        .first()
        .is_none_or(|byte| *byte == 0)
    {
        let why = "an inspector needs a path: an abstract name has no mode that protects it";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let Some(inspection) = &handle.state.inspection else {
        return Ok(());
    };
    let socket = new_socket(Domain::UNIX, Type::STREAM)?;
    bind(&socket, path, true)?;
    let file = SocketFile::at(path, true).ok_or(io::ErrorKind::NotFound)?;
    // Nobody can connect before `listen`.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    file.check()?;
    let user = fs::symlink_metadata(path)?.uid();
    let listener = UnixListener::from_std(socket.into());
    let remote = RemoteHandle::new(&handle.state);
    let running = Arc::clone(&inspection.running);
    let (watcher, shared) = Watcher::new(listener, user, remote, running)?;
    let builder = thread::Builder::new().name("callsoon-watch".to_owned());
    let thread = builder.spawn(move || watcher.serve())?;
    let inspector = Inspector {
        shared,
        thread: Some(thread),
        _file: file,
        forks: fork::generation(),
    };
    INSPECTOR.with(handle, |place| place.replace(Some(inspector)));
    Ok(())
}
