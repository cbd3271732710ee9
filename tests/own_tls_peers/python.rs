//! Python's `ssl` and asyncio, at either end.

use std::process::Command;

use callsoon::get_running_loop;
use callsoon::stream::{ReadError, StreamReader, StreamWriter, open_connection, start_server};
use callsoon::tls::{ClientContext, ServerContext};
use callsoon::transport::{Protocol, Transport};

use crate::certificates::{client_config, server_config};
use crate::{Files, PATIENCE, Talk, close, pattern, port_of, run, upper_server, with};

/// What every script begins with: contexts for both sides, a pattern to send, and a run that ends. Its arguments are the
/// limit of its time, the authority's certificate, the server's and its key, and others.
const PREAMBLE: &str = r#"
import asyncio, socket, ssl, sys
limit, authority, certificate, key, *rest = sys.argv[1:]
trusting = ssl.create_default_context(cafile=authority)
serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
serving.load_cert_chain(certificate, key)
def pattern(n): return bytes(i % 251 for i in range(251)) * (n // 251)
def run(main): asyncio.run(asyncio.wait_for(main(*rest), float(limit)))
"#;

/// A script's command, with what the preamble wants.
fn arguments(script: &str, files: &Files, more: &[&str]) -> Vec<String> {
    let script = format!("{PREAMBLE}{script}");
    let files = [&files.authority, &files.server, &files.server_key];
    let mut arguments = vec!["-c".to_owned(), script, PATIENCE.to_owned()];
    arguments.extend(files.map(|file| file.path().to_owned()));
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    arguments
}

pub(crate) fn python(script: &str, files: &Files, more: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(arguments(script, files, more));
    command
}

/// Starts a script that prints its port in its first line, and then serves.
pub(crate) async fn python_server(script: &str, files: &Files, more: &[&str]) -> (Talk, u16) {
    let arguments = arguments(script, files, more);
    let mut command = vec!["python3"];
    command.extend(arguments.iter().map(String::as_str));
    let mut server = Talk::start(&command).await;
    let port = server.hear("\n").await;
    (server, port.parse().unwrap())
}

const MUCH: usize = 251 * 12_000;

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> std::io::Result<()> {
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

/// Echoes by callbacks, and stops reading while it may not write.
struct Echo;

impl Protocol for Echo {
    fn data_received(&self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }

    fn pause_writing(&self, transport: &Transport) {
        transport.pause_reading();
    }

    fn resume_writing(&self, transport: &Transport) {
        transport.resume_reading();
    }
}

#[test]
fn asyncio_s_streams_are_echoed_by_a_protocol_and_by_streams() {
    with("python3", || async {
        let files = Files::new();
        let script = r#"
async def main(port, count):
    reader, writer = await asyncio.open_connection("localhost", int(port), ssl=trusting)
    data = pattern(int(count))
    async def send():
        for start in range(0, len(data), 70_001):
            writer.write(data[start:start + 70_001])
            await writer.drain()
    sending = asyncio.ensure_future(send())
    print("same" if await reader.readexactly(len(data)) == data else "different")
    await sending
    writer.close()
    await writer.wait_closed()
run(main)"#;
        let event_loop = get_running_loop();
        let by_protocol = event_loop.create_server(|| Echo, ("127.0.0.1", 0));
        let by_streams = start_server(echo, ("127.0.0.1", 0));
        let by_protocol = by_protocol.ssl(server_config()).await;
        let by_streams = by_streams.ssl(server_config()).await;
        for server in [by_protocol.unwrap(), by_streams.unwrap()] {
            let more = [port_of(&server), MUCH.to_string()];
            let said = run(python(script, &files, &[&more[0], &more[1]])).await;
            assert_eq!(said, "same\n");
            close(server).await;
        }
    });
}

#[test]
fn asyncio_s_server_echoes_our_streams() {
    with("python3", || async {
        let files = Files::new();
        let script = r#"
async def main():
    over = asyncio.Event()
    async def echo(reader, writer):
        while data := await reader.read(100_000):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        over.set()
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=serving)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()
    server.close()
    print("over")
run(main)"#;
        let (server, port) = python_server(script, &files, &[]).await;
        let connecting = open_connection(("localhost", port)).ssl(client_config());
        let (mut reader, writer) = connecting.await.unwrap();
        let data = pattern(MUCH);
        let sending = async {
            for piece in data.chunks(50_003) {
                writer.write(piece);
                writer.drain().await.unwrap();
            }
        };
        let reading = async {
            let came = reader.readexactly(MUCH).await.unwrap();
            assert!(came == data);
        };
        futures_util::future::join(sending, reading).await;
        writer.close();
        writer.wait_closed().await.unwrap();
        let (status, said) = server.end().await;
        assert!(status.success() && said == "over\n", "{said}");
    });
}

#[test]
fn unwrapping_a_python_socket_meets_our_close_notify() {
    with("python3", || async {
        let files = Files::new();
        let (server, notes) = upper_server(server_config()).await;
        let script = r#"
plain = socket.create_connection(("127.0.0.1", int(rest[0])), float(limit))
wrapped = trusting.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False)
wrapped.sendall(b"hello\n")
print(wrapped.recv(100), wrapped.version())
below = wrapped.unwrap()
print("unwrapped", below.recv(100))"#;
        let said = run(python(script, &files, &[&port_of(&server)])).await;
        assert_eq!(said, "b'HELLO\\n' TLSv1.3\nunwrapped b''\n");
        assert_eq!(*notes.borrow(), ["TLSv1_3", "end"]);
        close(server).await;
    });
}

/// A line in plain text, then TLS on the same connection, then lines in upper case.
async fn upgrading(
    mut reader: StreamReader,
    writer: StreamWriter,
    context: ServerContext,
) -> Result<(), ReadError> {
    assert_eq!(reader.readline().await?, b"STARTTLS\n");
    writer.write(b"go ahead\n");
    writer.drain().await?;
    writer.start_tls(context).await?;
    while let Some(line) = reader.next_line().await? {
        writer.write(line.to_ascii_uppercase());
        writer.drain().await?;
    }
    writer.close();
    writer.wait_closed().await?;
    Ok(())
}

#[test]
fn asyncio_upgrades_a_connection_to_our_server() {
    with("python3", || async {
        let files = Files::new();
        let context = ServerContext::from(server_config());
        let client = move |reader, writer| upgrading(reader, writer, context.clone());
        let server = start_server(client, ("127.0.0.1", 0)).await.unwrap();
        let script = r#"
async def main(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(b"STARTTLS\n")
    print(await reader.readline())
    await writer.start_tls(trusting, server_hostname="localhost")
    writer.write(b"secret\n")
    print(await reader.readline())
    writer.close()
    await writer.wait_closed()
run(main)"#;
        let said = run(python(script, &files, &[&port_of(&server)])).await;
        assert_eq!(said, "b'go ahead\\n'\nb'SECRET\\n'\n");
        close(server).await;
    });
}

#[test]
fn we_upgrade_a_connection_to_asyncio_s_server() {
    with("python3", || async {
        let files = Files::new();
        let script = r#"
async def main():
    over = asyncio.Event()
    async def upgrade(reader, writer):
        print(await reader.readline())
        writer.write(b"go ahead\n")
        await writer.drain()
        await writer.start_tls(serving)
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        over.set()
    server = await asyncio.start_server(upgrade, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()
    server.close()
run(main)"#;
        let (server, port) = python_server(script, &files, &[]).await;
        let connecting = open_connection(("127.0.0.1", port));
        let (mut reader, writer) = connecting.await.unwrap();
        writer.write(b"STARTTLS\n");
        assert_eq!(reader.readline().await.unwrap(), b"go ahead\n");
        let context = ClientContext::from(client_config());
        writer
            .start_tls(context)
            .server_hostname("localhost")
            .await
            .unwrap();
        writer.write(b"secret\n");
        assert_eq!(reader.readline().await.unwrap(), b"SECRET\n");
        writer.close();
        writer.wait_closed().await.unwrap();
        let (status, said) = server.end().await;
        assert!(status.success() && said == "b'STARTTLS\\n'\n", "{said}");
    });
}
