//! Byte streams by their poll functions: sockets, halves, and the two ends of a stream.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Write as _};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use callsoon::net::UnixStream;
use callsoon::stream::open_connection;
use callsoon::{EventLoop, PollBufRead, PollRead, PollWrite, create_task, yield_now};

use crate::support::{
    CountingWaker, HostileWaker, Touch, audited, complete, fill, settling, std_pair,
    stream_and_peer, stream_pair, watched,
};

/// More than any socket buffer holds, so that both sides have to wait for each other.
const MUCH: usize = 6_000_000;

fn byte_at(place: usize) -> u8 {
    (place % 251) as u8
}

async fn read(source: &mut impl PollRead, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|context| source.poll_read(context, buffer)).await
}

/// Reads to the end, in pieces of many sizes, and checks every byte.
async fn read_all(mut source: impl PollRead) -> usize {
    let mut buffer = vec![0; 70_000];
    let (mut total, mut size) = (0, 1);
    loop {
        let count = read(&mut source, &mut buffer[..size]).await.unwrap();
        if count == 0 {
            return total;
        }
        for (offset, &byte) in buffer[..count].iter().enumerate() {
            assert_eq!(byte, byte_at(total + offset), "at {}", total + offset);
        }
        total += count;
        size = (size * 3 + 1) % buffer.len() + 1;
    }
}

/// Writes the bytes that [`read_all`] expects, then shuts down. Every other write has two pieces. Returns the sink, since
/// a stream whose writer is dropped reads nothing more.
async fn write_all<W: PollWrite>(mut sink: W) -> W {
    let bytes: Vec<u8> = (0..MUCH).map(byte_at).collect();
    let (mut rest, mut vectored) = (&bytes[..], false);
    while !rest.is_empty() {
        let pieces = [
            IoSlice::new(&[]),
            IoSlice::new(&rest[..rest.len() / 2]),
            IoSlice::new(&rest[rest.len() / 2..]),
        ];
        let count = poll_fn(|context| match vectored {
            true => sink.poll_write_vectored(context, &pieces),
            false => sink.poll_write(context, rest),
        });
        let count = count.await.unwrap();
        assert!(count > 0);
        rest = &rest[count..];
        vectored = !vectored;
    }
    poll_fn(|context| sink.poll_shutdown(context))
        .await
        .unwrap();
    sink
}

/// Two tasks at each end: one polls the reading half and one the writing half.
async fn both_ways(
    near: (impl PollRead + 'static, impl PollWrite + 'static),
    far: (impl PollRead + 'static, impl PollWrite + 'static),
) {
    let readers = [create_task(read_all(near.0)), create_task(read_all(far.0))];
    let writers = (
        create_task(write_all(near.1)),
        create_task(write_all(far.1)),
    );
    for task in readers {
        assert_eq!(task.await.unwrap(), MUCH);
    }
    writers.0.await.unwrap();
    writers.1.await.unwrap();
}

#[test]
fn halves_that_are_polled_by_four_tasks_carry_megabytes_both_ways() {
    settling(|_, _| async {
        let (near, far) = stream_pair();
        both_ways(near.into_split(), far.into_split()).await;
        let (near, far) = UnixStream::pair().unwrap();
        both_ways(near.into_split(), far.into_split()).await;
    });
}

#[test]
fn a_shared_reference_and_borrowed_halves_are_byte_streams_too() {
    settling(|_, _| async {
        let (near, far) = stream_pair();
        let (near, far) = (Rc::new(near), far);
        let writer = Rc::clone(&near);
        let writing = create_task(async move {
            write_all(&*writer).await;
        });
        let (reader, _) = far.split();
        assert_eq!(read_all(reader).await, MUCH);
        writing.await.unwrap();
        let writing = create_task(async move {
            write_all(far.split().1).await;
        });
        assert_eq!(read_all(&*near).await, MUCH);
        writing.await.unwrap();
    });
}

#[test]
fn the_two_ends_of_streams_that_are_polled_carry_megabytes_both_ways() {
    settling(|_, _| async {
        let (near, far) = std_pair();
        let near = open_connection(near).await.unwrap();
        let far = open_connection(far).await.unwrap();
        both_ways(near, far).await;
    });
}

#[test]
fn one_event_wakes_an_async_read_and_a_polled_one() {
    settling(|_, _| async {
        let (near, mut peer) = stream_and_peer();
        let near = Rc::new(near);
        let (counter, waker) = CountingWaker::new();
        let awaiting = Rc::clone(&near);
        let awaited = create_task(async move { awaiting.read(&mut [0; 1]).await.unwrap() });
        yield_now().await;
        let mut context = Context::from_waker(&waker);
        let mut buffer = [0; 8];
        assert!((&*near).poll_read(&mut context, &mut buffer).is_pending());
        peer.write_all(b"ab").unwrap();
        assert_eq!(awaited.await.unwrap(), 1);
        assert_eq!(counter.wakes(), 1);
        assert!(matches!(
            (&*near).poll_read(&mut context, &mut buffer),
            Poll::Ready(Ok(1))
        ));
        assert_eq!(buffer[0], b'b');
    });
}

#[test]
fn the_last_waker_of_a_direction_is_woken_and_a_former_one_is_dropped() {
    settling(|_, _| async {
        let (near, mut peer) = stream_and_peer();
        fill(&near);
        let wakers: Vec<_> = (0..3).map(|_| HostileWaker::new(|_| ())).collect();
        for hostile in &wakers[..2] {
            let waker = hostile.waker();
            let mut context = Context::from_waker(&waker);
            assert!(near.poll_read_ready(&mut context).is_pending());
        }
        // The other direction has its own.
        let waker = wakers[2].waker();
        let mut context = Context::from_waker(&waker);
        assert!(near.poll_write_ready(&mut context).is_pending());
        // The loop above has dropped each of its own.
        assert_eq!(
            [0, 1].map(|each: usize| wakers[each].count(Touch::Drop)),
            [2, 1]
        );
        peer.write_all(b"x").unwrap();
        near.readable().await.unwrap();
        let counts = |touch| [0, 1, 2].map(|each: usize| wakers[each].count(touch));
        assert_eq!(counts(Touch::Wake), [0, 1, 0]);
        assert_eq!(counts(Touch::Clone), [1, 1, 1]);
        drop(waker);
        drop(near);
        assert_eq!(
            counts(Touch::Wake),
            [0, 1, 1],
            "the end of a socket wakes who waits"
        );
    });
}

#[test]
fn a_waker_that_reads_the_same_socket_while_it_is_cloned_and_dropped_loses_nothing() {
    settling(|_, _| async {
        let (near, mut peer) = stream_and_peer();
        let near = Rc::new(near);
        peer.write_all(b"abc").unwrap();
        near.readable().await.unwrap();
        let (taken, inner) = (Rc::new(std::cell::Cell::new(0)), Rc::downgrade(&near));
        let hostile = HostileWaker::new({
            let taken = Rc::clone(&taken);
            move |_| {
                let mut byte = [0];
                let near = inner.upgrade().unwrap();
                let mut context = Context::from_waker(Waker::noop());
                if let Poll::Ready(count) = (&*near).poll_read(&mut context, &mut byte) {
                    taken.set(taken.get() + count.unwrap());
                }
            }
        });
        let waker = hostile.waker();
        let mut context = Context::from_waker(&waker);
        let mut buffer = [0; 2];
        assert!(matches!(
            (&*near).poll_read(&mut context, &mut buffer),
            Poll::Ready(Ok(2))
        ));
        assert!(matches!(
            (&*near).poll_read(&mut context, &mut buffer),
            Poll::Ready(Ok(1))
        ));
        assert!((&*near).poll_read(&mut context, &mut buffer).is_pending());
        assert_eq!(taken.get(), 0);
        // Its clone is replaced, and the drop of it polls in its turn.
        let mut noop = Context::from_waker(Waker::noop());
        assert!(near.poll_read_ready(&mut noop).is_pending());
        peer.write_all(b"d").unwrap();
        near.readable().await.unwrap();
        assert!(matches!(
            (&*near).poll_read(&mut noop, &mut buffer),
            Poll::Ready(Ok(1))
        ));
        drop(waker);
    });
}

#[test]
fn poll_functions_on_a_closed_loop_fail() {
    audited(watched(|| {
        let event_loop = EventLoop::new().unwrap();
        let (near, _peer, mut reader, mut writer, _far) = complete(&event_loop, async {
            let (near, peer) = stream_and_peer();
            let (ours, far) = std_pair();
            let (reader, writer) = open_connection(ours).await.unwrap();
            (near, peer, reader, writer, far)
        });
        let (counter, waker) = CountingWaker::new();
        let mut context = Context::from_waker(&waker);
        assert!((&near).poll_read(&mut context, &mut [0; 8]).is_pending());
        event_loop.close().unwrap();
        assert_eq!(counter.wakes(), 1);
        let mut results = vec![
            near.poll_read_ready(&mut context).map_ok(|()| 0),
            near.poll_write_ready(&mut context).map_ok(|()| 0),
            (&near).poll_read(&mut context, &mut [0; 8]),
            (&near).poll_write(&mut context, b"x"),
            reader.poll_read(&mut context, &mut [0; 8]),
            reader.poll_fill_buf(&mut context).map_ok(<[u8]>::len),
        ];
        results.push(writer.poll_write(&mut context, b"x"));
        for (place, result) in results.into_iter().enumerate() {
            match result {
                Poll::Ready(Err(error)) => assert!(
                    [ErrorKind::NotConnected, ErrorKind::BrokenPipe].contains(&error.kind()),
                    "{place}: {error}"
                ),
                other => panic!("{place}: {other:?}"),
            }
        }
    }));
}

#[test]
fn bytes_in_memory_are_a_source_and_a_sink_that_grows() {
    audited(|| {
        complete(&EventLoop::new().unwrap(), async {
            let bytes: Vec<u8> = (0..MUCH).map(byte_at).collect();
            assert_eq!(read_all(&bytes[..]).await, MUCH);
            assert_eq!(write_all(Vec::new()).await, bytes);
            let mut source = &bytes[..3];
            let buffer = poll_fn(|context| source.poll_fill_buf(context).map_ok(<[u8]>::len)).await;
            assert_eq!(buffer.unwrap(), 3);
            source.consume(2);
            assert_eq!(source, &bytes[2..3]);
            source.consume(9);
            assert!(source.is_empty(), "taking more than there is takes all");
        })
    });
}
