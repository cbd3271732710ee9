//! A process of its own, because what it tests exists with the feature `tls` alone. TLS between our own sides, and against a
//! peer that does with rustls what no program should.
//!
//! Certificates are made in `own/certificates`. `own/tls_proxy` stands between the sides and knows where records end.

mod attacks; // peers and programs that do what nobody should
mod both_ways; // both sides write much, and keys change meanwhile
mod boundaries; // every record boundary as a place to cut, to pause and to end
#[expect(dead_code, reason = "files are for other programs")]
#[path = "../own/certificates.rs"]
mod certificates;
mod closing_servers; // servers that end while handshakes go on
mod empty_records; // records of nothing, of one byte, and thousands of them
mod ends; // close_notify, truncation, and what closing waits for
mod garbage; // what is no handshake, or half of one
mod handshakes; // how a connection begins, or does not
mod peer; // the other end, by hand
mod programs; // random programs on both sides, through a narrow socket
#[path = "../own/tls_proxy.rs"]
mod proxy;
mod start_tls; // connections that begin in plain text
#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "../it/support/mod.rs"]
mod support;
mod transports; // what a transport over TLS does and knows
mod user_code; // resolvers, factories and protocols that use everything, or panic

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use callsoon::get_running_loop;
use callsoon::stream::{OpenConnection, StreamReader, StreamWriter, open_connection, start_server};
use callsoon::tls::{ClientContext, ServerContext};
use callsoon::transport::Server;

use support::{Recorder, Trace, loopback};

/// Bytes that are all different in the short run, so that a piece that is lost or comes twice is noticed.
fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

fn address_of(server: &Server) -> SocketAddr {
    server.local_addr().unwrap()
}

/// Returns a connection to `localhost` that is about to be made.
fn connecting(address: SocketAddr, context: impl Into<ClientContext>) -> OpenConnection {
    open_connection(address)
        .ssl(context)
        .server_hostname("localhost")
}

/// A server of streams that sends everything back, and how each of its connections ended.
async fn echo_server(context: impl Into<ServerContext>) -> (Server, Rc<RefCell<Vec<String>>>) {
    let ends = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&ends);
    let client = move |reader, writer| {
        let noted = Rc::clone(&noted);
        async move {
            let end = match echo(reader, writer).await {
                Ok(()) => "end".to_owned(),
                Err(error) => format!("{:?}", error.kind()),
            };
            noted.borrow_mut().push(end);
        }
    };
    let server = start_server(client, loopback()).ssl(context).await.unwrap();
    (server, ends)
}

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    loop {
        let bytes = reader.read(1 << 16).await?;
        if bytes.is_empty() {
            writer.close();
            return writer.wait_closed().await;
        }
        writer.write(&bytes);
        writer.drain().await?;
    }
}

/// A server whose protocols write into the trace.
async fn recording_server(trace: &Trace, context: impl Into<ServerContext>) -> Server {
    let trace = trace.clone();
    let serving = get_running_loop().create_server(move || Recorder::new(&trace), loopback());
    serving.ssl(context).await.unwrap()
}

async fn close(server: Server) {
    server.close();
    server.wait_closed().await;
}

/// One message and its echo.
async fn is_served(address: SocketAddr, context: impl Into<ClientContext>) {
    let (mut reader, writer) = connecting(address, context).await.unwrap();
    writer.write(b"are you there");
    assert_eq!(reader.readexactly(13).await.unwrap(), b"are you there");
    writer.close();
    writer.wait_closed().await.unwrap();
}
