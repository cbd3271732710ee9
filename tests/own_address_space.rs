//! A process of its own, because it limits how much memory the whole process may have.
//!
//! Fault L3: sizes that a program names, or that a peer makes it keep, may be more than there is memory for. That is an
//! error of the operation, or of the connection, that wanted them. It ends neither the process nor anything else in its
//! loop.

#![allow(unsafe_code)]

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream as StdStream;
use std::thread;

use callsoon::stream::{ReadError, StreamReader, StreamWriter, open_connection};
use callsoon::{EventLoop, Queue, ThreadPoolExecutor, get_running_loop, run_in_executor};
use socket2::{Domain, Socket, Type};

use support::{on_real_time, until};

const MEGABYTE: usize = 1 << 20;

/// More than an allocator has aside: glibc's sets 64 megabytes of address space apart for each thread.
const LARGE: usize = 80 * MEGABYTE;

/// Sizes that no machine has, and one that is merely more than the process may have.
const ABSURD: [usize; 5] = [usize::MAX, isize::MAX as usize, 1 << 62, 1 << 46, 1 << 30];

/// The process gets no more memory than it has and a little, until this is dropped.
struct Narrow {
    former: libc::rlimit,
}

impl Narrow {
    fn to(spare: usize) -> Self {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = pages.split(' ').next().unwrap().parse().unwrap();
        let mut former = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the first call takes a number; `former` is a live `rlimit`, which the second writes to.
        let page = unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_AS, &mut former), 0);
            libc::sysconf(libc::_SC_PAGESIZE)
        };
        limit_address_space(libc::rlimit {
            rlim_cur: (pages * page as usize + spare) as libc::rlim_t,
            ..former
        });
        Self { former }
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        limit_address_space(self.former);
    }
}

fn limit_address_space(limits: libc::rlimit) {
    // SAFETY: `limits` is a live `rlimit`, which the call only reads.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limits) }, 0);
}

/// A stream of the running loop that keeps up to `limit` bytes at least, and its peer.
async fn connected(limit: usize) -> (StreamReader, StreamWriter, StdStream) {
    let (near, far) = StdStream::pair().unwrap();
    let limit = NonZeroUsize::new(limit).unwrap();
    let (reader, writer) = open_connection(near).limit(limit).await.unwrap();
    (reader, writer, far)
}

/// Others go on as before.
async fn speak((reader, writer, far): &mut (StreamReader, StreamWriter, StdStream)) {
    writer.write(b"hello");
    let mut hello = [0; 5];
    far.read_exact(&mut hello).unwrap();
    far.write_all(&hello).unwrap();
    // What is asked for is no more than a number, as long as it does not come.
    assert_eq!(reader.read(usize::MAX).await.unwrap(), b"hello");
}

#[track_caller]
fn is_out_of_memory<T>(result: Result<T, impl Into<std::io::Error>>) {
    match result {
        Ok(_) => panic!("there was memory"),
        Err(error) => assert_eq!(error.into().kind(), ErrorKind::OutOfMemory),
    }
}

async fn a_buffer_of_an_absurd_size_is_an_error_of_its_operation() {
    let (near, far) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
    near.set_nonblocking(true).unwrap();
    let handle = get_running_loop();
    let _narrow = Narrow::to(256 * MEGABYTE);
    for size in ABSURD {
        is_out_of_memory(handle.sock_recv(&near, size).await);
        is_out_of_memory(handle.sock_recvfrom(&near, size).await);
        far.send(b"x").unwrap();
        assert_eq!(handle.sock_recv(&near, 16).await.unwrap(), b"x");
    }
}

async fn a_loop_of_whatever_capacity_is_made_or_is_an_error() {
    let _narrow = Narrow::to(256 * MEGABYTE);
    for size in ABSURD {
        is_out_of_memory(EventLoop::builder().capacity(size).build());
    }
    // In small steps, so that each of its parts is once the first that does not fit.
    let mut size = 1024;
    let mut made = 0;
    while size < 1 << 40 {
        match EventLoop::builder().capacity(size).build() {
            Ok(_) => made += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::OutOfMemory),
        }
        size += size / 8;
    }
    assert!(made > 10, "{made} loops were made");
}

async fn absurd_bounds_take_no_memory_and_absurd_stacks_are_an_error() {
    let _narrow = Narrow::to(256 * MEGABYTE);
    for size in ABSURD {
        let queue = Queue::new(size);
        queue.put(1).await.unwrap();
        assert_eq!(queue.get().await.unwrap(), 1);

        let pool = ThreadPoolExecutor::builder().max_workers(size).build();
        let job = run_in_executor(Some(&pool), || 2);
        assert_eq!(job.await.unwrap(), 2);
        pool.shutdown();

        let pool = ThreadPoolExecutor::builder().stack_size(size).build();
        let job = run_in_executor(Some(&pool), || 3);
        assert!(job.await.is_err(), "a stack of {size} bytes");
        pool.shutdown();

        speak(&mut connected(size).await).await;
    }
}

async fn a_read_of_more_than_there_is_memory_for_fails_when_it_comes_to_that() {
    let mut others = connected(1).await;
    let (mut reader, _writer, mut far) = connected(1).await;
    // It says something as long as anybody listens.
    let peer = thread::spawn(move || while far.write_all(&[b'x'; 64 * 1024]).is_ok() {});
    let narrow = Narrow::to(48 * MEGABYTE);
    is_out_of_memory(reader.readexactly(usize::MAX).await);
    speak(&mut others).await;
    drop(narrow);
    drop(reader);
    // The connection is lost, or else the peer would never end.
    peer.join().unwrap();
}

async fn a_read_whose_result_finds_no_memory_has_taken_nothing() {
    let (mut reader, _writer, mut far) = connected(LARGE).await;
    let peer = thread::spawn(move || {
        far.write_all(&vec![b'x'; LARGE - 1]).unwrap();
        far.write_all(b"\n").unwrap();
    });
    let all = format!("buffered: {LARGE}");
    until(|| format!("{reader:?}").contains(&all)).await;
    peer.join().unwrap();
    let narrow = Narrow::to(16 * MEGABYTE);
    is_out_of_memory(reader.read(usize::MAX).await);
    is_out_of_memory(reader.readexactly(LARGE).await);
    is_out_of_memory(reader.readline().await);
    is_out_of_memory(reader.read_to_end().await);
    let error = reader.readexactly(LARGE + 1).await.unwrap_err();
    assert!(matches!(error, ReadError::Io(_)), "{error}");
    // By and by there is memory for all of it.
    let mut taken = 0;
    let mut buffer = vec![0; MEGABYTE];
    while taken < LARGE {
        taken += reader.read_into(&mut buffer).await.unwrap();
    }
    assert_eq!((taken, buffer.last()), (LARGE, Some(&b'\n')));
    assert_eq!(reader.read(1).await.unwrap(), b"");
    drop(narrow);
}

async fn a_write_that_finds_no_memory_for_its_copy_loses_its_connection_alone() {
    let mut others = connected(1).await;
    let data = vec![b'x'; LARGE];
    let writes: [fn(&StreamWriter, &[u8]); 4] = [
        |writer, data| writer.write(data),
        |writer, data| {
            // The second one, once the first is buffered.
            writer.write(&data[..MEGABYTE]);
            writer.write(data);
        },
        |writer, data| writer.writelines(&[b"in front", data]),
        |writer, data| {
            writer.write(&data[..MEGABYTE]);
            writer.writelines(&[b"behind", data]);
        },
    ];
    for write in writes {
        let (_reader, writer, far) = connected(1).await;
        let narrow = Narrow::to(16 * MEGABYTE);
        write(&writer, &data);
        is_out_of_memory(writer.drain().await);
        speak(&mut others).await;
        drop(narrow);
        drop(far);
    }
}

/// A part of the test, in a loop of its own. Only the watchdog's patience counts: a busy machine may take its time for
/// so many bytes.
#[track_caller]
fn part(test: impl AsyncFnOnce() + Send + 'static) {
    on_real_time(move |trace, event_loop| {
        event_loop.run_until_complete(test()).unwrap();
        trace.expect([]);
    });
}

/// One test, whose parts come one after another: a thread that the harness starts meanwhile takes address space for its
/// memory, and gives most of it back, which the limit would not know of.
#[test]
fn l3_what_finds_no_memory_is_an_error_and_ends_nothing_else() {
    if std::env::var_os("CALLSOON_SANITIZED").is_some() {
        // Its shadow takes more address space than any limit leaves, and it ends the process where there is no memory.
        println!("skipped: a sanitizer has no use for a limit of the address space");
        return;
    }
    part(a_buffer_of_an_absurd_size_is_an_error_of_its_operation);
    part(a_loop_of_whatever_capacity_is_made_or_is_an_error);
    part(absurd_bounds_take_no_memory_and_absurd_stacks_are_an_error);
    part(a_read_of_more_than_there_is_memory_for_fails_when_it_comes_to_that);
    part(a_read_whose_result_finds_no_memory_has_taken_nothing);
    part(a_write_that_finds_no_memory_for_its_copy_loses_its_connection_alone);
}
