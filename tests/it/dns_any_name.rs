//! Fault O2 for any name: every text for a host is an address that is read exactly, a name that is looked up
//! unchanged, or an error.

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use callsoon::net::lookup_host;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::support::{SharedTrace, complete, on_real_time};

const ANSWER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// Names, numbers, and what is between them: long, cut, with NULs and dots in odd places.
fn host() -> impl Strategy<Value = String> {
    let nasty = "[0-9a-fxX.:%\\[\\]-]{0,20}|[a-z0-9.-]{0,300}|[a-z\\x00. é]{0,12}";
    let edge = (62_usize..66, 0_usize..5, "[.]?", "(\\x00|\\.example|\\.1)?").prop_map(
        |(length, labels, dot, end)| {
            let label = "a".repeat(length);
            vec![label; labels].join(".") + &dot + &end
        },
    );
    let numbers = proptest::collection::vec(any::<u64>(), 1..6).prop_map(|parts| {
        let parts = parts.iter().map(|part| (part >> (part % 64)).to_string());
        parts.collect::<Vec<_>>().join(".")
    });
    let addresses = any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()).to_string());
    prop_oneof![nasty, edge, numbers, addresses]
}

/// How the C library reads IPv4's old forms: the last number fills what is left of the four bytes.
fn old_form(host: &str) -> Option<Ipv4Addr> {
    let parts: Vec<_> = host.split('.').collect();
    let number = |part: &&str| match part.strip_prefix("0x").or(part.strip_prefix("0X")) {
        Some(hex) if !hex.starts_with('+') => u64::from_str_radix(hex, 16).ok(),
        None if !part.starts_with('+') => {
            let radix = if part.len() > 1 && part.starts_with('0') {
                8
            } else {
                10
            };
            u64::from_str_radix(part, radix).ok()
        }
        _ => None,
    };
    let numbers: Vec<u64> = parts.iter().map(number).collect::<Option<_>>()?;
    let (&last, first) = numbers.split_last()?;
    if first.len() > 3 || first.iter().any(|&part| part > 255) || last >> (32 - 8 * first.len()) > 0
    {
        return None;
    }
    let high = first.iter().fold(0, |bits, part| bits << 8 | part);
    let bits = high << (32 - 8 * first.len()) | last;
    u32::try_from(bits).ok().map(Ipv4Addr::from)
}

#[test]
fn o2_any_host_is_an_exact_address_or_asked_for_as_it_is_or_an_error() {
    on_real_time(|_, event_loop| {
        let asked = SharedTrace::new();
        let log = asked.clone();
        event_loop.set_resolver(move |host| {
            log.push(host);
            Ok(vec![ANSWER])
        });
        let config = Config {
            failure_persistence: None,
            ..Config::with_cases(4_000)
        };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let (read_as, asked_for, refused) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let count = |ends: &Cell<u32>| ends.set(ends.get() + 1);
        let outcome = runner.run(&host(), |host| {
            let found = complete(&event_loop, lookup_host((host.as_str(), 80)));
            let asked = asked.take();
            match found {
                Ok(found) if asked.is_empty() => {
                    let read = host.parse().ok().or(old_form(&host).map(IpAddr::V4));
                    let read = read.map(|ip| vec![SocketAddr::from((ip, 80))]);
                    prop_assert_eq!(Some(found), read);
                    count(&read_as);
                }
                Ok(found) => {
                    prop_assert_eq!(found, [SocketAddr::from((ANSWER, 80))]);
                    prop_assert_eq!(asked, [host]);
                    count(&asked_for);
                }
                Err(error) => {
                    prop_assert!(asked.is_empty(), "asked for {asked:?}, then refused");
                    prop_assert!(
                        matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound),
                        "{error:?}"
                    );
                    prop_assert!(host.parse::<IpAddr>().is_err(), "an address was refused");
                    count(&refused);
                }
            }
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{error}");
        }
        let ends = [read_as, asked_for, refused].map(|ends| ends.get());
        assert!(ends.iter().all(|&count| count > 200), "{ends:?}");
    });
}
