//! UDP: messages over the network, to one or to many.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;

use socket2::{Domain, Type};

use crate::event_loop::free::get_running_loop;
use crate::kernel::proceed::proceed;
use crate::net::datagram::{DatagramKind, DatagramSocket, Received};
use crate::socket::address::internet;
use crate::socket::bind_error::BindError;
use crate::socket::connect_error::ConnectError;
use crate::socket::dns::{Target, ToSocketAddrs, no_address};
use crate::socket::nonblocking::new_socket;
use crate::sys::socket;

/// The kind of message that goes over UDP.
///
/// ```
/// fn same_type(socket: callsoon::net::UdpSocket) -> callsoon::net::DatagramSocket<callsoon::net::Udp> {
///     socket
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Udp {}

/// A UDP socket.
///
/// ```
/// use callsoon::net::UdpSocket;
/// callsoon::run(async {
///     let server = UdpSocket::bind("127.0.0.1:0").await?;
///     let client = UdpSocket::bind("127.0.0.1:0").await?;
///     client.connect(server.local_addr()?).await?;
///     client.send(b"ping").await?;
///     let mut buffer = [0; 1500];
///     let (count, sender) = server.recv_from(&mut buffer).await?;
///     server.send_to(&buffer[..count], sender).await?;
///     assert_eq!(client.recv(&mut buffer).await?, 4);
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub type UdpSocket = DatagramSocket<Udp>;

impl DatagramKind for Udp {
    type Address = SocketAddr;
    type Std = std::net::UdpSocket;
    const ROOM_IS_TOLD: bool = true;

    fn recv_from(socket: &Self::Std, buffer: &mut [u8], flags: i32) -> Received<SocketAddr> {
        let (count, sender) = socket::recv_from(socket.as_fd(), buffer, flags)?;
        Ok((count, internet(&sender)?))
    }
}

impl UdpSocket {
    /// Returns a socket that is bound to an address. With port 0 the system chooses a port. Of several addresses, those
    /// of a list or of a name, it takes the first that can be bound.
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::net::lookup_host), and for the last address `AddrInUse` if another socket has
    /// it, `AddrNotAvailable` if the machine does not have it, `PermissionDenied` if the port is reserved. `NotFound`
    /// if the list is empty, an error with `EMFILE` inside if there are no descriptors left, `NotConnected` if the loop
    /// is closed. A [`BindError`] inside has the address.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has bound nothing, and it abandons the look-up.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// let by_name = callsoon::net::UdpSocket::bind(("localhost", 0)).await?;
    /// # Ok(()) });
    /// ```
    pub async fn bind(place: impl ToSocketAddrs) -> io::Result<Self> {
        let handle = get_running_loop();
        proceed().await;
        let bind = |address: SocketAddr| {
            let socket = new_socket(Domain::for_address(address), Type::DGRAM)?;
            socket.bind(&address.into())?;
            Self::watch(&handle, socket, None)
        };
        let bind = |address| bind(address).map_err(BindError::naming(address));
        place.into_target()?.try_each(&handle, bind).await
    }

    fn socket(&self) -> &std::net::UdpSocket {
        &self.io.source().0
    }

    /// Sets the peer: [`send`](Self::send) sends to this address, and only what comes from it is received. It may be
    /// called again with another address.
    ///
    /// Of several addresses, those of a list or of a name, it takes the first that the system accepts. It does not
    /// accept one of another family.
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::net::lookup_host), and for the last address `NetworkUnreachable` if there is no
    /// way to it, `InvalidInput` or `Unsupported` if it is of another family. `NotFound` if the list is empty. A
    /// [`ConnectError`] inside has the address. Whether a socket is there is known only after
    /// a message was sent.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has changed nothing, and it abandons the look-up.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.connect(socket.local_addr()?).await?;
    /// socket.send(b"to myself").await?;
    /// # Ok(()) });
    /// ```
    pub async fn connect(&self, place: impl ToSocketAddrs) -> io::Result<()> {
        proceed().await;
        let connect = |address| {
            let connected = self.socket().connect(address);
            connected.map_err(ConnectError::naming(address))
        };
        let handle = self.io.handle();
        place.into_target()?.try_each(&handle, connect).await
    }

    /// Sends a message to an address, and returns the number of bytes.
    ///
    /// Of several addresses, those of a list or of a name, it takes the first of the socket's own family, or the first
    /// of all if there is none, and tries no other. A name is looked up anew for each message. To send many, look it up
    /// once, by [`lookup_host`](crate::net::lookup_host), or [`connect`](Self::connect).
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::net::lookup_host) and of [`send`](Self::send). `NotFound` if the list is empty.
    /// A [`SendError`](crate::net::SendError) inside has the address. The socket stays usable.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has sent nothing, and it abandons the look-up.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_eq!(socket.send_to(b"x", socket.local_addr()?).await?, 1);
    /// # Ok(()) });
    /// ```
    pub async fn send_to(&self, bytes: &[u8], place: impl ToSocketAddrs) -> io::Result<usize> {
        let address = match place.into_target() {
            Ok(Target::Address(address)) => address,
            // In a box, so that the future that sends to an address has no room for a look-up.
            several => Box::pin(self.fitting(several)).await?,
        };
        self.send_to_address(bytes, &address).await
    }

    /// Returns the first of the addresses that is of the socket's own family, or the first of all.
    async fn fitting(&self, target: io::Result<Target>) -> io::Result<SocketAddr> {
        proceed().await;
        let addresses = target?.addresses(&self.io.handle()).await?;
        let own = self.local_addr()?.is_ipv6();
        let fitting = addresses.iter().find(|it| it.is_ipv6() == own);
        let found = fitting.or(addresses.first()).copied();
        found.ok_or_else(no_address)
    }

    /// Sends without waiting, and so takes no name. See [`send_to`](Self::send_to).
    ///
    /// # Errors
    /// `WouldBlock` if the system takes nothing now; otherwise those of [`send`](Self::send).
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_eq!(socket.try_send_to(b"x", socket.local_addr()?)?, 1);
    /// # Ok(()) });
    /// ```
    pub fn try_send_to(&self, bytes: &[u8], address: SocketAddr) -> io::Result<usize> {
        self.try_send_to_address(bytes, &address)
    }

    /// Returns whether messages may be sent to all machines of the network (`SO_BROADCAST`).
    ///
    /// # Errors
    /// `PermissionDenied` if a sandbox denies the call.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_broadcast(true)?;
    /// assert_eq!(socket.broadcast()?, true);
    /// # Ok(()) });
    /// ```
    pub fn broadcast(&self) -> io::Result<bool> {
        self.socket().broadcast()
    }

    /// Sets `SO_BROADCAST`. See [`broadcast`](Self::broadcast).
    ///
    /// # Errors
    /// `PermissionDenied` if a sandbox denies the call.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_broadcast(true)?;
    /// # Ok(()) });
    /// ```
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.socket().set_broadcast(on)
    }

    /// Returns how many routers a message may pass (`IP_TTL`).
    ///
    /// # Errors
    /// `PermissionDenied` if a sandbox denies the call.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_ttl(9)?;
    /// assert_eq!(socket.ttl()?, 9);
    /// # Ok(()) });
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket().ttl()
    }

    /// Sets `IP_TTL`. See [`ttl`](Self::ttl).
    ///
    /// # Errors
    /// `InvalidInput` if `ttl` is 0 or more than 255.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_ttl(9)?;
    /// # Ok(()) });
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket().set_ttl(ttl)
    }

    /// Returns whether this machine receives what it sends to an IPv4 group.
    ///
    /// # Errors
    /// `PermissionDenied` if a sandbox denies the call.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_multicast_loop_v4(false)?;
    /// assert_eq!(socket.multicast_loop_v4()?, false);
    /// # Ok(()) });
    /// ```
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.socket().multicast_loop_v4()
    }

    /// Sets `IP_MULTICAST_LOOP`. See [`multicast_loop_v4`](Self::multicast_loop_v4).
    ///
    /// # Errors
    /// `PermissionDenied` if a sandbox denies the call.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_multicast_loop_v4(false)?;
    /// # Ok(()) });
    /// ```
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.socket().set_multicast_loop_v4(on)
    }

    /// Returns how many routers a message to an IPv4 group may pass.
    ///
    /// # Errors
    /// `PermissionDenied` if a sandbox denies the call.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_multicast_ttl_v4(3)?;
    /// assert_eq!(socket.multicast_ttl_v4()?, 3);
    /// # Ok(()) });
    /// ```
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.socket().multicast_ttl_v4()
    }

    /// Sets `IP_MULTICAST_TTL`. See [`multicast_ttl_v4`](Self::multicast_ttl_v4).
    ///
    /// # Errors
    /// `InvalidInput` if `ttl` is more than 255.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_multicast_ttl_v4(3)?;
    /// # Ok(()) });
    /// ```
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.socket().set_multicast_ttl_v4(ttl)
    }

    /// Returns whether this machine receives what it sends to an IPv6 group.
    ///
    /// # Errors
    /// An error with `ENOPROTOOPT` or `EOPNOTSUPP` inside if it is an IPv4 socket.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let Ok(socket) = callsoon::net::UdpSocket::bind("[::1]:0").await else { return Ok(()) };
    /// socket.set_multicast_loop_v6(false)?;
    /// assert!(!socket.multicast_loop_v6()?);
    /// # Ok(()) });
    /// ```
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.socket().multicast_loop_v6()
    }

    /// Sets `IPV6_MULTICAST_LOOP`. See [`multicast_loop_v6`](Self::multicast_loop_v6).
    ///
    /// # Errors
    /// An error with `ENOPROTOOPT` or `EOPNOTSUPP` inside if it is an IPv4 socket.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let Ok(socket) = callsoon::net::UdpSocket::bind("[::1]:0").await else { return Ok(()) };
    /// socket.set_multicast_loop_v6(true)?;
    /// # Ok(()) });
    /// ```
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        self.socket().set_multicast_loop_v6(on)
    }

    /// Joins an IPv4 group: receives what is sent to it, on the interface with this address. With `0.0.0.0` the system
    /// chooses the interface.
    ///
    /// # Errors
    /// `AddrInUse` if it has joined the group already, `InvalidInput` if the address is no group, an error with
    /// `ENODEV` inside if there is no such interface.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let socket = callsoon::net::UdpSocket::bind("0.0.0.0:0").await?;
    /// # use std::net::Ipv4Addr;
    /// # // A sandbox may have no interface for groups.
    /// if socket.join_multicast_v4(Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::LOCALHOST).is_ok() {
    ///     socket.leave_multicast_v4(Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::LOCALHOST)?;
    /// }
    /// # Ok(()) });
    /// ```
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.socket().join_multicast_v4(&group, &interface)
    }

    /// Leaves an IPv4 group. See [`join_multicast_v4`](Self::join_multicast_v4).
    ///
    /// # Errors
    /// `AddrNotAvailable` if it has not joined the group, `InvalidInput` if the address is no group, an error with
    /// `ENODEV` inside if there is no such interface.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let socket = callsoon::net::UdpSocket::bind("0.0.0.0:0").await?;
    /// # use std::net::Ipv4Addr;
    /// # // A sandbox may have no interface for groups.
    /// if socket.join_multicast_v4(Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::LOCALHOST).is_ok() {
    ///     socket.leave_multicast_v4(Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::LOCALHOST)?;
    /// }
    /// # Ok(()) });
    /// ```
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.socket().leave_multicast_v4(&group, &interface)
    }

    /// Joins an IPv6 group: receives what is sent to it, on the interface with this number. With 0 the system chooses
    /// the interface.
    ///
    /// # Errors
    /// `AddrInUse` if it has joined the group already, `InvalidInput` if the address is no group, an error with
    /// `ENODEV` inside if there is no such interface.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let Ok(socket) = callsoon::net::UdpSocket::bind("[::]:0").await else { return Ok(()) };
    /// # // A sandbox may have no interface for groups.
    /// if socket.join_multicast_v6("ff02::fb".parse().unwrap(), 0).is_ok() {
    ///     socket.leave_multicast_v6("ff02::fb".parse().unwrap(), 0)?;
    /// }
    /// # Ok(()) });
    /// ```
    pub fn join_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket().join_multicast_v6(&group, interface)
    }

    /// Leaves an IPv6 group. See [`join_multicast_v6`](Self::join_multicast_v6).
    ///
    /// # Errors
    /// `AddrNotAvailable` if it has not joined the group, `InvalidInput` if the address is no group, an error with
    /// `ENODEV` inside if there is no such interface.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let Ok(socket) = callsoon::net::UdpSocket::bind("[::]:0").await else { return Ok(()) };
    /// # // A sandbox may have no interface for groups.
    /// if socket.join_multicast_v6("ff02::fb".parse().unwrap(), 0).is_ok() {
    ///     socket.leave_multicast_v6("ff02::fb".parse().unwrap(), 0)?;
    /// }
    /// # Ok(()) });
    /// ```
    pub fn leave_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket().leave_multicast_v6(&group, interface)
    }
}
