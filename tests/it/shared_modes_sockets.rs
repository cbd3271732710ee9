//! The same as in `shared_modes` for sockets and listeners: another process that shares one may switch it to blocking
//! mode, and the loop goes on. And the Rust type of a socket does not prove its protocol.

use std::cell::Cell;
use std::fs::File;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{TcpListener as StdTcpListener, TcpStream as StdTcpStream, UdpSocket as StdUdp};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{
    UnixDatagram as StdDatagram, UnixListener as StdUnixListener, UnixStream as StdUnix,
};
use std::rc::Rc;

use callsoon::net::{
    SocketStream, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream,
};
use callsoon::transport::{AcceptedSocket, Protocol, Transport};
use callsoon::{create_task, get_running_loop, to_thread, yield_now};
use socket2::{Domain, SockRef, Socket, Type};

use crate::support::{
    Recorder, Scratch, Trace, at_a_new_path, is_blocking, loopback, make_blocking, settling, until,
};

/// More than these sockets take at once.
const MUCH: usize = 4 << 20;

/// The buffers of a TCP socket here, in bytes.
const BUFFER: usize = 64 * 1024;

/// Runs what is ready, several times over: a loop that blocks does not come back from here.
async fn turns() {
    for _ in 0..20 {
        yield_now().await;
    }
}

/// A connection whose socket another process makes blocking: its reads and writes go on.
async fn transport_with(
    near: impl Into<AcceptedSocket>,
    shared: &impl AsRawFd,
    far: impl Into<OwnedFd>,
) {
    let mut far = File::from(far.into());
    let trace = Trace::new();
    let recorder = Recorder::new(&trace).keep_open();
    let handle = get_running_loop();
    let connecting = handle.connect_accepted_socket(|| recorder, near);
    let (transport, recorder): (Transport, Rc<Recorder>) = connecting.await.unwrap();
    make_blocking(shared);
    far.write_all(b"one").unwrap();
    until(|| recorder.received.get() == 3).await;
    turns().await;
    transport.write(vec![7; MUCH]);
    transport.writelines(&[&[8][..], &[9]]);
    turns().await;
    assert!(transport.write_buffer_size() > 0);
    let read = to_thread(move || far.read_exact(&mut vec![0; MUCH + 2]).map(|()| far));
    let far = read.await.unwrap().unwrap();
    until(|| transport.write_buffer_size() == 0).await;
    assert!(is_blocking(shared));
    transport.close();
    until(|| recorder.lost.get()).await;
    drop(far);
    trace.expect(["made", "data one", "pause", "resume", "lost"]);
}

fn tcp_pair() -> (StdTcpStream, StdTcpStream) {
    let listener = StdTcpListener::bind(loopback()).unwrap();
    let near = StdTcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    // A path that the system has found fast has buffers of megabytes from the start.
    SockRef::from(&near).set_send_buffer_size(BUFFER).unwrap();
    SockRef::from(&far).set_recv_buffer_size(BUFFER).unwrap();
    (near, far)
}

#[test]
fn a_connection_made_blocking_by_another_process_does_not_block_its_transport() {
    settling(|_, _| async {
        let (near, far) = StdUnix::pair().unwrap();
        let shared = near.try_clone().unwrap();
        transport_with(near, &shared, far).await;
        let (near, far) = tcp_pair();
        let shared = near.try_clone().unwrap();
        transport_with(near, &shared, far).await;
    });
}

/// The same for the sockets of `net`.
async fn stream_with<K: 'static>(
    near: SocketStream<K>,
    shared: &impl AsRawFd,
    mut far: impl Read + Write + Send + 'static,
) {
    make_blocking(shared);
    let mut byte = [0];
    let nothing_more = || {
        let nothing = near.try_read(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    };
    far.write_all(b"x").unwrap();
    assert_eq!(near.peek(&mut byte).await.unwrap(), 1);
    assert_eq!(near.read(&mut byte).await.unwrap(), 1);
    nothing_more();
    far.write_all(b"x").unwrap();
    let pieces = &mut [IoSliceMut::new(&mut byte)];
    assert_eq!(near.read_vectored(pieces).await.unwrap(), 1);
    nothing_more();
    far.write_all(b"x").unwrap();
    near.readable().await.unwrap();
    assert_eq!(near.try_read(&mut byte).unwrap(), 1);
    nothing_more();
    let sending = create_task(async move {
        near.write_all(&vec![7; MUCH]).await.unwrap();
        near.write_vectored(&[IoSlice::new(b"y")]).await.unwrap();
    });
    turns().await;
    let read = to_thread(move || far.read_exact(&mut vec![0; MUCH + 1]).map(|()| far));
    drop(read.await.unwrap().unwrap());
    sending.await.unwrap();
    assert!(is_blocking(shared));
}

#[test]
fn a_stream_made_blocking_by_another_process_does_not_block_the_loop() {
    settling(|_, _| async {
        let (near, far) = StdUnix::pair().unwrap();
        let shared = near.try_clone().unwrap();
        stream_with(UnixStream::from_std(near).unwrap(), &shared, far).await;
        let (near, far) = tcp_pair();
        let shared = near.try_clone().unwrap();
        stream_with(TcpStream::from_std(near).unwrap(), &shared, far).await;
    });
}

#[test]
fn a_file_sent_over_a_socket_made_blocking_by_another_process_does_not_block_the_loop() {
    settling(|_, _| async {
        let scratch = Scratch::new(&vec![7; MUCH]);
        let file = Rc::new(File::open(scratch.path()).unwrap());
        let (near, mut far) = StdUnix::pair().unwrap();
        let shared = near.try_clone().unwrap();
        let near = UnixStream::from_std(near).unwrap();
        make_blocking(&shared);
        let sending = create_task({
            let file = Rc::clone(&file);
            async move { near.sendfile(&file, 0, None).await }
        });
        turns().await;
        let read = to_thread(move || far.read_exact(&mut vec![0; MUCH]).map(|()| far));
        drop(read.await.unwrap().unwrap());
        assert_eq!(sending.await.unwrap().unwrap(), MUCH as u64);
        assert!(is_blocking(&shared));
    });
}

#[test]
fn a_datagram_socket_made_blocking_by_another_process_does_not_block_the_loop() {
    settling(|_, _| async {
        let near = StdUdp::bind(loopback()).unwrap();
        let address = near.local_addr().unwrap();
        let shared = near.try_clone().unwrap();
        let near = UdpSocket::from_std(near).unwrap();
        make_blocking(&shared);
        for message in [b"1", b"2", b"3", b"4"] {
            near.send_to(message, address).await.unwrap();
        }
        let mut byte = [0];
        assert_eq!(near.peek(&mut byte).await.unwrap(), 1);
        assert_eq!(near.peek_from(&mut byte).await.unwrap(), (1, address));
        assert_eq!(near.recv(&mut byte).await.unwrap(), 1);
        for _ in 0..3 {
            assert_eq!(near.recv_from(&mut byte).await.unwrap(), (1, address));
        }
        assert_eq!(&byte, b"4");
        let nothing = near.try_recv(&mut byte).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);

        let (near, far) = StdDatagram::pair().unwrap();
        let shared = near.try_clone().unwrap();
        let near = UnixDatagram::from_std(near).unwrap();
        make_blocking(&shared);
        far.send(b"x").unwrap();
        assert_eq!(near.recv(&mut byte).await.unwrap(), 1);
        let nothing = near.try_recv(&mut byte).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        // Its peer's queue is soon full.
        while near.try_send(b"x").is_ok() {}
        turns().await;
    });
}

struct Counter(Rc<Cell<u32>>);

impl Protocol for Counter {
    fn connection_made(&self, transport: &Transport) {
        self.0.set(self.0.get() + 1);
        transport.close();
    }
}

#[test]
fn a_listener_made_blocking_by_another_process_does_not_block_the_loop() {
    settling(|event_loop, _| async move {
        let listener = StdTcpListener::bind(loopback()).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = listener.try_clone().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        for _ in 0..2 {
            make_blocking(&shared);
            let _client = StdTcpStream::connect(address).unwrap();
            drop(listener.accept().await.unwrap());
            make_blocking(&shared);
            let nobody = listener.try_accept().unwrap_err();
            assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
        }
        drop(listener);
        // For callbacks, which accept until no client waits.
        let clients = Rc::new(Cell::new(0));
        let factory = {
            let clients = Rc::clone(&clients);
            move || Counter(Rc::clone(&clients))
        };
        let server = event_loop.create_server(factory, shared.try_clone().unwrap());
        let server = server.await.unwrap();
        for expected in 1..=2 {
            make_blocking(&shared);
            let _client = StdTcpStream::connect(address).unwrap();
            until(|| clients.get() == expected).await;
            turns().await;
        }
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn a_unix_listener_made_blocking_by_another_process_does_not_block_the_loop() {
    settling(|event_loop, _| async move {
        let (path, listener) = at_a_new_path("shared-listener", |path| StdUnixListener::bind(path));
        let shared = listener.try_clone().unwrap();
        let listener = UnixListener::from_std(listener).unwrap();
        make_blocking(&shared);
        let _client = StdUnix::connect(&path).unwrap();
        drop(listener.accept().await.unwrap());
        make_blocking(&shared);
        let nobody = listener.try_accept().unwrap_err();
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
        // By hand, too.
        let shared = Socket::from(shared);
        let accepting = create_task({
            let shared = shared.try_clone().unwrap();
            let event_loop = event_loop.clone();
            async move { event_loop.sock_accept(&shared).await.map(drop) }
        });
        make_blocking(&shared);
        turns().await;
        let _client = StdUnix::connect(&path).unwrap();
        accepting.await.unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn sock_operations_do_not_block_on_a_socket_in_blocking_mode() {
    settling(|event_loop, _| async move {
        let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        let receiving = create_task({
            let (near, event_loop) = (near.try_clone().unwrap(), event_loop.clone());
            async move { event_loop.sock_recv(&near, 10).await }
        });
        turns().await;
        far.send(b"x").unwrap();
        assert_eq!(receiving.await.unwrap().unwrap(), b"x");
        let sending = create_task({
            let (near, event_loop) = (near.try_clone().unwrap(), event_loop.clone());
            async move { event_loop.sock_sendall(&near, &vec![7; MUCH]).await }
        });
        turns().await;
        let mut far = StdUnix::from(far);
        let read = to_thread(move || far.read_exact(&mut vec![0; MUCH]).map(|()| far));
        drop(read.await.unwrap().unwrap());
        sending.await.unwrap().unwrap();
        assert!(is_blocking(&near));
    });
}

#[test]
fn a_blocking_socket_connects_to_a_server_without_room_and_does_not_block_the_loop() {
    settling(|event_loop, _| async move {
        let new = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let name = format!("\0callsoon-no-room-{}", std::process::id());
        let address = socket2::SockAddr::unix(&name).unwrap();
        let server = new();
        server.bind(&address).unwrap();
        server.listen(0).unwrap();
        let mut waiting = Vec::new();
        loop {
            let client = new();
            client.set_nonblocking(true).unwrap();
            match client.connect(&address) {
                Ok(()) => waiting.push(client),
                Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        let connecting = create_task({
            let (client, address) = (new(), address.clone());
            async move { event_loop.sock_connect(&client, &address).await }
        });
        turns().await;
        drop(server.accept().unwrap());
        connecting.await.unwrap().unwrap();
    });
}

#[test]
fn what_only_seems_to_be_tcp_is_read_until_nothing_is_there() {
    settling(|_, _| async {
        let (near, far) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        for packet in [b"one", b"two"] {
            far.send(packet).unwrap();
        }
        let near = TcpStream::from_std(near.into()).unwrap();
        let mut packet = [0; 100];
        for expected in [b"one", b"two"] {
            assert_eq!(near.read(&mut packet).await.unwrap(), 3);
            assert_eq!(&packet[..3], expected);
        }
    });
}
