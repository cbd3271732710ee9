//! One loop for each core, all on one port: with `SO_REUSEPORT` the system spreads the clients over the loops.
//!
//! ```text
//! 200 clients had their echo; every loop served some of them: true
//! ```

use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use callsoon::stream::{StreamReader, StreamWriter};
use callsoon::{open_connection, run, start_server};

#[path = "common/command_line.rs"]
mod command_line;
type Failure = Box<dyn std::error::Error + Send + Sync>;
const LOOPS: u8 = 2;
const CLIENTS: u32 = 200;

/// Runs a server on a loop of its own, which ends with the process. Each answer has the loop's number in front.
fn serve(number: u8, on: SocketAddr, started: &Sender<SocketAddr>) -> Result<(), Failure> {
    run(async {
        let echo = async move |mut reader: StreamReader, writer: StreamWriter| {
            let message = reader.readexactly(5).await?;
            writer.write([number]);
            writer.write(&message);
            writer.drain().await
        };
        let server = start_server(echo, on).options(|options| options.reuse_port(true));
        let server = server.await?;
        started.send(server.local_addr().ok_or("no address")?)?;
        Ok(server.serve_forever().await?)
    })?
}

fn main() -> Result<(), Failure> {
    command_line::arguments!("");
    // The first loop takes any port, the others the same one.
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    let (started, addresses) = channel();
    for number in 0..LOOPS {
        let started = started.clone();
        thread::spawn(move || serve(number, address, &started));
        address = addresses.recv()?;
    }
    let mut served = [0; LOOPS as usize];
    run(async {
        for _ in 0..CLIENTS {
            let (mut reader, writer) = open_connection(address).await?;
            writer.write(b"hello");
            let answer = reader.readexactly(6).await?;
            assert_eq!(&answer[1..], b"hello");
            served[usize::from(answer[0])] += 1;
        }
        Ok::<(), std::io::Error>(())
    })??;
    let all = served.iter().all(|&clients| clients > 0);
    println!("{CLIENTS} clients had their echo; every loop served some of them: {all}");
    Ok(())
}
