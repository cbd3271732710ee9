//! A process of its own, because it starts other programs and waits for them: real peers at the other end.
//!
//! asyncio itself talks to every kind of transport and stream in both roles, `curl` with a small HTTP server, `nc` and
//! `socat` with an echo. A program that this machine does not have is named and its tests are skipped.

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use callsoon::stream::{
    ReadError, StreamReader, StreamWriter, open_connection, open_read_pipe, open_unix_connection,
    open_write_pipe, start_server, start_unix_server,
};
use callsoon::transport::{DatagramProtocol, DatagramTransport, Protocol, Server, Transport};
use callsoon::{get_running_loop, to_thread};

use support::{Scratch, Trace, audited, complete, real_loop, settled, until, watched};

/// How long a peer may take, in seconds, as its own argument or timeout.
const PATIENCE: &str = "120";

/// What every script begins with: a pattern to send, and a run that ends.
const PREAMBLE: &str = r#"
import asyncio, sys, os
def pattern(n): return bytes(i % 251 for i in range(251)) * (n // 251 + 1)
def run(main): asyncio.run(asyncio.wait_for(main(*sys.argv[2:]), float(sys.argv[1])))
"#;

/// Returns whether the program is installed, and prints a line if it is not.
fn is_here(program: &str) -> bool {
    let mut command = Command::new(program);
    let quiet = command.arg("--help").stdin(Stdio::null());
    let started = quiet.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let here = started.is_ok();
    if !here {
        println!("skipped: this machine has no {program}");
    }
    here
}

/// A test in which other programs take part.
fn with<F: Future<Output = ()>>(program: &str, test: impl FnOnce() -> F + Send + 'static) {
    let program = program.to_owned();
    audited(watched(move || {
        if !is_here(&program) {
            return;
        }
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        complete(&event_loop, async {
            test().await;
            settled().await;
        });
        assert_eq!(trace.take(), [""; 0], "unexpected");
    }));
}

/// Runs a program to its end and gives what it printed.
async fn run(mut command: Command) -> String {
    let ended = to_thread(move || command.stdin(Stdio::null()).output()).await;
    let output = ended.unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn python(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    let script = format!("{PREAMBLE}{script}");
    command.args(["-c", &script, PATIENCE]).args(arguments);
    command
}

/// A script that prints its address in its first line, and then serves one client.
struct PythonServer {
    child: Child,
    said: StreamReader,
}

impl PythonServer {
    async fn start(script: &str, arguments: &[&str]) -> (Self, String) {
        let mut command = python(script, arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = open_read_pipe(child.stdout.take().unwrap()).await.unwrap();
        let line = said.readline().await.unwrap();
        let line = String::from_utf8(line).unwrap().trim().to_owned();
        (Self { child, said }, line)
    }

    /// Returns its other lines, up to its end.
    async fn end(mut self) -> String {
        let rest = self.said.read_to_end().await.unwrap();
        let status = to_thread(move || self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
        String::from_utf8(rest).unwrap()
    }
}

fn loopback(port: &str) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
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

/// Echoes by streams.
async fn echo(mut reader: StreamReader, writer: StreamWriter) -> std::io::Result<()> {
    loop {
        let bytes = reader.read(1 << 16).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        writer.write(&bytes);
        writer.drain().await?;
    }
}

async fn close(server: Server) {
    server.close();
    server.wait_closed().await;
}

/// A client by asyncio's streams: it sends much, sends little, and closes.
const STREAM_CLIENT: &str = r#"
async def talk(reader, writer):
    data = pattern(3_000_000)
    async def send():
        for start in range(0, len(data), 70_001):
            writer.write(data[start:start + 70_001])
            await writer.drain()
        writer.write_eof()
    sending = asyncio.ensure_future(send())
    got = await reader.read(-1)
    await sending
    writer.close()
    await writer.wait_closed()
    print("same" if got == data else "different", len(got))
"#;

#[test]
fn asyncio_s_streams_are_echoed_by_a_protocol_and_by_streams() {
    with("python3", || async {
        let script = format!(
            "{STREAM_CLIENT}
async def main(port): await talk(*await asyncio.open_connection('localhost', int(port)))
run(main)"
        );
        let event_loop = get_running_loop();
        let by_protocol = event_loop.create_server(|| Echo, ("127.0.0.1", 0));
        let by_streams = start_server(echo, ("127.0.0.1", 0));
        let expected = format!("same {}\n", 251 * (3_000_000 / 251 + 1));
        for server in [by_protocol.await.unwrap(), by_streams.await.unwrap()] {
            let port = server.local_addr().unwrap().port().to_string();
            assert_eq!(run(python(&script, &[&port])).await, expected);
            close(server).await;
        }
    });
}

#[test]
fn asyncio_s_streams_over_a_unix_socket_are_echoed() {
    with("python3", || async {
        let script = format!(
            "{STREAM_CLIENT}
async def main(path): await talk(*await asyncio.open_unix_connection(path))
run(main)"
        );
        let name = format!("callsoon-peers-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let server = start_unix_server(echo, &path).await.unwrap();
        let said = run(python(&script, &[path.to_str().unwrap()])).await;
        assert!(said.starts_with("same "), "{said}");
        close(server).await;
        assert!(!path.exists());
    });
}

/// Prints each call that it receives, in asyncio's names.
#[derive(Default)]
struct Teller {
    told: RefCell<Vec<String>>,
    lost: Cell<bool>,
}

impl Protocol for Teller {
    fn connection_made(&self, transport: &Transport) {
        self.told.borrow_mut().push("connection_made".to_owned());
        transport.write(b"hello");
        transport.write_eof();
    }

    fn data_received(&self, _: &Transport, data: &[u8]) {
        let line = format!("data_received {}", String::from_utf8_lossy(data));
        self.told.borrow_mut().push(line);
    }

    fn eof_received(&self, _: &Transport) -> bool {
        self.told.borrow_mut().push("eof_received".to_owned());
        false
    }

    fn connection_lost(&self, _: &Transport, error: Option<std::io::Error>) {
        let error = error.map_or("None".to_owned(), |error| error.to_string());
        let line = format!("connection_lost {error}");
        self.told.borrow_mut().push(line);
        self.lost.set(true);
    }
}

#[test]
fn a_protocol_and_asyncio_s_protocol_tell_the_same_story() {
    with("python3", || async {
        let script = r#"
class Tell(asyncio.Protocol):
    def __init__(self, over): self.over = over
    def connection_made(self, transport):
        self.transport = transport
        print("connection_made")
    def data_received(self, data):
        print("data_received", data.decode())
    def eof_received(self):
        print("eof_received")
        self.transport.write(b"bye")
        return False
    def connection_lost(self, error):
        print("connection_lost", error)
        self.over.set_result(None)
async def main():
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    server = await loop.create_server(lambda: Tell(over), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over
    server.close()
run(main)"#;
        let (server, port) = PythonServer::start(script, &[]).await;
        let event_loop = get_running_loop();
        let connecting = event_loop.create_connection(Teller::default, loopback(&port));
        let (_, teller): (_, Rc<Teller>) = connecting.await.unwrap();
        until(|| teller.lost.get()).await;
        let story = "connection_made\ndata_received hello\neof_received\nconnection_lost None\n";
        assert_eq!(server.end().await, story);
        let ours = teller.told.borrow().join("\n") + "\n";
        assert_eq!(ours, story.replace("hello", "bye"));
    });
}

#[test]
fn streams_speak_with_asyncio_s_server() {
    with("python3", || async {
        let script = r#"
async def main():
    over = asyncio.Event()
    async def upper(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        over.set()
    server = await asyncio.start_server(upper, "127.0.0.1", 0, limit=1 << 22)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()
    server.close()
run(main)"#;
        let (server, port) = PythonServer::start(script, &[]).await;
        let (mut reader, writer) = open_connection(("127.0.0.1", port.parse().unwrap()))
            .limit(std::num::NonZeroUsize::new(1 << 22).unwrap())
            .await
            .unwrap();
        for length in [0, 1, 1000, 100_000, 1_500_000] {
            let mut line = vec![b'x'; length];
            line.push(b'\n');
            writer.write(&line);
            writer.drain().await.unwrap();
            assert_eq!(reader.readline().await.unwrap(), line.to_ascii_uppercase());
        }
        writer.write_eof();
        assert_eq!(reader.read_to_end().await.unwrap(), b"");
        writer.close();
        writer.wait_closed().await.unwrap();
        assert_eq!(server.end().await, "");
    });
}

#[test]
fn asyncio_s_unix_server_is_spoken_with() {
    with("python3", || async {
        let name = format!("callsoon-peers-python-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let script = r#"
async def main(path):
    over = asyncio.Event()
    async def answer(reader, writer):
        writer.write(await reader.readexactly(4) + b"!")
        writer.close()
        over.set()
    server = await asyncio.start_unix_server(answer, path)
    print("ready", flush=True)
    await over.wait()
    server.close()
    os.path.exists(path) and os.unlink(path)
run(main)"#;
        let (server, _) = PythonServer::start(script, &[path.to_str().unwrap()]).await;
        let (mut reader, writer) = open_unix_connection(&path).await.unwrap();
        writer.write(b"ping");
        assert_eq!(reader.read_to_end().await.unwrap(), b"ping!");
        assert_eq!(server.end().await, "");
    });
}

struct UdpEcho;

impl DatagramProtocol for UdpEcho {
    fn datagram_received(&self, transport: &DatagramTransport, data: &[u8], from: SocketAddr) {
        transport.sendto(data, Some(from)).unwrap();
    }
}

#[test]
fn asyncio_s_datagrams_come_back() {
    with("python3", || async {
        let script = r#"
class Count(asyncio.DatagramProtocol):
    def __init__(self, over): self.over, self.got = over, []
    def connection_made(self, transport):
        self.transport = transport
        transport.sendto(b"0")
    def datagram_received(self, data, address):
        self.got.append(data)
        if len(self.got) == 200: self.over.set_result(None)
        else: self.transport.sendto(b"x" * (len(self.got) * 40))
async def main(port):
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Count(over), remote_addr=("127.0.0.1", int(port)))
    await over
    print(sum(map(len, protocol.got)))
    transport.close()
run(main)"#;
        let event_loop = get_running_loop();
        let endpoint = event_loop.create_datagram_endpoint(|| UdpEcho);
        let (transport, _) = endpoint.local_addr(("127.0.0.1", 0)).await.unwrap();
        let port = transport.local_addr().unwrap().port().to_string();
        let total = 1 + (1..200).map(|n| n * 40).sum::<usize>();
        assert_eq!(run(python(script, &[&port])).await, format!("{total}\n"));
        transport.close();
    });
}

#[test]
fn files_go_to_asyncio_and_come_from_it() {
    with("python3", || async {
        let scratch = Scratch::new(&pattern(5_000_000));
        let script = r#"
async def main(path):
    over = asyncio.Event()
    async def exchange(reader, writer):
        data = await reader.readexactly(4_000_003)
        with open(path, "rb") as file:
            whole = file.read()
            print("same" if data == b"<" + whole[1000:4_001_000] + b">!" else "different")
            await asyncio.get_running_loop().sendfile(writer.transport, file, 7)
        writer.close()
        over.set()
    server = await asyncio.start_server(exchange, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()
    server.close()
run(main)"#;
        let (server, port) = PythonServer::start(script, &[scratch.path()]).await;
        let (mut reader, writer) = open_connection(loopback(&port)).await.unwrap();
        writer.write(b"<");
        let sent = writer.sendfile(&scratch.file, 1000, Some(4_000_000)).await;
        assert_eq!(sent.unwrap(), 4_000_000);
        writer.writelines(&[">", "!"]);
        let come = reader.read_to_end().await.unwrap();
        assert!(come == pattern(5_000_000)[7..]);
        assert_eq!(server.end().await, "same\n");
    });
}

#[test]
fn a_child_is_written_to_and_read_from_by_pipes() {
    with("python3", || async {
        let script = "
for line in sys.stdin:
    print(line.strip()[::-1], flush=True)
print('done')";
        let mut command = python(script, &[]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let writer = open_write_pipe(child.stdin.take().unwrap()).await.unwrap();
        let mut reader = open_read_pipe(child.stdout.take().unwrap()).await.unwrap();
        for (said, heard) in [("stressed", "desserts\n"), ("drawer", "reward\n")] {
            writer.write(format!("{said}\n").as_bytes());
            assert_eq!(reader.readline().await.unwrap(), heard.as_bytes());
        }
        writer.write_eof();
        assert_eq!(reader.read_to_end().await.unwrap(), b"done\n");
        let status = to_thread(move || child.wait()).await.unwrap().unwrap();
        assert!(status.success());
        // A child that has gone is noticed without another word.
        writer.wait_closed().await.unwrap();
    });
}

/// HTTP, as little as `curl` needs: one answer for each request of a connection, its body the request's.
async fn http(mut reader: StreamReader, writer: StreamWriter) -> Result<(), ReadError> {
    loop {
        let head = match reader.readuntil(b"\r\n\r\n").await {
            Ok(head) => String::from_utf8_lossy(&head).into_owned(),
            Err(ReadError::Incomplete(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let header = |name: &str| {
            let line = |line: &&str| line.to_lowercase().starts_with(name);
            let line = head.lines().find(line)?;
            Some(line[name.len()..].trim().to_owned())
        };
        if header("expect:").is_some() {
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let length = header("content-length:").and_then(|it| it.parse().ok());
        let mut body = reader.readexactly(length.unwrap_or(0)).await?;
        if body.is_empty() {
            body = head.lines().next().unwrap_or_default().into();
        }
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        writer.writelines(&[answer.as_bytes(), &body]);
        writer.drain().await?;
    }
}

fn curl(arguments: &[&str]) -> Command {
    let mut command = Command::new("curl");
    let quiet = ["--silent", "--show-error", "--noproxy", "*", "--max-time"];
    command.args(quiet).arg(PATIENCE).args(arguments);
    command
}

#[test]
fn curl_gets_and_posts_over_one_connection() {
    with("curl", || async {
        let server = start_server(http, ("127.0.0.1", 0)).await.unwrap();
        let url = |path: &str| format!("http://{}{path}", server.local_addr().unwrap());
        let connections = ["--write-out", "\n%{http_code} %{num_connects}\n"];
        let (one, two) = (url("/one"), url("/two"));
        let both = [&connections[..], &[&one, &two]].concat();
        assert_eq!(
            run(curl(&both)).await,
            "GET /one HTTP/1.1\n200 1\nGET /two HTTP/1.1\n200 0\n"
        );
        // More than curl sends without having asked.
        let text: String = "callsoon".repeat(200_000);
        let scratch = Scratch::new(text.as_bytes());
        let body = format!("@{}", scratch.path());
        let expect = ["--header", "Expect: 100-continue", "--data-binary", &body];
        let post = [&expect[..], &[&one]].concat();
        assert!(run(curl(&post)).await == text);
        close(server).await;
    });
}

#[test]
fn curl_speaks_over_a_unix_socket() {
    with("curl", || async {
        let name = format!("callsoon-peers-curl-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let server = start_unix_server(http, &path).await.unwrap();
        let place = ["--unix-socket", path.to_str().unwrap(), "http://localhost/"];
        assert_eq!(run(curl(&place)).await, "GET / HTTP/1.1");
        close(server).await;
    });
}

/// A program that sends its input and prints what comes back.
async fn piped(program: &str, arguments: Vec<String>) {
    // Ends by itself: not every `nc` can end its own side alone.
    let once = async |mut reader: StreamReader, writer: StreamWriter| {
        writer.write(&reader.readline().await?);
        Ok::<_, ReadError>(())
    };
    let server = start_server(once, ("127.0.0.1", 0)).await.unwrap();
    let address = server.local_addr().unwrap();
    let place = |argument: String| {
        let port = address.port().to_string();
        argument.replace("PORT", &port)
    };
    let mut command = Command::new(program);
    let command = command.args(arguments.into_iter().map(place));
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let writer = open_write_pipe(child.stdin.take().unwrap()).await.unwrap();
    let mut reader = open_read_pipe(child.stdout.take().unwrap()).await.unwrap();
    writer.write(b"there and back\n");
    assert_eq!(reader.readline().await.unwrap(), b"there and back\n");
    writer.write_eof();
    assert_eq!(reader.read_to_end().await.unwrap(), b"");
    let ended = to_thread(move || child.wait()).await.unwrap();
    assert!(ended.unwrap().success());
    close(server).await;
}

#[test]
fn nc_is_echoed() {
    with("nc", || async {
        let arguments = ["127.0.0.1", "PORT"].map(str::to_owned);
        piped("nc", arguments.into()).await;
    });
}

#[test]
fn socat_is_echoed() {
    with("socat", || async {
        let arguments = ["-", "TCP4:127.0.0.1:PORT"].map(str::to_owned);
        piped("socat", arguments.into()).await;
    });
}
