//! Servers that close, and that end their clients, while handshakes go on: at each flight of a client, before its first
//! byte, in the middle, and before its last byte.

use std::net::TcpStream as StdStream;
use std::time::Duration;

use callsoon::transport::Server;
use callsoon::{get_running_loop, yield_now};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::address_of;
use crate::certificates::{client_config_of, server_config};
use crate::peer::Peer;
use crate::recording_server;
use crate::support::{Waiting, event_polls, settling, until};

/// How a server ends its clients.
#[derive(Clone, Copy, Debug)]
enum Ending {
    CloseClients,
    AbortClients,
}

/// Where a client's handshake stops: in its hello or in its last flight, and after which of four parts of it.
#[derive(Clone, Copy, Debug)]
struct Place {
    last_flight: bool,
    part: usize,
}

fn places() -> impl Iterator<Item = Place> {
    let parts = |last_flight| (0..4).map(move |part| Place { last_flight, part });
    [false, true].into_iter().flat_map(parts)
}

/// A client that has stopped in its handshake, and what it has not sent of the flight.
struct Stopped {
    peer: Peer,
    rest: Vec<u8>,
}

impl Stopped {
    async fn at(place: Place, server: &Server, version: &'static SupportedProtocolVersion) -> Self {
        let socket = StdStream::connect(address_of(server)).unwrap();
        let mut peer = Peer::client(socket, client_config_of(&[version]));
        let mut flight = peer.records();
        if place.last_flight {
            peer.socket.write_all(&flight).await.unwrap();
            flight = peer.next_flight().await;
        }
        let part = [0, 1, flight.len() / 2, flight.len() - 1][place.part];
        let rest = flight.split_off(part);
        peer.socket.write_all(&flight).await.unwrap();
        // The server has accepted, and has received all of that.
        until(|| get_running_loop().metrics().sources == 3).await;
        event_polls(3).await;
        Self { peer, rest }
    }

    /// Goes on as if nothing were. Returns the peer if its handshake has ended.
    async fn go_on(mut self) -> std::io::Result<Peer> {
        self.peer.socket.write_all(&self.rest).await?;
        self.peer.handshake().await?;
        Ok(self.peer)
    }
}

#[test]
fn a_server_that_closes_serves_a_client_that_is_in_the_handshake_and_waits_for_it() {
    settling(|event_loop, trace| async move {
        let timers = event_loop.metrics().timers;
        for version in [&TLS12, &TLS13] {
            for place in places() {
                let server = recording_server(&trace, server_config()).await;
                let client = Stopped::at(place, &server, version).await;
                server.close();
                event_polls(2).await;
                let mut closed = Waiting::begun(server.wait_closed());
                let mut peer = client.go_on().await.unwrap();
                peer.write(b"hi").await;
                let mut lines = Vec::new();
                while lines.len() < 2 {
                    lines.extend(trace.take());
                    yield_now().await;
                }
                assert_eq!(lines, ["made", "data hi"], "{place:?}");
                assert!(closed.poll().is_none(), "{place:?}: a client is served");
                peer.close_notify().await;
                server.wait_closed().await;
                trace.expect(["eof", "lost"]);
                assert_eq!(peer.read(1).await.unwrap(), b"");
                drop((peer, closed));
                until(|| event_loop.metrics().sources == 0).await;
                assert_eq!(event_loop.metrics().timers, timers, "{place:?}");
            }
        }
    });
}

#[test]
fn a_server_that_ends_its_clients_ends_every_handshake_at_once_and_makes_no_protocol() {
    settling(|event_loop, trace| async move {
        let timers = event_loop.metrics().timers;
        for version in [&TLS12, &TLS13] {
            for (place, ending) in places().flat_map(|place| {
                [Ending::CloseClients, Ending::AbortClients].map(move |ending| (place, ending))
            }) {
                let server = recording_server(&trace, server_config()).await;
                let client = Stopped::at(place, &server, version).await;
                let began = event_loop.time();
                server.close();
                match ending {
                    Ending::CloseClients => server.close_clients(),
                    Ending::AbortClients => server.abort_clients(),
                }
                server.wait_closed().await;
                // Neither the 60 seconds of a handshake nor the 30 of an end.
                assert!(event_loop.time() - began < Duration::from_secs(10));
                assert_eq!(event_loop.metrics().timers, timers, "{place:?} {ending:?}");
                // On the client's side the handshake may be over already.
                let ended = match client.go_on().await {
                    Ok(mut peer) => peer.read(1).await.map(drop),
                    Err(error) => Err(error),
                };
                assert!(ended.is_err(), "{place:?} {ending:?}");
                until(|| event_loop.metrics().sources == 0).await;
                trace.expect([]);
            }
        }
    });
}

#[test]
fn a_server_that_shuts_down_aborts_a_handshake_that_stands_still_and_counts_it() {
    settling(|event_loop, trace| async move {
        let timers = event_loop.metrics().timers;
        for version in [&TLS12, &TLS13] {
            for place in places() {
                let server = recording_server(&trace, server_config()).await;
                let client = Stopped::at(place, &server, version).await;
                assert_eq!(server.shutdown(Duration::from_millis(1)).await, 1);
                drop(client);
                until(|| event_loop.metrics().sources == 0).await;
                assert_eq!(event_loop.metrics().timers, timers, "{place:?}");
                trace.expect([]);
            }
        }
    });
}
