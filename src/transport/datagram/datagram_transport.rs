//! What a program asks of an endpoint: to send, to close, to tell its names.
//!
//! A datagram is sent at once if the system takes it, and otherwise copied to the end of those that wait.

use std::fmt;
use std::io;

use crate::error::invalid_input;
use crate::kernel::events::sent_after_close;
use crate::net::datagram::DatagramKind;
use crate::socket::address::NetAddress as _;
use crate::transport::buffer::InvalidLimits;
use crate::transport::connection::State;
use crate::transport::datagram::datagram_protocol::{DatagramTransport, Endpoint};
use crate::transport::datagram::endpoint::{OVERHEAD, is_passing};

/// How many datagrams to a lost endpoint are dropped without a warning. asyncio's figure.
const QUIET_SENDS: u32 = 4;

impl<K: DatagramKind> DatagramTransport<K> {
    /// Sends a datagram, an empty one too: to `address`, or to the peer of a connected endpoint. It never waits. What
    /// the system does not take at once is copied and sent later, and what it refuses goes to `error_received`. Once
    /// the endpoint is lost the datagram is dropped.
    ///
    /// # Errors
    /// `InvalidInput` without an address if the endpoint is not connected, and with another address than its peer's
    /// if it is. The peer's is the one that was named, such as `0.0.0.0`, or the one that the system calls it by.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::run(async {
    /// let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Idle).local_addr("127.0.0.1:0").await?;
    /// assert!(transport.sendto(b"to whom?", None).is_err());
    /// transport.sendto(b"to myself", Some(transport.local_addr()?))?;
    /// transport.close();
    /// # Ok(()) });
    /// ```
    pub fn sendto(&self, data: &[u8], address: Option<K::Address>) -> io::Result<()> {
        let endpoint = &self.endpoint;
        match &address {
            None if endpoint.peer.is_none() => {
                return Err(invalid_input(
                    "the endpoint has no peer: an address is wanted",
                ));
            }
            Some(address) if !endpoint.may_send_to(address) => {
                return Err(invalid_input("the endpoint sends to its peer only"));
            }
            _ => {}
        }
        if self.is_closing() {
            endpoint.refuse();
            return Ok(());
        }
        let address = address.filter(|_| endpoint.peer.is_none());
        if endpoint.waiting.borrow().is_empty() {
            match endpoint.send(data, address.as_ref()) {
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    self.report_error(error);
                    return Ok(());
                }
                Ok(_) => return Ok(()),
            }
        }
        let mut copy = Vec::new();
        copy.try_reserve_exact(data.len())?;
        copy.extend_from_slice(data);
        endpoint.waiting.borrow_mut().push_back((copy, address));
        let size = endpoint.size.get() + data.len() + OVERHEAD;
        endpoint.size.set(size);
        self.wait_for_room();
        self.pause_if_full();
        Ok(())
    }

    /// Stops receiving, sends what waits, and then calls `connection_lost(None)`. Calling it again changes nothing.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Idle).local_addr("127.0.0.1:0").await?;
    /// transport.close();
    /// assert!(transport.is_closing());
    /// # Ok(()) });
    /// ```
    pub fn close(&self) {
        let endpoint = &self.endpoint;
        if endpoint.has_reached(State::Closing) {
            return;
        }
        endpoint.state.set(State::Closing);
        if endpoint.waiting.borrow().is_empty() {
            self.lose_soon(None);
        }
    }

    /// Closes without sending what waits.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Idle).local_addr("127.0.0.1:0").await?;
    /// transport.abort();
    /// # Ok(()) });
    /// ```
    pub fn abort(&self) {
        self.force_close(None);
    }

    /// Returns whether the endpoint is closing or closed.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Idle).local_addr("127.0.0.1:0").await?;
    /// assert!(!transport.is_closing());
    /// # transport.close();
    /// # Ok(()) });
    /// ```
    pub fn is_closing(&self) -> bool {
        self.endpoint.has_reached(State::Closing)
    }

    /// Returns how much waits to be sent: the bytes, and eight more for each datagram.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Idle).local_addr("127.0.0.1:0").await?;
    /// assert_eq!(transport.write_buffer_size(), 0);
    /// # transport.close();
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_write_buffer_size")]
    pub fn write_buffer_size(&self) -> usize {
        self.endpoint.size.get()
    }

    /// Returns the low-water and the high-water mark, in this order, in bytes as
    /// [`write_buffer_size`](Self::write_buffer_size) counts them.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Idle).local_addr("127.0.0.1:0").await?;
    /// assert_eq!(transport.write_buffer_limits(), (16 * 1024, 64 * 1024));
    /// # transport.close();
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_write_buffer_limits")]
    pub fn write_buffer_limits(&self) -> (usize, usize) {
        self.endpoint.marks.borrow().limits()
    }

    /// Sets the water marks, in bytes. The protocol is asked to pause when more than `high` wait, and to resume when
    /// at most `low` do. If only one is given, high is four times low; if none is, they are 64 KiB and 16 KiB.
    ///
    /// # Errors
    /// [`InvalidLimits`] if `low` is higher than `high`. Then nothing changes.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Idle).local_addr("127.0.0.1:0").await?;
    /// transport.set_write_buffer_limits(Some(1000), None).unwrap();
    /// assert_eq!(transport.write_buffer_limits(), (250, 1000));
    /// # transport.close();
    /// # Ok(()) });
    /// ```
    pub fn set_write_buffer_limits(
        &self,
        high: Option<usize>,
        low: Option<usize>,
    ) -> Result<(), InvalidLimits> {
        self.endpoint.marks.borrow_mut().set(high, low)?;
        self.pause_if_full();
        Ok(())
    }

    fn pause_if_full(&self) {
        let endpoint = &self.endpoint;
        let size = endpoint.size.get();
        if endpoint.marks.borrow_mut().must_pause(size) {
            self.enter("pause_writing", |protocol| protocol.pause_writing(self));
        }
    }

    /// Returns the address that the endpoint is bound to.
    ///
    /// # Errors
    /// `NotConnected` once the endpoint has closed.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Idle).local_addr("127.0.0.1:0").await?;
    /// assert!(transport.local_addr()?.port() > 0);
    /// # transport.close();
    /// # Ok(()) });
    /// ```
    #[doc(alias("sockname", "get_extra_info"))]
    pub fn local_addr(&self) -> io::Result<K::Address> {
        let socket = self.endpoint.socket.borrow().clone();
        socket.ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// Returns the address that the endpoint is connected to, if it is.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Idle).remote_addr("127.0.0.1:9").await?;
    /// assert_eq!(transport.peer_addr(), "127.0.0.1:9".parse().ok().as_ref());
    /// # transport.close();
    /// # Ok(()) });
    /// ```
    #[doc(alias("peername", "get_extra_info"))]
    pub fn peer_addr(&self) -> Option<&K::Address> {
        self.endpoint.peer.as_ref()
    }
}

impl<K: DatagramKind> Endpoint<K> {
    /// Returns whether the endpoint sends to an address: to any if it is not connected, otherwise to its peer's, as
    /// the system or as the program calls it.
    fn may_send_to(&self, address: &K::Address) -> bool {
        let Some(peer) = &self.peer else {
            return true;
        };
        let address = address.to_system();
        let is_same = |known: &K::Address| match (known.to_system(), &address) {
            (Ok(known), Ok(address)) => known == *address,
            _ => false,
        };
        is_same(peer) || self.asked.as_ref().is_some_and(is_same)
    }

    /// Counts a datagram that comes too late. From the fifth on it logs a warning.
    fn refuse(&self) {
        let refused = self.refused.get();
        self.refused.set(refused.saturating_add(1));
        if refused >= QUIET_SENDS {
            sent_after_close(self.location);
        }
    }
}

impl<K: DatagramKind> fmt::Debug for DatagramTransport<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramTransport")
            .field("socket", &self.endpoint.socket.borrow().as_deref())
            .field("closing", &self.is_closing())
            .field("waiting", &self.endpoint.size.get())
            .finish()
    }
}
