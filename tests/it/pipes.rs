//! Transports and streams on pipes: FIFOs, sockets, terminals, devices and regular files, by their two ends.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream as StdUnix;
use std::rc::Rc;

use callsoon::stream::{open_read_pipe, open_write_pipe};
use callsoon::transport::{CannotWrite, Transport};
use callsoon::{create_task, get_running_loop, yield_now};

use crate::support::{
    Recorder, Scratch, Trace, complete, counted_fds, is_blocking, on_real_time, on_virtual_time,
    one_turn, pipe, settling, terminal, turns_in, until,
};

#[test]
fn what_is_written_into_a_pipe_comes_out_and_then_its_end() {
    settling(|event_loop, trace| async move {
        let (reading, mut writing) = pipe().unwrap();
        let recorder = Recorder::new(&trace);
        let (transport, recorder) = event_loop
            .connect_read_pipe(|| recorder, reading)
            .await
            .unwrap();
        trace.expect(["made"]);
        writing.write_all(b"one").unwrap();
        until(|| recorder.received.get() == 3).await;
        assert_eq!((transport.peername(), transport.sockname()), (None, None));
        assert!(!transport.can_write_eof());
        transport.write_eof();
        assert_eq!(transport.socket(|_| ()), None);
        assert!(transport.pipe(|pipe| pipe.as_raw_fd()).is_some());
        drop(writing);
        until(|| recorder.lost.get()).await;
        assert_eq!(transport.pipe(|_| ()), None);
        trace.expect(["data one", "eof", "lost"]);
    });
}

#[test]
fn a_reading_end_is_over_at_its_end_whatever_eof_received_gives() {
    settling(|event_loop, trace| async move {
        let (reading, writing) = pipe().unwrap();
        let recorder = Recorder::new(&trace).keep_open();
        let connecting = event_loop.connect_read_pipe(|| recorder, reading);
        let (_, recorder) = connecting.await.unwrap();
        drop(writing);
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "eof", "lost"]);
    });
}

#[test]
fn reading_pauses_and_goes_on_without_losing_anything() {
    settling(|event_loop, trace| async move {
        let (reading, mut writing) = pipe().unwrap();
        let recorder = Recorder::new(&trace).on("data", Transport::pause_reading);
        let connecting = event_loop.connect_read_pipe(|| recorder, reading);
        let (transport, recorder) = connecting.await.unwrap();
        writing.write_all(b"one").unwrap();
        until(|| recorder.received.get() == 3).await;
        writing.write_all(b"two").unwrap();
        drop(writing);
        for _ in 0..50 {
            yield_now().await;
        }
        trace.expect(["made", "data one"]);
        transport.resume_reading();
        transport.resume_reading();
        until(|| recorder.received.get() == 6).await;
        trace.expect(["data two"]);
        transport.resume_reading();
        until(|| recorder.lost.get()).await;
        transport.pause_reading();
        transport.resume_reading();
        transport.close();
        trace.expect(["eof", "lost"]);
    });
}

#[test]
fn more_than_a_pipe_holds_waits_its_turn_and_comes_whole() {
    settling(|event_loop, trace| async move {
        let (reading, writing) = pipe().unwrap();
        let recorder = Recorder::new(&trace);
        let connecting = event_loop.connect_write_pipe(|| recorder, writing);
        let (transport, _) = connecting.await.unwrap();
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let (first, second) = bytes.split_at(400_000);
        transport.write(first);
        transport.writelines(&[&second[..1], &second[1..300_000], &second[300_000..]]);
        assert!(transport.write_buffer_size() > 0);
        transport.write_eof();
        assert!(transport.is_closing());
        let mut reading = reading;
        let come = callsoon::to_thread(move || {
            let mut come = Vec::new();
            reading.read_to_end(&mut come).map(|_| come)
        });
        assert_eq!(come.await.unwrap().unwrap(), bytes);
        until(|| transport.pipe(|_| ()).is_none()).await;
        trace.expect(["made", "pause", "resume", "lost"]);
    });
}

#[test]
fn a_writing_end_learns_at_once_that_its_reader_is_closed() {
    for (held, line) in [(0, "lost"), (1 << 20, "lost: BrokenPipe")] {
        settling(move |event_loop, trace| async move {
            let (reading, writing) = pipe().unwrap();
            let recorder = Recorder::new(&trace);
            let connecting = event_loop.connect_write_pipe(|| recorder, writing);
            let (transport, recorder) = connecting.await.unwrap();
            transport
                .set_write_buffer_limits(Some(2 << 20), None)
                .unwrap();
            transport.write(vec![7; held]);
            drop(reading);
            until(|| recorder.lost.get()).await;
            trace.expect(["made", line]);
        });
    }
}

#[test]
fn a_socket_is_a_pipe_too_and_what_its_peer_says_is_not_taken_for_its_end() {
    settling(|event_loop, trace| async move {
        let (near, mut far) = StdUnix::pair().unwrap();
        let recorder = Recorder::new(&trace);
        let connecting = event_loop.connect_write_pipe(|| recorder, near);
        let (transport, recorder) = connecting.await.unwrap();
        far.write_all(b"nobody reads this").unwrap();
        transport.write(b"hello");
        for _ in 0..50 {
            yield_now().await;
        }
        assert!(!transport.is_closing());
        let mut come = [0; 5];
        far.read_exact(&mut come).unwrap();
        assert_eq!(&come, b"hello");
        drop(far);
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "lost"]);
    });
}

#[test]
fn a_write_to_a_pipe_without_a_reader_ends_with_connection_lost() {
    settling(|event_loop, trace| async move {
        let (reading, writing) = pipe().unwrap();
        let recorder = Recorder::new(&trace);
        let connecting = event_loop.connect_write_pipe(|| recorder, writing);
        let (transport, recorder) = connecting.await.unwrap();
        drop(reading);
        transport.write(b"too late");
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "lost: BrokenPipe"]);
    });
}

#[test]
fn the_wrong_direction_is_a_mistake() {
    settling(|event_loop, trace| async move {
        let (reading, _writing) = pipe().unwrap();
        let quiet = Recorder::new(&Trace::new());
        let (transport, _) = event_loop
            .connect_read_pipe(|| quiet, reading)
            .await
            .unwrap();
        assert_eq!(transport.try_write(b"x"), Err(CannotWrite::ReadingEnd));
        assert!(transport.wrote_eof());
        transport.write(b"x");
        trace.expect(["report: write on a connection that takes no more (cannot write to the reading end of a pipe)"]);
        transport.close();
        transport.write(b"too late, which is no mistake");
    });
}

#[test]
fn d5_what_is_no_pipe_is_refused_and_closed() {
    settling(|event_loop, _| async move {
        let open = counted_fds();
        let folder = File::open("/").unwrap();
        let recorder = Recorder::new(&Trace::new());
        let refused = event_loop.connect_read_pipe(|| recorder, folder).await;
        let error = refused.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("pipe"), "{error}");
        let folder = File::open("/").unwrap();
        let error = open_write_pipe(folder).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(counted_fds(), open);
    });
}

#[test]
fn a_regular_file_is_read_from_its_position_to_its_end_like_a_pipe() {
    settling(|event_loop, trace| async move {
        let scratch = Scratch::new(b"read already, one\ntwo");
        let mut file = scratch.file.try_clone().unwrap();
        file.seek(SeekFrom::Start(14)).unwrap();
        let recorder = Recorder::new(&trace);
        let connecting = event_loop.connect_read_pipe(|| recorder, file);
        let (_, recorder) = connecting.await.unwrap();
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "data one\ntwo", "eof", "lost"]);
        assert_eq!(
            scratch.position(),
            21,
            "others that share it go on from there"
        );
        let mut ended = open_read_pipe(scratch.file.try_clone().unwrap())
            .await
            .unwrap();
        assert_eq!(ended.readline().await.unwrap(), b"");
        assert!(ended.at_eof());
    });
}

#[test]
fn a_large_file_is_read_whole_while_other_tasks_run() {
    settling(|_, _| async {
        let bytes: Vec<_> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let scratch = Scratch::new(&bytes);
        let mut reader = open_read_pipe(File::open(scratch.path()).unwrap())
            .await
            .unwrap();
        let turns = Rc::new(std::cell::Cell::new(0));
        let counted = Rc::clone(&turns);
        let other = create_task(async move {
            loop {
                yield_now().await;
                counted.set(counted.get() + 1);
            }
        });
        let read = reader.read_to_end().await.unwrap();
        other.cancel();
        assert!(read == bytes, "{} bytes, not all as written", read.len());
        assert!(turns.get() >= 3, "{} turns of the other task", turns.get());
    });
}

#[test]
fn what_is_written_to_a_regular_file_is_in_it_when_drain_returns_and_keeps_its_append_mode() {
    settling(|event_loop, trace| async move {
        let scratch = Scratch::new(b"head ");
        let mut append = OpenOptions::new();
        let append = append.append(true).open(scratch.path()).unwrap();
        let recorder = Recorder::new(&trace);
        let connecting = event_loop.connect_write_pipe(|| recorder, append);
        let (transport, recorder) = connecting.await.unwrap();
        transport.write(b"body ");
        // Another one that appends, such as a second process that logs to the same file.
        let mut other = OpenOptions::new();
        let mut other = other.append(true).open(scratch.path()).unwrap();
        other.write_all(b"other ").unwrap();
        transport.writelines(&["tail ", "end"]);
        transport.write_eof();
        until(|| recorder.lost.get()).await;
        let text = std::fs::read_to_string(scratch.path()).unwrap();
        assert_eq!(text, "head body other tail end");
        trace.expect(["made", "lost"]);

        let writer = open_write_pipe(scratch.file.try_clone().unwrap())
            .await
            .unwrap();
        writer.write([b'x'; 100_000]);
        writer.drain().await.unwrap();
        assert_eq!(scratch.file.metadata().unwrap().len(), 100_005);
    });
}

#[test]
fn a_full_disk_is_the_error_of_a_writer() {
    settling(|_, _| async {
        // A device, since no test can fill a disk: what a write to either of them gives is the same.
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let writer = open_write_pipe(full).await.unwrap();
        writer.write(b"too much");
        assert_eq!(
            writer.wait_closed().await.unwrap_err().kind(),
            ErrorKind::StorageFull
        );
        // A file that was opened for reading alone.
        let scratch = Scratch::new(b"read only");
        let writer = open_write_pipe(File::open(scratch.path()).unwrap())
            .await
            .unwrap();
        writer.write(b"no");
        let error = writer.wait_closed().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    });
}

#[test]
fn a_device_that_never_blocks_is_always_ready() {
    settling(|_, _| async {
        let mut nothing = open_read_pipe(File::open("/dev/null").unwrap())
            .await
            .unwrap();
        assert_eq!(nothing.read_to_end().await.unwrap(), b"");
        let sink = OpenOptions::new().write(true).open("/dev/null").unwrap();
        let sink = open_write_pipe(sink).await.unwrap();
        sink.write([0; 100_000]);
        sink.drain().await.unwrap();
        // One that never ends delays no other.
        let mut zeros = open_read_pipe(File::open("/dev/zero").unwrap())
            .await
            .unwrap();
        let other = create_task(async { yield_now().await });
        assert_eq!(zeros.readexactly(300_000).await.unwrap(), [0; 300_000]);
        other.await.unwrap();
    });
}

#[test]
fn a_terminal_ends_when_nobody_has_it_open() {
    settling(|event_loop, trace| async move {
        let (master, mut slave) = terminal();
        let writing = master.try_clone().unwrap();
        let recorder = Recorder::new(&trace);
        let (_, reader) = event_loop
            .connect_read_pipe(|| recorder, master)
            .await
            .unwrap();
        let quiet = Recorder::new(&Trace::new());
        let (_, writer) = event_loop
            .connect_write_pipe(|| quiet, writing)
            .await
            .unwrap();
        slave.write_all(b"prompt").unwrap();
        until(|| reader.received.get() == 6).await;
        drop(slave);
        until(|| reader.lost.get() && writer.lost.get()).await;
        trace.expect(["made", "data prompt", "eof", "lost"]);
    });
}

#[test]
fn a_line_typed_at_a_terminal_is_read() {
    settling(|_, _| async {
        let (mut master, slave) = terminal();
        let mut reader = open_read_pipe(slave).await.unwrap();
        master.write_all(b"typed\n").unwrap();
        assert_eq!(reader.readline().await.unwrap(), b"typed\n");
    });
}

#[test]
fn the_mode_is_as_it_was_when_the_pipe_is_released() {
    settling(|_, _| async {
        let (reading, writing) = pipe().unwrap();
        let (shared_in, shared_out) = (reading.try_clone().unwrap(), writing.try_clone().unwrap());
        let reader = open_read_pipe(reading).await.unwrap();
        let writer = open_write_pipe(writing).await.unwrap();
        assert!(is_blocking(&shared_in) && is_blocking(&shared_out));
        drop((reader, writer));
        until(|| get_running_loop().metrics().sources == 0).await;
        assert!(is_blocking(&shared_in) && is_blocking(&shared_out));
    });
}

#[test]
fn lines_go_through_a_pipe_and_its_end_ends_them() {
    settling(|_, _| async {
        let (reading, writing) = pipe().unwrap();
        let mut reader = open_read_pipe(reading).await.unwrap();
        let writer = open_write_pipe(writing).await.unwrap();
        assert!(writer.can_write_eof());
        let lines = create_task(async move {
            let mut lines = Vec::new();
            loop {
                let line = reader.readline().await.unwrap();
                if line.is_empty() {
                    return lines;
                }
                lines.push(line.len());
            }
        });
        for length in [1, 10, 60_000, 3] {
            let mut line = vec![b'x'; length - 1];
            line.push(b'\n');
            writer.write(&line);
            writer.drain().await.unwrap();
        }
        writer.write_eof();
        writer.wait_closed().await.unwrap();
        assert_eq!(lines.await.unwrap(), [1, 10, 60_000, 3]);
    });
}

#[test]
fn drain_fails_when_the_reader_of_a_pipe_has_gone() {
    settling(|_, _| async {
        let (reading, writing) = pipe().unwrap();
        let writer = open_write_pipe(writing).await.unwrap();
        writer.write(vec![0; 1 << 20]);
        drop(reading);
        let error = writer.drain().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(writer.wait_closed().await.is_err());
    });
}

#[test]
fn a_reader_that_is_dropped_closes_its_pipe() {
    settling(|_, _| async {
        let (reading, writing) = pipe().unwrap();
        let reader = open_read_pipe(reading).await.unwrap();
        let writer = open_write_pipe(writing).await.unwrap();
        drop(reader);
        writer.wait_closed().await.unwrap();
    });
}

#[test]
fn e2_a_pipe_whose_connecting_future_is_dropped_is_closed() {
    settling(|event_loop, trace| async move {
        let (reading, writing) = pipe().unwrap();
        let recorder = Recorder::new(&trace);
        let connecting = event_loop.connect_read_pipe(|| recorder, reading);
        let task = create_task(async move { connecting.await.map(drop) });
        yield_now().await;
        task.cancel();
        assert!(task.await.is_err());
        until(|| event_loop.metrics().sources == 0).await;
        drop(writing);
        let told = trace.take();
        assert!(told.is_empty() || told == ["made", "lost"], "{told:?}");
    });
}

#[test]
fn d4_a_pipe_that_has_hung_up_does_not_keep_the_loop_busy() {
    on_real_time(|_, event_loop| {
        let (reading, writing) = pipe().unwrap();
        let (shared_in, shared_out) = (reading.try_clone().unwrap(), writing.try_clone().unwrap());
        let (_, reader): (Transport, Rc<Recorder>) = complete(&event_loop, async {
            let recorder = Recorder::new(&Trace::new()).on("made", Transport::pause_reading);
            let handle = get_running_loop();
            handle
                .connect_read_pipe(|| recorder, reading)
                .await
                .unwrap()
        });
        drop((writing, shared_out));
        let turns = turns_in(&event_loop, std::time::Duration::from_millis(200));
        assert!(turns <= 10, "{turns} turns while paused");
        assert!(!reader.lost.get());
        drop(shared_in);
        event_loop.close().unwrap();
    });
}

#[test]
fn a_loop_that_closes_releases_its_pipes_and_they_can_still_be_inspected() {
    on_virtual_time(|_, event_loop| {
        let (reading, mut writing) = pipe().unwrap();
        let (transport, _) = complete(&event_loop, async {
            let quiet = Recorder::new(&Trace::new());
            let handle = get_running_loop();
            handle.connect_read_pipe(|| quiet, reading).await.unwrap()
        });
        one_turn(&event_loop);
        event_loop.close().unwrap();
        assert!(format!("{transport:?}").contains("over: true"));
        assert_eq!(
            writing.write(b"x").unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        transport.close();
    });
}
