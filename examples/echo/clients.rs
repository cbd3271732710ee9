//! The clients: each sends a message, waits for its echo, compares them, and notes how long it took.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::net::TcpStream;

const CLIENTS: usize = 50;
pub(crate) const SECONDS: u32 = 3;
const SECOND: Duration = Duration::from_secs(1);
/// How long each message took.
type Latencies = Rc<RefCell<Vec<Duration>>>;

async fn exchange(address: SocketAddr, end: Instant, latencies: Latencies) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut echo = [0; 64];
    while Instant::now() < end {
        // No two messages are the same.
        let number = latencies.borrow().len();
        let message = number.to_le_bytes().repeat(8);
        let start = Instant::now();
        stream.write_all(&message).await?;
        stream.read_exact(&mut echo).await?;
        latencies.borrow_mut().push(start.elapsed());
        assert_eq!(message, echo, "the echo differs from the message");
    }
    Ok(())
}

pub(crate) async fn run(address: SocketAddr) -> io::Result<Vec<Duration>> {
    println!("{CLIENTS} clients for {SECONDS} s");
    let latencies = Latencies::default();
    let end = Instant::now() + SECONDS * SECOND;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = exchange(address, end, Rc::clone(&latencies));
        clients.push(callsoon::create_task(client));
    }
    for second in 1..=SECONDS {
        callsoon::sleep(SECOND).await;
        println!("{second} s  {} messages", latencies.borrow().len());
    }
    for client in clients {
        client.await.map_err(io::Error::other)??;
    }
    Ok(latencies.take())
}
