//! A port forwarder: two protocols, each with the other's transport. A slow side holds the fast one up.
//!
//! ```text
//! 1000000 bytes came, nobody is left
//! ```

use std::net::{SocketAddr, TcpListener};
use std::{cell::Cell, io, rc::Rc};

use callsoon::transport::{Protocol, Transport};

/// One side of a forwarded connection: the other's transport, and whether one of the two has come to its end.
struct Side(Transport, Rc<Cell<bool>>);

#[rustfmt::skip]
impl Protocol for Side {
    fn data_received(&self, _: &Transport, data: &[u8]) { self.0.write(data); }
    fn eof_received(&self, _: &Transport) -> bool { self.0.write_eof(); !self.1.replace(true) }
    fn connection_lost(&self, _: &Transport, _: Option<io::Error>) { self.0.close(); }
    fn pause_writing(&self, _: &Transport) { self.0.pause_reading(); }
    fn resume_writing(&self, _: &Transport) { self.0.resume_reading(); }
}

/// What a client meets: the target is connected to first, and only then the client heard.
struct Forward(SocketAddr);

impl Protocol for Forward {
    fn connection_made(&self, client: &Transport) {
        let (client, target) = (client.clone(), self.0);
        client.pause_reading();
        callsoon::create_task(async move {
            let (event_loop, ended) = (callsoon::get_running_loop(), Rc::<Cell<bool>>::default());
            let inner = Side(client.clone(), ended.clone());
            match event_loop.create_connection(|| inner, target).await {
                Ok((server, _)) => client.set_protocol(Rc::new(Side(server, ended))),
                Err(_) => client.close(),
            }
            client.resume_reading();
        });
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = TcpListener::bind("127.0.0.1:0")?;
    let address = target.local_addr()?;
    let sum = std::thread::spawn(move || io::copy(&mut target.accept()?.0, &mut io::sink()));
    callsoon::run(async move {
        let event_loop = callsoon::get_running_loop();
        let server = event_loop.create_server(move || Forward(address), "127.0.0.1:0");
        let server = server.await?;
        let (mut reader, writer) = callsoon::open_connection(server.local_addr().unwrap()).await?;
        writer.write(&vec![7; 1_000_000]);
        writer.write_eof();
        reader.read_to_end().await?;
        server.close();
        server.wait_closed().await;
        println!("{} bytes came, nobody is left", sum.join().unwrap()?);
        Ok(())
    })?
}
