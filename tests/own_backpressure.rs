//! A process of its own, because it counts every byte that the process allocates.
//!
//! Fault F1 at its full size: ten gigabytes for a peer that never reads, by every way of writing, and ten for one that
//! does.

#![allow(unsafe_code)]

mod own {
    pub(crate) mod live_bytes;
}

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use callsoon::stream::open_connection;
use callsoon::transport::{Protocol, Transport};
use callsoon::{EventLoop, get_running_loop, move_on_after, sleep};

use own::live_bytes::{LIVE, MOST};

/// The count is the whole process's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How much more than before `f` began was allocated at any time until its end.
async fn most_during<R>(f: impl AsyncFnOnce() -> R) -> (usize, R) {
    let before = LIVE.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let result = f().await;
    (MOST.load(Ordering::Relaxed) - before, result)
}

const MIB: usize = 1 << 20;

const TEN_GIGABYTES: usize = 10_000_000_000;

/// What a write hands over at once.
const CHUNK: usize = MIB;

fn run(test: impl AsyncFnOnce()) {
    let _alone = ONE_AT_A_TIME.lock();
    let event_loop = EventLoop::new().unwrap();
    // Ends a run that hangs.
    let handle = event_loop.handle();
    event_loop.call_later(Duration::from_secs(3000), move || handle.stop());
    event_loop.run_until_complete(test()).unwrap();
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours, listener.accept().unwrap().0)
}

#[derive(Default)]
struct Told {
    pauses: Cell<usize>,
    resumes: Cell<usize>,
    lost: RefCell<Option<Option<ErrorKind>>>,
}

impl Protocol for Told {
    fn pause_writing(&self, _: &Transport) {
        self.pauses.set(self.pauses.get() + 1);
    }

    fn resume_writing(&self, _: &Transport) {
        self.resumes.set(self.resumes.get() + 1);
    }

    fn connection_lost(&self, _: &Transport, error: Option<io::Error>) {
        *self.lost.borrow_mut() = Some(error.map(|error| error.kind()));
    }
}

async fn connected() -> (Transport, Rc<Told>, TcpStream) {
    let (ours, peer) = pair();
    let connecting = get_running_loop().connect_accepted_socket(Told::default, ours);
    let (transport, told) = connecting.await.unwrap();
    (transport, told, peer)
}

/// A program that heeds nothing writes ten gigabytes.
async fn heedless(write: impl Fn(&Transport, &[u8])) {
    const CAP: usize = 16 * MIB;
    let (transport, told, _peer) = connected().await;
    transport.set_write_buffer_cap(Some(CAP));
    let chunk = vec![7; CHUNK];
    let (most, ()) = most_during(async || {
        for _ in 0..TEN_GIGABYTES / CHUNK {
            write(&transport, &chunk);
        }
        while told.lost.borrow().is_none() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!((told.pauses.get(), told.resumes.get()), (1, 0));
    assert_eq!(*told.lost.borrow(), Some(Some(ErrorKind::QuotaExceeded)));
    // The cap may be gone beyond by the very write that ends the connection.
    assert!(most <= CAP + CHUNK + MIB, "{most} bytes");
    println!("{most} bytes at most");
}

#[test]
fn f1_ten_gigabytes_that_nobody_reads_cost_the_cap_by_write_and_by_writelines() {
    run(async || {
        heedless(|transport, chunk| transport.write(chunk)).await;
        heedless(|transport, chunk| {
            let (first, rest) = chunk.split_at(1000);
            let pieces: Vec<&[u8]> = first.chunks(10).chain([rest]).collect();
            transport.writelines(&pieces);
        })
        .await;
    });
}

#[test]
fn f1_who_drains_before_writing_more_waits_for_a_peer_that_never_reads() {
    run(async || {
        let (ours, _peer) = pair();
        let (_reader, writer) = open_connection(ours).await.unwrap();
        let chunk = vec![7; 1 << 16];
        let written = Cell::new(0);
        let (most, ended) = most_during(async || {
            let writing = async {
                while written.get() < TEN_GIGABYTES {
                    writer.write(&chunk);
                    written.set(written.get() + chunk.len());
                    writer.drain().await?;
                }
                Ok::<_, io::Error>(())
            };
            move_on_after(Duration::from_millis(500), writing).await
        })
        .await;
        assert!(ended.is_none(), "{ended:?}");
        // The system's buffers on both sides, and no more.
        assert!(written.get() < 64 * MIB, "{}", written.get());
        assert!(most <= 2 * chunk.len() + (1 << 16), "{most} bytes");
        writer.transport().abort();
    });
}

#[test]
fn a_hundred_megabytes_that_nobody_reads_cost_half_a_megabyte() {
    const LIMIT: usize = 64 * 1024;
    run(async || {
        let (ours, peer) = pair();
        peer.set_nonblocking(true).unwrap();
        let chunk = vec![7; CHUNK];
        let (reader, writer) = open_connection(ours).await.unwrap();
        let (most, sent) = most_during(async || {
            let mut sent = 0;
            let mut refused = 0;
            // The system's own buffers grow while they are filled.
            while sent < 100 * MIB && refused < 20 {
                match (&peer).write(&chunk) {
                    Ok(count) => (sent, refused) = (sent + count, 0),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        refused += usize::from(!writer.transport().is_reading());
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            }
            sent
        })
        .await;
        println!("{sent} sent, {most} bytes at most");
        assert!(sent < 100 * MIB, "{sent} sent");
        assert!((2 * LIMIT..=MIB / 2).contains(&most), "{most} bytes");
        drop(reader);
        writer.transport().abort();
    });
}

/// A file of ten gigabytes that takes no room on the disk.
fn vast() -> File {
    let path = std::env::temp_dir().join(format!("callsoon-vast-{}", std::process::id()));
    let mut options = File::options();
    let file = options.read(true).write(true).create_new(true).open(&path);
    std::fs::remove_file(&path).unwrap();
    let file = file.unwrap();
    file.set_len(TEN_GIGABYTES as u64).unwrap();
    file
}

#[test]
fn f1_a_file_of_ten_gigabytes_waits_for_a_peer_that_never_reads() {
    run(async || {
        let (transport, told, mut peer) = connected().await;
        let file = vast();
        let (most, sent) = most_during(async || {
            let event_loop = get_running_loop();
            let sending = event_loop.sendfile(&transport, &file, 0, None);
            move_on_after(Duration::from_millis(500), sending).await
        })
        .await;
        assert!(sent.is_none());
        assert!(most < MIB, "{most} bytes");
        let sent = io::Seek::stream_position(&mut &file).unwrap();
        assert!(0 < sent && sent < 64 * MIB as u64, "{sent}");
        transport.close();
        let counting = std::thread::spawn(move || io::copy(&mut peer, &mut io::sink()).unwrap());
        while !counting.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(
            counting.join().unwrap(),
            sent,
            "what the position says came"
        );
        assert_eq!(told.pauses.get(), 1);
    });
}

#[test]
fn f1_ten_gigabytes_go_to_a_peer_that_reads_and_cost_no_memory() {
    run(async || {
        let (ours, mut peer) = pair();
        let (_reader, writer) = open_connection(ours).await.unwrap();
        let mut memory = vec![0; 4 * MIB];
        let counting = std::thread::spawn(move || {
            let mut total = 0;
            loop {
                match peer.read(&mut memory).unwrap() {
                    0 => return total,
                    count => total += count,
                }
            }
        });
        let chunk = vec![7; CHUNK];
        let (most, ()) = most_during(async || {
            for round in 0..TEN_GIGABYTES / CHUNK {
                if round % 2 == 0 {
                    writer.write(&chunk);
                } else {
                    writer.writelines(&[&chunk[..100], &chunk[100..]]);
                }
                writer.drain().await.unwrap();
            }
            writer.close();
            writer.wait_closed().await.unwrap();
        })
        .await;
        assert_eq!(counting.join().unwrap(), TEN_GIGABYTES / CHUNK * CHUNK);
        assert!(most <= 2 * CHUNK + MIB, "{most} bytes");
    });
}
