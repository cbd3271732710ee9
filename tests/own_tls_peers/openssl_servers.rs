//! We talk to `openssl s_server`.

use std::io::ErrorKind;
use std::sync::Arc;

use callsoon::stream::{StreamReader, StreamWriter, open_connection};
use callsoon::tls::ClientContext;
use rustls::version::{TLS12, TLS13};

use crate::certificates::{certificates, client_config, client_config_of, client_config_with};
use crate::{Files, Talk, described, with};

/// A server that accepts so many connections, and its port. With `-rev` it sends each line back reversed; without it is
/// told by its input what to send and do.
async fn server(files: &Files, more: &[&str]) -> (Talk, u16) {
    // It tells what it does line by line, as to a terminal.
    let command = [
        "stdbuf",
        "-oL",
        "openssl",
        "s_server",
        "-accept",
        "127.0.0.1:0",
    ];
    let identity = [
        "-cert",
        files.server.path(),
        "-key",
        files.server_key.path(),
    ];
    let mut server = Talk::start(&[&command[..], &identity, more].concat()).await;
    server.hear("ACCEPT 127.0.0.1:").await;
    let port = server.hear("\n").await;
    (server, port.trim().parse().unwrap())
}

async fn connect(
    port: u16,
    context: impl Into<ClientContext>,
) -> std::io::Result<(StreamReader, StreamWriter)> {
    open_connection(("127.0.0.1", port))
        .ssl(context)
        .server_hostname("localhost")
        .await
}

async fn is_reversed(reader: &mut StreamReader, writer: &StreamWriter) {
    writer.write(b"stressed\n");
    writer.drain().await.unwrap();
    assert_eq!(reader.readline().await.unwrap(), b"desserts\n");
}

#[test]
fn both_versions_are_spoken_and_sessions_are_resumed() {
    with("openssl", || async {
        let files = Files::new();
        for (version, name) in [(&TLS12, "TLSv1_2"), (&TLS13, "TLSv1_3")] {
            let (server, port) = server(&files, &["-rev", "-naccept", "3"]).await;
            let context = ClientContext::from(Arc::new(client_config_of(&[version])));
            let mut begun = Vec::new();
            for _ in 0..3 {
                let (mut reader, writer) = connect(port, context.clone()).await.unwrap();
                is_reversed(&mut reader, &writer).await;
                begun.push(described(&writer));
                writer.close();
                writer.wait_closed().await.unwrap();
            }
            let resumed = format!("{name}, resumed, known");
            assert_eq!(begun, [format!("{name}, known"), resumed.clone(), resumed]);
            let (status, said) = server.end().await;
            assert!(status.success(), "{said}");
        }
    });
}

#[test]
fn a_server_that_wants_a_certificate_gets_it_and_refuses_those_who_have_none() {
    with("openssl", || async {
        let files = Files::new();
        let authority = files.authority.path();
        let wanting = ["-rev", "-naccept", "2", "-verify_return_error"];
        let whose = ["-Verify", "2", "-CAfile", authority];
        let (server, port) = server(&files, &[&wanting[..], &whose].concat()).await;
        // Version 1.3 ends the client's handshake before the server has seen that there is no certificate.
        let refused = async {
            let (mut reader, _writer) = connect(port, client_config()).await?;
            reader.read(1).await
        };
        let error = refused.await.unwrap_err();
        assert!(error.to_string().contains("CertificateRequired"), "{error}");
        let known = client_config_with(&certificates().client);
        let (mut reader, writer) = connect(port, known).await.unwrap();
        is_reversed(&mut reader, &writer).await;
        writer.close();
        writer.wait_closed().await.unwrap();
        let (_, said) = server.end().await;
        assert!(said.contains("CN = client"), "{said}");
    });
}

#[test]
fn g1_the_end_of_a_server_and_the_death_of_one_are_told_apart() {
    with("openssl", || async {
        let files = Files::new();
        for version in [&TLS12, &TLS13] {
            for killed in [false, true] {
                let (mut server, port) = server(&files, &["-rev", "-naccept", "1"]).await;
                let context = client_config_of(&[version]);
                let (mut reader, writer) = connect(port, context).await.unwrap();
                is_reversed(&mut reader, &writer).await;
                if killed {
                    server.kill();
                } else {
                    writer.write(b"CLOSE\n");
                }
                let rest = reader.read(10).await.map_err(|error| error.kind());
                let expected = match killed {
                    true => Err(ErrorKind::UnexpectedEof),
                    false => Ok(Vec::new()),
                };
                assert_eq!(rest, expected, "{version:?}");
                writer.close();
                let _ = writer.wait_closed().await;
                server.end().await;
            }
        }
    });
}

#[test]
fn g4_a_client_that_only_reads_answers_every_update_of_the_server_s_keys() {
    with("openssl", || async {
        let files = Files::new();
        let (mut server, port) = server(&files, &["-tls1_3", "-naccept", "1"]).await;
        let (mut reader, writer) = connect(port, client_config()).await.unwrap();
        server.hear("CIPHER is").await;
        for round in 0..5 {
            for command in ["k\n", "K\n"] {
                server.say(command);
                server.hear("SSL_do_handshake -> 1").await;
                let line = format!("round {round}\n");
                server.say(&line);
                assert_eq!(reader.readline().await.unwrap(), line.as_bytes());
            }
        }
        // What we write now is under the keys that the server has asked for last.
        writer.write(b"thanks\n");
        server.hear("thanks\n").await;
        writer.close();
        writer.wait_closed().await.unwrap();
        server.end().await;
    });
}

#[test]
fn a_server_that_asks_to_renegotiate_is_not_followed() {
    with("openssl", || async {
        let files = Files::new();
        let (mut server, port) = server(&files, &["-tls1_2", "-naccept", "1"]).await;
        let (mut reader, writer) = connect(port, client_config()).await.unwrap();
        server.hear("CIPHER is").await;
        server.say("before\n");
        assert_eq!(reader.readline().await.unwrap(), b"before\n");
        server.say("r\n");
        server.hear("SSL_do_handshake -> 1").await;
        // It either goes on without or ends with an error, and it does end.
        server.say("Q\n");
        let rest = reader.read_to_end().await;
        assert!(matches!(&rest, Ok(rest) if rest.is_empty()) || rest.is_err());
        writer.close();
        let _ = writer.wait_closed().await;
        server.end().await;
    });
}
