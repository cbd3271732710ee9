//! A process of its own, because it raises the limit of descriptors and counts every byte that the process allocates.
//!
//! What an idle connection costs with the task that waits for it, and that the loop gives back what a crowd has needed.
//! Each limit is what was reached, and little more: a field too many in what all connections have shows here.

#![allow(unsafe_code)]

mod own {
    pub(crate) mod live_bytes;
    pub(crate) mod raised;
}

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as StdTcp};
use std::sync::atomic::Ordering;

use callsoon::net::{TcpListener, TcpStream, UnixStream};
use callsoon::stream::{StreamReader, StreamWriter, start_server};
use callsoon::transport::{Protocol, Transport};
use callsoon::{EventLoop, create_task, get_running_loop, yield_now};

use own::live_bytes::LIVE;
use own::raised::raise_descriptor_limit;

/// Counted from the first of these to the second. The tables of the loop have room for them all from the beginning.
const FROM: usize = 60;
const TO: usize = 240;

/// So many of them then have a burst.
const BURSTS: usize = 20;
const BURST: usize = 256 * 1024;

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

async fn turns() {
    for _ in 0..20 {
        yield_now().await;
    }
}

/// Sends `size` bytes in lines of 64, and reads their echo, while the loop turns.
async fn exchange(mut peer: &StdTcp, size: usize) {
    let line = [[b'.'; 63].as_slice(), b"\n"].concat();
    let lines = line.repeat(size.min(16 * 1024) / 64);
    let mut buffer = [0; 16 * 1024];
    let (mut sent, mut read) = (0, 0);
    while read < size {
        if sent < size {
            // In whole lines, or the rest of one.
            let place = sent % lines.len();
            sent += peer.write(&lines[place..]).unwrap_or(0);
        }
        match peer.read(&mut buffer) {
            Ok(0) => panic!("the echo has ended"),
            Ok(count) => read += count,
            Err(_) => yield_now().await,
        }
    }
}

/// Connects a crowd to an echo server and has each exchange a message. Gives what one costs when all are idle, and what
/// one keeps of a burst.
async fn costs_of_each(address: SocketAddr) -> [usize; 2] {
    let mut peers = Vec::with_capacity(TO);
    let mut before = 0;
    for number in 0..TO {
        if number == FROM {
            turns().await;
            before = live();
        }
        let peer = StdTcp::connect(address).unwrap();
        peer.set_nonblocking(true).unwrap();
        exchange(&peer, 64).await;
        peers.push(peer);
    }
    turns().await;
    let idle = live();
    for peer in &peers[..BURSTS] {
        exchange(peer, BURST).await;
    }
    turns().await;
    let kept = live().saturating_sub(idle) / BURSTS;
    drop(peers);
    // Their servers' sides end.
    while get_running_loop().metrics().sources > 1 {
        yield_now().await;
    }
    [(idle - before) / (TO - FROM), kept]
}

async fn echo_by_net(stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
}

async fn by_net() -> [usize; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = create_task(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            create_task(async { echo_by_net(stream).await.unwrap_or(()) }).detach();
        }
    });
    let each = costs_of_each(address).await;
    serving.cancel();
    let _ = serving.await;
    each
}

async fn echo_by_streams(mut reader: StreamReader, writer: StreamWriter) -> std::io::Result<()> {
    let mut buffer = [0; 64];
    loop {
        match reader.read_into(&mut buffer).await? {
            0 => return Ok(()),
            count => writer.write(&buffer[..count]),
        }
        writer.drain().await?;
    }
}

async fn echo_of_lines(mut reader: StreamReader, writer: StreamWriter) {
    while let Ok(Some(line)) = reader.next_line().await {
        writer.write(&line);
        let _ = writer.drain().await;
    }
}

async fn by_streams(lines: bool) -> [usize; 2] {
    let server = match lines {
        true => start_server(echo_of_lines, "127.0.0.1:0").await.unwrap(),
        false => start_server(echo_by_streams, "127.0.0.1:0").await.unwrap(),
    };
    let each = costs_of_each(server.local_addr().unwrap()).await;
    server.close();
    server.wait_closed().await;
    each
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

async fn by_protocol() -> [usize; 2] {
    let event_loop = get_running_loop();
    let server = event_loop
        .create_server(|| Echo, "127.0.0.1:0")
        .await
        .unwrap();
    let each = costs_of_each(server.local_addr().unwrap()).await;
    server.close();
    server.wait_closed().await;
    each
}

/// A crowd of sockets that wait for nothing leaves no room of its own behind, although one that came before it stays.
async fn the_room_of_a_crowd_is_given_back(sockets: usize) {
    let stays = UnixStream::pair().unwrap();
    turns().await;
    let before = live();
    for _ in 0..2 {
        let crowd: Vec<_> = (0..sockets / 2)
            .map(|_| UnixStream::pair().unwrap())
            .collect();
        assert!(live() > before + sockets * 64);
        assert_eq!(get_running_loop().metrics().sources, sockets + 2);
        drop(crowd);
        let kept = live().saturating_sub(before);
        assert!(kept <= 4 * 1024, "{kept} bytes of {sockets} sockets");
    }
    drop(stays);
}

/// One socket comes and goes on a loop that was built for many: there is still room for them.
async fn the_room_that_was_asked_for_is_kept() {
    turns().await;
    let before = live();
    drop(UnixStream::pair().unwrap());
    let given_back = before.saturating_sub(live());
    assert!(given_back == 0, "{given_back} bytes of room");
}

#[test]
fn an_idle_connection_costs_little_and_a_crowd_that_is_gone_nothing() {
    let descriptors = raise_descriptor_limit(10_000);
    let event_loop = EventLoop::new().unwrap();
    event_loop
        .run_until_complete(async {
            // What the loop itself keeps is there from the beginning.
            by_streams(true).await;
            let forms = [
                ("net with its task", by_net().await, 330),
                ("streams with their task", by_streams(false).await, 700),
                ("streams that wait for a line", by_streams(true).await, 800),
                ("a protocol", by_protocol().await, 280),
            ];
            for (what, [idle, kept], most) in forms {
                println!("{what}: {idle} bytes, and {kept} of a burst");
                assert!(idle <= most, "{what}: {idle} bytes");
                assert!(kept <= 64, "{what}: {kept} bytes of a burst");
            }
            the_room_of_a_crowd_is_given_back(descriptors.saturating_sub(100).min(4000)).await;
        })
        .unwrap();
    drop(event_loop);
    let event_loop = EventLoop::builder().capacity(50_000).build().unwrap();
    event_loop
        .run_until_complete(the_room_that_was_asked_for_is_kept())
        .unwrap();
}
