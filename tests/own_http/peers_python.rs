//! hyper's client against Python's `http.server` over TLS. A machine without Python says so and skips.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use callsoon::to_thread;

use crate::certificates::certificates;
use crate::exchange::{Local, client1, post, text};
use crate::https::{HTTP1, connect};
use crate::support::{Scratch, settling};

/// Serves one connection and ends. Its arguments are the certificate and its key; it prints its port.
const SERVER: &str = r#"
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.upper())
    def log_message(self, *arguments): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
server.timeout = 120
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(*sys.argv[1:])
context.set_alpn_protocols(["http/1.1"])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.handle_request()"#;

/// Starts the server and reads its port. `None` without Python.
fn start(certificate: &Scratch, key: &Scratch) -> Option<(Child, u16)> {
    let mut command = Command::new("python3");
    command.args(["-c", SERVER, certificate.path(), key.path()]);
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!("skipped: this machine has no python3");
        return None;
    };
    let mut port = String::new();
    let output = child.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut port).unwrap();
    Some((child, port.trim().parse().unwrap()))
}

#[test]
fn our_client_speaks_http1_over_tls_to_python_on_one_connection() {
    settling(|_, _| async {
        let server = &certificates().server;
        let certificate = Scratch::new(server.certificate_pem.as_bytes());
        let key = Scratch::new(server.key_pem.as_bytes());
        let starting = to_thread(move || start(&certificate, &key));
        let Some((mut child, port)) = starting.await.unwrap() else {
            return;
        };
        let (stream, agreed) = connect(("127.0.0.1", port), &[b"h2", HTTP1]).await.unwrap();
        assert_eq!(agreed.as_deref(), Some(HTTP1));
        let (mut client, connection) = client1(stream).await;
        for sent in ["hello".to_owned(), String::new(), "x".repeat(300_000)] {
            client.ready().await.unwrap();
            let body = Local::whole(sent.clone());
            let response = client.send_request(post("/", body)).await.unwrap();
            assert_eq!(response.status(), 200);
            assert!(text(response).await == sent.to_uppercase());
        }
        drop(client);
        connection.await.unwrap().unwrap();
        let ended = to_thread(move || child.wait());
        assert!(ended.await.unwrap().unwrap().success());
    });
}
