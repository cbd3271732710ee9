//! UDP: messages over the network, to one or to many.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::event_loop::free::get_running_loop;
use crate::net::datagram::{DatagramKind, DatagramSocket, Messages};

/// The kind of message that goes over UDP.
///
/// ```
/// fn same_type(socket: callsoon::net::UdpSocket) -> callsoon::net::DatagramSocket<callsoon::net::Udp> {
///     socket
/// }
/// ```
#[derive(Debug)]
pub enum Udp {}

/// A UDP socket.
///
/// ```
/// use callsoon::net::UdpSocket;
/// callsoon::run(async {
///     let server = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
///     let client = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
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

impl DatagramKind for Udp {}

impl Messages for Udp {
    type Address = SocketAddr;
    type Datagram = mio::net::UdpSocket;
    type StdDatagram = std::net::UdpSocket;
    type Remains = ();
    const NAME: &'static str = "UdpSocket";

    fn is_same(one: &SocketAddr, other: &SocketAddr) -> bool {
        one == other
    }

    fn adopt(socket: Self::StdDatagram) -> io::Result<(Self::Datagram, ())> {
        socket.set_nonblocking(true)?;
        Ok((mio::net::UdpSocket::from_std(socket), ()))
    }

    fn release(socket: Self::Datagram, (): ()) -> Self::StdDatagram {
        socket.into()
    }

    fn send(socket: &Self::Datagram, bytes: &[u8]) -> io::Result<usize> {
        socket.send(bytes)
    }

    fn send_to(socket: &Self::Datagram, bytes: &[u8], to: &SocketAddr) -> io::Result<usize> {
        socket.send_to(bytes, *to)
    }

    fn recv(socket: &Self::Datagram, buffer: &mut [u8]) -> io::Result<usize> {
        socket.recv(buffer)
    }

    fn recv_from(socket: &Self::Datagram, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        socket.recv_from(buffer)
    }

    fn peek(socket: &Self::Datagram, buffer: &mut [u8]) -> io::Result<usize> {
        socket.peek(buffer)
    }

    fn peek_from(socket: &Self::Datagram, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        socket.peek_from(buffer)
    }

    fn local_addr(socket: &Self::Datagram) -> io::Result<SocketAddr> {
        socket.local_addr()
    }

    fn peer_addr(socket: &Self::Datagram) -> io::Result<SocketAddr> {
        socket.peer_addr()
    }

    fn take_error(socket: &Self::Datagram) -> io::Result<Option<io::Error>> {
        socket.take_error()
    }
}

impl UdpSocket {
    /// A socket bound to `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// What the system says: address in use, permission denied …
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let handle = get_running_loop();
        Self::watch(&handle, mio::net::UdpSocket::bind(address)?, ())
    }

    /// Makes `address` the one that [`send`](Self::send) sends to and the only one that is heard. It may be called again
    /// with another.
    ///
    /// # Errors
    /// What the system says. Whether somebody is there only a later call can tell.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// socket.connect(socket.local_addr()?).await?;
    /// socket.send(b"to myself").await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn connect(&self, address: SocketAddr) -> io::Result<()> {
        self.io.source().connect(address)
    }

    /// Sends a message to `address`.
    ///
    /// # Errors
    /// What the system says: too long, unreachable, or that an earlier message was refused at its destination. The socket
    /// stays usable.
    ///
    /// # Cancellation
    /// Dropped before it is done it has sent nothing.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// assert_eq!(socket.send_to(b"x", socket.local_addr()?).await?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn send_to(&self, bytes: &[u8], address: SocketAddr) -> io::Result<usize> {
        self.send_to_address(bytes, &address).await
    }

    /// Sends without waiting. See [`send_to`](Self::send_to).
    ///
    /// # Errors
    /// `WouldBlock` where the system takes nothing now; else what the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// assert_eq!(socket.try_send_to(b"x", socket.local_addr()?)?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_send_to(&self, bytes: &[u8], address: SocketAddr) -> io::Result<usize> {
        self.try_send_to_address(bytes, &address)
    }

    /// Whether messages may be sent to everybody in the network.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// socket.set_broadcast(true)?;
    /// assert_eq!(socket.broadcast()?, true);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn broadcast(&self) -> io::Result<bool> {
        self.io.source().broadcast()
    }

    /// Sets `SO_BROADCAST`. See [`broadcast`](Self::broadcast).
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// socket.set_broadcast(true)?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.io.source().set_broadcast(on)
    }

    /// How many routers a message may pass.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// socket.set_ttl(9)?;
    /// assert_eq!(socket.ttl()?, 9);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.source().ttl()
    }

    /// Sets `IP_TTL`. See [`ttl`](Self::ttl).
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// socket.set_ttl(9)?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.source().set_ttl(ttl)
    }

    /// Whether what is sent to an IPv4 group comes back to this machine.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// socket.set_multicast_loop_v4(false)?;
    /// assert_eq!(socket.multicast_loop_v4()?, false);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.io.source().multicast_loop_v4()
    }

    /// Sets `IP_MULTICAST_LOOP`. See [`multicast_loop_v4`](Self::multicast_loop_v4).
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// socket.set_multicast_loop_v4(false)?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.io.source().set_multicast_loop_v4(on)
    }

    /// How many routers a message to an IPv4 group may pass.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// socket.set_multicast_ttl_v4(3)?;
    /// assert_eq!(socket.multicast_ttl_v4()?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.io.source().multicast_ttl_v4()
    }

    /// Sets `IP_MULTICAST_TTL`. See [`multicast_ttl_v4`](Self::multicast_ttl_v4).
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// socket.set_multicast_ttl_v4(3)?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.io.source().set_multicast_ttl_v4(ttl)
    }

    /// Whether what is sent to an IPv6 group comes back to this machine.
    ///
    /// # Errors
    /// What the system says; IPv4 sockets know no such option.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let Ok(socket) = callsoon::net::UdpSocket::bind("[::1]:0".parse().unwrap()).await else { return Ok(()) };
    /// socket.set_multicast_loop_v6(false)?;
    /// assert!(!socket.multicast_loop_v6()?);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.io.source().multicast_loop_v6()
    }

    /// Sets `IPV6_MULTICAST_LOOP`. See [`multicast_loop_v6`](Self::multicast_loop_v6).
    ///
    /// # Errors
    /// What the system says; IPv4 sockets know no such option.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let Ok(socket) = callsoon::net::UdpSocket::bind("[::1]:0".parse().unwrap()).await else { return Ok(()) };
    /// socket.set_multicast_loop_v6(true)?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        self.io.source().set_multicast_loop_v6(on)
    }

    /// Hears what is sent to an IPv4 group, on the interface with this address; `0.0.0.0` lets the system choose.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let socket = callsoon::net::UdpSocket::bind("0.0.0.0:0".parse().unwrap()).await?;
    /// # use std::net::Ipv4Addr;
    /// # // A sandbox may have no interface for groups.
    /// if socket.join_multicast_v4(Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::LOCALHOST).is_ok() {
    ///     socket.leave_multicast_v4(Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::LOCALHOST)?;
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.io.source().join_multicast_v4(&group, &interface)
    }

    /// Hears it no longer. See [`join_multicast_v4`](Self::join_multicast_v4).
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let socket = callsoon::net::UdpSocket::bind("0.0.0.0:0".parse().unwrap()).await?;
    /// # use std::net::Ipv4Addr;
    /// # // A sandbox may have no interface for groups.
    /// if socket.join_multicast_v4(Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::LOCALHOST).is_ok() {
    ///     socket.leave_multicast_v4(Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::LOCALHOST)?;
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.io.source().leave_multicast_v4(&group, &interface)
    }

    /// Hears what is sent to an IPv6 group, on the interface with this number; 0 lets the system choose.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let Ok(socket) = callsoon::net::UdpSocket::bind("[::]:0".parse().unwrap()).await else { return Ok(()) };
    /// # // A sandbox may have no interface for groups.
    /// if socket.join_multicast_v6("ff02::fb".parse().unwrap(), 0).is_ok() {
    ///     socket.leave_multicast_v6("ff02::fb".parse().unwrap(), 0)?;
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn join_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.source().join_multicast_v6(&group, interface)
    }

    /// Hears it no longer. See [`join_multicast_v6`](Self::join_multicast_v6).
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let Ok(socket) = callsoon::net::UdpSocket::bind("[::]:0".parse().unwrap()).await else { return Ok(()) };
    /// # // A sandbox may have no interface for groups.
    /// if socket.join_multicast_v6("ff02::fb".parse().unwrap(), 0).is_ok() {
    ///     socket.leave_multicast_v6("ff02::fb".parse().unwrap(), 0)?;
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn leave_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.source().leave_multicast_v6(&group, interface)
    }
}
