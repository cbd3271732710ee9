//! TLS on protocols and streams: how it begins, what it gives, how it ends, and `start_tls`.

use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use callsoon::stream::{StreamReader, StreamWriter, open_connection, start_server};
use callsoon::tls::HandshakeError;
use callsoon::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use callsoon::tls::rustls::server::{ResolvesServerCertUsingSni, WebPkiClientVerifier};
use callsoon::tls::rustls::{
    self, CertificateError, ClientConfig, RootCertStore, ServerConfig, crypto::ring, sign,
};
use callsoon::transport::{Protocol, Server, Transport};
use callsoon::{sleep, timeout, yield_now};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use crate::support::{
    Recorder, Scenario, event_polls, loopback, run_scenario, settling, std_pair, until,
};

/// A certificate by the authority of this test, and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }
}

struct Made {
    roots: Arc<RootCertStore>,
    good: Identity,
    expired: Identity,
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let signed = |last_year| {
            let hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            let mut params = CertificateParams::new(hosts).unwrap();
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(last_year, 1, 1);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            Identity {
                certificate: certificate.der().clone(),
                key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            }
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        Made {
            roots: Arc::new(roots),
            good: signed(2120),
            expired: signed(2021),
        }
    })
}

fn of_client(protocols: &[&str]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let roots = Arc::clone(&made().roots);
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    config
}

fn of_server(identity: &Identity) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(ring::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let key = identity.key.clone_key();
    let builder = builder.with_no_client_auth();
    builder.with_single_cert(identity.chain(), key).unwrap()
}

/// Returns the error of rustls inside.
fn cause(error: &io::Error) -> &rustls::Error {
    HandshakeError::of(error).unwrap().tls_error().unwrap()
}

fn port(server: &Server) -> u16 {
    server.local_addr().unwrap().port()
}

async fn close(server: Server) {
    server.close();
    server.wait_closed().await;
}

/// Sends lines back until the end, then closes.
async fn echo(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    loop {
        let line = reader.readline().await?;
        if line.is_empty() {
            return Ok(());
        }
        writer.write(&line);
        writer.drain().await?;
    }
}

/// The two ends of a connection, encrypted by streams of the running loop.
async fn both_ends() -> [(StreamReader, StreamWriter); 2] {
    let (one, other) = std_pair();
    let serving = open_connection(one).ssl_server(of_server(&made().good));
    let serving = callsoon::create_task(serving.into_future());
    let client = open_connection(other).ssl(of_client(&[]));
    let client = client.server_hostname("localhost").await.unwrap();
    [client, serving.await.unwrap().unwrap()]
}

#[test]
fn protocols_shake_hands_before_connection_made_and_close_in_both_directions() {
    settling(|event_loop, trace| async move {
        let mut config = of_server(&made().good);
        config.alpn_protocols = vec![b"two".to_vec(), b"one".to_vec()];
        let t = trace.clone();
        let serving = event_loop.create_server(
            move || Recorder::new(&t).on("data", |transport| transport.write(b"answer")),
            loopback(),
        );
        let server = serving.ssl(config).await.unwrap();
        let recorder = Recorder::new(&trace).on("made", |transport| transport.write(b"question"));
        let recorder = recorder.on("data", Transport::close);
        let to = ("127.0.0.1", port(&server));
        let connecting = event_loop.create_connection(|| recorder, to);
        let (transport, recorder) = connecting.ssl(of_client(&["one"])).await.unwrap();
        let info = transport.tls_info().unwrap();
        assert_eq!(info.alpn_protocol.as_deref(), Some(&b"one"[..]));
        assert_eq!(info.version, rustls::ProtocolVersion::TLSv1_3);
        assert_eq!(info.peer_certificates, made().good.chain());
        until(|| recorder.lost.get()).await;
        let kept = transport.tls_info().unwrap();
        assert_eq!(format!("{kept:?}"), format!("{info:?}"));
        close(server).await;
        let lines = trace.take();
        assert_eq!(lines[..2], ["made", "made"]);
        assert_eq!(lines[2..4], ["data question", "data answer"]);
        // The server reads the end and answers it. A side that has closed is told of no end.
        assert_eq!(lines[4..], ["eof", "lost", "lost"]);
    });
}

#[test]
fn streams_echo_lines_and_a_session_is_resumed() {
    settling(|_, _| async {
        let server = start_server(echo, loopback()).ssl(of_server(&made().good));
        let server = server.await.unwrap();
        let config = Arc::new(of_client(&[]));
        for resumed in [false, true] {
            let to = ("localhost", port(&server));
            let family = open_connection(to).family(socket2::Domain::IPV4);
            let (mut reader, writer) = family.ssl(Arc::clone(&config)).await.unwrap();
            writer.writelines(&["one\n", "", "two\n"]);
            assert_eq!(reader.readline().await.unwrap(), b"one\n");
            assert_eq!(reader.readline().await.unwrap(), b"two\n");
            assert_eq!(writer.tls_info().unwrap().resumed, resumed);
            writer.close();
            writer.wait_closed().await.unwrap();
        }
        close(server).await;
    });
}

#[test]
fn a_wrong_name_and_an_expired_certificate_are_told_and_the_server_goes_on() {
    settling(|_, _| async {
        for (identity, name) in [
            (&made().good, "elsewhere.example"),
            (&made().expired, "localhost"),
        ] {
            let server = start_server(echo, loopback()).ssl(of_server(identity));
            let server = server.await.unwrap();
            for _ in 0..2 {
                let connecting = open_connection(server.local_addr().unwrap());
                let connecting = connecting.ssl(of_client(&[])).server_hostname(name);
                let error = connecting.await.map(drop).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidData);
                let port = server.local_addr().unwrap().port();
                assert_eq!(
                    HandshakeError::of(&error).unwrap().peer(),
                    format!("{name}:{port}")
                );
                let text = format!("TLS handshake with {name}:{port}: {}", cause(&error));
                assert_eq!(error.to_string(), text);
                assert!(text.contains(": invalid peer certificate: "), "{text}");
                let below = std::error::Error::source(&error).unwrap();
                assert_eq!(below.to_string(), cause(&error).to_string());
                let rustls::Error::InvalidCertificate(why) = cause(&error) else {
                    panic!("{error:?}")
                };
                let expected = match why {
                    CertificateError::NotValidForNameContext { .. } => "elsewhere.example",
                    CertificateError::ExpiredContext { .. } => "localhost",
                    other => panic!("{other:?}"),
                };
                assert_eq!(expected, name);
            }
            assert!(server.is_serving());
            close(server).await;
        }
    });
}

#[test]
fn a_resolver_is_asked_for_the_name_and_a_client_s_certificate_arrives() {
    settling(|_, trace| async move {
        let provider = ring::default_provider();
        let key = sign::CertifiedKey::from_der(
            made().good.chain(),
            made().good.key.clone_key(),
            &provider,
        );
        let mut resolver = ResolvesServerCertUsingSni::new();
        resolver.add("localhost", key.unwrap()).unwrap();
        let provider = Arc::new(provider);
        let roots = Arc::clone(&made().roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_client_cert_verifier(verifier.build().unwrap());
        let config = builder.with_cert_resolver(Arc::new(resolver));
        let t = trace.clone();
        let client_connected = async move |_: StreamReader, writer: StreamWriter| {
            let info = writer.tls_info().unwrap();
            let shown = info.peer_certificates == made().good.chain();
            t.push(format!("{:?}, the certificate: {shown}", info.server_name));
        };
        let server = start_server(client_connected, loopback()).ssl(config);
        let server = server.await.unwrap();
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(Arc::clone(&made().roots));
        let key = made().good.key.clone_key();
        let config = builder.with_client_auth_cert(made().good.chain(), key);
        let connecting = open_connection(server.local_addr().unwrap()).ssl(config.unwrap());
        let (mut reader, _writer) = connecting.server_hostname("localhost").await.unwrap();
        assert_eq!(reader.read_to_end().await.unwrap(), b"");
        close(server).await;
        trace.expect(["Some(\"localhost\"), the certificate: true"]);
    });
}

#[test]
fn an_end_without_close_notify_is_an_error_after_the_bytes_before_it() {
    settling(|_, _| async {
        let [(mut reader, _writer), (served, serving)] = both_ends().await;
        // Nobody reads here any more, and that ends nothing.
        drop(served);
        serving.write(b"the beginning");
        serving
            .transport()
            .socket(|socket| socket.shutdown(std::net::Shutdown::Write))
            .unwrap()
            .unwrap();
        assert_eq!(reader.readexactly(13).await.unwrap(), b"the beginning");
        let error = reader.read(1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_close_sends_megabytes_first_and_a_reader_that_waits_in_the_socket_s_queue_is_woken() {
    settling(|_, _| async {
        let [(mut reader, writer), (_served, serving)] = both_ends().await;
        const MUCH: usize = 20_000_000;
        let data: Vec<_> = (0..MUCH).map(|n| (n % 251) as u8).collect();
        let reading = callsoon::create_task(async move { reader.read_to_end().await });
        event_polls(2).await;
        serving.write(&data);
        assert!(serving.write_buffer_size() > 0);
        serving.close();
        serving.wait_closed().await.unwrap();
        assert!(reading.await.unwrap().unwrap() == data);
        writer.wait_closed().await.unwrap();
    });
}

#[test]
fn start_tls_goes_on_with_both_ends_and_with_bytes_that_were_received() {
    settling(|_, _| async {
        let (one, other) = std_pair();
        let (mut reader, writer) = open_connection(one).await.unwrap();
        let (mut served, serving) = open_connection(other).await.unwrap();
        writer.write(b"STARTTLS\n");
        let upgrading = writer
            .start_tls(of_client(&[]))
            .server_hostname("localhost");
        let upgrading = callsoon::create_task(upgrading.into_future());
        assert_eq!(served.readline().await.unwrap(), b"STARTTLS\n");
        // The hello lies in the reader's memory by now.
        until(|| !format!("{served:?}").starts_with("StreamReader { buffered: 0,")).await;
        serving.start_tls(of_server(&made().good)).await.unwrap();
        upgrading.await.unwrap().unwrap();
        serving.write(b"welcome\n");
        assert_eq!(reader.readline().await.unwrap(), b"welcome\n");
        writer.write(b"thanks\n");
        assert_eq!(served.readline().await.unwrap(), b"thanks\n");
        assert!(writer.tls_info().is_some() && serving.tls_info().is_some());
        let twice = writer
            .start_tls(of_client(&[]))
            .server_hostname("localhost");
        assert_eq!(twice.await.unwrap_err().kind(), ErrorKind::Unsupported);
        serving.close();
        assert_eq!(reader.read(1).await.unwrap(), b"");
        serving.wait_closed().await.unwrap();
    });
}

#[test]
fn a_transport_keeps_its_protocol_s_promises_when_start_tls_fails() {
    settling(|event_loop, trace| async move {
        let (ours, theirs) = std_pair();
        let recorder = Recorder::new(&trace);
        let connecting = event_loop.connect_accepted_socket(|| recorder, ours);
        let (transport, recorder) = connecting.await.unwrap();
        let (_reader, writer) = open_connection(theirs).await.unwrap();
        writer.write(b"220 this is no TLS\r\n");
        let next = Rc::clone(&recorder) as Rc<dyn Protocol>;
        let upgrading = event_loop.start_tls(&transport, next, of_client(&[]));
        let error = upgrading.server_hostname("localhost").await.unwrap_err();
        assert!(
            matches!(cause(&error), rustls::Error::InvalidMessage(_)),
            "{error:?}"
        );
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "lost: InvalidData"]);
    });
}

#[test]
fn options_that_make_no_sense_are_refused_before_anything_is_connected() {
    settling(|_, _| async {
        let nobody = ("localhost", 1);
        let refused = [
            open_connection(nobody).server_hostname("localhost"),
            open_connection(nobody)
                .ssl(of_client(&[]))
                .ssl_handshake_timeout(Duration::ZERO),
            open_connection(nobody)
                .ssl(of_client(&[]))
                .ssl_shutdown_timeout(Duration::ZERO),
            open_connection([loopback(), loopback()]).ssl(of_client(&[])),
            open_connection(nobody)
                .ssl(of_client(&[]))
                .server_hostname("two words"),
            open_connection(nobody)
                .ssl_server(of_server(&made().good))
                .server_hostname("localhost"),
        ];
        for connecting in refused {
            let error = connecting.await.map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
    });
}

/// Says how long something took on the virtual clock.
async fn timed<T>(
    scenario: &Scenario,
    what: &str,
    future: impl IntoFuture<Output = io::Result<T>>,
) {
    let ended = future.await.map(drop).map_err(|error| error.kind());
    scenario.say(format!("{what}: {ended:?}"));
}

#[test]
fn a_silent_peer_is_given_a_minute_and_one_that_does_not_answer_the_end_half_of_it() {
    run_scenario(
        async |scenario| {
            let (ours, _silent) = std_pair();
            let client = open_connection(ours).ssl(of_client(&[]));
            timed(scenario, "client", client.server_hostname("localhost")).await;
            let (ours, _silent) = std_pair();
            let server = open_connection(ours).ssl_server(of_server(&made().good));
            let server = server.ssl_handshake_timeout(Duration::from_secs(5));
            timed(scenario, "server", server).await;

            let [(reader, writer), (_served, serving)] = both_ends().await;
            // It reads nothing, and so sees no close_notify.
            serving.transport().pause_reading();
            writer.close();
            timed(scenario, "close", writer.wait_closed()).await;
            drop(reader);
            serving.transport().abort();
            serving.wait_closed().await.unwrap();
        },
        [
            "60 client: Err(ConnectionAborted)",
            "65 server: Err(ConnectionAborted)",
            "95 close: Err(TimedOut)",
        ],
    );
}

#[test]
fn a_connecter_that_is_cancelled_in_the_handshake_leaves_no_descriptor_and_no_timer() {
    settling(|event_loop, _| async move {
        let timers = event_loop.metrics().timers;
        let (ours, _silent) = std_pair();
        let connecting = open_connection(ours)
            .ssl(of_client(&[]))
            .server_hostname("localhost");
        let limit = Duration::from_millis(1);
        assert!(timeout(limit, connecting.into_future()).await.is_err());
        yield_now().await;
        yield_now().await;
        assert_eq!(event_loop.metrics().sources, 0);
        sleep(Duration::ZERO).await;
        assert_eq!(event_loop.metrics().timers, timers);
    });
}
