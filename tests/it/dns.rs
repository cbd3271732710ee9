//! Names to addresses and back, offline: names are answered by the tests or by the system's own table.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use callsoon::net::{AddrInfoHints, LookupError, TcpListener, TcpStream, lookup_host};
use callsoon::{EventLoop, create_task, get_running_loop, sleep, yield_now};
use socket2::{Domain, Type};

use crate::support::{
    SharedTrace, Waiting, audited, complete, loopback, on_real_time, on_virtual_time, thread_id,
    wait_until_asleep, wait_until_gone, warnings_of, watched,
};

/// How many threads of this process look names up.
fn lookup_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")));
    names
        .filter(|name| {
            name.as_ref()
                .is_ok_and(|name| name.starts_with("callsoon-dns"))
        })
        .count()
}

/// Waits until no such thread is left.
#[track_caller]
fn threads_end() {
    wait_until_gone("callsoon-dns");
}

/// A gate at which look-ups wait until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// Opens it at the end, also when a test fails: its loop's threads would else wait for ever.
impl Gate {
    fn opener(&self) -> impl Drop + use<> {
        struct Opener(Gate);
        impl Drop for Opener {
            fn drop(&mut self) {
                self.0.open();
            }
        }
        Opener(self.clone())
    }
}

const ANSWER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

#[test]
fn o2_numeric_hosts_are_read_exactly_and_take_no_thread() {
    on_real_time(|_, event_loop| {
        event_loop.set_resolver(|host| panic!("on purpose: {host} is asked for"));
        complete(&event_loop, async {
            let four = |a, b, c, d| IpAddr::V4(Ipv4Addr::new(a, b, c, d));
            for (host, ip) in [
                ("127.0.0.1", four(127, 0, 0, 1)),
                ("::1", IpAddr::V6(Ipv6Addr::LOCALHOST)),
                // The old forms, by the system's word and without a server's.
                ("127.1", four(127, 0, 0, 1)),
                ("0x7f.1", four(127, 0, 0, 1)),
                ("2130706433", four(127, 0, 0, 1)),
                ("0x7F000001", four(127, 0, 0, 1)),
                ("256", four(0, 0, 1, 0)),
            ] {
                let found = lookup_host((host, 80)).await.unwrap();
                assert_eq!(found, [SocketAddr::from((ip, 80))], "{host}");
            }
            let zoned =
                |zone| SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, zone));
            assert_eq!(lookup_host(("fe80::1%7", 80)).await.unwrap(), [zoned(7)]);
            let loopback = lookup_host("[fe80::1%lo]:80").await;
            assert_eq!(loopback.unwrap(), [zoned(1)]);
            let hints = AddrInfoHints {
                socktype: Some(Type::STREAM),
                ..AddrInfoHints::default()
            };
            let handle = get_running_loop();
            let found = handle.getaddrinfo(Some("fe80::1%lo"), Some("80"), hints);
            assert_eq!(found.await.unwrap()[0].sockaddr.as_socket(), Some(zoned(1)));
            let found = handle.getaddrinfo(None, Some("80"), hints).await.unwrap();
            let own = found
                .iter()
                .all(|it| it.sockaddr.as_socket().unwrap().ip().is_loopback());
            assert!(own);
            assert_eq!(lookup_threads(), 0);
        });
    });
}

#[test]
fn o2_what_is_no_host_is_an_error_and_never_cut_or_asked_for() {
    on_real_time(|_, event_loop| {
        event_loop.set_resolver(|host| panic!("on purpose: {host} is asked for"));
        complete(&event_loop, async {
            let label = "a".repeat(63);
            let long = format!("{label}.{label}.{label}.{}", "b".repeat(62));
            assert_eq!(long.len(), 254);
            let hosts = [
                "",
                ".",
                "a\0b",
                "127.0.0.1\0.example.org",
                "a..b",
                "bücher.example",
                "1.2.3.4%lo",
                &long,
                &"a".repeat(64),
                &"x.".repeat(5000),
            ];
            let handle = get_running_loop();
            for host in hosts {
                let error = lookup_host((host, 80)).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{host:?}");
                let error = TcpStream::connect((host, 80)).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{host:?}");
                if host.contains('%') {
                    continue;
                }
                let hints = AddrInfoHints::default();
                let error = handle.getaddrinfo(Some(host), Some("80"), hints).await;
                assert_eq!(
                    error.unwrap_err().kind(),
                    ErrorKind::InvalidInput,
                    "{host:?}"
                );
            }
            for host in ["1.2.3.4.5", "999.1.1.1", "host.example.4294967296"] {
                let error = lookup_host((host, 80)).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotFound, "{host:?}");
                let lookup = LookupError::of(&error).unwrap();
                assert_eq!(lookup.gai_error().unwrap().code(), libc::EAI_NONAME);
            }
            let error = lookup_host(("fe80::1%no-such-interface", 80)).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
            for text in [
                "",
                "host",
                "host:",
                "host:65536",
                "host:-1",
                "::1:80",
                "host:http",
            ] {
                let error = lookup_host(text).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}");
            }
            let hints = AddrInfoHints::default();
            let error = handle.getaddrinfo(Some("::1"), Some("65536"), hints).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
            let error = handle.getaddrinfo(Some("::1"), Some("a\0b"), hints).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(lookup_threads(), 0);
        });
    });
}

#[test]
fn o2_the_longest_name_and_a_dot_at_the_end_are_names() {
    on_real_time(|_, event_loop| {
        let asked = SharedTrace::new();
        let log = asked.clone();
        event_loop.set_resolver(move |host| {
            log.push(host.len());
            Ok(vec![ANSWER])
        });
        complete(&event_loop, async {
            let label = "a".repeat(63);
            let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
            let found = lookup_host((longest.as_str(), 1)).await.unwrap();
            assert_eq!(found, [SocketAddr::from((ANSWER, 1))]);
            lookup_host((longest + ".", 1)).await.unwrap();
            lookup_host("host.example.:1").await.unwrap();
        });
        asked.expect(["253", "254", "13"]);
        drop(event_loop);
        threads_end();
    });
}

#[test]
fn the_system_s_own_table_is_read() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let found = lookup_host(("localhost", 80)).await.unwrap();
            assert!(!found.is_empty());
            assert!(
                found
                    .iter()
                    .all(|it| it.ip().is_loopback() && it.port() == 80)
            );
            let handle = get_running_loop();
            let hints = AddrInfoHints {
                family: Some(Domain::IPV4),
                socktype: Some(Type::STREAM),
                flags: libc::AI_CANONNAME,
                ..AddrInfoHints::default()
            };
            let found = handle.getaddrinfo(Some("localhost"), Some("80"), hints);
            let found = found.await.unwrap();
            let first = &found[0];
            assert_eq!((first.family, first.socktype), (Domain::IPV4, Type::STREAM));
            assert_eq!(first.sockaddr.as_socket(), "127.0.0.1:80".parse().ok());
            assert!(first.canonname.is_some());
            let flags = libc::NI_NUMERICSERV;
            let names = handle.getnameinfo(&first.sockaddr, flags).await.unwrap();
            assert_eq!(names.1, "80");
            assert!(!names.0.is_empty());
        });
        drop(event_loop);
        threads_end();
    });
}

#[test]
fn a_connection_by_name_takes_the_address_that_answers() {
    on_real_time(|_, event_loop| {
        event_loop.set_resolver(|_| {
            // Nobody listens on the first.
            Ok(vec![
                Ipv4Addr::new(127, 0, 0, 3).into(),
                Ipv4Addr::LOCALHOST.into(),
            ])
        });
        complete(&event_loop, async {
            let listener = TcpListener::bind(loopback()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let client = TcpStream::connect(("server.example", address.port())).await;
            assert_eq!(client.unwrap().peer_addr().unwrap(), address);
        });
        drop(event_loop);
        threads_end();
    });
}

#[test]
fn o1_stuck_look_ups_delay_no_other_and_giving_up_is_instant() {
    on_real_time(|_, event_loop| {
        let (gate, asked) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let _opener = gate.opener();
        let (before, count) = (gate.clone(), Arc::clone(&asked));
        event_loop.set_resolver(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            before.pass();
            Ok(vec![ANSWER])
        });
        complete(&event_loop, async {
            let tasks: Vec<_> = (0..100)
                .map(|n| create_task(async move { lookup_host((format!("host{n}"), 1)).await }))
                .collect();
            // The loop goes on.
            sleep(Duration::from_millis(5)).await;
            while asked.load(Ordering::SeqCst) < 4 {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(lookup_threads(), 4);
            for task in &tasks {
                task.cancel();
            }
            for task in tasks {
                assert!(task.await.is_err());
            }
        });
        // Nothing waits for look-ups that are stuck, not even the end of the loop: the gate opens after it.
        drop(event_loop);
        gate.open();
        threads_end();
        // What had not begun was taken back.
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    });
}

#[test]
fn a_look_up_that_is_cancelled_makes_room_for_the_next() {
    on_real_time(|_, event_loop| {
        let gate = Gate::default();
        let _opener = gate.opener();
        let (asked, begun) = (SharedTrace::new(), Arc::new(AtomicUsize::new(0)));
        let (before, log, count) = (gate.clone(), asked.clone(), Arc::clone(&begun));
        event_loop.set_resolver(move |host| {
            log.push(host);
            count.fetch_add(1, Ordering::SeqCst);
            if host == "stuck" {
                before.pass();
            }
            Ok(vec![ANSWER])
        });
        complete(&event_loop, async {
            let stuck: Vec<_> = (0..4)
                .map(|_| Waiting::begun(lookup_host(("stuck", 1))))
                .collect();
            let mut waits = Waiting::begun(lookup_host(("waits", 1)));
            let taken_back = Waiting::begun(lookup_host(("taken back", 1)));
            // All look-ups that are stuck have begun: what follows is asked in its order.
            while begun.load(Ordering::SeqCst) < 4 {
                sleep(Duration::from_millis(1)).await;
            }
            assert!(!waits.is_woken());
            drop(taken_back);
            gate.open();
            while !waits.is_woken() {
                sleep(Duration::from_millis(1)).await;
            }
            assert!(waits.poll().unwrap().is_ok());
            drop(stuck);
        });
        drop(event_loop);
        threads_end();
        asked.expect(["stuck", "stuck", "stuck", "stuck", "waits"]);
    });
}

#[test]
fn a_virtual_clock_does_not_jump_while_a_task_waits_for_a_look_up() {
    on_virtual_time(|_, event_loop| {
        let gate = Gate::default();
        let _opener = gate.opener();
        let (before, sleeper) = (gate.clone(), thread_id());
        event_loop.set_resolver(move |host| {
            match host {
                // So long that a clock which may jump would have jumped.
                "slow" => wait_until_asleep(sleeper),
                _ => before.pass(),
            }
            Ok(vec![ANSWER])
        });
        let start = event_loop.time();
        let alarm = event_loop.create_task(sleep(Duration::from_secs(3600)));
        event_loop
            .run_until_complete(async {
                lookup_host(("slow", 1)).await.unwrap();
                assert_eq!(get_running_loop().time(), start);
                // After the caller has given up, the virtual clock can jump again, though the thread is still working.
                drop(Waiting::begun(lookup_host(("stuck", 1))));
                alarm.await.unwrap();
            })
            .unwrap();
        assert_eq!(event_loop.time() - start, Duration::from_secs(3600));
        gate.open();
        drop(event_loop);
        threads_end();
    });
}

#[test]
fn errors_and_panics_of_a_resolver_come_to_the_caller() {
    on_real_time(|_, event_loop| {
        event_loop.set_resolver(|host| match host {
            "refuses" => Err(io::Error::new(ErrorKind::PermissionDenied, "not you")),
            "panics" => panic!("on purpose"),
            _ => Ok(vec![]),
        });
        complete(&event_loop, async {
            let error = lookup_host(("refuses", 1)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            let error = lookup_host(("panics", 1)).await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "cannot look up panics: the resolver panicked"
            );
            let error = lookup_host(("has none", 1)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            let handle = get_running_loop();
            handle.reset_resolver();
            assert!(lookup_host(("localhost", 1)).await.is_ok());
        });
        drop(event_loop);
        threads_end();
    });
}

#[test]
fn j4_idle_threads_go_by_themselves() {
    on_real_time(|_, event_loop| {
        let most = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&most);
        event_loop.set_resolver(move |_| {
            seen.fetch_max(lookup_threads(), Ordering::SeqCst);
            Ok(vec![ANSWER])
        });
        complete(&event_loop, async {
            for _ in 0..50 {
                lookup_host(("host", 1)).await.unwrap();
            }
        });
        assert!((1..=4).contains(&most.load(Ordering::SeqCst)));
        threads_end();
        complete(&event_loop, async {
            lookup_host(("host", 1)).await.unwrap();
        });
        drop(event_loop);
        threads_end();
    });
}

#[test]
fn a_slow_look_up_is_warned_of_in_debug_mode() {
    audited(watched(|| {
        let slow = Duration::from_millis(50);
        let event_loop = EventLoop::builder()
            .debug(true)
            .slow_callback_duration(slow)
            .build()
            .unwrap();
        let gate = Gate::default();
        let _opener = gate.opener();
        let before = gate.clone();
        event_loop.set_resolver(move |_| {
            before.pass();
            Ok(vec![ANSWER])
        });
        let lines = warnings_of(|| {
            complete(&event_loop, async {
                let look_up = create_task(lookup_host(("tortoise", 1)));
                // It has begun before the time is taken that it lasts at least.
                yield_now().await;
                get_running_loop().call_later(slow, move || gate.open());
                look_up.await.unwrap().unwrap();
            });
        });
        let about = lines.iter().filter(|line| line.contains("tortoise"));
        assert_eq!(about.count(), 1, "{lines:?}");
        drop(event_loop);
        threads_end();
    }));
}

#[test]
fn a_look_up_of_a_closed_loop_wakes_no_task_and_leaks_nothing() {
    on_real_time(|_, event_loop| {
        let gate = Gate::default();
        let _opener = gate.opener();
        let before = gate.clone();
        event_loop.set_resolver(move |_| {
            before.pass();
            Ok(vec![ANSWER])
        });
        let task = event_loop.create_task(async { lookup_host(("host", 1)).await });
        complete(&event_loop, yield_now());
        event_loop.close().unwrap();
        assert!(task.done());
        gate.open();
        threads_end();
    });
}
