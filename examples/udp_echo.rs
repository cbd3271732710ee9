//! UDP: a server that sends every message back, and a client that counts the answers.
//!
//! ```text
//! $ cargo run --example udp_echo
//! 1000 messages there and back, the last one: message 999
//! ```

use callsoon::net::UdpSocket;

#[path = "common/command_line.rs"]
mod command_line;

async fn serve(socket: UdpSocket) -> std::io::Result<()> {
    let mut buffer = [0; 1500];
    loop {
        let (count, sender) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..count], sender).await?;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        let server = UdpSocket::bind("127.0.0.1:0").await?;
        let address = server.local_addr()?;
        let server = callsoon::create_task(serve(server)).report_errors();

        let client = UdpSocket::bind("127.0.0.1:0").await?;
        client.connect(address).await?;
        let mut last = String::new();
        for number in 0..1000 {
            client.send(format!("message {number}").as_bytes()).await?;
            let mut buffer = [0; 1500];
            let count = client.recv(&mut buffer).await?;
            last = String::from_utf8_lossy(&buffer[..count]).into_owned();
        }
        println!("1000 messages there and back, the last one: {last}");
        server.cancel();
        Ok(())
    })?
}
