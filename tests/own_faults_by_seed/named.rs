//! One error of one call at a time: what the pages of the calls list, and what seeds have found.

use std::io;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use callsoon::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use callsoon::process::{Command, PIPE};
use callsoon::testing::SystemFaults;
use callsoon::{Clock, EventLoop};
use libc::{
    EACCES, EADDRNOTAVAIL, EAGAIN, ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EINTR,
    EINVAL, EIO, EMFILE, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS, ENODEV, ENOMEM, ENOSPC, ENOSYS,
    EPERM, EPIPE, EPROTO, ETIMEDOUT,
};

use crate::support::{Scratch, audited, complete, loopback, os_error, wait_until_asleep, watched};
use crate::transfers::by_unix;
use crate::world::{Reports, World};

/// Runs a test on a loop of its own, whose time jumps.
fn on_a_loop<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    audited(watched(move || {
        let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
        event_loop.run_until_complete(test()).unwrap();
    }));
}

/// The number of the error, which there has to be.
#[track_caller]
fn number<T>(result: io::Result<T>) -> i32 {
    let error = result.err().expect("the call was to fail");
    os_error(&error).unwrap_or_else(|| panic!("no number in {error:?}"))
}

#[test]
fn a_loop_whose_descriptors_cannot_be_made_is_an_error_and_leaves_none() {
    audited(watched(|| {
        for call in ["TimerfdCreate", "Eventfd"] {
            for errno in [EMFILE, ENFILE, ENODEV, ENOMEM] {
                let _faults = SystemFaults::failing(call, errno, 1, 1);
                assert_eq!(number(EventLoop::new()), errno, "{call}");
                drop(EventLoop::new().unwrap());
            }
        }
        // The notifier's registration, and the timer descriptor's.
        for (nth, errno) in [(1, ENOMEM), (1, ENOSPC), (2, ENOMEM), (2, ENOSPC)] {
            let _faults = SystemFaults::failing("EpollCtl", errno, nth, 1);
            assert_eq!(number(EventLoop::new()), errno);
        }
    }));
}

#[test]
fn a_notification_that_a_signal_interrupts_is_made_again() {
    audited(watched(|| {
        let event_loop = EventLoop::new().unwrap();
        let (remote, sleeper) = (event_loop.remote(), crate::support::thread_id());
        let (running, runs) = std::sync::mpsc::channel();
        event_loop.call_soon(move || running.send(()).unwrap());
        let poster = thread::spawn(move || {
            runs.recv().unwrap();
            wait_until_asleep(sleeper);
            let faults = SystemFaults::failing("Notify", EINTR, 1, 3);
            // The only post: nobody comes later who would wake the loop in its place.
            remote
                .call_soon_threadsafe(|| callsoon::get_running_loop().stop())
                .unwrap();
            assert_eq!(faults.log().lock().unwrap().len(), 3);
        });
        let late = event_loop.call_later(Duration::from_secs(60), || panic!("it was not woken"));
        event_loop.run_forever().unwrap();
        late.cancel();
        poster.join().unwrap();
    }));
}

#[test]
fn a_wait_that_is_interrupted_is_a_turn_without_events() {
    on_a_loop(|| async {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let faults = SystemFaults::failing("EpollWait", EINTR, 1, 10);
        let (one, other) = (TcpStream::connect(address), listener.accept());
        futures_lite::future::try_zip(one, other).await.unwrap();
        assert!(faults.log().lock().unwrap().len() >= 2);
    });
}

#[test]
fn a_child_whose_descriptor_cannot_be_made_is_an_error_or_watched_by_a_thread() {
    audited(watched(|| {
        let event_loop = EventLoop::new().unwrap();
        complete(&event_loop, async {
            for errno in [EMFILE, ENFILE, ENODEV, ENOMEM, EINVAL] {
                let _faults = SystemFaults::failing("PidfdOpen", errno, 1, 1);
                assert_eq!(number(Command::new("true").spawn()), errno);
            }
            for errno in [ENOSYS, EPERM, EACCES] {
                let _faults = SystemFaults::failing("PidfdOpen", errno, 1, 1);
                let mut child = Command::new("cat")
                    .stdin(PIPE)
                    .stdout(PIPE)
                    .spawn()
                    .unwrap();
                let output = child.communicate(Some(b"hello")).await.unwrap();
                assert_eq!(output.stdout, b"hello");
            }
        });
    }));
}

#[test]
fn a_child_without_a_descriptor_is_killed_with_its_loop_although_a_signal_comes_meanwhile() {
    audited(watched(|| {
        let event_loop = EventLoop::new().unwrap();
        let child = {
            let _faults = SystemFaults::failing("PidfdOpen", ENOSYS, 1, 1);
            Command::new("sleep")
                .arg("1000")
                .spawn_on(&event_loop)
                .unwrap()
        };
        let faults = SystemFaults::failing("Waitid", EINTR, 1, 3);
        drop(event_loop);
        drop(child);
        assert_eq!(faults.log().lock().unwrap().len(), 3);
    }));
}

#[test]
fn accept_passes_over_the_errors_of_clients_and_waits_while_resources_are_short() {
    on_a_loop(|| async {
        let errors = [
            ECONNABORTED,
            EPROTO,
            EPERM,
            ENETDOWN,
            ENETUNREACH,
            ETIMEDOUT,
        ];
        for errno in errors
            .into_iter()
            .chain([EMFILE, ENFILE, ENOBUFS, ENOMEM, EAGAIN, EINTR])
        {
            let listener = TcpListener::bind(loopback()).await.unwrap();
            let address = listener.local_addr().unwrap();
            callsoon::get_running_loop().set_exception_handler(|_, _| ());
            let faults = SystemFaults::failing("Accept", errno, 1, 3);
            let (one, other) = (TcpStream::connect(address), listener.accept());
            futures_lite::future::try_zip(one, other).await.unwrap();
            assert_eq!(faults.log().lock().unwrap().len(), 3, "{errno}");
        }
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _faults = SystemFaults::failing("Accept", EINVAL, 1, 1);
        assert_eq!(number(listener.accept().await), EINVAL);
        listener.accept().await.unwrap();
    });
}

#[test]
fn connect_gives_each_error_of_its_own_and_goes_on_after_an_interruption() {
    on_a_loop(|| async {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = [
            ("Socket", EMFILE),
            ("Socket", ENFILE),
            ("Socket", ENOBUFS),
            ("Socket", ENOMEM),
        ];
        let begun = [
            EACCES,
            EPERM,
            EADDRNOTAVAIL,
            EAGAIN,
            ECONNREFUSED,
            ENETUNREACH,
            ETIMEDOUT,
        ];
        let ended = [
            ECONNREFUSED,
            ETIMEDOUT,
            EHOSTUNREACH,
            ENETUNREACH,
            ECONNRESET,
        ];
        let begun = begun.into_iter().map(|errno| ("Connect", errno));
        let ended = ended.into_iter().map(|errno| ("Connected", errno));
        for (call, errno) in socket.into_iter().chain(begun).chain(ended) {
            let _faults = SystemFaults::failing(call, errno, 1, 1);
            assert_eq!(number(TcpStream::connect(address).await), errno, "{call}");
        }
        for (call, errno) in [("Connecting", EINTR), ("Connected", EAGAIN)] {
            let faults = SystemFaults::failing(call, errno, 1, 1);
            TcpStream::connect(address).await.unwrap();
            assert_eq!(faults.log().lock().unwrap().len(), 1, "{call}");
        }
        let name = format!("\0callsoon-named-{}", std::process::id());
        let _listener = UnixListener::bind(&name).await.unwrap();
        for errno in [EACCES, EPERM, ECONNREFUSED] {
            let _faults = SystemFaults::failing("ConnectUnix", errno, 1, 1);
            assert_eq!(number(UnixStream::connect(&name).await), errno);
        }
        for errno in [EAGAIN, EINTR] {
            let _faults = SystemFaults::failing("ConnectUnix", errno, 1, 3);
            UnixStream::connect(&name).await.unwrap();
        }
        for errno in [ENOMEM, ENOSPC] {
            let _faults = SystemFaults::failing("EpollCtl", errno, 1, 1);
            assert_eq!(number(TcpStream::connect(address).await), errno);
        }
    });
}

#[test]
fn a_failed_send_or_receive_is_the_error_of_that_operation_alone() {
    on_a_loop(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        let mut buffer = [0; 10];
        for errno in [ECONNRESET, EPIPE, ENOBUFS, ENOMEM] {
            let _faults = SystemFaults::failing("Send", errno, 1, 1);
            assert_eq!(number(near.write(b"lost").await), errno);
        }
        for errno in [ECONNRESET, ETIMEDOUT, ENOMEM] {
            near.write_all(b"kept").await.unwrap();
            let _faults = SystemFaults::failing("Recv", errno, 1, 1);
            assert_eq!(number(far.read(&mut buffer).await), errno);
            assert_eq!(far.read(&mut buffer).await.unwrap(), 4);
        }
        for errno in [EAGAIN, EINTR] {
            let _faults = SystemFaults::failing("Send", errno, 1, 5);
            near.write_all(b"late").await.unwrap();
            let _faults = SystemFaults::failing("Recv", errno, 1, 5);
            assert_eq!(far.read(&mut buffer).await.unwrap(), 4);
        }
        let (one, other) = (UdpSocket::bind(loopback()), UdpSocket::bind(loopback()));
        let (one, other) = futures_lite::future::try_zip(one, other).await.unwrap();
        let address = other.local_addr().unwrap();
        for errno in [ECONNREFUSED, ENOBUFS, EPERM, ENETUNREACH, EACCES, ENOMEM] {
            let _faults = SystemFaults::failing("SendDatagram", errno, 1, 1);
            assert_eq!(number(one.send_to(b"lost", address).await), errno);
        }
        one.send_to(b"kept", address).await.unwrap();
        for errno in [ECONNREFUSED, ENOMEM] {
            let _faults = SystemFaults::failing("RecvDatagram", errno, 1, 1);
            assert_eq!(number(other.recv_from(&mut buffer).await), errno);
        }
        assert_eq!(other.recv_from(&mut buffer).await.unwrap().0, 4);
    });
}

#[test]
fn sendfile_that_does_not_work_is_replaced_by_reads_and_one_that_fails_is_an_error() {
    on_a_loop(|| async {
        let file = Scratch::new(b"0123456789");
        for errno in [EINVAL, ENOSYS, EAGAIN, EINTR] {
            let (near, far) = UnixStream::pair().unwrap();
            let _faults = SystemFaults::failing("Sendfile", errno, 1, 2);
            assert_eq!(near.sendfile(&file.file, 0, None).await.unwrap(), 10);
            let mut buffer = [0; 10];
            far.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"0123456789");
        }
        for errno in [EIO, ENOMEM] {
            let (near, _far) = UnixStream::pair().unwrap();
            let _faults = SystemFaults::failing("Sendfile", errno, 1, 1);
            assert_eq!(number(near.sendfile(&file.file, 0, None).await), errno);
        }
    });
}

/// On Unix sockets alone, where the system does everything within the calls.
#[test]
fn a_seed_that_is_repeated_changes_the_same_calls() {
    audited(watched(|| {
        for seed in 0..20 {
            let logs = [(); 2].map(|()| {
                let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
                let faults = match seed % 2 {
                    0 => SystemFaults::gentle(seed, 4),
                    _ => SystemFaults::harsh(seed, 4),
                };
                let world = World::new(seed, seed % 2 == 0, &Reports::default());
                event_loop.set_exception_handler(|_, _| ());
                event_loop.run_until_complete(by_unix(world)).unwrap();
                faults.log().lock().unwrap().clone()
            });
            assert!(!logs[0].is_empty(), "{seed}");
            assert_eq!(logs[0], logs[1], "{seed}");
        }
    }));
}

/// Each of the first calls of each kind fails in its turn, with everything at work.
#[test]
fn every_kind_of_call_fails_once_at_each_of_its_first_times() {
    let calls = [
        ("Accept", EMFILE),
        ("Accept", EPROTO),
        ("Recv", ECONNRESET),
        ("Send", EPIPE),
        ("Read", EIO),
        ("Write", EPIPE),
        ("Sendfile", EIO),
        ("EpollCtl", ENOMEM),
        ("Connected", ECONNREFUSED),
        ("RecvDatagram", ENOMEM),
        ("SendDatagram", ENOBUFS),
        ("PidfdOpen", EMFILE),
    ];
    for (call, errno) in calls {
        for nth in 3..9 {
            audited(watched(move || {
                let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
                let reports = Reports::default();
                let told = Rc::clone(&reports);
                event_loop.set_exception_handler(move |_, context| {
                    told.borrow_mut().push(context.to_string());
                });
                let _faults = SystemFaults::failing(call, errno, nth, 1);
                let world = World::new(nth, false, &reports);
                event_loop.run_until_complete(world.run()).unwrap();
            }));
        }
    }
}
