//! UDP: messages over the network, to one or to many.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::event_loop::free::get_running_loop;
use crate::kernel::proceed::proceed;
use crate::net::datagram::{DatagramKind, DatagramSocket, Messages};
use crate::socket::dns::{Target, ToSocketAddrs, no_address};
use crate::socket::nonblocking;

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

impl DatagramKind for Udp {}

impl Messages for Udp {
    type Address = SocketAddr;
    type Datagram = mio::net::UdpSocket;
    type StdDatagram = std::net::UdpSocket;
    type Cleanup = ();
    const NAME: &'static str = "UdpSocket";
    const ROOM_IS_TOLD: bool = true;

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
        nonblocking::send(socket, bytes)
    }

    fn send_to(socket: &Self::Datagram, bytes: &[u8], to: &SocketAddr) -> io::Result<usize> {
        nonblocking::send_to(socket, bytes, &(*to).into())
    }

    fn recv(socket: &Self::Datagram, buffer: &mut [u8]) -> io::Result<usize> {
        nonblocking::receive(socket, buffer)
    }

    fn recv_from(socket: &Self::Datagram, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        nonblocking::receive_from(socket, buffer)
    }

    fn peek(socket: &Self::Datagram, buffer: &mut [u8]) -> io::Result<usize> {
        nonblocking::peek(socket, buffer)
    }

    fn peek_from(socket: &Self::Datagram, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        nonblocking::peek_from(socket, buffer)
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
    /// A socket bound to an address; port 0 lets the system choose. Of several addresses, a list's or a name's, the first
    /// that can be bound is.
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::net::lookup_host), and what the system says of the last address: in use, permission
    /// denied … `NotFound` where the list is empty.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it has bound nothing and gives up the look-up.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// let by_name = callsoon::net::UdpSocket::bind(("localhost", 0)).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn bind(place: impl ToSocketAddrs) -> io::Result<Self> {
        let handle = get_running_loop();
        proceed().await;
        let bind = |address| Self::watch(&handle, mio::net::UdpSocket::bind(address)?, ());
        place.into_target()?.try_each(&handle, bind).await
    }

    /// Makes an address the one that [`send`](Self::send) sends to and the only one that is heard. It may be called again
    /// with another. Of several addresses, a list's or a name's, it is the first that the system grants, which it does not
    /// for one of another family.
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::net::lookup_host), and what the system says of the last address; `NotFound` where the
    /// list is empty. Whether somebody is there only a later call can tell.
    ///
    /// # Cancellation
    /// Dropped before it is done it has changed nothing and gives up the look-up.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.connect(socket.local_addr()?).await?;
    /// socket.send(b"to myself").await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn connect(&self, place: impl ToSocketAddrs) -> io::Result<()> {
        proceed().await;
        let connect = |address| self.io.source().connect(address);
        let handle = self.io.handle();
        place.into_target()?.try_each(&handle, connect).await
    }

    /// Sends a message to an address. Of several, a list's or a name's, it is the first of the socket's own family, or the
    /// first of all where there is none, and no other is tried. A name is looked up for each message anew; who sends many
    /// looks it up once, by [`lookup_host`](crate::net::lookup_host) or [`connect`](Self::connect).
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::net::lookup_host), and what the system says: too long, unreachable, or that an earlier
    /// message was refused at its destination; `NotFound` where the list is empty. The socket stays usable.
    ///
    /// # Cancellation
    /// Dropped before it is done it has sent nothing and gives up the look-up.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_eq!(socket.send_to(b"x", socket.local_addr()?).await?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn send_to(&self, bytes: &[u8], place: impl ToSocketAddrs) -> io::Result<usize> {
        let address = match place.into_target() {
            Ok(Target::Address(address)) => address,
            // In a box, so that whoever sends to an address does not carry room for a look-up.
            several => Box::pin(self.fitting(several)).await?,
        };
        self.send_to_address(bytes, &address).await
    }

    /// The first of the addresses that is of the socket's own family, or of any.
    async fn fitting(&self, target: io::Result<Target>) -> io::Result<SocketAddr> {
        proceed().await;
        let addresses = target?.addresses(&self.io.handle()).await?;
        let own = self.local_addr()?.is_ipv6();
        let fitting = addresses.iter().find(|it| it.is_ipv6() == own);
        fitting
            .or(addresses.first())
            .copied()
            .ok_or_else(no_address)
    }

    /// Sends without waiting, hence without looking names up. See [`send_to`](Self::send_to).
    ///
    /// # Errors
    /// `WouldBlock` where the system takes nothing now; else what the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
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
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
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
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
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
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
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
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
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
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
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
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
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
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
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
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
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
    /// # let Ok(socket) = callsoon::net::UdpSocket::bind("[::1]:0").await else { return Ok(()) };
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
    /// # let Ok(socket) = callsoon::net::UdpSocket::bind("[::1]:0").await else { return Ok(()) };
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
    /// # let socket = callsoon::net::UdpSocket::bind("0.0.0.0:0").await?;
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
    /// # let socket = callsoon::net::UdpSocket::bind("0.0.0.0:0").await?;
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
    /// # let Ok(socket) = callsoon::net::UdpSocket::bind("[::]:0").await else { return Ok(()) };
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
    /// # let Ok(socket) = callsoon::net::UdpSocket::bind("[::]:0").await else { return Ok(()) };
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
