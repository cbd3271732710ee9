//! A process of its own, because it raises the limit of descriptors and counts every byte that the process allocates.
//!
//! Fault F2: thousands of clients that send a byte now and then cost little each, and all get their answer.

#![allow(unsafe_code)]

mod own {
    pub(crate) mod live_bytes;
    pub(crate) mod raised;
}

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use callsoon::stream::{StreamReader, StreamWriter, start_server};
use callsoon::transport::{Protocol, Server, Transport};
use callsoon::{EventLoop, get_running_loop, yield_now};

use own::live_bytes::LIVE;
use own::raised::raise_descriptor_limit;

/// Raises the limit of descriptors as far as it goes, and gives how many clients may come: each takes two.
fn clients() -> usize {
    (raise_descriptor_limit(25_000).saturating_sub(100) / 2).min(10_000)
}

/// Lets the loop turn until something is so.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        yield_now().await;
    }
}

/// Connects them all and has each say a byte several times; gives the bytes that each has come to cost, then the
/// clients.
async fn trickle(server: &Server, count: usize, heard: &Cell<usize>) -> (usize, Vec<TcpStream>) {
    let address = server.local_addr().unwrap();
    let mut crowd = Vec::with_capacity(count);
    let before = LIVE.load(Ordering::Relaxed);
    for _ in 0..count {
        crowd.push(TcpStream::connect(address).unwrap());
        yield_now().await;
    }
    until(|| get_running_loop().metrics().sources == count + 1).await;
    for round in 1..=5 {
        for client in &mut crowd {
            client.write_all(b".").unwrap();
        }
        if heard.get() < usize::MAX {
            until(|| heard.get() == round * count).await;
        }
    }
    for _ in 0..100 {
        yield_now().await;
    }
    let each = (LIVE.load(Ordering::Relaxed) - before) / count;
    (each, crowd)
}

/// Each ends its line and gets its answer.
async fn answers(crowd: Vec<TcpStream>) {
    for mut client in crowd {
        client.write_all(b"!\n").unwrap();
        client.set_nonblocking(true).unwrap();
        let mut got = 0;
        while got < 7 {
            match client.read(&mut [0; 16]) {
                Ok(count) => got += count,
                Err(_) => yield_now().await,
            }
        }
    }
}

/// Counts what comes, and answers a line.
struct Count(Rc<Cell<usize>>);

impl Protocol for Count {
    fn data_received(&self, transport: &Transport, data: &[u8]) {
        self.0.set(self.0.get() + data.len());
        if data.ends_with(b"\n") {
            transport.write(b"answer\n");
        }
    }
}

#[test]
fn f2_thousands_of_slow_clients_cost_little_each_and_all_get_their_answer() {
    let count = clients();
    let event_loop = EventLoop::new().unwrap();
    let heard = Rc::new(Cell::new(0));
    // Ends a run that hangs.
    let handle = event_loop.handle();
    event_loop.call_later(Duration::from_secs(1000), move || handle.stop());
    event_loop
        .run_until_complete(async {
            let counter = Rc::clone(&heard);
            let factory = move || Count(Rc::clone(&counter));
            let handle = get_running_loop();
            let server = handle.create_server(factory, ("127.0.0.1", 0));
            let server = server.backlog(1024).await.unwrap();
            let (each, crowd) = trickle(&server, count, &heard).await;
            println!("a protocol's connection: {each} bytes");
            assert!(each <= 1024, "{each} bytes for {count} clients each");
            answers(crowd).await;
            server.close();
            server.wait_closed().await;

            let echo = async |mut reader: StreamReader, writer: StreamWriter| {
                let line = reader.readline().await?;
                writer.write(&line);
                writer.drain().await
            };
            let server = start_server(echo, ("127.0.0.1", 0)).await.unwrap();
            let unknown = Cell::new(usize::MAX);
            let (each, crowd) = trickle(&server, count, &unknown).await;
            println!("a stream's connection and its task: {each} bytes");
            assert!(each <= 2 * 1024, "{each} bytes for {count} clients each");
            answers(crowd).await;
            server.close();
            server.wait_closed().await;
        })
        .unwrap();
}
