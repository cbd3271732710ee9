//! Files over transports and streams: their order among writes, what is queued behind them, and how they may end.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream as StdUnix;
use std::rc::Rc;

use callsoon::stream::open_connection;
use callsoon::transport::Transport;
use callsoon::{Task, create_task, get_running_loop, to_thread, yield_now};

use crate::support::{Recorder, Scratch, Trace, settling, until};

/// More than any pair of sockets holds.
const MUCH: usize = 4_000_000;

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

async fn recorded(recorder: Recorder) -> (Transport, Rc<Recorder>, StdUnix) {
    let (ours, peer) = StdUnix::pair().unwrap();
    let connecting = get_running_loop().connect_accepted_socket(|| recorder, ours);
    let (transport, recorder) = connecting.await.unwrap();
    (transport, recorder, peer)
}

/// A task that sends the file, and has begun.
async fn begun(transport: &Transport, scratch: &Scratch) -> Task<std::io::Result<u64>> {
    let (transport, file) = (transport.clone(), scratch.file.try_clone().unwrap());
    let task = create_task(async move {
        let event_loop = get_running_loop();
        event_loop.sendfile(&transport, &file, 0, None).await
    });
    yield_now().await;
    yield_now().await;
    assert!(!task.done());
    task
}

async fn read_all(mut peer: StdUnix) -> Vec<u8> {
    let read = move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).map(|_| all)
    };
    to_thread(read).await.unwrap().unwrap()
}

#[test]
fn a_file_goes_behind_what_was_written_before_and_ahead_of_what_is_written_meanwhile() {
    settling(|_, trace| async move {
        let scratch = Scratch::new(&bytes(MUCH));
        let (transport, _, peer) = recorded(Recorder::new(&trace)).await;
        transport.set_write_buffer_limits(Some(MUCH), None).unwrap();
        let before = bytes(1_000_000);
        transport.write(&before);
        let held = transport.write_buffer_size();
        assert!(held > 0);
        let sending = begun(&transport, &scratch).await;
        transport.write(b"behind");
        transport.writelines(&["one", "two"]);
        assert_eq!(transport.write_buffer_size(), held + 12);
        let peer = create_task(read_all(peer));
        assert_eq!(sending.await.unwrap().unwrap(), MUCH as u64);
        assert_eq!(scratch.position(), MUCH as u64);
        transport.write(b"after");
        transport.close();
        let expected = [&before[..], &bytes(MUCH), b"behindonetwoafter"].concat();
        assert!(peer.await.unwrap() == expected);
        until(|| transport.socket(|_| ()).is_none()).await;
        trace.expect(["made", "pause", "resume", "lost"]);
    });
}

#[test]
fn the_protocol_is_paused_for_the_time_of_the_file() {
    settling(|event_loop, trace| async move {
        let (transport, _, peer) = recorded(Recorder::new(&trace)).await;
        let scratch = Scratch::new(b"0123456789");
        for (offset, count, sent, position) in [
            (2, Some(3), 3, 5),
            (0, Some(1), 1, 1),
            (8, Some(100), 2, 10),
            (10, None, 0, 10),
        ] {
            let sending = event_loop.sendfile(&transport, &scratch.file, offset, count);
            assert_eq!(sending.await.unwrap(), sent, "{offset} {count:?}");
            assert_eq!(scratch.position(), position, "{offset} {count:?}");
            yield_now().await;
            trace.push("-");
        }
        transport.close();
        assert_eq!(read_all(peer).await, b"234089");
        trace.expect([
            "made", "pause", "resume", "-", "pause", "resume", "-", "pause", "resume", "-",
            "pause", "resume", "-", "lost",
        ]);
    });
}

#[test]
fn nothing_is_read_while_a_file_goes_out_and_all_of_it_afterwards() {
    settling(|_, trace| async move {
        let scratch = Scratch::new(&bytes(MUCH));
        let (transport, recorder, mut peer) = recorded(Recorder::new(&trace)).await;
        let sending = begun(&transport, &scratch).await;
        peer.write_all(b"question").unwrap();
        for _ in 0..50 {
            yield_now().await;
        }
        assert!(!transport.is_reading());
        trace.expect(["made", "pause"]);
        let reading = peer.try_clone().unwrap();
        let read = create_task(read_all(reading));
        sending.await.unwrap().unwrap();
        assert!(transport.is_reading());
        until(|| recorder.received.get() == 8).await;
        transport.close();
        assert_eq!(read.await.unwrap().len(), MUCH);
        until(|| recorder.lost.get()).await;
        trace.expect(["resume", "data question", "lost"]);
        drop(peer);
    });
}

#[test]
fn a_close_waits_for_the_file_and_what_was_written_behind_it() {
    settling(|_, trace| async move {
        let scratch = Scratch::new(&bytes(MUCH));
        let (transport, recorder, peer) = recorded(Recorder::new(&trace)).await;
        let sending = begun(&transport, &scratch).await;
        transport.write(b"behind");
        transport.close();
        yield_now().await;
        trace.expect(["made", "pause"]);
        let got = create_task(read_all(peer));
        assert_eq!(sending.await.unwrap().unwrap(), MUCH as u64);
        assert!(got.await.unwrap() == [&bytes(MUCH)[..], b"behind"].concat());
        until(|| recorder.lost.get()).await;
        trace.expect(["resume", "lost"]);
    });
}

#[test]
fn the_end_of_writing_comes_behind_the_file() {
    settling(|_, trace| async move {
        let scratch = Scratch::new(&bytes(MUCH));
        let (transport, recorder, peer) = recorded(Recorder::new(&trace)).await;
        let sending = begun(&transport, &scratch).await;
        transport.write_eof();
        let got = create_task(read_all(peer));
        assert_eq!(sending.await.unwrap().unwrap(), MUCH as u64);
        assert_eq!(got.await.unwrap().len(), MUCH);
        until(|| recorder.lost.get()).await;
        // The peer's end comes with its socket's.
        trace.expect(["made", "pause", "resume", "eof", "lost"]);
    });
}

#[test]
fn an_abort_ends_the_file_where_it_is() {
    settling(|_, trace| async move {
        let scratch = Scratch::new(&bytes(MUCH));
        let (transport, recorder, _peer) = recorded(Recorder::new(&trace)).await;
        let sending = begun(&transport, &scratch).await;
        transport.write(b"never sent");
        transport.abort();
        let error = sending.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        assert!((1..MUCH as u64).contains(&scratch.position()));
        until(|| recorder.lost.get()).await;
        assert_eq!(transport.write_buffer_size(), 0);
        trace.expect(["made", "pause", "lost"]);
    });
}

#[test]
fn a_peer_that_goes_in_the_middle_ends_file_and_connection() {
    settling(|_, trace| async move {
        let scratch = Scratch::new(&bytes(MUCH));
        let (transport, recorder, mut peer) = recorded(Recorder::new(&trace)).await;
        let sending = begun(&transport, &scratch).await;
        peer.read_exact(&mut [0; 1000]).unwrap();
        drop(peer);
        let error = sending.await.unwrap().unwrap_err();
        let expected = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        assert!(expected.contains(&error.kind()), "{error}");
        assert!(transport.is_closing());
        assert!((1000..MUCH as u64).contains(&scratch.position()));
        until(|| recorder.lost.get()).await;
        let told = trace.take();
        assert_eq!(told[..2], ["made", "pause"]);
        assert!(told[2].starts_with("lost: "), "{told:?}");
        assert_eq!(told.len(), 3);
    });
}

#[test]
fn l4_a_dropped_transfer_leaves_the_position_after_what_was_sent_and_the_transport_usable() {
    settling(|_, trace| async move {
        let scratch = Scratch::new(&bytes(MUCH));
        let (transport, recorder, peer) = recorded(Recorder::new(&trace)).await;
        let sending = begun(&transport, &scratch).await;
        transport.write(b"behind");
        sending.cancel();
        assert!(sending.await.is_err());
        let sent = scratch.position() as usize;
        assert!((1..MUCH).contains(&sent), "{sent}");
        transport.write(b"after");
        transport.close();
        let expected = [&bytes(sent)[..], b"behindafter"].concat();
        assert!(read_all(peer).await == expected);
        until(|| recorder.lost.get()).await;
        let told = trace.take();
        assert!(told == ["made", "pause", "lost"] || told == ["made", "pause", "resume", "lost"]);
    });
}

#[test]
fn l4_a_dropped_transfer_that_had_to_wait_has_sent_nothing_and_leaves_nothing_paused() {
    settling(|_, trace| async move {
        let scratch = Scratch::new(b"file");
        let (transport, recorder, peer) = recorded(Recorder::new(&trace)).await;
        transport.set_write_buffer_limits(Some(MUCH), None).unwrap();
        transport.write(bytes(1_000_000));
        let sending = begun(&transport, &scratch).await;
        sending.cancel();
        assert!(sending.await.is_err());
        assert_eq!(scratch.position(), 0);
        let got = create_task(read_all(peer));
        until(|| transport.write_buffer_size() == 0).await;
        yield_now().await;
        assert!(transport.is_reading());
        trace.expect(["made", "pause", "resume"]);
        transport.close();
        assert_eq!(got.await.unwrap().len(), 1_000_000);
        until(|| recorder.lost.get()).await;
        trace.expect(["lost"]);
    });
}

#[test]
fn l4_a_file_that_shrinks_meanwhile_ends_early_and_the_count_is_exact() {
    settling(|_, trace| async move {
        let scratch = Scratch::new(&bytes(MUCH));
        let (transport, recorder, peer) = recorded(Recorder::new(&trace)).await;
        let sending = begun(&transport, &scratch).await;
        scratch.file.set_len(1000).unwrap();
        let got = create_task(read_all(peer));
        let sent = sending.await.unwrap().unwrap();
        assert!((1000..MUCH as u64).contains(&sent), "{sent}");
        transport.write(b"after");
        transport.close();
        assert_eq!(got.await.unwrap().len() as u64, sent + 5);
        until(|| recorder.lost.get()).await;
        assert_eq!(trace.take()[..2], ["made", "pause"]);
    });
}

#[test]
fn what_the_system_cannot_send_by_itself_is_read_and_written() {
    settling(|event_loop, trace| async move {
        let (transport, recorder, peer) = recorded(Recorder::new(&trace)).await;
        let limits = File::open("/proc/self/limits").unwrap();
        let expected = std::fs::read("/proc/self/limits").unwrap();
        let sent = event_loop.sendfile(&transport, &limits, 0, None).await;
        assert_eq!(sent.unwrap(), expected.len() as u64);
        transport.close();
        assert!(read_all(peer).await == expected);
        until(|| recorder.lost.get()).await;
        assert_eq!(trace.take()[..2], ["made", "pause"]);
    });
}

#[test]
fn what_cannot_be_is_refused_and_costs_the_connection_nothing() {
    settling(|event_loop, _| async move {
        let quiet = || Recorder::new(&Trace::new());
        let scratch = Scratch::new(&bytes(MUCH));
        let (transport, _, peer) = recorded(quiet()).await;
        let kind = async |transport: &Transport, file: &File, offset, count| {
            let sending = event_loop.sendfile(transport, file, offset, count);
            sending.await.unwrap_err().kind()
        };
        let file = &scratch.file;
        let invalid = ErrorKind::InvalidInput;
        assert_eq!(kind(&transport, file, 0, Some(0)).await, invalid);
        assert_eq!(kind(&transport, file, u64::MAX, None).await, invalid);
        assert_eq!(kind(&transport, file, 1, Some(u64::MAX)).await, invalid);
        // A file that cannot be read is the file's trouble.
        let only_written = File::options().write(true).open("/dev/null").unwrap();
        let _ = kind(&transport, &only_written, 0, None).await;
        assert!(!transport.is_closing());
        let sending = begun(&transport, &scratch).await;
        assert_eq!(
            kind(&transport, file, 0, None).await,
            ErrorKind::ResourceBusy
        );
        let got = create_task(read_all(peer));
        sending.await.unwrap().unwrap();
        transport.write_eof();
        assert_eq!(
            kind(&transport, file, 0, None).await,
            ErrorKind::NotConnected
        );
        transport.close();
        assert_eq!(
            kind(&transport, file, 0, None).await,
            ErrorKind::NotConnected
        );
        assert_eq!(got.await.unwrap().len(), MUCH);
        let (_, output) = StdUnix::pair().unwrap();
        let connecting = event_loop.connect_write_pipe(quiet, output);
        let (pipe, _) = connecting.await.unwrap();
        assert_eq!(kind(&pipe, file, 0, None).await, invalid);
        pipe.close();
    });
}

#[test]
fn a_stream_s_drain_waits_for_a_file_that_another_task_sends() {
    settling(|_, trace| async move {
        let scratch = Scratch::new(&bytes(MUCH));
        let (ours, peer) = StdUnix::pair().unwrap();
        let (mut reader, writer) = open_connection(ours).await.unwrap();
        let writer = Rc::new(writer);
        let (file, sender) = (scratch.file.try_clone().unwrap(), Rc::clone(&writer));
        let t = trace.clone();
        let sending = create_task(async move {
            let sent = sender.sendfile(&file, 0, None).await.unwrap();
            t.push(format!("sent {sent}"));
        });
        yield_now().await;
        let (t, drainer) = (trace.clone(), Rc::clone(&writer));
        let draining = create_task(async move {
            drainer.drain().await.unwrap();
            t.push("drained");
        });
        yield_now().await;
        trace.expect([]);
        let mut far = peer.try_clone().unwrap();
        far.write_all(b"answer").unwrap();
        let got = create_task(read_all(peer));
        sending.await.unwrap();
        draining.await.unwrap();
        trace.expect(["sent 4000000", "drained"]);
        assert_eq!(reader.readexactly(6).await.unwrap(), b"answer");
        writer.write_eof();
        assert_eq!(got.await.unwrap().len(), MUCH);
    });
}
