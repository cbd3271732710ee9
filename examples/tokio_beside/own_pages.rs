//! A site of one page, and one that never comes.

use std::rc::Rc;

use callsoon::stream::{StreamReader, StreamWriter};
use callsoon::sync::Event;

/// Answers every page but `/slow`. Sets `gone` when the client of that one has gone.
pub(crate) async fn answer(mut reader: StreamReader, writer: StreamWriter, gone: Rc<Event>) {
    while let Ok(head) = reader.readuntil("\r\n\r\n").await {
        if head.starts_with(b"GET /slow") {
            // Nothing comes from a client that waits, but its end does.
            let _ = reader.read(1).await;
            return gone.set();
        }
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\na page");
    }
}
