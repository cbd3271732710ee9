//! Echoes over connections, each with a listener of its own: by streams, by protocols, by sockets of `net`, by the calls of
//! `sock_` and of a file.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::rc::Rc;

use callsoon::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use callsoon::stream::{StreamReader, StreamWriter, open_connection, start_server};
use callsoon::transport::{Protocol, Transport};
use callsoon::{Event, create_task, get_running_loop};
use futures_lite::future::try_zip;
use socket2::{Domain, Socket, Type};

use crate::support::{Scratch, loopback};
use crate::world::{Shared, World};

const LENGTH: usize = 150_000;

/// Runs a server as a task beside its one client. A client that has not come through to it may leave it waiting.
async fn beside(
    server: impl Future<Output = io::Result<()>> + 'static,
    client: impl Future<Output = io::Result<()>>,
    far: &Shared,
    near: &Shared,
) {
    let side = Rc::clone(far);
    let server = create_task(async move {
        let ended = server.await;
        side.borrow_mut().ended = Some(ended);
    });
    let ended = client.await;
    let failed = ended.is_err();
    near.borrow_mut().ended = Some(ended);
    if failed {
        // It may be that no connection was made, and the server waits for one.
        for _ in 0..100 {
            callsoon::sleep(std::time::Duration::from_millis(100)).await;
            if server.done() {
                break;
            }
        }
        server.cancel();
    }
    let _ = server.await;
}

pub(crate) async fn by_streams(world: World) {
    let (far, near) = (Shared::default(), Shared::default());
    let sent = world.bytes(1, LENGTH);
    let server = world.again(|| {
        let far = Rc::clone(&far);
        async move {
            let serve = move |reader, writer| {
                let far = Rc::clone(&far);
                async move {
                    let ended = stream_back(reader, writer, &far).await;
                    far.borrow_mut().ended = Some(ended);
                }
            };
            start_server(serve, loopback()).await
        }
    });
    let server = server.await;
    let ended = match server.local_addr() {
        Some(address) => stream_there(address, &sent, &near).await,
        None => Err(io::Error::other("no address")),
    };
    near.borrow_mut().ended = Some(ended);
    server.close();
    server.wait_closed().await;
    world.judge("streams", &sent, &far, &near);
}

async fn stream_back(
    mut reader: StreamReader,
    writer: StreamWriter,
    far: &Shared,
) -> io::Result<()> {
    loop {
        let piece = reader.read(5000).await?;
        if piece.is_empty() {
            break;
        }
        far.borrow_mut().read.extend_from_slice(&piece);
        writer.write(&piece);
        writer.drain().await?;
    }
    writer.close();
    writer.wait_closed().await
}

async fn stream_there(to: std::net::SocketAddr, sent: &[u8], near: &Shared) -> io::Result<()> {
    let (mut reader, writer) = open_connection(to).await?;
    let write = async {
        for pieces in sent.chunks(21_000) {
            let pieces: Vec<_> = pieces.chunks(7000).collect();
            writer.writelines(&pieces);
            writer.drain().await?;
        }
        writer.write_eof();
        Ok(())
    };
    let read = async {
        loop {
            let piece = reader.read(3000).await?;
            if piece.is_empty() {
                return Ok(());
            }
            near.borrow_mut().read.extend_from_slice(&piece);
        }
    };
    let moved: io::Result<_> = try_zip(write, read).await;
    writer.close();
    let closed = writer.wait_closed().await;
    moved?;
    closed
}

struct Echo(Shared);

impl Protocol for Echo {
    fn data_received(&self, transport: &Transport, data: &[u8]) {
        self.0.borrow_mut().read.extend_from_slice(data);
        transport.write(data);
    }

    fn connection_lost(&self, _: &Transport, error: Option<io::Error>) {
        self.0.borrow_mut().ended = Some(error.map_or(Ok(()), Err));
    }
}

struct Client {
    sent: RefCell<Vec<u8>>,
    near: Shared,
    lost: Event,
}

impl Protocol for Client {
    fn connection_made(&self, transport: &Transport) {
        for piece in self.sent.take().chunks(40_000) {
            transport.write(piece);
        }
        transport.write_eof();
    }

    fn data_received(&self, _: &Transport, data: &[u8]) {
        self.near.borrow_mut().read.extend_from_slice(data);
    }

    fn connection_lost(&self, _: &Transport, error: Option<io::Error>) {
        self.near.borrow_mut().ended = Some(error.map_or(Ok(()), Err));
        self.lost.set();
    }
}

pub(crate) async fn by_protocols(world: World) {
    let (far, near) = (Shared::default(), Shared::default());
    let sent = world.bytes(2, LENGTH);
    let event_loop = get_running_loop();
    let server = world.again(|| {
        let far = Rc::clone(&far);
        event_loop.create_server(move || Echo(Rc::clone(&far)), loopback())
    });
    let server = server.await;
    let client = Client {
        sent: RefCell::new(sent.clone()),
        near: Rc::clone(&near),
        lost: Event::new(),
    };
    if let Some(address) = server.local_addr() {
        match event_loop.create_connection(move || client, address).await {
            Ok((_, client)) => client.lost.wait().await,
            Err(error) => near.borrow_mut().ended = Some(Err(error)),
        }
    }
    server.close();
    server.wait_closed().await;
    world.judge("protocols", &sent, &far, &near);
}

/// Both ends of a connection of `net`, whose types differ in nothing else.
macro_rules! echo {
    ($Stream:ty, $back:ident, $there:ident) => {
        async fn $back(stream: $Stream, far: Shared) -> io::Result<()> {
            let mut buffer = [0; 6000];
            loop {
                let count = stream.read(&mut buffer).await?;
                if count == 0 {
                    return stream.shutdown(Shutdown::Write);
                }
                far.borrow_mut().read.extend_from_slice(&buffer[..count]);
                stream.write_all(&buffer[..count]).await?;
            }
        }

        async fn $there(stream: $Stream, sent: &[u8], near: &Shared) -> io::Result<()> {
            let write = async {
                for piece in sent.chunks(50_000) {
                    let (one, other) = piece.split_at(piece.len() / 3);
                    let mut pieces = [IoSlice::new(one), IoSlice::new(&[]), IoSlice::new(other)];
                    stream.write_all_vectored(&mut pieces).await?;
                }
                stream.shutdown(Shutdown::Write)
            };
            let read = async {
                let mut buffer = [0; 9000];
                loop {
                    let (one, other) = buffer.split_at_mut(1000);
                    let mut pieces = [io::IoSliceMut::new(one), io::IoSliceMut::new(other)];
                    let count = stream.read_vectored(&mut pieces).await?;
                    if count == 0 {
                        return Ok(());
                    }
                    near.borrow_mut().read.extend_from_slice(&buffer[..count]);
                }
            };
            try_zip(write, read).await.map(drop)
        }
    };
}

echo!(TcpStream, tcp_back, tcp_there);
echo!(UnixStream, unix_back, unix_there);

pub(crate) async fn by_tcp(world: World) {
    let (far, near) = (Shared::default(), Shared::default());
    let sent = world.bytes(3, LENGTH);
    let listener = world.again(|| TcpListener::bind(loopback())).await;
    let address = listener.local_addr().unwrap();
    let side = Rc::clone(&far);
    let server = async move {
        let (stream, _) = listener.accept().await?;
        tcp_back(stream, side).await
    };
    let client = async { tcp_there(TcpStream::connect(address).await?, &sent, &near).await };
    beside(server, client, &far, &near).await;
    world.judge("tcp", &sent, &far, &near);
}

pub(crate) async fn by_unix(world: World) {
    let (far, near) = (Shared::default(), Shared::default());
    let sent = world.bytes(4, LENGTH);
    let name = format!("\0callsoon-faults-{}-{}", std::process::id(), world.seed);
    let listener = world.again(|| UnixListener::bind(&name)).await;
    let side = Rc::clone(&far);
    let server = async move {
        let (stream, _) = listener.accept().await?;
        unix_back(stream, side).await
    };
    let client = async { unix_there(UnixStream::connect(&name).await?, &sent, &near).await };
    beside(server, client, &far, &near).await;
    world.judge("unix", &sent, &far, &near);
}

pub(crate) async fn by_sock_calls(world: World) {
    let (far, near) = (Shared::default(), Shared::default());
    let sent = world.bytes(5, LENGTH);
    let listener = std::net::TcpListener::bind(loopback()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let side = Rc::clone(&far);
    let server = async move {
        let event_loop = get_running_loop();
        let (socket, _) = event_loop.sock_accept(&listener.into()).await?;
        loop {
            let piece = event_loop.sock_recv(&socket, 8000).await?;
            if piece.is_empty() {
                return socket.shutdown(Shutdown::Write);
            }
            side.borrow_mut().read.extend_from_slice(&piece);
            event_loop.sock_sendall(&socket, &piece).await?;
        }
    };
    let client = async {
        let event_loop = get_running_loop();
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
        event_loop.sock_connect(&socket, &address.into()).await?;
        let write = async {
            event_loop.sock_sendall(&socket, &sent).await?;
            socket.shutdown(Shutdown::Write)
        };
        let read = async {
            loop {
                let piece = event_loop.sock_recv(&socket, 7000).await?;
                if piece.is_empty() {
                    return Ok(());
                }
                near.borrow_mut().read.extend_from_slice(&piece);
            }
        };
        try_zip(write, read).await.map(drop)
    };
    beside(server, client, &far, &near).await;
    world.judge("sock", &sent, &far, &near);
}

/// A file one way, of which the server says nothing.
pub(crate) async fn of_a_file(world: World) {
    let (far, near) = (Shared::default(), Shared::default());
    let sent = world.bytes(6, LENGTH);
    let file = Scratch::new(&sent);
    let listener = world.again(|| TcpListener::bind(loopback())).await;
    let address = listener.local_addr().unwrap();
    let side = Rc::clone(&far);
    let server = async move {
        let (stream, _) = listener.accept().await?;
        let sent = stream.sendfile(&file.file, 0, None).await?;
        side.borrow_mut().read.resize(sent as usize, 0);
        stream.shutdown(Shutdown::Write)
    };
    let client = async {
        let stream = TcpStream::connect(address).await?;
        let mut buffer = [0; 9000];
        loop {
            let count = stream.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            near.borrow_mut().read.extend_from_slice(&buffer[..count]);
        }
    };
    beside(server, client, &far, &near).await;
    let counted = std::mem::replace(&mut far.borrow_mut().read, sent.clone()).len();
    // What was counted as sent was sent, unless the connection failed later.
    let fine = matches!(near.borrow().ended, Some(Ok(())));
    assert!(
        !fine || near.borrow().read.len() >= counted,
        "more was counted than came"
    );
    world.judge("sendfile", &sent, &far, &near);
}
