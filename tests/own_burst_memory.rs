//! A process of its own, because it counts every byte that the process allocates; one test, for the same reason.
//!
//! What a burst needed is given back once it has been read or sent: an idle connection keeps 4 KiB at most.

#![allow(unsafe_code)]

mod own {
    pub(crate) mod live_bytes;
}

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream as StdUnix;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;

use callsoon::net::UnixDatagram;
use callsoon::stream::{StreamReader, StreamWriter, open_connection};
use callsoon::sync::Semaphore;
use callsoon::transport::{DatagramProtocol, DatagramTransport};
use callsoon::{EventLoop, create_task, get_running_loop, yield_now};

use own::live_bytes::LIVE;

const CONNECTIONS: usize = 50;

const BURST: usize = 256 * 1024;

/// What an idle connection may keep of a burst.
const MOST_KEPT: usize = 4 * 1024;

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        yield_now().await;
    }
}

async fn turns() {
    for _ in 0..20 {
        yield_now().await;
    }
}

type Connection = (StreamReader, StreamWriter, StdUnix);

/// Connections over which a small message has gone in both directions.
async fn connections() -> Vec<Connection> {
    let mut all = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let (ours, peer) = StdUnix::pair().unwrap();
        let (mut reader, writer) = open_connection(ours).await.unwrap();
        (&peer).write_all(b"hello\n").unwrap();
        assert_eq!(reader.readline().await.unwrap(), b"hello\n");
        writer.write(b"hello\n");
        (&peer).read_exact(&mut [0; 6]).unwrap();
        peer.set_nonblocking(true).unwrap();
        all.push((reader, writer, peer));
    }
    all
}

/// Sends while the loop turns.
async fn send(mut peer: &StdUnix, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        match peer.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(_) => yield_now().await,
        }
    }
}

/// Runs `burst` on every connection and says what each has come to keep.
async fn kept_by_each(
    all: Vec<Connection>,
    burst: impl AsyncFn(&mut Connection),
) -> (usize, Vec<Connection>) {
    let mut all = all;
    turns().await;
    let before = live();
    for connection in &mut all {
        burst(connection).await;
    }
    turns().await;
    (live().saturating_sub(before) / CONNECTIONS, all)
}

async fn sent_and_read(connection: &mut Connection, bytes: &'static [u8], read: usize) {
    let peer = connection.2.try_clone().unwrap();
    let sending = create_task(async move { send(&peer, bytes).await });
    connection.0.readexactly(read).await.unwrap();
    sending.await.unwrap();
}

static BYTES: [u8; BURST + 10] = [7; BURST + 10];

/// The reader does something else afterwards, and does not learn that nothing more comes.
async fn a_burst_that_was_read_leaves_nothing() {
    let burst = async |it: &mut Connection| sent_and_read(it, &BYTES[..BURST], BURST).await;
    let (each, all) = kept_by_each(connections().await, burst).await;
    assert!(each <= MOST_KEPT, "{each} bytes a connection");

    // Read in small parts, with pauses in which it is all there.
    let slowly = async |it: &mut Connection| {
        let peer = it.2.try_clone().unwrap();
        let sending = create_task(async move { send(&peer, &BYTES[..BURST]).await });
        let mut got = 0;
        while got < BURST {
            got += it.0.read(1000).await.unwrap().len();
            yield_now().await;
        }
        sending.await.unwrap();
    };
    let (each, all) = kept_by_each(all, slowly).await;
    assert!(each <= MOST_KEPT, "{each} bytes a connection");
    drop(all);
}

async fn is_pending(future: &mut (impl Future + Unpin)) -> bool {
    poll_fn(|context| Poll::Ready(pin!(&mut *future).poll(context).is_pending())).await
}

/// The beginning of the next message is there, and the reader waits for the rest.
async fn the_beginning_of_a_message_does_not_hold_the_memory_of_a_burst() {
    let (each, all) = kept_by_each(connections().await, async |it| {
        sent_and_read(it, &BYTES, BURST).await;
        let mut waits = Box::pin(it.0.readexactly(20));
        assert!(is_pending(&mut waits).await);
        turns().await;
        assert!(is_pending(&mut waits).await);
    })
    .await;
    assert!(each <= MOST_KEPT, "{each} bytes a connection");
    drop(all);
}

/// A reader that is gone keeps nothing of what still comes.
async fn what_nobody_reads_is_not_kept() {
    let mut writers = Vec::new();
    for (reader, writer, peer) in connections().await {
        drop(reader);
        writers.push((writer, peer));
    }
    turns().await;
    let before = live();
    for (_, peer) in &writers {
        send(peer, &BYTES).await;
    }
    turns().await;
    let each = live().saturating_sub(before) / CONNECTIONS;
    assert!(each <= MOST_KEPT, "{each} bytes a connection");
}

async fn a_burst_that_was_sent_leaves_nothing() {
    let (each, all) = kept_by_each(connections().await, async |it| {
        for part in BYTES.chunks(1000) {
            it.1.write(part);
        }
        let mut got = 0;
        let mut buffer = [0; 4096];
        while got < BYTES.len() {
            match (&it.2).read(&mut buffer) {
                Ok(count) => got += count,
                Err(_) => yield_now().await,
            }
        }
        it.1.drain().await.unwrap();
    })
    .await;
    assert!(each <= MOST_KEPT, "{each} bytes a connection");
    drop(all);
}

#[derive(Default)]
struct Endpoint {
    resumed: Cell<bool>,
}

impl DatagramProtocol<callsoon::net::Unix> for Endpoint {
    fn resume_writing(&self, _: &DatagramTransport<callsoon::net::Unix>) {
        self.resumed.set(true);
    }
}

async fn a_queue_of_datagrams_leaves_nothing() {
    let (near, far) = UnixDatagram::pair().unwrap();
    let event_loop = get_running_loop();
    let (transport, endpoint) = event_loop.create_datagram_endpoint_on(near, Endpoint::default);
    turns().await;
    let before = live();
    for _ in 0..10_000 {
        transport.sendto(b"datagram", None).unwrap();
    }
    let mut buffer = [0; 16];
    for _ in 0..10_000 {
        far.recv(&mut buffer).await.unwrap();
    }
    until(|| transport.write_buffer_size() == 0 && endpoint.resumed.get()).await;
    turns().await;
    let kept = live().saturating_sub(before);
    assert!(kept <= MOST_KEPT, "{kept} bytes");
    transport.abort();
    turns().await;
}

/// They give up in no order, or are let in.
async fn a_crowd_that_waited_leaves_nothing() {
    const CROWD: usize = 20_000;
    for let_in in [false, true] {
        let semaphore = Semaphore::new(0);
        let before = live();
        let mut waits = Vec::new();
        for _ in 0..CROWD {
            let mut wait = Box::pin(semaphore.acquire());
            assert!(is_pending(&mut wait).await);
            waits.push(Some(wait));
        }
        if let_in {
            semaphore.add_permits(CROWD).unwrap();
        }
        for number in 0..CROWD {
            // Every number once, since 7,919 is prime.
            drop(waits[number * 7_919 % CROWD].take());
        }
        drop(waits);
        let kept = live().saturating_sub(before);
        assert!(kept <= 2 * MOST_KEPT, "{kept} bytes");
    }
}

#[test]
fn a_burst_is_given_back() {
    let event_loop = EventLoop::new().unwrap();
    event_loop
        .run_until_complete(async {
            // What the loop itself keeps, one buffer for all connections, is there from the beginning.
            drop(connections().await);
            turns().await;
            a_burst_that_was_read_leaves_nothing().await;
            the_beginning_of_a_message_does_not_hold_the_memory_of_a_burst().await;
            what_nobody_reads_is_not_kept().await;
            a_burst_that_was_sent_leaves_nothing().await;
            a_queue_of_datagrams_leaves_nothing().await;
            a_crowd_that_waited_leaves_nothing().await;
        })
        .unwrap();
}
