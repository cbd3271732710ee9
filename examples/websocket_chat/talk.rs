//! The clients' side.

use std::error::Error;
use std::net::SocketAddr;

use async_tungstenite::client_async;
use async_tungstenite::tungstenite::Message;
use callsoon::net::TcpStream;
use futures_util::StreamExt;

/// Two members who say one thing each.
pub(crate) async fn conversation(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let url = format!("ws://{address}/");
    let (mut ada, _) = client_async(&url, TcpStream::connect(address).await?).await?;
    let (mut bob, _) = client_async(&url, TcpStream::connect(address).await?).await?;
    ada.send(Message::text("Ada: good morning")).await?;
    for line in 0..2 {
        for (name, socket) in [("Ada", &mut ada), ("Bob", &mut bob)] {
            let heard = socket.next().await.ok_or("the chat has ended")??;
            println!("{name} hears: {}", heard.to_text()?);
        }
        if line == 0 {
            bob.send(Message::text("Bob: hello Ada")).await?;
        }
    }
    ada.close(None).await?;
    Ok(bob.close(None).await?)
}
