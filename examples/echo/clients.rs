//! The clients: each sends a message that no other sends, waits for its echo, compares, and notes how long it took.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::net::TcpStream;

const CLIENTS: usize = 50;
const SECONDS: u32 = 3;
const SECOND: Duration = Duration::from_secs(1);
/// How long each message took, in nanoseconds.
type Latencies = Rc<RefCell<Vec<u64>>>;

async fn ask(address: SocketAddr, end: Instant, latencies: Latencies) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut echo = [0; 64];
    while Instant::now() < end {
        let message = [latencies.borrow().len().to_le_bytes(); 8].concat();
        let start = Instant::now();
        stream.write_all(&message).await?;
        stream.read_exact(&mut echo).await?;
        let took = start.elapsed().as_nanos() as u64;
        latencies.borrow_mut().push(took);
        assert_eq!(message, echo, "what came back is not what was sent");
    }
    Ok(())
}

pub(crate) async fn run(address: SocketAddr) -> io::Result<()> {
    println!(", {CLIENTS} clients, {SECONDS} s");
    let latencies = Latencies::default();
    let end = Instant::now() + SECONDS * SECOND;
    let client = |_| callsoon::create_task(ask(address, end, latencies.clone()));
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    for second in 1..=SECONDS {
        callsoon::sleep(SECOND).await;
        println!("{second} s  {} messages", latencies.borrow().len());
    }
    for client in clients {
        client.await.map_err(io::Error::other)??;
    }
    let mut sorted = latencies.take();
    sorted.sort_unstable();
    println!(
        "{} messages/s, every byte checked",
        sorted.len() / SECONDS as usize
    );
    let at = |percent| sorted[(sorted.len() - 1) * percent / 100] / 1000;
    println!(
        "latency in µs: p50 {}, p99 {}, max {}",
        at(50),
        at(99),
        at(100)
    );
    Ok(())
}
