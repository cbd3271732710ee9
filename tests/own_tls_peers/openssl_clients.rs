//! `openssl s_client` talks to our servers.

use callsoon::get_running_loop;
use callsoon::transport::{Protocol, Transport};

use crate::certificates::{server_config, server_config_for_known_clients};
use crate::support::{Scratch, until};
use crate::{Files, Notes, Talk, close, port_of, upper_server, with};

const VERSIONS: [(&str, &str); 2] = [("-tls1_2", "TLSv1_2"), ("-tls1_3", "TLSv1_3")];

/// A client that checks the server's certificate and name.
async fn client(port: &str, files: &Files, more: &[&str]) -> Talk {
    let to = format!("localhost:{port}");
    let checks = ["-CAfile", files.authority.path(), "-verify_return_error"];
    let command = ["openssl", "s_client", "-4", "-connect", &to];
    let name = ["-verify_hostname", "localhost", "-brief"];
    Talk::start(&[&command[..], &checks, &name, more].concat()).await
}

async fn notes_are(notes: &Notes, expected: &[&str]) {
    until(|| notes.borrow().len() >= expected.len()).await;
    assert_eq!(*notes.borrow(), expected);
    notes.borrow_mut().clear();
}

#[test]
fn both_versions_are_spoken_with_streams_and_both_ends_close_politely() {
    with("openssl", || async {
        let files = Files::new();
        let (server, notes) = upper_server(server_config()).await;
        for (flag, version) in VERSIONS {
            let mut client = client(&port_of(&server), &files, &[flag]).await;
            let greeting = client.hear("Verification: OK").await;
            assert!(greeting.contains("CONNECTION ESTABLISHED"), "{greeting}");
            client.say("hello\n");
            client.hear("HELLO\n").await;
            client.say("Q\n");
            let (status, rest) = client.end().await;
            assert!(status.success(), "{rest}");
            notes_are(&notes, &[version, "end"]).await;
        }
        close(server).await;
    });
}

/// Echoes in upper case by callbacks.
struct Upper;

impl Protocol for Upper {
    fn data_received(&self, transport: &Transport, data: &[u8]) {
        transport.write(data.to_ascii_uppercase());
    }
}

#[test]
fn both_versions_are_spoken_with_a_protocol() {
    with("openssl", || async {
        let files = Files::new();
        let serving = get_running_loop().create_server(|| Upper, ("127.0.0.1", 0));
        let server = serving.ssl(server_config()).await.unwrap();
        for (flag, _) in VERSIONS {
            let mut client = client(&port_of(&server), &files, &[flag]).await;
            client.hear("Verification: OK").await;
            client.say("hello\n");
            client.hear("HELLO\n").await;
            // The end of its input is the end of the connection.
            let (status, rest) = client.end().await;
            assert!(status.success(), "{rest}");
        }
        close(server).await;
    });
}

#[test]
fn a_session_is_resumed_in_both_versions() {
    with("openssl", || async {
        let files = Files::new();
        let (server, notes) = upper_server(server_config()).await;
        for (flag, version) in VERSIONS {
            let session = Scratch::new(b"");
            for (way, note) in [
                ("-sess_out", version.to_owned()),
                ("-sess_in", format!("{version}, resumed")),
            ] {
                let more = [flag, way, session.path()];
                let mut client = client(&port_of(&server), &files, &more).await;
                // By the answer the tickets of version 1.3 have come, and were written down.
                client.say("hello\n");
                client.hear("HELLO\n").await;
                client.say("Q\n");
                let (status, rest) = client.end().await;
                assert!(status.success(), "{rest}");
                notes_are(&notes, &[&note, "end"]).await;
            }
        }
        close(server).await;
    });
}

#[test]
fn a_client_s_certificate_is_known_and_one_without_is_refused_while_the_server_goes_on() {
    with("openssl", || async {
        let files = Files::new();
        let (server, notes) = upper_server(server_config_for_known_clients()).await;
        let certificate = [
            "-cert",
            files.client.path(),
            "-key",
            files.client_key.path(),
        ];
        for (flag, version) in VERSIONS {
            let mut without = client(&port_of(&server), &files, &[flag, "-ign_eof"]).await;
            without.end_input();
            let (_, said) = without.end().await;
            assert!(said.contains("alert certificate required"), "{said}");
            let more = [&[flag][..], &certificate].concat();
            let mut client = client(&port_of(&server), &files, &more).await;
            client.say("hello\n");
            client.hear("HELLO\n").await;
            client.say("Q\n");
            client.end().await;
            // The refused one was no client at all.
            notes_are(&notes, &[&format!("{version}, known"), "end"]).await;
        }
        close(server).await;
    });
}

#[test]
fn g1_a_client_that_leaves_at_once_ends_and_one_that_is_killed_is_cut_short() {
    with("openssl", || async {
        let files = Files::new();
        let (server, notes) = upper_server(server_config()).await;
        for (flag, version) in VERSIONS {
            let early = client(&port_of(&server), &files, &[flag]).await;
            let (status, said) = early.end().await;
            assert!(status.success(), "{said}");
            notes_are(&notes, &[version, "end"]).await;

            let mut killed = client(&port_of(&server), &files, &[flag]).await;
            killed.say("hello\n");
            killed.hear("HELLO\n").await;
            killed.kill();
            let (status, _) = killed.end().await;
            assert!(!status.success());
            notes_are(&notes, &[version, "UnexpectedEof"]).await;
        }
        close(server).await;
    });
}

#[test]
fn g4_keys_are_updated_as_often_as_the_client_likes() {
    with("openssl", || async {
        let files = Files::new();
        let (server, notes) = upper_server(server_config()).await;
        let mut client = client(&port_of(&server), &files, &["-tls1_3"]).await;
        for round in 0..5 {
            // `k` updates the client's keys, `K` asks the server for new ones too.
            for command in ["k\n", "K\n"] {
                client.say(command);
                client.hear("KEYUPDATE").await;
                client.say(&format!("hello {round}\n"));
                client.hear(&format!("HELLO {round}\n")).await;
            }
        }
        client.say("Q\n");
        let (status, rest) = client.end().await;
        assert!(status.success(), "{rest}");
        notes_are(&notes, &["TLSv1_3", "end"]).await;
        close(server).await;
    });
}

#[test]
fn renegotiation_is_refused_and_others_are_served_all_the_same() {
    with("openssl", || async {
        let files = Files::new();
        let (server, notes) = upper_server(server_config()).await;
        let port = port_of(&server);
        let mut beside = client(&port, &files, &["-tls1_2"]).await;
        beside.say("before\n");
        beside.hear("BEFORE\n").await;
        for _ in 0..3 {
            let mut again = client(&port, &files, &["-tls1_2", "-legacy_renegotiation"]).await;
            again.say("hello\n");
            again.hear("HELLO\n").await;
            again.say("R\n");
            again.hear("RENEGOTIATING").await;
            again.hear("no renegotiation").await;
            again.end().await;
        }
        beside.say("after\n");
        beside.hear("AFTER\n").await;
        beside.say("Q\n");
        beside.end().await;
        until(|| notes.borrow().len() == 8).await;
        assert_eq!(
            notes.borrow().iter().filter(|it| *it == "TLSv1_2").count(),
            4
        );
        close(server).await;
    });
}

#[test]
fn a_version_that_is_too_old_gets_an_alert_and_no_client_function() {
    with("openssl", || async {
        let files = Files::new();
        let (server, notes) = upper_server(server_config()).await;
        let old = ["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"];
        let (status, said) = client(&port_of(&server), &files, &old).await.end().await;
        assert!(!status.success());
        // rustls finds no cipher in common before it comes to the version.
        assert!(said.contains("alert handshake failure"), "{said}");
        let mut good = client(&port_of(&server), &files, &[]).await;
        good.say("hello\n");
        good.hear("HELLO\n").await;
        good.say("Q\n");
        good.end().await;
        notes_are(&notes, &["TLSv1_3", "end"]).await;
        close(server).await;
    });
}
