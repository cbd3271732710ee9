//! Unix streams, listeners and datagram sockets, as their users see them.

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::{ListenOptions, UnixDatagram, UnixListener, UnixStream};
use callsoon::{create_task, sleep, yield_now};

use crate::support::{
    Trace, at_a_new_path, audited, complete, counted_fds, in_a_loop, on_real_time, real_loop,
    turns_in, watched,
};

/// A folder that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let (path, ()) = at_a_new_path("unix", |path| std::fs::create_dir(path));
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn client_and_server_meet_at_a_path_and_the_file_goes_with_the_listener() {
    audited(watched(|| {
        let folder = Folder::new();
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let path = folder.path("server");
            let listener = UnixListener::bind(&path).await.unwrap();
            assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
            let client = UnixStream::connect(&path).await.unwrap();
            assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
            let (server, address) = listener.accept().await.unwrap();
            assert!(address.is_unnamed());
            assert!(server.peer_addr().unwrap().is_unnamed());
            client.write_all(b"hello").await.unwrap();
            server.read_exact(&mut [0; 5]).await.unwrap();
            drop(listener);
            assert!(!path.exists());
            // The connection does not need it.
            server.write_all(b"!").await.unwrap();
            client.read_exact(&mut [0; 1]).await.unwrap();
        });
        assert_eq!(event_loop.metrics().sources, 0);
    }));
}

#[test]
fn abstract_names_leave_no_file_and_may_hold_nul_bytes() {
    in_a_loop(async || {
        let name = format!("\0callsoon\0test-{}", std::process::id());
        let listener = UnixListener::bind(&name).await.unwrap();
        let error = UnixListener::bind(&name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let client = UnixStream::connect(&name).await.unwrap();
        listener.accept().await.unwrap();
        let address = listener.local_addr().unwrap();
        UnixStream::connect_addr(&address).await.unwrap();
        drop(client);
    });
}

#[test]
fn e8_a_dead_server_s_file_is_replaced_and_a_live_one_s_is_not() {
    audited(watched(|| {
        let folder = Folder::new();
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let path = folder.path("server");
            // The standard library's listener leaves its file behind.
            drop(StdListener::bind(&path).unwrap());
            let error = ListenOptions::new()
                .reuse_address(false)
                .bind_unix(&path)
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            let listener = UnixListener::bind(&path).await.unwrap();
            let error = UnixListener::bind(&path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            // The test whether a server answers was a client that left at once; the next one is served.
            let client = UnixStream::connect(&path).await.unwrap();
            let (probe, _) = listener.accept().await.unwrap();
            assert_eq!(probe.read(&mut [0; 1]).await.unwrap(), 0);
            let (server, _) = listener.accept().await.unwrap();
            server.write_all(b"!").await.unwrap();
            client.read_exact(&mut [0; 1]).await.unwrap();
        });
    }));
}

#[test]
fn e8_a_server_that_is_too_busy_to_answer_is_alive() {
    audited(watched(|| {
        let folder = Folder::new();
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let path = folder.path("busy");
            let options = ListenOptions::new().backlog(0);
            let listener = options.bind_unix(&path).unwrap();
            let first = StdStream::connect(&path).unwrap();
            let error = UnixListener::bind(&path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            drop((first, listener));
        });
    }));
}

#[test]
fn e8_a_file_that_is_no_socket_stays_as_it_is() {
    audited(watched(|| {
        let folder = Folder::new();
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let path = folder.path("document");
            std::fs::write(&path, "text").unwrap();
            let error = UnixListener::bind(&path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            let error = UnixDatagram::bind(&path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
        });
    }));
}

#[test]
fn e8_addresses_that_do_not_fit_are_errors_and_never_cut() {
    in_a_loop(async || {
        let long = format!("/tmp/{}", "x".repeat(200));
        let abstract_long = format!("\0{}", "x".repeat(200));
        for path in [long.as_str(), &abstract_long, "", "/tmp/a\0b"] {
            let error = UnixListener::bind(path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}");
            let error = UnixStream::connect(path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}");
            let error = UnixDatagram::bind(path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}");
            let socket = UnixDatagram::unbound().unwrap();
            let error = socket.send_to(b"x", path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}");
        }
    });
}

#[test]
fn a_file_that_was_replaced_is_not_the_listener_s_to_remove() {
    audited(watched(|| {
        let folder = Folder::new();
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let path = folder.path("server");
            let old = UnixListener::bind(&path).await.unwrap();
            std::fs::remove_file(&path).unwrap();
            let new = UnixListener::bind(&path).await.unwrap();
            drop(old);
            UnixStream::connect(&path).await.unwrap();
            // A file that is gone is no error either.
            std::fs::remove_file(&path).unwrap();
            drop(new);
            let kept = ListenOptions::new().cleanup_socket(false);
            drop(kept.bind_unix(&path).unwrap());
            assert!(path.exists());
        });
    }));
}

#[test]
fn a_listener_that_leaves_the_loop_leaves_its_file() {
    audited(watched(|| {
        let folder = Folder::new();
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let path = folder.path("server");
            let std = UnixListener::bind(&path).await.unwrap().into_std();
            let listener = UnixListener::from_std(std).unwrap();
            UnixStream::connect(&path).await.unwrap();
            listener.accept().await.unwrap();
            drop(listener);
            assert!(path.exists());
        });
    }));
}

#[test]
fn a_client_waits_while_the_backlog_is_full() {
    audited(watched(|| {
        let folder = Folder::new();
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let path = folder.path("busy");
            let listener = ListenOptions::new().backlog(0).bind_unix(&path).unwrap();
            let first = UnixStream::connect(&path).await.unwrap();
            let second = create_task({
                let path = path.clone();
                async move { UnixStream::connect(&path).await }
            });
            sleep(Duration::from_millis(5)).await;
            assert!(!second.done());
            listener.accept().await.unwrap();
            second.await.unwrap().unwrap();
            drop(first);
        });
    }));
}

#[test]
fn a_short_read_proves_nothing_where_a_segment_carries_descriptors() {
    in_a_loop(async || {
        let (ours, theirs) = StdStream::pair().unwrap();
        // A segment with a descriptor ends every read, however large its buffer: what follows is there all the same,
        // and no further event reports it.
        let (carried, _rest) = StdStream::pair().unwrap();
        send_with_descriptor(&theirs, b"a", carried.as_raw_fd());
        send_with_descriptor(&theirs, b"b", carried.as_raw_fd());
        let stream = UnixStream::from_std(ours).unwrap();
        let mut buffer = [0; 64];
        let mut total = 0;
        while total < 2 {
            total += stream.read(&mut buffer).await.unwrap();
        }
        assert_eq!(total, 2);
    });
}

/// Sends bytes that a descriptor goes along with.
#[allow(unsafe_code)]
fn send_with_descriptor(socket: &StdStream, bytes: &[u8], descriptor: i32) {
    let mut control = [0_u64; 4];
    let mut buffer = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: a zeroed header is valid; the fields that are set point to live memory of the sizes that are given, which
    // the kernel only reads. `control` is aligned for a control header and long enough for one with one descriptor.
    let sent = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &mut buffer;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let first = libc::CMSG_FIRSTHDR(&header);
        (*first).cmsg_level = libc::SOL_SOCKET;
        (*first).cmsg_type = libc::SCM_RIGHTS;
        (*first).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(first)
            .cast::<i32>()
            .write_unaligned(descriptor);
        libc::sendmsg(socket.as_raw_fd(), &header, 0)
    };
    assert_eq!(sent, bytes.len() as isize);
}

#[test]
fn e6_thousands_of_buffers_arrive_complete_and_in_order() {
    in_a_loop(async || {
        let (near, far) = UnixStream::pair().unwrap();
        // Sizes from nothing to 600 bytes; together more than a socket takes at once.
        let pieces: Vec<Vec<u8>> = (0..5000_usize)
            .map(|n| vec![n as u8; n * 7 % 601])
            .collect();
        let whole: Vec<u8> = pieces.concat();
        let writer = create_task(async move {
            let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            near.write_all_vectored(&mut slices).await.unwrap();
            // Nothing but nothing is written at once.
            let mut empty = [IoSlice::new(b""), IoSlice::new(b"")];
            near.write_all_vectored(&mut empty).await.unwrap();
            near.write_all_vectored(&mut []).await.unwrap();
        });
        let mut got = Vec::new();
        loop {
            let (mut one, mut other) = ([0; 100], [0; 1000]);
            let mut room = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
            let count = far.read_vectored(&mut room).await.unwrap();
            if count == 0 {
                break;
            }
            got.extend_from_slice(&one[..count.min(100)]);
            got.extend_from_slice(&other[..count.saturating_sub(100)]);
        }
        writer.await.unwrap();
        assert!(got == whole);
        assert_eq!(far.read_vectored(&mut []).await.unwrap(), 0);
    });
}

#[test]
fn the_halves_of_a_unix_stream_end_its_directions() {
    in_a_loop(async || {
        let (near, far) = UnixStream::pair().unwrap();
        let (reader, writer) = near.into_split();
        let echo = create_task(async move {
            let (reader, writer) = far.split();
            let mut buffer = [0; 16];
            while let Ok(count @ 1..) = reader.read(&mut buffer).await {
                writer.write_all(&buffer[..count]).await.unwrap();
            }
        });
        writer.write_all(b"echo").await.unwrap();
        drop(writer);
        let mut buffer = [0; 4];
        reader.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"echo");
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 0);
        echo.await.unwrap();
    });
}

#[test]
fn d4_a_peer_that_hangs_up_wakes_both_directions_once_and_does_not_spin() {
    on_real_time(|_, event_loop| {
        let (near, far) = complete(&event_loop, async { UnixStream::pair().unwrap() });
        let near = Rc::new(near);
        let reader = event_loop.create_task({
            let near = Rc::clone(&near);
            async move { near.read(&mut [0; 8]).await }
        });
        complete(&event_loop, yield_now());
        drop(far);
        complete(&event_loop, async {
            assert_eq!(reader.await.unwrap().unwrap(), 0);
            let error = near.write(b"x").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        });
        let turns = turns_in(&event_loop, Duration::from_millis(100));
        assert!(turns <= 10, "{turns} turns");
    });
}

#[test]
fn peer_credentials_are_those_of_this_process() {
    in_a_loop(async || {
        let (near, _far) = UnixStream::pair().unwrap();
        let cred = near.peer_cred().unwrap();
        assert_eq!(cred.pid, Some(std::process::id() as i32));
    });
}

#[test]
fn datagrams_wait_for_a_slow_receiver_and_none_is_lost() {
    in_a_loop(async || {
        let (near, far) = UnixDatagram::pair().unwrap();
        let sender = create_task(async move {
            for number in 0..2000_u16 {
                near.send(&number.to_be_bytes()).await.unwrap();
            }
        });
        yield_now().await;
        assert!(!sender.done(), "the receiver's queue holds them all");
        for number in 0..2000_u16 {
            let mut buffer = [0; 16];
            assert_eq!(far.recv(&mut buffer).await.unwrap(), 2);
            assert_eq!(buffer[..2], number.to_be_bytes());
        }
        sender.await.unwrap();
    });
}

#[test]
fn datagram_sockets_answer_by_the_sender_s_address() {
    audited(watched(|| {
        let folder = Folder::new();
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let path = folder.path("server");
            let server = UnixDatagram::bind(&path).await.unwrap();
            let name = format!("\0callsoon-answer-{}", std::process::id());
            for client in [folder.path("client"), PathBuf::from(&name)] {
                let client = UnixDatagram::bind(&client).await.unwrap();
                client.send_to(b"question", &path).await.unwrap();
                let mut buffer = [0; 16];
                assert_eq!(server.peek_from(&mut buffer).await.unwrap().0, 8);
                assert_eq!(server.peek(&mut buffer).await.unwrap(), 8);
                let (_, from) = server.recv_from(&mut buffer).await.unwrap();
                server.send_to_addr(b"answer", &from).await.unwrap();
                let (count, from) = client.recv_from(&mut buffer).await.unwrap();
                assert_eq!((count, from.as_pathname()), (6, Some(&*path)));
            }
            let unbound = UnixDatagram::unbound().unwrap();
            unbound.connect(&path).await.unwrap();
            unbound.send(b"anonymous").await.unwrap();
            let (_, from) = server.recv_from(&mut [0; 16]).await.unwrap();
            assert!(from.is_unnamed());
            let error = server.send_to_addr(b"x", &from).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            drop(server);
            assert!(!path.exists());
        });
    }));
}

#[test]
fn a_stream_goes_out_of_the_loop_and_comes_back_with_its_descriptor() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let (near, far) = UnixStream::pair().unwrap();
            let open = counted_fds();
            let number = near.as_fd().as_raw_fd();
            let std = near.into_std();
            assert_eq!((std.as_raw_fd(), counted_fds()), (number, open));
            far.write_all(b"meanwhile").await.unwrap();
            let near = UnixStream::from_std(std).unwrap();
            near.read_exact(&mut [0; 9]).await.unwrap();
        });
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn readable_and_writable_wait_for_what_they_say() {
    in_a_loop(async || {
        let (near, far) = UnixStream::pair().unwrap();
        near.writable().await.unwrap();
        while near.try_write(&[0; 65_536]).is_ok() {}
        let mut writable = crate::support::Waiting::begun(near.writable());
        far.readable().await.unwrap();
        while far.try_read(&mut [0; 65_536]).is_ok() {}
        while !writable.is_woken() {
            yield_now().await;
        }
        writable.poll().unwrap().unwrap();
        assert!(near.try_write(b"x").is_ok());
    });
}
