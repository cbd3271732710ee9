//! Code of the program that rustls calls in a handshake: it may use the loop, close the connection's server, and panic.

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use callsoon::tls::{ClientContext, ServerContext};
use callsoon::transport::{BufferedProtocol, Protocol, Transport};
use callsoon::{create_task, current_task, get_running_loop};
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};

use crate::certificates::{Identity, certificates, client_config, server_config};
use crate::ends::{recorded_server, stream_and_peer};
use crate::peer::Peer;
use crate::support::{Recorder, loopback, settling, std_pair, until};
use crate::{address_of, close, connecting, echo_server, is_served, recording_server};

/// A resolver that runs code of the test.
struct Resolver<F>(F);

impl<F> std::fmt::Debug for Resolver<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl<F: Fn(ClientHello<'_>) -> Option<Arc<CertifiedKey>> + Send + Sync> ResolvesServerCert
    for Resolver<F>
{
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        (self.0)(hello)
    }
}

fn resolving(
    resolve: impl Fn(ClientHello<'_>) -> Option<Arc<CertifiedKey>> + Send + Sync + 'static,
) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(resolve)))
}

fn certified(identity: &Identity) -> Arc<CertifiedKey> {
    let chain = vec![identity.certificate.clone()];
    let key = identity.key();
    Arc::new(CertifiedKey::from_der(chain, key, &default_provider()).unwrap())
}

#[test]
fn a_resolver_chooses_the_certificate_by_the_name_and_refuses_others() {
    settling(|_, _| async {
        let made = certificates();
        let (here, elsewhere) = (certified(&made.server), certified(&made.elsewhere));
        let config = resolving(move |hello| match hello.server_name()? {
            "localhost" => Some(here.clone()),
            "elsewhere.example" => Some(elsewhere.clone()),
            _ => None,
        });
        let (server, _) = echo_server(config).await;
        let context = ClientContext::from(client_config());
        for (name, identity) in [
            ("localhost", &made.server),
            ("elsewhere.example", &made.elsewhere),
        ] {
            let connecting = callsoon::open_connection(address_of(&server)).ssl(context.clone());
            let (_, writer) = connecting.server_hostname(name).await.unwrap();
            let shown = writer.tls_info().unwrap().peer_certificates;
            assert_eq!(shown, std::slice::from_ref(&identity.certificate));
            writer.close();
        }
        let refused = callsoon::open_connection(address_of(&server)).ssl(context.clone());
        let refused = refused
            .server_hostname("nowhere.example")
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
        assert!(refused.to_string().contains("AccessDenied"), "{refused}");
        is_served(address_of(&server), context).await;
        close(server).await;
    });
}

#[test]
fn a_resolver_may_use_the_loop_and_is_in_no_task() {
    settling(|_, trace| async move {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let key = certified(&certificates().server);
        let config = resolving(move |_| {
            assert!(current_task().is_none());
            let counted = Arc::clone(&counted);
            create_task(async move { counted.fetch_add(1, Ordering::Relaxed) }).detach();
            get_running_loop().call_soon(|| ());
            Some(key.clone())
        });
        let (server, _) = echo_server(config).await;
        for round in 1..=3 {
            is_served(address_of(&server), client_config()).await;
            assert_eq!(calls.load(Ordering::Relaxed), round);
        }
        close(server).await;
        trace.expect([]);
    });
}

#[test]
fn a_resolver_that_panics_ends_its_own_connection_and_is_reported() {
    settling(|_, trace| async move {
        let key = certified(&certificates().server);
        let first = AtomicUsize::new(0);
        let config = resolving(move |_| {
            assert!(first.fetch_add(1, Ordering::Relaxed) > 0, "on purpose");
            Some(key.clone())
        });
        let server = recording_server(&trace, config).await;
        let failed = connecting(address_of(&server), client_config()).await;
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof];
        let kind = failed.unwrap_err().kind();
        assert!(kinds.contains(&kind), "{kind:?}");
        let reports = trace.take();
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert!(reports[0].contains("on purpose"), "{reports:?}");
        let (_, writer) = connecting(address_of(&server), client_config())
            .await
            .unwrap();
        writer.close();
        writer.wait_closed().await.unwrap();
        close(server).await;
        trace.expect(["made", "eof", "lost"]);
    });
}

#[test]
fn a_factory_that_panics_after_the_handshake_ends_its_own_connection() {
    settling(|_, trace| async move {
        let first = Cell::new(true);
        let t = trace.clone();
        let factory = move || {
            assert!(!first.take(), "on purpose");
            Recorder::new(&t)
        };
        let serving = get_running_loop().create_server(factory, loopback());
        let server = serving.ssl(server_config()).await.unwrap();
        let (mut reader, _writer) = connecting(address_of(&server), client_config())
            .await
            .unwrap();
        assert!(reader.read(1).await.is_err());
        let reports = trace.take();
        assert!(
            reports.len() == 1 && reports[0].contains("on purpose"),
            "{reports:?}"
        );
        let (_, writer) = connecting(address_of(&server), client_config())
            .await
            .unwrap();
        writer.close();
        writer.wait_closed().await.unwrap();
        close(server).await;
        trace.expect(["made", "eof", "lost"]);
    });
}

#[test]
fn in_debug_mode_a_failed_handshake_is_reported_and_otherwise_it_is_not() {
    settling(|event_loop, trace| async move {
        let server = recording_server(&trace, server_config()).await;
        for debug in [false, true] {
            event_loop.set_debug(debug);
            let stream = StdStream::connect(address_of(&server)).unwrap();
            let stream = callsoon::net::TcpStream::from_std(stream).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            let mut alert = [0; 7];
            stream.read_exact(&mut alert).await.unwrap();
            assert_eq!(stream.read(&mut alert).await.unwrap(), 0);
            let reports = trace.take();
            assert_eq!(reports.len(), usize::from(debug), "{reports:?}");
        }
        event_loop.set_debug(false);
        close(server).await;
    });
}

/// Lends a buffer of a few bytes at a time.
#[derive(Default)]
struct Small {
    buffer: std::cell::RefCell<[u8; 7]>,
    came: std::cell::RefCell<Vec<u8>>,
    lost: Cell<bool>,
}

impl Protocol for Small {
    fn buffered(&self) -> Option<&dyn BufferedProtocol> {
        Some(self)
    }

    fn connection_lost(&self, _: &Transport, error: Option<std::io::Error>) {
        assert!(error.is_none(), "{error:?}");
        self.lost.set(true);
    }
}

impl BufferedProtocol for Small {
    fn get_buffer(&self, _: &Transport, _: usize, receive: &mut dyn FnMut(&mut [u8])) {
        receive(&mut *self.buffer.borrow_mut());
    }

    fn buffer_updated(&self, _: &Transport, count: usize) {
        let buffer = self.buffer.borrow();
        self.came.borrow_mut().extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn a_protocol_with_a_buffer_of_its_own_gets_every_byte_however_small_it_is() {
    settling(|event_loop, _| async move {
        let (ours, theirs) = std_pair();
        let accepting = event_loop.connect_accepted_socket(Small::default, ours);
        let accepting = create_task(accepting.ssl_server(server_config()).into_future());
        let mut peer = Peer::client(theirs, client_config());
        peer.handshake().await.unwrap();
        let (_transport, small) = accepting.await.unwrap().unwrap();
        let data = crate::pattern(100_000);
        peer.write(&data).await;
        peer.close_notify().await;
        drop(peer);
        until(|| small.lost.get()).await;
        assert!(*small.came.borrow() == data);
    });
}

#[test]
fn a_stream_is_read_byte_by_byte_from_one_record() {
    settling(|_, _| async {
        let (mut reader, writer, mut peer) = stream_and_peer().await;
        let data = crate::pattern(3000);
        peer.write(&data).await;
        for byte in &data {
            let mut buffer = [0; 1];
            assert_eq!(reader.read_into(&mut buffer).await.unwrap(), 1);
            assert_eq!(buffer[0], *byte);
        }
        peer.close_notify().await;
        drop(peer);
        assert_eq!(reader.read_into(&mut [0; 1]).await.unwrap(), 0);
        writer.close();
        writer.wait_closed().await.unwrap();
    });
}

#[test]
fn tls_inside_tls_is_refused_and_nothing_has_changed() {
    settling(|_, _| async {
        let (mut reader, writer, mut peer) = stream_and_peer().await;
        let again = writer.start_tls(ClientContext::from(client_config()));
        let refused = again.server_hostname("localhost").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        let nameless = writer.start_tls(ClientContext::from(client_config())).await;
        assert!(nameless.is_err());
        peer.write(b"still here").await;
        assert_eq!(reader.readexactly(10).await.unwrap(), b"still here");
        writer.write(b"me too");
        assert_eq!(peer.read(6).await.unwrap(), b"me too");
        writer.close();
        assert_eq!(peer.read(1).await.unwrap(), b"");
    });
}

#[test]
fn a_server_has_no_name_to_check_and_says_so() {
    settling(|_, _| async {
        let (ours, _theirs) = std_pair();
        let (_reader, writer) = callsoon::open_connection(ours).await.unwrap();
        let named = writer.start_tls(ServerContext::from(server_config()));
        let refused = named.server_hostname("localhost").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(!writer.is_closing(), "nothing has changed");
    });
}

#[test]
fn a_peer_that_goes_on_sending_after_our_end_is_given_up_after_the_timeout() {
    settling(|event_loop, trace| async move {
        let limit = std::time::Duration::from_millis(300);
        let (ours, theirs) = std_pair();
        let recorder = Recorder::new(&trace).quiet();
        let accepting = event_loop.connect_accepted_socket(|| recorder, ours);
        let accepting = accepting
            .ssl_server(server_config())
            .ssl_shutdown_timeout(limit);
        let accepting = create_task(accepting.into_future());
        let mut peer = Peer::client(theirs, client_config());
        peer.handshake().await.unwrap();
        let (transport, recorder) = accepting.await.unwrap().unwrap();
        transport.close();
        peer.queue(&[7; 10_000]);
        let mut records = peer.records();
        while !recorder.lost.get() {
            if peer.socket.write_all(&records).await.is_err() {
                break;
            }
            peer.queue(&[7; 10_000]);
            records = peer.records();
            callsoon::yield_now().await;
        }
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "lost: TimedOut"]);
    });
}

#[test]
fn closing_from_within_connection_made_and_data_received_is_polite() {
    settling(|_, trace| async move {
        let recorder = Recorder::new(&trace).on("made", Transport::close);
        let (_, recorder, mut peer) = recorded_server(recorder).await;
        assert_eq!(peer.read(1).await.unwrap(), b"");
        drop(peer);
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "lost"]);
        let recorder = Recorder::new(&trace).on("data", |transport| {
            transport.write(b"bye");
            transport.close();
        });
        let (_, recorder, mut peer) = recorded_server(recorder).await;
        peer.write(b"one").await;
        assert_eq!(peer.read(10).await.unwrap(), b"bye");
        peer.close_notify().await;
        drop(peer);
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "data one", "lost"]);
    });
}

#[test]
fn a_name_is_sent_to_the_server_unless_it_is_an_address() {
    settling(|_, _| async {
        let (ours, theirs) = std_pair();
        let connecting = callsoon::open_connection(ours).ssl(client_config());
        let connecting = connecting.server_hostname("127.0.0.1").into_future();
        let connecting = create_task(connecting);
        let mut tls = ServerConnection::new(Arc::new(server_config())).unwrap();
        let peer = callsoon::net::TcpStream::from_std(theirs).unwrap();
        let mut buffer = [0; 4096];
        let count = peer.read(&mut buffer).await.unwrap();
        tls.read_tls(&mut &buffer[..count]).unwrap();
        tls.process_new_packets().unwrap();
        assert_eq!(tls.server_name(), None);
        drop(peer);
        assert!(connecting.await.unwrap().is_err());
    });
}
