//! The example `http_server` with `--tls`, and with `--cert` and `--key`: its own modules, run in this process.

use std::rc::Rc;

use callsoon::net::TcpListener;
use callsoon::open_connection;
use callsoon::stream::join;
use callsoon::sync::Event;

use crate::encryption::asked_for;
use crate::exchange::{client1, get, text};
use crate::support::{Scratch, loopback, settling};
use crate::{accepting, visitor};

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Starts the example with this command line, and has clients visit it.
async fn visited(line: &str) {
    let mut arguments = words(line);
    let (server, client) = asked_for(&mut arguments).unwrap().unwrap();
    assert_eq!(arguments, ["127.0.0.1:0"], "the address is left");
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Rc::new(Event::new());
    let serving = accepting::serve_all(listener, Some(server), Rc::clone(&stop));
    let serving = callsoon::create_task(serving);

    // Who speaks no TLS is refused, and the server goes on.
    visitor::visit(address, None).await.unwrap_err();
    visitor::visit(address, Some(client.clone())).await.unwrap();

    let connecting = open_connection(address).ssl(client);
    let (reader, writer) = connecting.server_hostname("localhost").await.unwrap();
    assert!(writer.tls_info().is_some());
    let (mut client, connection) = client1(join(reader, writer)).await;
    let answer = client.send_request(get("/greet/Ada")).await.unwrap();
    assert_eq!(text(answer).await, r#"{"hello":"Ada"}"#);
    // The connection is idle: the server ends it, and itself.
    stop.set();
    serving.await.unwrap();
    connection.await.unwrap().unwrap();
}

#[test]
fn it_serves_with_a_certificate_of_its_own() {
    settling(|_, _| visited("--tls 127.0.0.1:0"));
}

#[test]
fn it_serves_with_a_certificate_from_files() {
    settling(|_, _| async {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let chain = Scratch::new(made.cert.pem().as_bytes());
        let key = Scratch::new(made.signing_key.serialize_pem().as_bytes());
        visited(&format!(
            "--cert {} --key {} 127.0.0.1:0",
            chain.path(),
            key.path()
        ))
        .await;
    });
}

#[test]
fn it_says_which_file_is_wrong_and_that_both_are_needed() {
    let failed = |line: &str| {
        asked_for(&mut words(line))
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    let missing = failed("--cert /no/such/chain --key /no/such/key");
    assert!(missing.starts_with("--cert /no/such/chain: "), "{missing}");
    for line in ["--cert /chain", "--key /key", "--tls --key", "--cert"] {
        assert_eq!(failed(line), "--cert FILE and --key FILE go together");
    }
    assert!(asked_for(&mut words("127.0.0.1:0")).unwrap().is_none());
}
