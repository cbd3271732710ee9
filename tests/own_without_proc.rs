//! A process of its own, because it runs in a mount namespace without `/proc` and with a hosts file of its own.
//!
//! Where no such namespace can be made, the reason is printed.
#![cfg(target_os = "linux")]

use std::cell::Cell;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream as StdStream;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::{AddrInfoHints, UnixStream, lookup_host};
use callsoon::{EventLoop, create_task, get_running_loop, sleep, to_thread};

/// Set in the child.
const CHILD: &str = "CALLSOON_TEST_WORLD";

/// Runs `test` in a process whose world `make`, a shell's word, has changed before.
fn in_a_world(name: &str, make: &str, test: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return test();
    }
    let world = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", &format!("{make} && {command}")]);
        unshare
    };
    if !world("true").output().is_ok_and(|it| it.status.success()) {
        println!("skipped: this process may not make a world of its own");
        return;
    }
    let child = world("exec \"$0\" --exact \"$1\" --nocapture --test-threads=1")
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let errors = String::from_utf8_lossy(&child.stderr);
    // A leak checker reads threads and options from /proc, and gives up at the end where there is none.
    let without_checker = std::env::var_os("CALLSOON_SANITIZED").is_some()
        && errors.contains("LeakSanitizer has encountered a fatal error");
    assert!(child.status.success() || without_checker, "{said}{errors}");
    assert!(said.contains("1 passed"), "{said}");
}

fn a_stale_place() {
    assert!(!std::path::Path::new("/proc/self").exists());
    let event_loop = EventLoop::new().unwrap();
    let ran = event_loop.run_until_complete(async {
        let event_loop = get_running_loop();
        let (near, mut far) = StdStream::pair().unwrap();
        let copy = near.try_clone().unwrap();
        let number = near.as_raw_fd();
        event_loop
            .add_reader(&near, || unreachable!("it was removed"))
            .unwrap();
        // Closed first, removed then: the copy keeps the place in the poller's set, and no call can name it.
        drop(near);
        assert!(event_loop.remove_reader(&number));
        // Others keep theirs: a socket of the loop, a reader, the notifier, the timerfd.
        let (ours, theirs) = UnixStream::pair().unwrap();
        let reads = create_task(async move {
            ours.read_exact(&mut [0; 1]).await.unwrap();
            ours
        });
        let (other, mut other_far) = StdStream::pair().unwrap();
        let called = Rc::new(Cell::new(0));
        let count = Rc::clone(&called);
        let number = other.as_raw_fd();
        let reader = move || {
            count.set(count.get() + 1);
            assert!(get_running_loop().remove_reader(&number));
        };
        event_loop.add_reader(&other, reader).unwrap();
        sleep(Duration::from_millis(1)).await;

        far.write_all(b"for nobody").unwrap();
        let before = event_loop.metrics().turns;
        sleep(Duration::from_millis(300)).await;
        let turns = event_loop.metrics().turns - before;
        assert!(turns < 20, "{turns} turns in which nothing was to be done");

        theirs.write_all(b"x").await.unwrap();
        let ours = reads.await.unwrap();
        ours.write_all(b"y").await.unwrap();
        theirs.read_exact(&mut [0; 1]).await.unwrap();
        other_far.write_all(b"z").unwrap();
        while called.get() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(to_thread(|| 7).await.unwrap(), 7);

        // A number that is a socket's of this loop is known for one without any list of the kernel's.
        let error = event_loop.add_reader(&ours, || ()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        drop(copy);
    });
    ran.unwrap();
    event_loop.close().unwrap();
}

#[test]
fn a_copy_of_a_closed_descriptor_makes_no_loop_spin_where_proc_is_not_mounted() {
    in_a_world(
        "a_copy_of_a_closed_descriptor_makes_no_loop_spin_where_proc_is_not_mounted",
        "mount -t tmpfs none /proc",
        a_stale_place,
    );
}

fn names_of_digits() {
    let event_loop = EventLoop::new().unwrap();
    let ran = event_loop.run_until_complete(async {
        for name in ["12345678901", "1.2.3.4.5", "Host.1"] {
            let expected = SocketAddr::from(([127, 0, 0, 9], 80));
            assert_eq!(lookup_host((name, 80)).await.unwrap(), [expected], "{name}");
            let hints = AddrInfoHints {
                socktype: Some(socket2::Type::STREAM),
                ..AddrInfoHints::default()
            };
            let event_loop = get_running_loop();
            let answers = event_loop.getaddrinfo(Some(name), Some("80"), hints).await;
            let answers = answers.unwrap();
            assert_eq!(answers.len(), 1, "{name}");
            assert_eq!(answers[0].sockaddr.as_socket(), Some(expected));
            let numeric = AddrInfoHints {
                flags: libc::AI_NUMERICHOST,
                ..hints
            };
            let refused = event_loop.getaddrinfo(Some(name), None, numeric).await;
            assert!(refused.is_err(), "{name} is no number");
        }
        // A number that is an address stays one, whatever the file says.
        let found = lookup_host(("300", 80)).await.unwrap();
        assert_eq!(found[0].ip(), IpAddr::from([0, 0, 1, 44]));
        assert!(lookup_host(("99999999999", 80)).await.is_err());
    });
    ran.unwrap();
}

#[test]
fn a_name_of_digits_is_found_in_the_hosts_file() {
    let file = std::env::temp_dir().join(format!("callsoon-hosts-{}", std::process::id()));
    if std::env::var_os(CHILD).is_none() {
        let hosts =
            "127.0.0.1 localhost\n127.0.0.9 12345678901 1.2.3.4.5 host.1 300 # 99999999999\n";
        std::fs::write(&file, hosts).unwrap();
    }
    in_a_world(
        "a_name_of_digits_is_found_in_the_hosts_file",
        &format!("mount --bind {} /etc/hosts", file.display()),
        names_of_digits,
    );
    let _ = std::fs::remove_file(&file);
}
