//! `fs`: files in threads, by path, by position, and from their beginning to their end.

use std::io::{ErrorKind, SeekFrom};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::mpsc;
use std::time::Duration;

use callsoon::fs::{self, File, PathError};
use callsoon::{
    PollBufRead as _, PollRead as _, PollWrite as _, ThreadPoolExecutor, copy, create_task, gather,
    get_running_loop, lines, yield_now,
};

use crate::support::{
    Scratch, at_a_new_path, complete, on_virtual_time, os_error, pipe, poll_once, settling,
};

/// A folder that is removed with the test, and a path inside.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let (path, ()) = at_a_new_path("fs", |path| std::fs::create_dir(path));
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Has the loop's only worker thread wait until the sender is dropped.
fn stuck_executor() -> mpsc::Sender<()> {
    let event_loop = get_running_loop();
    event_loop.set_default_executor(ThreadPoolExecutor::builder().max_workers(1).build());
    let (release, released) = mpsc::channel::<()>();
    let job = event_loop.run_in_executor(None, move || released.recv().is_err());
    create_task(async move { assert!(job.await.unwrap()) }).detach();
    release
}

#[test]
fn the_calls_by_path_do_what_those_of_std_do() {
    settling(|_, _| async {
        let folder = Folder::new();
        let (deep, one, two) = (
            folder.join("a/b/c"),
            folder.join("a/one"),
            folder.join("two"),
        );
        fs::create_dir_all(&deep).await.unwrap();
        fs::create_dir_all(&deep).await.unwrap();
        fs::write(&one, "first").await.unwrap();
        fs::write(&one, b"second \xff").await.unwrap();
        assert_eq!(fs::read(&one).await.unwrap(), b"second \xff");
        let error = fs::read_to_string(&one).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        fs::write(&one, vec![b'x'; 100_000]).await.unwrap();
        assert_eq!(fs::metadata(&one).await.unwrap().len(), 100_000);
        fs::rename(&one, &two).await.unwrap();
        assert_eq!(fs::read_to_string(&two).await.unwrap().len(), 100_000);
        fs::remove_file(&two).await.unwrap();
        assert!(!two.exists() && !one.exists() && deep.exists());
    });
}

#[test]
fn an_error_names_the_path_and_keeps_the_systems_error() {
    settling(|_, _| async {
        let folder = Folder::new();
        let (missing, file) = (folder.join("missing"), folder.join("file"));
        fs::write(&file, "").await.unwrap();
        let shown = missing.display().to_string();
        let failed = [
            ("read", fs::read(&missing).await.map(drop)),
            ("read", fs::read_to_string(&missing).await.map(drop)),
            (
                "read the metadata of",
                fs::metadata(&missing).await.map(drop),
            ),
            ("remove", fs::remove_file(&missing).await),
            ("open", File::open(&missing).await.map(drop)),
            ("rename", fs::rename(&missing, "/elsewhere").await),
        ];
        for (operation, failed) in failed {
            let error = failed.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{operation}");
            let inner = error
                .get_ref()
                .unwrap()
                .downcast_ref::<PathError>()
                .unwrap();
            assert_eq!((inner.operation, &inner.path), (operation, &missing));
            assert_eq!(inner.error.raw_os_error(), Some(libc::ENOENT));
            let text = error.to_string();
            assert!(
                text.contains(&shown) && text.contains("os error 2"),
                "{text}"
            );
        }
        let inside = file.join("inside");
        let error = fs::write(&inside, "").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
        let error = fs::create_dir_all(&inside).await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("cannot make "), "{text}");
        let error = fs::read("with\0inside").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_file_is_read_and_written_at_positions_side_by_side() {
    settling(|_, _| async {
        let folder = Folder::new();
        let path = folder.join("positions");
        let file = std::rc::Rc::new(File::create(&path).await.unwrap());
        let writes = (0..20_u64).map(|n| {
            let file = std::rc::Rc::clone(&file);
            async move { file.write_at([n as u8; 10], n * 10).await.unwrap() }
        });
        gather(writes).await.unwrap();
        assert_eq!(file.metadata().await.unwrap().len(), 200);
        let mut bytes = [0; 12];
        file.read_exact_at(&mut bytes, 95).await.unwrap();
        assert_eq!(bytes, [9, 9, 9, 9, 9, 10, 10, 10, 10, 10, 10, 10]);
        assert_eq!(file.read_at(&mut bytes, 195).await.unwrap(), 5);
        assert_eq!(bytes[..6], [19, 19, 19, 19, 19, 10]);
        let error = file.read_exact_at(&mut bytes, 195).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(bytes[..6], [19, 19, 19, 19, 19, 10], "unchanged");
        file.set_len(5).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0; 5]);
        assert_eq!(file.position(), 0, "positioned calls do not move it");
    });
}

#[test]
fn a_file_is_read_from_its_beginning_to_its_end_and_the_position_is_its_own() {
    settling(|_, _| async {
        let bytes: Vec<_> = (0..200_000_u32).map(|n| (n % 241) as u8).collect();
        let scratch = Scratch::new(&bytes);
        let mut file = File::open(scratch.path()).await.unwrap();
        let (mut read, mut buffer) = (Vec::new(), [0; 7001]);
        loop {
            let count = file.read(&mut buffer).await.unwrap();
            if count == 0 {
                break;
            }
            read.extend_from_slice(&buffer[..count]);
            assert_eq!(file.position(), read.len() as u64);
        }
        assert!(read == bytes);
        assert_eq!(file.read(&mut buffer).await.unwrap(), 0);
        file.set_position(100_000);
        assert_eq!(file.read(&mut buffer[..3]).await.unwrap(), 3);
        assert_eq!(buffer[..3], bytes[100_000..100_003]);

        let mut shared = scratch.file.try_clone().unwrap();
        std::io::Seek::seek(&mut shared, SeekFrom::Start(199_998)).unwrap();
        let mut rest = File::from_std(shared);
        assert_eq!(rest.read(&mut buffer).await.unwrap(), 2);
        assert_eq!(scratch.position(), 199_998, "the description's stays");
    });
}

#[test]
fn what_is_written_is_read_again_and_flush_and_sync_wait_for_it() {
    settling(|_, _| async {
        let folder = Folder::new();
        let path = folder.join("written");
        let mut file = File::create(&path).await.unwrap();
        let bytes: Vec<_> = (0..300_000_u32).map(|n| (n % 239) as u8).collect();
        file.write_all(&bytes).await.unwrap();
        file.flush().await.unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes);
        // Bytes that were read ahead are not read again after they were written over.
        file.set_position(0);
        let mut buffer = [0; 4];
        file.read(&mut buffer).await.unwrap();
        file.write_all(b"over").await.unwrap();
        file.set_position(2);
        file.read(&mut buffer).await.unwrap();
        assert_eq!(buffer, [2, 3, b'o', b'v']);
        file.sync_all().await.unwrap();

        let mut options = std::fs::OpenOptions::new();
        options.append(true);
        let mut log = File::open_with(&path, options).await.unwrap();
        log.write_all(b"appended").await.unwrap();
        drop(log);
        crate::support::end_default_executor().await;
        assert!(std::fs::read(&path).unwrap().ends_with(b"appended"));
    });
}

#[test]
fn a_write_that_fails_is_the_error_of_the_next_write_or_flush_once() {
    settling(|_, _| async {
        let mut options = std::fs::OpenOptions::new();
        options.write(true);
        let mut full = File::open_with("/dev/full", options).await.unwrap();
        full.write_all(b"one").await.unwrap();
        let error = full.write_all(b"two").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        full.flush().await.unwrap();
        full.write_all(b"three").await.unwrap();
        let shutdown = std::future::poll_fn(|context| full.poll_shutdown(context));
        assert_eq!(shutdown.await.unwrap_err().kind(), ErrorKind::StorageFull);

        let scratch = Scratch::new(b"read only");
        let mut file = File::open(scratch.path()).await.unwrap();
        file.write_all(b"x").await.unwrap();
        // A read waits for the write, whose error is not the read's.
        assert_eq!(file.read(&mut [0; 3]).await.unwrap(), 3);
        let error = file.sync_all().await.unwrap_err();
        assert_eq!(os_error(&error), Some(libc::EBADF));
    });
}

#[test]
fn a_call_that_is_dropped_before_its_thread_has_begun_does_nothing() {
    settling(|_, _| async {
        let folder = Folder::new();
        let (path, moved) = (folder.join("kept"), folder.join("moved"));
        std::fs::write(&path, "kept").unwrap();
        let mut file = File::open(&path).await.unwrap();
        let release = stuck_executor();
        let mut buffer = *b"unchanged";
        {
            let mut calls = (
                Box::pin(fs::write(&path, "lost")),
                Box::pin(fs::rename(&path, &moved)),
                Box::pin(fs::remove_file(&path)),
                Box::pin(file.read_at(&mut buffer, 0)),
            );
            assert!(poll_once(&mut calls.0).await.is_none());
            assert!(poll_once(&mut calls.1).await.is_none());
            assert!(poll_once(&mut calls.2).await.is_none());
            assert!(poll_once(&mut calls.3).await.is_none());
        }
        // A read that is given up has moved nothing, and the next one begins where it did.
        assert!(
            poll_once(&mut Box::pin(file.read(&mut buffer)))
                .await
                .is_none()
        );
        drop(release);
        assert_eq!(&buffer, b"unchanged");
        let mut text = [0; 4];
        assert_eq!(file.read(&mut text).await.unwrap(), 4);
        assert_eq!(&text, b"kept");
        crate::support::end_default_executor().await;
        assert_eq!(std::fs::read(&path).unwrap(), b"kept");
        assert!(!moved.exists());
    });
}

#[test]
fn what_a_write_has_taken_is_written_although_the_file_is_dropped_or_no_thread_is_left() {
    settling(|_, _| async {
        let folder = Folder::new();
        let (path, other) = (folder.join("dropped"), folder.join("refused"));
        let mut file = File::create(&path).await.unwrap();
        let mut second = File::create(&other).await.unwrap();
        let release = stuck_executor();
        file.write_all(b"taken").await.unwrap();
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"taken");
        drop(release);
        crate::support::end_default_executor().await;
        // The executor refuses the job; the bytes are in the file, and the error is told.
        second.write_all(b"taken too").await.unwrap();
        assert!(second.flush().await.is_err());
        assert_eq!(std::fs::read(&other).unwrap(), b"taken too");
        let error = fs::read(&path).await.unwrap_err();
        assert_eq!(error.to_string(), "the executor has been shut down");
    });
}

#[test]
fn a_file_is_copied_cut_into_lines_and_polled_like_any_byte_stream() {
    settling(|_, trace| async move {
        let folder = Folder::new();
        let (from, to) = (folder.join("from"), folder.join("to"));
        let text = "one\ntwo\n".repeat(20_000) + "last";
        std::fs::write(&from, &text).unwrap();
        let mut reader = File::open(&from).await.unwrap();
        let mut writer = File::create(&to).await.unwrap();
        let copied = copy(&mut reader, &mut writer).await.unwrap();
        assert_eq!(copied, text.len() as u64);
        assert!(std::fs::read_to_string(&to).unwrap() == text);

        writer.set_position(0);
        let mut lines = lines(writer);
        let mut count = 0;
        while let Some(line) = lines.next_line().await.unwrap() {
            count += 1;
            if line == b"last" {
                trace.push(format!("{count} lines"));
            }
        }
        trace.expect(["40001 lines"]);
        let (mut file, _) = lines.into_parts();
        file.set_position(4);
        let shown =
            std::future::poll_fn(|context| file.poll_fill_buf(context).map_ok(|it| it[0])).await;
        assert_eq!(shown.unwrap(), b't');
        file.consume(2);
        let mut buffer = [0; 2];
        let read = std::future::poll_fn(|context| file.poll_read(context, &mut buffer)).await;
        assert_eq!((read.unwrap(), &buffer), (2, b"o\n"));
    });
}

#[test]
fn what_has_no_positions_is_an_error_and_positions_past_every_end_are_no_panic() {
    settling(|_, _| async {
        let (reading, _writing) = pipe().unwrap();
        let mut fifo = File::from_std(reading);
        let error = fifo.read(&mut [0; 4]).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESPIPE));
        let scratch = Scratch::new(b"text");
        let mut file = File::from_std(scratch.file.try_clone().unwrap());
        file.set_position(1 << 40);
        assert_eq!(file.read(&mut [0; 4]).await.unwrap(), 0);
        file.set_position(u64::MAX);
        assert!(file.read(&mut [0; 4]).await.is_err());
        file.write_all(b"nowhere").await.unwrap();
        assert!(file.flush().await.is_err());
        assert!(file.write_at(b"nowhere", u64::MAX).await.is_err());
        let error = File::open("/").await.unwrap().read(&mut [0; 4]).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::IsADirectory);
    });
}

#[test]
fn a_virtual_clock_waits_for_the_disk() {
    on_virtual_time(|_, event_loop| {
        let scratch = Scratch::new(b"text");
        let began = event_loop.time();
        complete(&event_loop, async {
            let mut file = File::open(scratch.path()).await.unwrap();
            let hour = Duration::from_secs(3600);
            let read = callsoon::timeout(hour, async {
                file.write_all(b"").await.unwrap();
                let mut text = [0; 4];
                file.read(&mut text).await.unwrap();
                fs::read(scratch.path()).await.unwrap()
            });
            assert_eq!(read.await.unwrap(), b"text");
            crate::support::end_default_executor().await;
            yield_now().await;
        });
        assert_eq!(event_loop.time(), began);
    });
}

#[test]
fn a_seek_goes_from_the_beginning_the_position_or_the_end_with_what_was_written() {
    settling(|_, _| async {
        let scratch = Scratch::new(b"0123456789");
        let mut options = std::fs::OpenOptions::new();
        let options = options.read(true).write(true).clone();
        let mut file = File::open_with(scratch.path(), options).await.unwrap();
        let mut one = [0];
        file.read(&mut one).await.unwrap();
        for (target, position, next) in [
            (SeekFrom::Current(0), 1, b'1'),
            (SeekFrom::Current(3), 5, b'5'),
            (SeekFrom::Current(-6), 0, b'0'),
            (SeekFrom::End(-2), 8, b'8'),
            (SeekFrom::Start(4), 4, b'4'),
        ] {
            assert_eq!(file.seek(target).await.unwrap(), position);
            assert_eq!(file.position(), position);
            assert_eq!(file.read(&mut one).await.unwrap(), 1);
            assert_eq!(one[0], next, "{target:?}");
        }
        for target in [
            SeekFrom::Current(-6),
            SeekFrom::End(-11),
            SeekFrom::End(i64::MIN),
        ] {
            let error = file.seek(target).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{target:?}");
            assert_eq!(file.position(), 5);
        }
        // The end is that of the file with what is still on its way.
        file.seek(SeekFrom::Start(8)).await.unwrap();
        file.write_all(b"abcd").await.unwrap();
        assert_eq!(file.seek(SeekFrom::End(0)).await.unwrap(), 12);
        assert_eq!(file.seek(SeekFrom::End(2)).await.unwrap(), 14);
        assert_eq!(file.read(&mut one).await.unwrap(), 0, "beyond the end");
        file.write_all(b"z").await.unwrap();
        file.flush().await.unwrap();
        assert_eq!(std::fs::read(scratch.path()).unwrap(), b"01234567abcd\0\0z");
    });
}

#[test]
fn a_seek_that_is_given_up_has_not_moved_and_a_read_goes_on_where_it_was() {
    settling(|_, _| async {
        let scratch = Scratch::new(b"0123456789");
        let mut file = File::open(scratch.path()).await.unwrap();
        let release = stuck_executor();
        let mut buffer = [0; 4];
        assert!(poll_once(&mut pin!(file.read(&mut buffer))).await.is_none());
        assert!(
            poll_once(&mut pin!(file.seek(SeekFrom::End(-1))))
                .await
                .is_none()
        );
        assert_eq!(file.position(), 0);
        drop(release);
        assert_eq!(file.read(&mut buffer).await.unwrap(), 4);
        assert_eq!(&buffer, b"0123");
        assert_eq!(file.seek(SeekFrom::End(-1)).await.unwrap(), 9);
    });
}
