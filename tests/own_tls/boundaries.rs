//! Every record boundary as a place to cut, to pause and to end: the data arrives whole, or there is a typed error.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use callsoon::stream::{StreamReader, StreamWriter};
use callsoon::{get_running_loop, timeout};
use futures_util::future::join;

use crate::certificates::{client_config_of, server_config};
use crate::proxy::{Cut, End, Pace, Proxy, Way};
use crate::support::{settling, until};
use crate::{address_of, close, connecting, echo_server, pattern};

/// Several records each way.
const AMOUNT: usize = 40_000;

/// Sends the pattern, closes politely, and gives what has come back until then.
async fn exchange(
    address: SocketAddr,
    version: &'static SupportedProtocolVersion,
    amount: usize,
) -> (Vec<u8>, io::Result<()>) {
    let mut came = Vec::new();
    let ended = async {
        let context = client_config_of(&[version]);
        let (mut reader, writer) = connecting(address, context).await?;
        let both = join(
            send(&writer, amount),
            receive(&mut reader, &mut came, amount),
        )
        .await;
        both.0.and(both.1)?;
        writer.close();
        writer.wait_closed().await
    };
    let ended = ended.await;
    (came, ended)
}

async fn send(writer: &StreamWriter, amount: usize) -> io::Result<()> {
    for piece in pattern(amount).chunks(9_000) {
        writer.write(piece);
        writer.drain().await?;
    }
    Ok(())
}

async fn receive(reader: &mut StreamReader, came: &mut Vec<u8>, amount: usize) -> io::Result<()> {
    while came.len() < amount {
        let piece = reader.read(amount).await?;
        if piece.is_empty() {
            return Err(io::Error::other("the end came too early, as an end"));
        }
        came.extend(piece);
    }
    Ok(())
}

/// How many records go each way in an exchange that nothing disturbs.
async fn counted(server: SocketAddr, version: &'static SupportedProtocolVersion) -> [usize; 2] {
    let proxy = Proxy::start(server, Pace::Records, None).await;
    let (came, ended) = exchange(proxy.address, version, AMOUNT).await;
    ended.unwrap();
    assert!(came == pattern(AMOUNT));
    until(|| get_running_loop().metrics().sources == 1).await;
    let counts = [Way::ToServer, Way::ToClient].map(|way| proxy.records(way));
    proxy.ended().await;
    counts
}

#[test]
fn records_one_by_one_cut_in_two_or_byte_by_byte_lose_nothing() {
    settling(|_, _| async {
        let (server, ends) = echo_server(server_config()).await;
        let paces = [0, 1, 2, 3, 4, 5, 6, 20].map(Pace::CutAfter);
        let paces = [&[Pace::AsTheyCome, Pace::Records][..], &paces].concat();
        for version in [&TLS12, &TLS13] {
            for pace in paces.iter().copied().chain([Pace::Bytes]) {
                let amount = if pace == Pace::Bytes { 2_000 } else { AMOUNT };
                let proxy = Proxy::start(address_of(&server), pace, None).await;
                let (came, ended) = exchange(proxy.address, version, amount).await;
                assert!(came == pattern(amount), "{pace:?}");
                ended.unwrap();
                proxy.ended().await;
                until(|| !ends.borrow().is_empty()).await;
                assert_eq!(*ends.borrow(), ["end"], "{pace:?}");
                ends.borrow_mut().clear();
            }
        }
        close(server).await;
    });
}

/// The errors that a connection may have which somebody between the sides has ended.
const ENDED: [ErrorKind; 4] = [
    ErrorKind::UnexpectedEof,
    ErrorKind::ConnectionReset,
    ErrorKind::BrokenPipe,
    ErrorKind::ConnectionAborted,
];

/// Ends connections at each boundary, and in the middle of what follows. What has come is a beginning of what was sent, and the
/// end is never taken for one that the peer has made.
async fn ended_at_each_boundary(end: End) {
    let (server, ends) = echo_server(server_config()).await;
    let mut failures = 0;
    for version in [&TLS12, &TLS13] {
        let counts = counted(address_of(&server), version).await;
        ends.borrow_mut().clear();
        for (way, count) in [(Way::ToServer, counts[0]), (Way::ToClient, counts[1])] {
            for records in 0..count {
                for bytes in [0, 3, 5, 7] {
                    let cut = Cut {
                        way,
                        records,
                        bytes,
                        end,
                    };
                    let proxy = Proxy::start(address_of(&server), Pace::Records, Some(cut)).await;
                    let (came, ended) = exchange(proxy.address, version, AMOUNT).await;
                    assert!(came == pattern(AMOUNT)[..came.len()], "{cut:?}");
                    // Once everything is there it does not matter whether the peer's last word comes.
                    let whole = came.len() == AMOUNT;
                    match ended {
                        Ok(()) => assert!(whole, "{cut:?}: {} bytes", came.len()),
                        Err(error) => assert!(ENDED.contains(&error.kind()), "{cut:?}: {error:?}"),
                    }
                    proxy.ended().await;
                    until(|| get_running_loop().metrics().sources == 1).await;
                    // A server's function may not have begun, and otherwise has failed or has heard everything.
                    for end in ends.borrow_mut().drain(..) {
                        let failed = ENDED.iter().any(|kind| format!("{kind:?}") == end);
                        assert!(failed || whole && end == "end", "{cut:?}: {end}");
                    }
                    failures += usize::from(!whole);
                }
            }
        }
    }
    assert!(failures > 100, "{failures}");
    close(server).await;
}

#[test]
fn g1_a_fin_at_any_boundary_is_an_error_on_both_sides_and_never_an_end() {
    settling(|_, _| ended_at_each_boundary(End::Close));
}

#[test]
fn g1_a_reset_at_any_boundary_is_an_error_on_both_sides_and_never_an_end() {
    settling(|_, _| ended_at_each_boundary(End::Reset));
}

#[test]
fn g3_a_handshake_that_stalls_at_any_boundary_ends_by_its_timeout_on_both_sides() {
    settling(|event_loop, _| async move {
        let timers = event_loop.metrics().timers;
        let limit = std::time::Duration::from_millis(60);
        for version in [&TLS12, &TLS13] {
            for way in [Way::ToServer, Way::ToClient] {
                for records in 0..2 {
                    let serving = callsoon::start_server(crate::echo, crate::support::loopback());
                    let serving = serving.ssl(server_config()).ssl_handshake_timeout(limit);
                    let server = serving.await.unwrap();
                    let cut = Cut {
                        way,
                        records,
                        bytes: 0,
                        end: End::Stall,
                    };
                    let pace = Pace::Records;
                    let proxy = Proxy::start(address_of(&server), pace, Some(cut)).await;
                    let context = client_config_of(&[version]);
                    let connecting = connecting(proxy.address, context);
                    let connecting = connecting.ssl_handshake_timeout(limit);
                    // Where the server's last word is what stalls, the client has begun, and waits for data.
                    let ended = async {
                        let (mut reader, _writer) = connecting.await?;
                        reader.read(1).await.map(drop)
                    };
                    let patience = std::time::Duration::from_secs(20);
                    let ended = timeout(patience, ended).await.expect("it goes on for ever");
                    let kind = ended.unwrap_err().kind();
                    assert!(ENDED.contains(&kind), "{cut:?}: {kind:?}");
                    proxy.stop().await;
                    close(server).await;
                }
            }
        }
        until(|| event_loop.metrics().timers == timers).await;
    });
}
