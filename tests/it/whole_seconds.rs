//! Options that the system counts in whole seconds, where zero means something else.

use std::io::ErrorKind;
use std::time::Duration;

use callsoon::net::{ConnectOptions, TcpListener};

use crate::support::{in_a_loop, loopback, stream_and_peer};

#[test]
fn a_linger_below_a_second_does_not_become_a_reset() {
    in_a_loop(async || {
        let (stream, _peer) = stream_and_peer();
        for (asked, set) in [
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(500), 1),
            (Duration::from_secs(1), 1),
            (Duration::from_millis(1001), 2),
            (Duration::ZERO, 0),
        ] {
            stream.set_linger(Some(asked)).unwrap();
            let linger = stream.linger().unwrap();
            assert_eq!(linger, Some(Duration::from_secs(set)), "{asked:?}");
        }
        // The longest there is, and not a number that has wrapped round to something short.
        stream.set_linger(Some(Duration::MAX)).unwrap();
        let longest = stream.linger().unwrap().unwrap();
        assert!(longest > Duration::from_secs(1 << 20), "{longest:?}");
        stream.set_linger(None).unwrap();
        assert_eq!(stream.linger().unwrap(), None);
    });
}

#[test]
fn a_linger_of_half_a_second_delivers_what_was_written() {
    in_a_loop(async || {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let client = ConnectOptions::new()
            .connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(b"the last words").await.unwrap();
        client.set_linger(Some(Duration::from_millis(500))).unwrap();
        drop(client);
        let mut words = [0; 14];
        server.read_exact(&mut words).await.unwrap();
        assert_eq!(&words, b"the last words");
        assert_eq!(server.read(&mut words).await.unwrap(), 0);
    });
}

#[test]
fn a_keepalive_is_rounded_up_or_refused_with_nothing_set() {
    in_a_loop(async || {
        let (stream, _peer) = stream_and_peer();
        let idle = || {
            let socket = socket2::SockRef::from(&stream);
            socket.tcp_keepalive_time().unwrap()
        };
        let usual = idle();
        for refused in [
            Duration::ZERO,
            Duration::from_secs(32_768),
            Duration::from_millis(32_767_001),
            Duration::MAX,
        ] {
            let error = stream.set_keepalive(Some(refused)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{refused:?}");
            assert!(!stream.keepalive().unwrap(), "{refused:?} is half set");
            assert_eq!(idle(), usual);
        }
        for (asked, set) in [
            (Duration::from_millis(500), 1),
            (Duration::from_millis(1500), 2),
            (Duration::from_secs(32_767), 32_767),
        ] {
            stream.set_keepalive(Some(asked)).unwrap();
            assert!(stream.keepalive().unwrap());
            assert_eq!(idle(), Duration::from_secs(set), "{asked:?}");
        }
        // One that is on stays as it was.
        stream.set_keepalive(Some(Duration::ZERO)).unwrap_err();
        assert!(stream.keepalive().unwrap());
        assert_eq!(idle(), Duration::from_secs(32_767));

        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ConnectOptions::new();
        let short = options.clone().keepalive(Some(Duration::from_millis(1)));
        let client = short.connect(address).await.unwrap();
        let socket = socket2::SockRef::from(&client);
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(1));
        let none = options.keepalive(Some(Duration::ZERO));
        let error = none.connect(address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}
