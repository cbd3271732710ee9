//! One loop for each core, all on one port: `SO_REUSEPORT` lets the system spread the clients over them.
//!
//! ```text
//! $ cargo run --example multicore_echo
//! 200 clients had their echo; every loop had some of them: true
//! ```

use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use callsoon::stream::{StreamReader, StreamWriter};
use callsoon::{open_connection, run, start_server};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A loop of its own, which goes with the process. Says where it listens.
fn serve(number: u8, on: SocketAddr, ready: &Sender<SocketAddr>) -> Result<(), Failure> {
    run(async {
        let echo = async move |mut reader: StreamReader, writer: StreamWriter| {
            writer.write(&[number]);
            writer.write(&reader.readexactly(5).await?);
            writer.drain().await
        };
        let server = start_server(echo, on).options(|it| it.reuse_port(true));
        let server = server.await?;
        ready.send(server.local_addr().ok_or("it has no address")?)?;
        Ok(server.serve_forever().await?)
    })?
}

fn main() -> Result<(), Failure> {
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    let (ready, started) = channel();
    for number in 0..2 {
        let ready = ready.clone();
        thread::spawn(move || serve(number, address, &ready));
        address = started.recv()?;
    }
    let mut clients = [0; 2];
    run(async {
        for _ in 0..200 {
            let (mut reader, writer) = open_connection(address).await?;
            writer.write(b"hello");
            clients[usize::from(reader.readexactly(1).await?[0])] += 1;
            assert_eq!(reader.readexactly(5).await?, b"hello");
        }
        Ok::<(), std::io::Error>(())
    })??;
    let all = clients.iter().all(|&count| count > 0);
    println!("200 clients had their echo; every loop had some of them: {all}");
    Ok(())
}
