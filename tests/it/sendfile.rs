//! Files to sockets: by the system, by reads, and when the file changes meanwhile.

use std::fs::File;
use std::io::{ErrorKind, Seek as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::rc::Rc;

use callsoon::net::{TcpStream, UnixStream};
use callsoon::{create_task, get_running_loop, yield_now};
use socket2::{Domain, Socket, Type};

use crate::support::{Scratch, Waiting, in_a_loop, stream_pair};

fn test_bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

/// A task that reads to the end.
fn reader(stream: TcpStream) -> callsoon::Task<Vec<u8>> {
    create_task(async move {
        let mut got = Vec::new();
        let mut buffer = vec![0; 65_536];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            got.extend_from_slice(&buffer[..count]);
        }
        got
    })
}

#[test]
fn a_file_larger_than_any_buffer_arrives_whole() {
    in_a_loop(async || {
        let bytes = test_bytes(7_000_000);
        let scratch = Scratch::new(&bytes);
        let (near, far) = stream_pair();
        let reader = reader(far);
        // Earlier writes go first, later ones after.
        near.write_all(b"<").await.unwrap();
        let sent = near.sendfile(&scratch.file, 0, None).await.unwrap();
        near.write_all(b">").await.unwrap();
        drop(near);
        assert_eq!((sent, scratch.position()), (7_000_000, 7_000_000));
        let got = reader.await.unwrap();
        assert_eq!((got[0], got[got.len() - 1]), (b'<', b'>'));
        assert!(got[1..got.len() - 1] == bytes);
    });
}

#[test]
fn offset_and_count_are_kept_and_the_position_follows() {
    in_a_loop(async || {
        let scratch = Scratch::new(b"0123456789");
        let (near, far) = stream_pair();
        for (offset, count, sent, position) in [
            (2, Some(3), 3, 5),
            // Offset 0 is an offset, wherever the position is.
            (0, Some(1), 1, 1),
            (8, Some(100), 2, 10),
            (8, None, 2, 10),
            (10, None, 0, 10),
            (500, None, 0, 500),
        ] {
            let result = near.sendfile(&scratch.file, offset, count).await;
            assert_eq!(result.unwrap(), sent, "{offset} {count:?}");
            assert_eq!(scratch.position(), position, "{offset} {count:?}");
        }
        drop(near);
        assert_eq!(reader(far).await.unwrap(), b"23408989");
    });
}

#[test]
fn m3_counts_and_offsets_beyond_reason_are_refused() {
    in_a_loop(async || {
        let scratch = Scratch::new(b"x");
        let (near, _far) = stream_pair();
        let handle = get_running_loop();
        let socket = Socket::from(near.as_fd().try_clone_to_owned().unwrap());
        let position = scratch.position();
        for (offset, count) in [
            (0, Some(0)),
            (u64::MAX, None),
            (1, Some(u64::MAX)),
            (i64::MAX as u64, Some(1)),
        ] {
            let error = near.sendfile(&scratch.file, offset, count).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
            let error = handle.sock_sendfile(&socket, &scratch.file, offset, count);
            assert_eq!(error.await.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(scratch.position(), position);
        }
        let (datagrams, _other) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
        let error = handle.sock_sendfile(&datagrams, &scratch.file, 0, None);
        assert_eq!(error.await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn l4_beyond_four_gigabytes_the_arithmetic_holds() {
    in_a_loop(async || {
        let mut scratch = Scratch::new(b"");
        let five = 5 << 30;
        // Sparse: it takes no room on the disk.
        scratch.file.set_len(five).unwrap();
        scratch.file.seek(std::io::SeekFrom::Start(five)).unwrap();
        scratch.file.write_all(b"the end").unwrap();
        let (near, far) = stream_pair();
        let sent = near.sendfile(&scratch.file, five - 2, None).await.unwrap();
        assert_eq!((sent, scratch.position()), (9, five + 7));
        drop(near);
        assert_eq!(reader(far).await.unwrap(), b"\0\0the end");
    });
}

#[test]
fn l4_a_file_that_shrinks_meanwhile_ends_early_and_the_count_is_exact() {
    in_a_loop(async || {
        let scratch = Rc::new(Scratch::new(&test_bytes(20_000_000)));
        let (near, far) = stream_pair();
        let sender = create_task({
            let scratch = Rc::clone(&scratch);
            async move { near.sendfile(&scratch.file, 0, None).await.unwrap() }
        });
        // Until the socket is full: the peer does not read yet.
        while !sender.done() && scratch.file.metadata().unwrap().len() > 0 {
            for _ in 0..50 {
                yield_now().await;
            }
            scratch.file.set_len(0).unwrap();
        }
        let got = reader(far).await.unwrap();
        let sent = sender.await.unwrap();
        assert!(sent < 20_000_000);
        assert_eq!(sent, got.len() as u64);
        assert_eq!(scratch.position(), sent);
    });
}

#[test]
fn l4_a_dropped_transfer_leaves_the_position_after_what_was_sent_and_the_socket_usable() {
    in_a_loop(async || {
        let scratch = Scratch::new(&test_bytes(20_000_000));
        let (near, far) = stream_pair();
        drop(Waiting::begun(near.sendfile(&scratch.file, 0, None)));
        let sent = scratch.position();
        assert!(0 < sent && sent < 20_000_000);
        let reader = reader(far);
        near.write_all(b"after").await.unwrap();
        drop(near);
        let got = reader.await.unwrap();
        assert_eq!(got.len() as u64, sent + 5);
        assert!(got[..sent as usize] == test_bytes(sent as usize));
    });
}

#[test]
fn a_peer_that_closes_in_the_middle_is_an_error_and_no_hang() {
    in_a_loop(async || {
        let scratch = Scratch::new(&test_bytes(20_000_000));
        let (near, far) = UnixStream::pair().unwrap();
        let mut sending = Waiting::begun(near.sendfile(&scratch.file, 0, None));
        drop(far);
        while !sending.is_woken() {
            yield_now().await;
        }
        let error = sending.poll().unwrap().unwrap_err();
        assert!(matches!(
            error.kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ));
        drop(sending);
        assert!(scratch.position() < 20_000_000);
        near.shutdown(Shutdown::Both).unwrap();
    });
}

#[test]
fn what_the_system_cannot_send_by_itself_is_read_and_written() {
    in_a_loop(async || {
        // A file that is no file in the eyes of sendfile: reading it gives its text all the same.
        let status = File::open("/proc/self/maps").unwrap();
        let (near, far) = stream_pair();
        let handle = get_running_loop();
        let socket = Socket::from(near.as_fd().try_clone_to_owned().unwrap());
        let reader = reader(far);
        let sent = near.sendfile(&status, 0, None).await.unwrap();
        let again = handle.sock_sendfile(&socket, &status, 0, Some(10));
        assert_eq!(again.await.unwrap(), 10);
        drop((near, socket));
        let got = reader.await.unwrap();
        assert_eq!(got.len() as u64, sent + 10);
        assert!(sent > 100);
        // A socket in place of the file has no offsets: the system's word comes through.
        let (near, _far) = UnixStream::pair().unwrap();
        let (no_file, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let no_file = File::from(std::os::fd::OwnedFd::from(no_file));
        let error = near.sendfile(&no_file, 0, None).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESPIPE));
    });
}

#[test]
fn a_plain_socket_sends_a_file_and_is_deregistered() {
    in_a_loop(async || {
        let handle = get_running_loop();
        let bytes = test_bytes(3_000_000);
        let scratch = Scratch::new(&bytes);
        let (near, far) = stream_pair();
        let near = Socket::from(near.into_std());
        let reader = reader(far);
        let sent = handle.sock_sendfile(&near, &scratch.file, 5, None).await;
        assert_eq!(sent.unwrap(), 2_999_995);
        assert_eq!(scratch.position(), 3_000_000);
        let empty = Scratch::new(b"");
        let sent = handle.sock_sendfile(&near, &empty.file, 0, None).await;
        assert_eq!(sent.unwrap(), 0);
        drop(near);
        assert!(reader.await.unwrap() == bytes[5..]);
        assert_eq!(handle.metrics().sources, 0);
    });
}
