//! A process of its own, because it runs in a network namespace without a network, and a process has one.
//!
//! Fault O1: names that cannot be looked up and addresses without a route are errors of the operation, and the loop
//! goes on. Where no such namespace can be made, the reason is printed.
#![cfg(target_os = "linux")]

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::process::Command;
use std::time::Duration;

use callsoon::net::{TcpStream, UdpSocket, lookup_host};
use callsoon::{create_task, open_connection, sleep};

use support::{Trace, audited, complete, os_error, real_loop, watched};

const CHILD: &str = "CALLSOON_TEST_OFFLINE";

/// Documentation's own network, to which there is never a way.
const NOWHERE: &str = "192.0.2.1:80";

fn offline() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        complete(&event_loop, async {
            let ticks = create_task(async {
                for _ in 0..10 {
                    sleep(Duration::from_millis(1)).await;
                }
            });
            for name in ["callsoon.example:80", "callsoon.invalid:80"] {
                assert!(lookup_host(name).await.is_err(), "{name} has an address");
                assert!(open_connection(name).await.is_err());
            }
            let nowhere = NOWHERE.parse().unwrap();
            let error = TcpStream::connect(nowhere).await.unwrap_err();
            assert_eq!(os_error(&error), Some(libc::ENETUNREACH));
            assert!(open_connection(NOWHERE).await.is_err());
            let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
            let error = socket.send_to(b"anybody", nowhere).await.unwrap_err();
            assert_eq!(os_error(&error), Some(libc::ENETUNREACH));
            ticks.await.unwrap();
            // An address is an address without any network.
            assert_eq!(lookup_host(NOWHERE).await.unwrap(), [nowhere]);
        });
        event_loop.close().unwrap();
        assert_eq!(trace.take(), [""; 0], "nothing was reported");
    }));
}

#[test]
fn o1_without_a_network_each_operation_gets_an_error_and_the_loop_goes_on() {
    let test = "o1_without_a_network_each_operation_gets_an_error_and_the_loop_goes_on";
    if std::env::var_os(CHILD).is_some() {
        return offline();
    }
    let world = Command::new("unshare").args(["--net", "true"]).output();
    if !world.is_ok_and(|output| output.status.success()) {
        println!("skipped: this process may not make a network of its own");
        return;
    }
    let child = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}{errors}");
    assert!(said.contains("1 passed"), "{said}");
}
