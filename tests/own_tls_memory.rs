//! A process of its own, because it counts every byte that the process allocates.
//!
//! Faults G3 and G5: what a peer can make a connection over TLS hold, in its handshake and after it.

#![allow(unsafe_code)]

#[expect(dead_code, reason = "a part of it is needed here")]
mod own {
    pub(crate) mod certificates;
    pub(crate) mod live_bytes;
}

use std::cell::Cell;
use std::io::Write as _;
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use callsoon::net::TcpStream;
use callsoon::transport::{Protocol, Server, Transport};
use callsoon::{EventLoop, get_running_loop, sleep};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConfig};

use own::certificates::{client_config, server_config};
use own::live_bytes::{LIVE, MOST};

/// The count is the whole process's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

fn run(test: impl AsyncFnOnce()) {
    let _alone = ONE_AT_A_TIME.lock();
    let event_loop = EventLoop::new().unwrap();
    // Ends a run that hangs.
    let handle = event_loop.handle();
    event_loop.call_later(Duration::from_secs(300), move || handle.stop());
    event_loop.run_until_complete(test()).unwrap();
}

/// Reads nothing.
struct Paused;

impl Protocol for Paused {
    fn connection_made(&self, transport: &Transport) {
        transport.pause_reading();
    }
}

async fn server(config: Arc<ServerConfig>) -> Server {
    let serving = get_running_loop().create_server(|| Paused, ("127.0.0.1", 0));
    serving.ssl(config).await.unwrap()
}

fn connect(server: &Server) -> TcpStream {
    let stream = StdStream::connect(server.local_addr().unwrap()).unwrap();
    TcpStream::from_std(stream).unwrap()
}

fn client() -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client_config()), name).unwrap();
    client.set_buffer_limit(None);
    client
}

fn records(client: &mut ClientConnection) -> Vec<u8> {
    let mut records = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut records).unwrap();
    }
    records
}

async fn handshake(client: &mut ClientConnection, stream: &TcpStream) {
    while client.is_handshaking() {
        stream.write_all(&records(client)).await.unwrap();
        if !client.is_handshaking() {
            return;
        }
        let mut buffer = vec![0; 1 << 14];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0);
        let mut came = &buffer[..count];
        while !came.is_empty() {
            client.read_tls(&mut came).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    stream.write_all(&records(client)).await.unwrap();
}

/// Sends the same bytes over and over until the server has taken none for a while, or has closed. Gives how many went.
async fn pour(stream: &TcpStream, mut next: impl FnMut() -> Vec<u8>, most: usize) -> usize {
    let mut sent = 0;
    let mut idle = 0;
    let mut piece = Vec::new();
    while sent < most && idle < 100 {
        if piece.is_empty() {
            piece = next();
        }
        match stream.try_write(&piece) {
            Ok(count) => {
                sent += count;
                piece.drain(..count);
                idle = 0;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                idle += 1;
                sleep(Duration::from_millis(1)).await;
            }
            Err(_) => break,
        }
    }
    sent
}

/// What a hundred connections at this point of their lives hold, each.
const CONNECTIONS: usize = 100;

/// What may be held of one peer that has not ended its handshake.
const HANDSHAKE: usize = 64 * 1024;

#[test]
fn g3_a_peer_that_does_not_end_its_handshake_holds_64_kib_at_most() {
    run(async || {
        let server = server(Arc::new(server_config())).await;
        // What is made once for all is made by now.
        let (mut first, stream) = (client(), connect(&server));
        handshake(&mut first, &stream).await;
        drop((first, stream));
        sleep(Duration::from_millis(50)).await;

        let hello = records(&mut client());
        // A handshake message of 16 MB, of which as much comes as the server takes.
        let giant = |body: &[u8]| [&[22, 3, 1, 0x3e, 0x80][..], body].concat();
        let mut begin = vec![0; 16_000];
        begin[..4].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
        let (begin, more) = (giant(&begin), giant(&[0; 16_000]));
        let nothing: Vec<u8> = Vec::new();
        let half_record = [&[22, 3, 1, 0x3f, 0xff][..], &[1; 16_000]].concat();
        let cases = [
            ("nothing", nothing, None),
            ("a hello", hello.clone(), None),
            ("half a hello", hello[..hello.len() / 2].to_vec(), None),
            ("half a record", half_record, None),
            ("a giant", begin, Some(&more)),
        ];
        for (name, begin, more) in cases {
            let before = live();
            let mut streams = Vec::with_capacity(CONNECTIONS);
            for _ in 0..CONNECTIONS {
                let stream = connect(&server);
                let _ = stream.write_all(&begin).await;
                if let Some(more) = more {
                    pour(&stream, || Vec::clone(more), 4_000_000).await;
                }
                streams.push(stream);
            }
            sleep(Duration::from_millis(50)).await;
            // The test's own sources are in it.
            let each = live().saturating_sub(before) / CONNECTIONS;
            println!("{name}: {each} bytes");
            assert!(each <= HANDSHAKE, "{name}: {each} bytes");
            drop(streams);
            sleep(Duration::from_millis(50)).await;
        }
        server.close();
        server.abort_clients();
        server.wait_closed().await;
    });
}

/// What may be held of a peer whose data the program does not read.
const UNREAD: usize = 300 * 1024;

#[test]
fn g5_a_flood_that_the_program_does_not_read_is_held_up_to_300_kib_whatever_its_records_are() {
    run(async || {
        let server = server(Arc::new(server_config())).await;
        for size in [16_000, 1000, 1] {
            let (mut client, stream) = (client(), connect(&server));
            handshake(&mut client, &stream).await;
            sleep(Duration::from_millis(20)).await;
            let before = live();
            MOST.store(before, Ordering::Relaxed);
            // The test's own records count too, which are few at a time.
            let piece = vec![7; size];
            let next = || {
                client.writer().write_all(&piece).unwrap();
                records(&mut client)
            };
            let sent = pour(&stream, next, 50_000_000).await;
            let most = MOST.load(Ordering::Relaxed) - before;
            println!("records of {size}: {sent} sent, {most} bytes held at most");
            assert!(most <= UNREAD, "records of {size}: {most} bytes");
            assert!(
                sent < 50_000_000,
                "records of {size}: nothing stops the peer"
            );
        }
        server.close();
        server.abort_clients();
        server.wait_closed().await;
    });
}

/// Keeps its transport after the end.
struct Kept {
    transports: std::rc::Rc<std::cell::RefCell<Vec<Transport>>>,
}

impl Protocol for Kept {
    fn connection_made(&self, transport: &Transport) {
        self.transports.borrow_mut().push(transport.clone());
    }
}

/// What may be left of a connection that has closed and whose transport is kept. A peer's certificate would be more.
const LEFT: usize = 1536;

#[test]
fn a_transport_that_is_kept_after_the_end_holds_little() {
    run(async || {
        let transports = std::rc::Rc::default();
        let kept = std::rc::Rc::clone(&transports);
        let serving = get_running_loop().create_server(
            move || Kept {
                transports: std::rc::Rc::clone(&kept),
            },
            ("127.0.0.1", 0),
        );
        let server = serving.ssl(server_config()).await.unwrap();
        let mut before = 0;
        // What is made once for all is made by the first ones.
        for round in 0..2 {
            before = live();
            for _ in 0..CONNECTIONS {
                let (mut client, stream) = (client(), connect(&server));
                handshake(&mut client, &stream).await;
                client.send_close_notify();
                stream.write_all(&records(&mut client)).await.unwrap();
            }
            while transports.borrow().len() < (round + 1) * CONNECTIONS
                || get_running_loop().metrics().sources > 1
            {
                sleep(Duration::from_millis(1)).await;
            }
        }
        let each = (live() - before) / CONNECTIONS;
        println!("{each} bytes are left of each connection");
        assert!(each <= LEFT, "{each} bytes");
        for transport in &*transports.borrow() {
            assert!(transport.tls_info().is_some());
        }
        server.close();
        server.wait_closed().await;
    });
}

/// Writes much at once and counts what is asked of it.
struct Heedless {
    lost: Cell<bool>,
}

impl Protocol for Heedless {
    fn connection_lost(&self, _: &Transport, _: Option<std::io::Error>) {
        self.lost.set(true);
    }
}

#[test]
fn what_is_written_to_a_peer_that_does_not_read_is_held_once() {
    run(async || {
        const MUCH: usize = 20_000_000;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let theirs = TcpStream::from_std(theirs).unwrap();
        let ours = listener.accept().unwrap().0;
        let heedless = || Heedless {
            lost: Cell::new(false),
        };
        let accepting = get_running_loop().connect_accepted_socket(heedless, ours);
        let accepting = accepting.ssl_server(server_config()).into_future();
        let accepting = callsoon::create_task(accepting);
        let mut client = client();
        handshake(&mut client, &theirs).await;
        let (transport, heedless) = accepting.await.unwrap().unwrap();
        let data = vec![7; MUCH];
        let before = live();
        MOST.store(before, Ordering::Relaxed);
        transport.write(&data);
        sleep(Duration::from_millis(20)).await;
        let most = MOST.load(Ordering::Relaxed) - before;
        println!("{most} bytes for {MUCH}");
        // The buffer may double as it grows; a second copy of everything, encrypted, would be more.
        assert!(most < MUCH * 5 / 2, "{most} bytes for {MUCH}");
        transport.abort();
        while !heedless.lost.get() {
            sleep(Duration::from_millis(1)).await;
        }
    });
}
