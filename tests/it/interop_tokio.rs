//! Crates that ask for the traits of tokio's I/O run on this loop, without a tokio runtime.

use std::io::{ErrorKind, IoSlice, SeekFrom, Write as _};

use callsoon::create_task;
use callsoon::fs::File;
use callsoon::net::{TcpStream, UnixStream};
use callsoon::stream::{join, open_connection};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{
    self, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncSeekExt, AsyncWrite,
    AsyncWriteExt,
};
use tokio_util::codec::{Framed, LengthDelimitedCodec, LinesCodec};

use crate::support::{Scratch, settling, std_pair, stream_pair};

/// More than any socket buffer holds, so that both sides have to wait for each other.
const MUCH: usize = 5_000_000;

/// The two ends of a connection as one stream, and the far socket.
async fn joined_and_stream() -> (callsoon::stream::Joined, TcpStream) {
    let (near, far) = std_pair();
    let (reader, writer) = open_connection(near).await.unwrap();
    (join(reader, writer), TcpStream::from_std(far).unwrap())
}

/// Sends lines of all lengths through a codec at both ends, and has them sent back.
async fn lines_come_back(
    near: impl AsyncRead + AsyncWrite + Unpin,
    far: impl AsyncRead + AsyncWrite + Unpin + 'static,
) {
    let echo = create_task(async move {
        let mut far = Framed::new(far, LinesCodec::new());
        let mut count = 0;
        while let Some(line) = far.next().await {
            far.send(line.unwrap()).await.unwrap();
            count += 1;
        }
        count
    });
    let mut near = Framed::new(near, LinesCodec::new());
    for length in [0, 1, 100, 70_000, 3_000_000] {
        let line = "l".repeat(length);
        near.send(line.as_str()).await.unwrap();
        assert!(near.next().await.unwrap().unwrap() == line, "{length}");
    }
    near.get_mut().shutdown().await.unwrap();
    assert!(near.next().await.is_none());
    assert_eq!(echo.await.unwrap(), 5);
}

#[test]
fn the_codec_of_lines_works_over_sockets_and_joined_streams() {
    settling(|_, _| async {
        let (near, far) = stream_pair();
        lines_come_back(near, far).await;
        let (near, far) = UnixStream::pair().unwrap();
        lines_come_back(near, far).await;
        let (near, far) = joined_and_stream().await;
        lines_come_back(near, far).await;
        let (near, far) = joined_and_stream().await;
        lines_come_back(far, near).await;
    });
}

#[test]
fn frames_that_arrive_a_byte_at_a_time_are_put_together() {
    settling(|_, _| async {
        let (near, mut far) = joined_and_stream().await;
        let sending = create_task(async move {
            for byte in b"\0\0\0\x05hello\0\0\0\x02hi" {
                far.write_u8(*byte).await.unwrap();
                callsoon::yield_now().await;
            }
        });
        let mut frames = Framed::new(near, LengthDelimitedCodec::new());
        assert_eq!(frames.next().await.unwrap().unwrap(), b"hello"[..]);
        assert_eq!(frames.next().await.unwrap().unwrap(), b"hi"[..]);
        assert!(frames.next().await.is_none());
        sending.await.unwrap();
    });
}

#[test]
fn halves_and_references_read_parts_and_the_end_and_write_in_pieces() {
    async fn check(mut reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin) {
        assert!(writer.is_write_vectored());
        let pieces = [IoSlice::new(b"he"), IoSlice::new(b"llo")];
        assert_eq!(writer.write_vectored(&pieces).await.unwrap(), 5);
        writer.flush().await.unwrap();
        let mut part = [0; 3];
        reader.read_exact(&mut part).await.unwrap();
        assert_eq!(&part, b"hel");
        writer.shutdown().await.unwrap();
        let mut rest = Vec::with_capacity(64);
        assert_eq!(reader.read_buf(&mut rest).await.unwrap(), 2);
        assert_eq!(rest, b"lo");
        assert_eq!(reader.read(&mut part).await.unwrap(), 0);
        let late = writer.write(b"x").await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
    settling(|_, _| async {
        let (near, far) = stream_pair();
        check(&near, &far).await;
        let (near, far) = stream_pair();
        check(near.split().0, far.split().1).await;
        let (near, far) = stream_pair();
        let (reader, _writer) = near.into_split();
        check(reader, far.into_split().1).await;
        let (near, far) = std_pair();
        let (reader, _writer) = open_connection(near).await.unwrap();
        let (_reader, writer) = open_connection(far).await.unwrap();
        check(reader, writer).await;
    });
}

#[test]
fn lines_of_a_stream_are_read_by_its_buffer() {
    settling(|_, _| async {
        let (near, mut peer) = std_pair();
        let (reader, _writer) = open_connection(near).await.unwrap();
        peer.write_all(b"one\ntwo\nthree").unwrap();
        drop(peer);
        let mut lines = reader.lines();
        for line in ["one", "two", "three"] {
            assert_eq!(lines.next_line().await.unwrap().as_deref(), Some(line));
        }
        assert_eq!(lines.next_line().await.unwrap(), None);
    });
}

#[test]
fn copy_bidirectional_pumps_megabytes_between_a_socket_and_a_stream() {
    settling(|_, _| async {
        let (mut near, far) = joined_and_stream().await;
        let (mut middle, end) = stream_pair();
        let pump = create_task(async move {
            io::copy_bidirectional(&mut near, &mut middle)
                .await
                .unwrap()
        });
        let echo = create_task(async move {
            let (mut reader, mut writer) = end.into_split();
            io::copy(&mut reader, &mut writer).await.unwrap()
        });
        let (mut reader, mut writer) = far.into_split();
        let sending = create_task(async move {
            AsyncWriteExt::write_all(&mut writer, &vec![7; MUCH])
                .await
                .unwrap();
            AsyncWriteExt::shutdown(&mut writer).await.unwrap();
        });
        let mut back = Vec::new();
        assert_eq!(reader.read_to_end(&mut back).await.unwrap(), MUCH);
        assert!(back.iter().all(|&byte| byte == 7));
        sending.await.unwrap();
        assert_eq!(pump.await.unwrap(), (MUCH as u64, MUCH as u64));
        assert_eq!(echo.await.unwrap(), MUCH as u64);
    });
}

#[test]
fn a_file_is_read_and_written_by_tokios_traits_and_a_flush_tells_what_a_write_failed_with() {
    settling(|_, _| async {
        let (source, target) = (Scratch::new(b"one\ntwo\nthree"), Scratch::new(b""));
        let mut options = std::fs::OpenOptions::new();
        options.write(true);
        let mut copy = File::open_with(target.path(), options.clone())
            .await
            .unwrap();
        let mut file = File::open(source.path()).await.unwrap();
        assert_eq!(io::copy(&mut file, &mut copy).await.unwrap(), 13);
        AsyncWriteExt::shutdown(&mut copy).await.unwrap();
        assert_eq!(std::fs::read(target.path()).unwrap(), b"one\ntwo\nthree");
        let sought = AsyncSeekExt::seek(&mut file, SeekFrom::End(-9)).await;
        assert_eq!((sought.unwrap(), file.position()), (4, 4));
        let error = AsyncSeekExt::seek(&mut file, SeekFrom::Current(-5)).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(file.stream_position().await.unwrap(), 4);
        let mut lines = file.lines();
        for line in ["two", "three"] {
            assert_eq!(lines.next_line().await.unwrap().as_deref(), Some(line));
        }
        assert_eq!(lines.next_line().await.unwrap(), None);
        let mut full = File::open_with("/dev/full", options).await.unwrap();
        AsyncWriteExt::write_all(&mut full, b"lost").await.unwrap();
        let error = AsyncWriteExt::flush(&mut full).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    });
}
