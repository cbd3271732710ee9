//! The budget of streams, transports and servers: reads of what is kept, at the end, after a failure; what fails at
//! once.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener as StdListener};
use std::os::unix::net::UnixStream as StdUnix;
use std::time::Duration;

use callsoon::stream::{ReadError, open_connection, start_server};
use callsoon::transport::{DatagramProtocol, Protocol, ServeError};
use callsoon::{get_running_loop, timeout};

use crate::support::{in_a_loop, loopback, reset, rounds_alone, std_pair};

const BUDGET: usize = 128;

#[track_caller]
fn failed<T>(result: io::Result<T>) {
    assert!(result.is_err(), "it was to fail");
}

struct Idle;
impl Protocol for Idle {}
impl DatagramProtocol for Idle {}

#[test]
fn reads_at_the_end_of_a_stream_let_others_run() {
    in_a_loop(async || {
        let (here, there) = StdUnix::pair().unwrap();
        let (mut reader, _writer) = open_connection(here).await.unwrap();
        there.shutdown(Shutdown::Write).unwrap();
        assert!(reader.read_to_end().await.unwrap().is_empty());
        let reads = async || assert!(reader.readline().await.unwrap().is_empty());
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let endless = async { while reader.readline().await.unwrap().is_empty() {} };
        assert!(timeout(Duration::from_millis(20), endless).await.is_err());
        let reads = async || assert!(reader.next_line().await.unwrap().is_none());
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let reads = async || assert!(reader.read(8).await.unwrap().is_empty());
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let reads = async || assert_eq!(reader.read_into(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let reads = async || assert!(reader.read_to_end().await.unwrap().is_empty());
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let reads = async || {
            let read = reader.readexactly(8).await;
            assert!(matches!(read, Err(ReadError::Incomplete(_))));
        };
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let reads = async || {
            let read = reader.readuntil(b";").await;
            assert!(matches!(read, Err(ReadError::Incomplete(_))));
        };
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        drop(there);
    });
}

#[test]
fn reads_of_what_is_kept_and_of_nothing_let_others_run() {
    in_a_loop(async || {
        let (here, mut there) = StdUnix::pair().unwrap();
        let (mut reader, _writer) = open_connection(here).await.unwrap();
        there.write_all(&[b'\n'; 2000]).unwrap();
        // All of it has been received.
        assert_eq!(reader.readexactly(1000).await.unwrap().len(), 1000);
        let reads = async || assert_eq!(reader.readline().await.unwrap(), b"\n");
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let reads = async || assert_eq!(reader.read(1).await.unwrap(), b"\n");
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let reads = async || assert_eq!(reader.read_into(&mut [0]).await.unwrap(), 1);
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let reads = async || assert!(reader.read(0).await.unwrap().is_empty());
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let reads = async || assert!(reader.readexactly(0).await.unwrap().is_empty());
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let reads = async || assert_eq!(reader.read_into(&mut []).await.unwrap(), 0);
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
    });
}

#[test]
fn a_stream_that_has_failed_lets_others_run() {
    in_a_loop(async || {
        let (here, there) = std_pair();
        let (mut reader, writer) = open_connection(here).await.unwrap();
        reset(there);
        failed(reader.read_to_end().await);
        // Whatever the reads give after the failure, they do not keep the loop.
        let reads = async || drop(reader.read(8).await);
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let reads = async || drop(reader.read_into(&mut [0]).await);
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let reads = async || drop(reader.readline().await);
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let writes = async || {
            writer.write(b"x");
            failed(writer.drain().await);
        };
        assert_eq!(rounds_alone(writes).await, Some(BUDGET));
        let closes = async || failed(writer.wait_closed().await);
        assert_eq!(rounds_alone(closes).await, Some(BUDGET));
        let file = File::open("/etc/passwd").unwrap();
        let sends = async || failed(writer.sendfile(&file, 0, None).await);
        assert_eq!(rounds_alone(sends).await, Some(BUDGET));
    });
}

#[test]
fn writes_that_are_taken_at_once_let_others_run() {
    in_a_loop(async || {
        let (here, mut there) = StdUnix::pair().unwrap();
        let (_reader, writer) = open_connection(here).await.unwrap();
        let writes = async || {
            writer.write(b"x");
            writer.drain().await.unwrap();
        };
        assert_eq!(rounds_alone(writes).await, Some(BUDGET));
        writer.write_eof();
        let drains = async || writer.drain().await.unwrap();
        assert_eq!(rounds_alone(drains).await, Some(BUDGET));
        let mut heard = Vec::new();
        there.read_to_end(&mut heard).unwrap();
        assert_eq!(heard.len(), BUDGET + 1);
    });
}

#[test]
fn transports_and_servers_that_cannot_be_made_let_others_run() {
    in_a_loop(async || {
        let handle = get_running_loop();
        let connects = async || failed(handle.create_connection(|| Idle, "no address").await);
        assert_eq!(rounds_alone(connects).await, Some(BUDGET));
        let opens = async || failed(open_connection("no address").await);
        assert_eq!(rounds_alone(opens).await, Some(BUDGET));
        let taken = StdListener::bind(loopback()).unwrap();
        let place = taken.local_addr().unwrap();
        let serves = async || failed(handle.create_server(|| Idle, place).await);
        assert_eq!(rounds_alone(serves).await, Some(BUDGET));
        let serves = async || failed(start_server(async |_, _| (), place).await);
        assert_eq!(rounds_alone(serves).await, Some(BUDGET));
        let no_address = async || failed(handle.create_datagram_endpoint(|| Idle).await);
        assert_eq!(rounds_alone(no_address).await, Some(BUDGET));
        let no_pipe = async || {
            let folder = File::open("/").unwrap();
            failed(handle.connect_read_pipe(|| Idle, folder).await);
        };
        assert_eq!(rounds_alone(no_pipe).await, Some(BUDGET));
    });
}

#[test]
fn a_server_that_is_closed_lets_others_run() {
    in_a_loop(async || {
        let server = get_running_loop().create_server(|| Idle, loopback());
        let server = server.await.unwrap();
        server.close();
        let serves = async || {
            let served = server.serve_forever().await;
            assert!(matches!(served, Err(ServeError::Closed)));
        };
        assert_eq!(rounds_alone(serves).await, Some(BUDGET));
        let waits = async || server.wait_closed().await;
        assert_eq!(rounds_alone(waits).await, Some(BUDGET));
    });
}
