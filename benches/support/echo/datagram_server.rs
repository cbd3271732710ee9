//! UDP servers, each peer's: one socket, every message goes back to where it came from.

use std::net::{SocketAddr, UdpSocket as StdSocket};

use callsoon::net::UdpSocket;
use callsoon::transport::{DatagramProtocol, DatagramTransport};

use crate::support::rounds::Failure;

/// A message is far shorter.
const BUFFER: usize = 2048;

struct Echo;

impl DatagramProtocol for Echo {
    fn datagram_received(&self, transport: &DatagramTransport, data: &[u8], from: SocketAddr) {
        // It fails only without an address.
        let _ = transport.sendto(data, Some(from));
    }
}

pub(crate) fn serve(peer: &str) -> Result<(), Failure> {
    match peer {
        "protocol" => protocol(),
        "net" => net(),
        "floor" => floor(),
        "tokio" => tokio(),
        "smol" => smol(),
        other => Err(format!("no datagram server {other:?}").into()),
    }
}

fn protocol() -> Result<(), Failure> {
    callsoon::run(async {
        let event_loop = callsoon::get_running_loop();
        let endpoint = event_loop.create_datagram_endpoint(|| Echo);
        let (transport, _) = endpoint.local_addr(super::ANYWHERE).await?;
        super::announce(transport.local_addr()?);
        std::future::pending::<()>().await;
        Ok(())
    })?
}

fn net() -> Result<(), Failure> {
    callsoon::run(async {
        let socket = UdpSocket::bind(super::ANYWHERE).await?;
        super::announce(socket.local_addr()?);
        let mut buffer = [0; BUFFER];
        loop {
            let (count, from) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..count], from).await?;
        }
    })?
}

/// No runtime and no poller: one socket can block.
fn floor() -> Result<(), Failure> {
    let socket = StdSocket::bind(super::ANYWHERE)?;
    super::announce(socket.local_addr()?);
    let mut buffer = [0; BUFFER];
    loop {
        let (count, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..count], from)?;
    }
}

fn tokio() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let socket = tokio::net::UdpSocket::bind(super::ANYWHERE).await?;
        super::announce(socket.local_addr()?);
        let mut buffer = [0; BUFFER];
        loop {
            let (count, from) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..count], from).await?;
        }
    })
}

fn smol() -> Result<(), Failure> {
    async_io::block_on(async {
        let socket = async_io::Async::<StdSocket>::bind(super::ANYWHERE)?;
        super::announce(socket.get_ref().local_addr()?);
        let mut buffer = [0; BUFFER];
        loop {
            let (count, from) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..count], from).await?;
        }
    })
}
