//! Python's `websockets` at either end of async-tungstenite, plain and over TLS.

use std::cell::RefCell;
use std::process::{Command, Stdio};
use std::rc::Rc;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::CloseFrame;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::{accept_async, client_async};
use callsoon::stream::{StreamReader, StreamWriter, join, open_connection, start_server};
use futures_util::StreamExt;

use crate::certificates::{client_config, server_config};
use crate::python::{python, python_server};
use crate::{Files, close, run, with};

/// Returns whether Python has the package, and prints a line if it has not.
fn has_websockets() -> bool {
    let mut command = Command::new("python3");
    let quiet = command.args(["-c", "import websockets.asyncio.client"]);
    let quiet = quiet.stdin(Stdio::null()).stdout(Stdio::null());
    let here = quiet.stderr(Stdio::null()).status();
    let here = here.is_ok_and(|status| status.success());
    if !here {
        println!("skipped: this machine's python3 has no websockets");
    }
    here
}

/// Sends each message back, until the peer closes. Gives the lengths, and what it closed with.
async fn echoed(reader: StreamReader, writer: StreamWriter) -> Vec<String> {
    let mut said = Vec::new();
    let mut socket = accept_async(join(reader, writer)).await.unwrap();
    while let Some(message) = socket.next().await {
        match message.unwrap() {
            Message::Close(frame) => {
                said.push(format!("closed: {}", u16::from(frame.unwrap().code)))
            }
            Message::Ping(_) => said.push("ping".into()),
            message => {
                said.push(message.len().to_string());
                socket.send(message).await.unwrap();
            }
        }
    }
    said
}

#[test]
fn a_python_client_of_websockets_is_echoed() {
    with("python3", || async {
        if !has_websockets() {
            return;
        }
        let files = Files::new();
        let script = r#"
from websockets.asyncio.client import connect
async def main(url):
    secure = {"ssl": trusting} if url.startswith("wss") else {}
    async with connect(url, max_size=None, compression=None, **secure) as socket:
        for message in ["hello", "", pattern(2_510_000)]:
            await socket.send(message)
            print("same" if await socket.recv() == message else "different")
        await (await socket.ping())
    print(socket.close_code)
run(main)"#;
        for scheme in ["ws", "wss"] {
            let said = Rc::new(RefCell::new(Vec::new()));
            let noted = Rc::clone(&said);
            let client = move |reader, writer| {
                let noted = Rc::clone(&noted);
                async move {
                    let lines = echoed(reader, writer).await;
                    noted.borrow_mut().extend(lines);
                }
            };
            let starting = start_server(client, ("127.0.0.1", 0));
            let server = match scheme {
                "wss" => starting.ssl(server_config()).await.unwrap(),
                _ => starting.await.unwrap(),
            };
            let port = server.local_addr().unwrap().port();
            let url = format!("{scheme}://localhost:{port}/");
            let mut command = python(script, &files, &[&url]);
            command.env("NO_PROXY", "*");
            assert_eq!(run(command).await, "same\nsame\nsame\n1000\n");
            close(server).await;
            let said = said.borrow().clone();
            assert_eq!(said, ["5", "0", "2510000", "ping", "closed: 1000"]);
        }
    });
}

#[test]
fn a_python_server_of_websockets_echoes_us() {
    with("python3", || async {
        if !has_websockets() {
            return;
        }
        let files = Files::new();
        let script = r#"
from websockets.asyncio.server import serve
async def main(*secure):
    over = asyncio.Event()
    async def echo(socket):
        async for message in socket:
            await socket.send(message)
        print(len(message), socket.close_code, socket.close_reason)
        over.set()
    context = {"ssl": serving} if secure else {}
    async with serve(echo, "127.0.0.1", 0, max_size=None, **context) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await over.wait()
    print("over")
run(main)"#;
        for (scheme, more) in [("ws", &[][..]), ("wss", &["secure"])] {
            let (peer, port) = python_server(script, &files, more).await;
            let connecting = open_connection(("localhost", port));
            let connecting = match scheme {
                "wss" => connecting.ssl(client_config()),
                _ => connecting,
            };
            let (reader, writer) = connecting.await.unwrap();
            let url = format!("{scheme}://localhost:{port}/");
            let stream = join(reader, writer);
            let (mut socket, answer) = client_async(url, stream).await.unwrap();
            assert_eq!(answer.status(), 101);
            let large = Message::binary(crate::pattern(2_510_000));
            for message in [Message::text("hello"), Message::text(""), large] {
                socket.send(message.clone()).await.unwrap();
                assert!(socket.next().await.unwrap().unwrap() == message);
            }
            let frame = CloseFrame {
                code: CloseCode::Away,
                reason: "enough".into(),
            };
            socket.close(Some(frame)).await.unwrap();
            let answer = socket.next().await.unwrap().unwrap();
            assert!(answer.is_close(), "{answer:?}");
            assert!(socket.next().await.is_none());
            // The peer waits for our end of the connection.
            drop(socket);
            let (status, said) = peer.end().await;
            assert!(status.success(), "{said}");
            assert_eq!(said, "2510000 1001 enough\nover\n");
        }
    });
}
