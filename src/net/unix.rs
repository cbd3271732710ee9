//! Unix sockets: streams and listeners named by a path, by an abstract name, or by nothing.
//!
//! An address that begins with a NUL byte is an abstract name, which Linux keeps beside the file system; any other is a
//! path, and one too long for the system is an error, never cut. A short read proves nothing here: a segment that
//! carries descriptors, or two writers under `SO_PASSCRED`, leave something behind, so only EAGAIN ends readiness.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::event_loop::free::get_running_loop;
use crate::kernel::proceed::proceed;
use crate::net::listen_options::ListenOptions;
use crate::net::listener::SocketListener;
use crate::net::nonblocking;
use crate::net::stream::SocketStream;
use crate::net::stream_kind::{Kind, SEND_FLAGS, StreamKind, new_socket};
use crate::sys::fork;
use crate::sys::socket::{self, UnixName, unix_address, unix_name};
use crate::time::sleep;

/// A server whose backlog is full lets a client neither in nor wait, and no event tells when there is room. So the
/// client comes again, soon at first.
const CONNECT_RETRY: Duration = Duration::from_millis(1);

/// The longest time between two tries.
const CONNECT_RETRY_MOST: Duration = Duration::from_millis(64);

/// The kind of stream that goes over a Unix socket.
///
/// ```
/// fn same_type(stream: callsoon::net::UnixStream) -> callsoon::net::SocketStream<callsoon::net::Unix> {
///     stream
/// }
/// ```
#[derive(Debug)]
pub enum Unix {}

/// A connection between two ends on one machine.
///
/// ```
/// use callsoon::net::UnixStream;
/// callsoon::run(async {
///     let (near, far) = UnixStream::pair()?;
///     near.write_all(b"ping").await?;
///     let mut buffer = [0; 4];
///     far.read_exact(&mut buffer).await?;
///     assert_eq!(&buffer, b"ping");
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub type UnixStream = SocketStream<Unix>;

/// A listening Unix socket. Its file goes with it.
///
/// ```
/// use callsoon::net::{UnixListener, UnixStream};
/// callsoon::run(async {
///     let name = format!("\0callsoon-doc-{}", std::process::id());
///     let listener = UnixListener::bind(&name).await?;
///     let client = UnixStream::connect(&name).await?;
///     let (server, _) = listener.accept().await?;
///     client.write_all(b"hello").await?;
///     server.read_exact(&mut [0; 5]).await
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub type UnixListener = SocketListener<Unix>;

impl StreamKind for Unix {}

impl Kind for Unix {
    type Address = SocketAddr;
    type Socket = mio::net::UnixStream;
    type Std = std::os::unix::net::UnixStream;
    type Listener = mio::net::UnixListener;
    type StdListener = std::os::unix::net::UnixListener;
    type Cleanup = SocketFile;
    const STREAM: &'static str = "UnixStream";
    const LISTENER: &'static str = "UnixListener";

    fn adopt(socket: Self::Std) -> io::Result<Self::Socket> {
        socket.set_nonblocking(true)?;
        Ok(mio::net::UnixStream::from_std(socket))
    }

    fn short_read_drains(_: &Self::Socket) -> bool {
        false
    }

    fn release(socket: Self::Socket) -> Self::Std {
        socket.into()
    }

    fn as_ref(socket: &Self::Socket) -> SockRef<'_> {
        socket.into()
    }

    fn read(socket: &Self::Socket, buffer: &mut [u8]) -> io::Result<usize> {
        nonblocking::receive(socket, buffer)
    }

    fn read_vectored(socket: &Self::Socket, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        nonblocking::receive_vectored(socket, buffers)
    }

    fn peek(socket: &Self::Socket, buffer: &mut [u8]) -> io::Result<usize> {
        nonblocking::peek(socket, buffer)
    }

    fn write(socket: &Self::Socket, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(socket).send_with_flags(bytes, SEND_FLAGS)
    }

    fn peer_addr(socket: &Self::Socket) -> io::Result<SocketAddr> {
        socket.peer_addr()
    }

    fn local_addr(socket: &Self::Socket) -> io::Result<SocketAddr> {
        socket.local_addr()
    }

    fn accept(listener: &Self::Listener) -> io::Result<(Self::Socket, SocketAddr)> {
        nonblocking::expect_client(listener.as_fd())?;
        let (socket, address) = socket::accept(listener.as_fd())?;
        let socket = mio::net::UnixStream::from_std(socket.into());
        let address = match std_address(&address) {
            Some(address) => address,
            None => socket.peer_addr().unwrap_or_else(|_| unnamed()),
        };
        Ok((socket, address))
    }

    fn listener_addr(listener: &Self::Listener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    fn adopt_listener(listener: Self::StdListener) -> io::Result<(Self::Listener, SocketFile)> {
        listener.set_nonblocking(true)?;
        // Whoever made the file removes it.
        Ok((
            mio::net::UnixListener::from_std(listener),
            SocketFile::none(),
        ))
    }

    fn release_listener(listener: Self::Listener, file: SocketFile) -> Self::StdListener {
        file.forget();
        listener.into()
    }
}

/// The standard library's form of an address that the system has given. `None` for a path that fills `sun_path`: only
/// what the standard library asks the system itself can have one.
pub(crate) fn std_address(address: &SockAddr) -> Option<SocketAddr> {
    match unix_name(address) {
        Some(UnixName::Path(path)) => SocketAddr::from_pathname(OsStr::from_bytes(path)).ok(),
        Some(UnixName::Abstract(name)) => abstract_address(name).ok(),
        // The sender of a datagram that is not bound has no address at all.
        Some(UnixName::Unnamed) | None => Some(unnamed()),
    }
}

/// The form in which the system takes an address.
pub(crate) fn system_address(address: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = address.as_pathname() {
        return unix_address(path.as_os_str().as_bytes());
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        #[cfg(target_os = "android")]
        use std::os::android::net::SocketAddrExt as _;
        #[cfg(target_os = "linux")]
        use std::os::linux::net::SocketAddrExt as _;

        if let Some(name) = address.as_abstract_name() {
            return unix_address(&[&[0], name].concat());
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "a socket without a name cannot be sent to",
    ))
}

/// The address of a socket that was not bound.
pub(crate) fn unnamed() -> SocketAddr {
    match SocketAddr::from_pathname("") {
        Ok(unnamed) => unnamed,
        Err(_) => unreachable!("an empty path is an unnamed address"),
    }
}

/// The address that a path, or an abstract name after a NUL byte, stands for.
pub(crate) fn address_of(path: &Path) -> io::Result<SocketAddr> {
    if path.as_os_str().is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path of a Unix socket is empty",
        ));
    }
    match path.as_os_str().as_bytes() {
        [0, name @ ..] => abstract_address(name),
        _ => SocketAddr::from_pathname(path),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt as _;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "abstract names exist on Linux only",
    ))
}

/// The file that a bound socket has made. Its drop removes it, if it is still the same one.
pub struct SocketFile {
    /// Path, device and inode; `None` where there is no file that anybody here cares for.
    made: Option<(PathBuf, u64, u64)>,
    /// The drop removes the file.
    removes: bool,
    /// A forked child's copy removes nothing: the file is its parent's.
    forks: u32,
}

impl SocketFile {
    /// Nothing to remove.
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

    /// The file that was just made at `path`; abstract names have none. It stays behind unless `removes` says otherwise.
    pub(crate) fn at(path: &Path, removes: bool) -> Self {
        let mut file = Self::none();
        file.removes = removes;
        if path.as_os_str().as_bytes().first() == Some(&0) {
            return file;
        }
        // Absolute, so that it is found whatever the working directory is by then.
        let absolute = std::path::absolute(path);
        let made = absolute.and_then(|path| fs::symlink_metadata(&path).map(|data| (path, data)));
        file.made = made.ok().map(|(path, data)| (path, data.dev(), data.ino()));
        file
    }

    /// Checks that clients still find the socket under its path. A socket that is bound and does not listen refuses every
    /// client, so another server takes its path for a dead server's. Asked after `listen`, when that is no longer so.
    ///
    /// # Errors
    /// `AddrInUse` where another file is there, `NotFound` where none is.
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
                // Somebody else may have removed it since.
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Binds a socket to a path or an abstract name. A file that a dead server has left there is replaced where `replace`
/// says so; anything else that stands there is in use.
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
                // Another server may have been quicker.
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => socket.bind(&address),
            }
        }
        result => result,
    }
}

/// Connects, and asks a server that has no room again and again.
pub(crate) async fn connect(address: &SocketAddr) -> io::Result<mio::net::UnixStream> {
    let mut pause = CONNECT_RETRY;
    loop {
        match mio::net::UnixStream::connect_addr(address) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(pause).await;
                pause = (pause * 2).min(CONNECT_RETRY_MOST);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            connected => return connected,
        }
    }
}

/// Whether a socket file stands at `path` on which nobody answers.
fn is_stale(path: &Path, address: &SockAddr, kind: Type) -> bool {
    if !fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket()) {
        return false;
    }
    let probe = new_socket(Domain::UNIX, kind).and_then(|probe| probe.connect(address));
    // A live server lets the probe in, or is too busy to; a file without a server refuses.
    probe.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Process, user and group of a peer.
///
/// ```
/// # callsoon::run(async {
/// let (near, _far) = callsoon::net::UnixStream::pair()?;
/// let cred: callsoon::net::UCred = near.peer_cred()?;
/// assert_eq!(cred.pid, Some(std::process::id() as i32));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UCred {
    /// The process that connected, where the system knows it.
    pub pid: Option<i32>,
    /// The user it ran as.
    pub uid: u32,
    /// The group it ran as.
    pub gid: u32,
}

impl UCred {
    pub(crate) fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let (pid, uid, gid) = socket::peer_cred(socket)?;
        let pid = (pid > 0).then_some(pid);
        Ok(Self { pid, uid, gid })
    }
}

impl UnixStream {
    /// Connects to the server at `path`, or at the abstract name after a NUL byte. While the server's backlog is full it
    /// tries again every few milliseconds.
    ///
    /// # Errors
    /// What the system says of the attempt: no such file, refused …; `InvalidInput` for a path that is too long.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it closes the socket.
    ///
    /// ```
    /// use callsoon::net::UnixStream;
    /// let error = callsoon::run(async { UnixStream::connect("/nobody/here").await });
    /// assert_eq!(error.unwrap().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    /// ```
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        proceed().await;
        let address = address_of(path.as_ref())?;
        Self::connect_addr(&address).await
    }

    /// Connects to an address, as [`connect`](Self::connect) does.
    ///
    /// # Errors
    /// What the system says of the attempt.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it closes the socket.
    ///
    /// ```
    /// # use callsoon::net::{UnixListener, UnixStream};
    /// # callsoon::run(async {
    /// # let name = format!("\0callsoon-doc-addr-{}", std::process::id());
    /// let listener = UnixListener::bind(&name).await?;
    /// let client = UnixStream::connect_addr(&listener.local_addr()?).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<Self> {
        let handle = get_running_loop();
        proceed().await;
        Self::from_mio(&handle, connect(address).await?)
    }

    /// Two connected streams without names.
    ///
    /// # Errors
    /// What the system says, out of descriptors above all.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let (near, far) = callsoon::net::UnixStream::pair()?;
    /// drop(near);
    /// assert_eq!(far.read(&mut [0; 8]).await?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[track_caller]
    pub fn pair() -> io::Result<(Self, Self)> {
        let handle = get_running_loop();
        let (one, other) = mio::net::UnixStream::pair()?;
        Ok((
            Self::from_mio(&handle, one)?,
            Self::from_mio(&handle, other)?,
        ))
    }

    /// Who the peer was when it connected, by the system's word.
    ///
    /// # Errors
    /// What the system says; `Unsupported` outside Linux.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// assert_eq!(near.peer_cred()?.pid, Some(std::process::id() as i32));
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn peer_cred(&self) -> io::Result<UCred> {
        UCred::of(self.io.source().as_fd())
    }
}

impl UnixListener {
    /// Binds and listens with the default [`ListenOptions`]: see [`ListenOptions::bind_unix`].
    ///
    /// # Errors
    /// What the system says: address in use, permission denied …; `InvalidInput` for a path that is too long.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let name = format!("\0callsoon-doc-bind-{}", std::process::id());
    /// let listener = callsoon::net::UnixListener::bind(&name).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        proceed().await;
        ListenOptions::new().bind_unix(path)
    }
}

impl ListenOptions {
    /// Binds to a path, or to the abstract name after a NUL byte, and listens.
    ///
    /// With [`reuse_address`](Self::reuse_address), which is the default, a socket file on which nobody answers is
    /// replaced; to find out it is connected to, which a live server sees as a client that leaves at once. A live server's
    /// address, or a file that is no socket, is in use. The file is removed when the listener is dropped, if it is still
    /// the same one; [`cleanup_socket(false)`](Self::cleanup_socket) lets it be.
    ///
    /// # Errors
    /// What the system says: address in use, permission denied …; `InvalidInput` for a path that is too long.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let name = format!("\0callsoon-doc-options-{}", std::process::id());
    /// let listener = callsoon::net::ListenOptions::new().backlog(8).bind_unix(&name)?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[track_caller]
    pub fn bind_unix(&self, path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let handle = get_running_loop();
        let path = path.as_ref();
        let socket = new_socket(Domain::UNIX, Type::STREAM)?;
        bind(&socket, path, self.reuse_address)?;
        let file = SocketFile::at(path, self.cleanup_socket);
        socket.listen(self.backlog)?;
        file.check()?;
        let listener = mio::net::UnixListener::from_std(socket.into());
        UnixListener::watch(&handle, listener, file)
    }
}
