//! Names of hosts and addresses. Whatever a program is given as a host, it gets the address that the text is, or what its
//! resolver says, or a typed error; and an address that the system gives shows what it holds. No server is ever asked.
#![no_main]

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use arbitrary::Arbitrary;
use callsoon::net::{AddrInfoHints, LookupError, lookup_host};
use callsoon::transport::Address;
use callsoon::{Clock, EventLoop};
use libfuzzer_sys::fuzz_target;
use socket2::SockAddr;

#[derive(Arbitrary, Debug)]
struct Input {
    pieces: Vec<Piece>,
    port: u16,
    service: String,
    path: Vec<u8>,
}

/// Parts of texts that come close to addresses.
#[derive(Arbitrary, Debug)]
enum Piece {
    Text(String),
    Number(u32),
    Hexadecimal(u16),
    Address(IpAddr),
    Both(SocketAddr),
    Dot,
    Colon,
    Percent,
    Open,
    Close,
    Zone,
    Localhost,
}

fn text(pieces: &[Piece]) -> String {
    let texts = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Number(number) => number.to_string(),
        Piece::Hexadecimal(number) => format!("0x{number:x}"),
        Piece::Address(address) => address.to_string(),
        Piece::Both(address) => address.to_string(),
        Piece::Dot => ".".to_owned(),
        Piece::Colon => ":".to_owned(),
        Piece::Percent => "%".to_owned(),
        Piece::Open => "[".to_owned(),
        Piece::Close => "]".to_owned(),
        Piece::Zone => "fe80::1%lo".to_owned(),
        Piece::Localhost => "localhost".to_owned(),
    });
    texts.collect()
}

/// What the resolver answers to every name that it is asked for.
const ANSWER: [u8; 4] = [127, 0, 0, 9];

fn assert_known(error: &io::Error) {
    let known = [ErrorKind::InvalidInput, ErrorKind::NotFound];
    let by_system = LookupError::of(error).is_some_and(|error| error.gai_error().is_some());
    assert!(known.contains(&error.kind()) || by_system, "{error:?}");
    assert!(!error.to_string().is_empty());
}

fn check(found: io::Result<Vec<SocketAddr>>, exact: Option<SocketAddr>, port: Option<u16>) {
    match (found, exact) {
        (Ok(found), Some(exact)) => assert_eq!(found, [exact]),
        (Ok(found), None) => {
            assert!(!found.is_empty());
            assert!(port.is_none_or(|port| found.iter().all(|one| one.port() == port)));
        }
        (Err(error), None) => assert_known(&error),
        (Err(error), Some(exact)) => panic!("{exact} is an address: {error}"),
    }
}

async fn ask(input: &Input) {
    let event_loop = callsoon::get_running_loop();
    event_loop.set_resolver(|name| {
        assert!(name.parse::<IpAddr>().is_err() && !name.contains('\0'));
        Ok(vec![ANSWER.into()])
    });
    let host = text(&input.pieces);
    let exact = host.parse().ok().map(|ip: IpAddr| (ip, input.port).into());
    let found = lookup_host((host.as_str(), input.port)).await;
    check(found, exact, Some(input.port));
    check(lookup_host(host.as_str()).await, host.parse().ok(), None);
    let both = format!("{host}:{}", input.port);
    check(lookup_host(both.as_str()).await, both.parse().ok(), None);
    let hints = AddrInfoHints {
        flags: libc::AI_NUMERICHOST | libc::AI_NUMERICSERV,
        ..AddrInfoHints::default()
    };
    let service = Some(input.service.as_str());
    match event_loop.getaddrinfo(Some(&host), service, hints).await {
        Ok(found) => assert!(!found.is_empty()),
        Err(error) => assert_known(&error),
    }
}

fn show(input: &Input) {
    let path = Path::new(std::ffi::OsStr::from_bytes(&input.path));
    let Ok(system) = SockAddr::unix(path) else {
        return;
    };
    let address = Address::from(system);
    assert!(!address.to_string().is_empty());
    assert_eq!(address.internet(), None);
    match input.path.split_first() {
        None => assert_eq!((address.path(), address.abstract_name()), (None, None)),
        Some((0, name)) => assert_eq!(address.abstract_name(), Some(name)),
        // A path that holds a NUL ends there, or is refused.
        Some(_) if input.path.contains(&0) => {}
        Some(_) => assert_eq!(address.path(), Some(path)),
    }
    assert_eq!(address, address.clone());
}

fuzz_target!(|input: Input| {
    show(&input);
    let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
    event_loop.run_until_complete(ask(&input)).unwrap();
    event_loop.close().unwrap();
});
