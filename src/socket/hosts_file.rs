//! Names that end in a number and are no address, such as `1.2.3.4.5` or `12345678901`: the hosts file may have them.
//!
//! No name in the public DNS ends so, and such a name is most often an address with a mistake in it. So no server is
//! asked for it. Only the hosts file is: it is read on the loop's thread, which takes as long as reading any small local
//! file.

use std::net::IpAddr;

/// The file of names that the machine's owner has chosen.
const HOSTS: &str = "/etc/hosts";

/// Returns the addresses that the hosts file has for a name, in its order. Without such a file there are none.
pub(crate) fn addresses(name: &str) -> Vec<IpAddr> {
    let text = std::fs::read(HOSTS).unwrap_or_default();
    parse(&String::from_utf8_lossy(&text), name)
}

/// Finds a name in lines of an address and its names, by hosts(5).
fn parse(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        let named = words.any(|word| word.eq_ignore_ascii_case(name));
        found.extend(address.filter(|address| named && !found.contains(address)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_digits_are_found_in_the_hosts_file() {
        let text = "127.0.0.1 localhost 12345678901 # 127.0.0.2 not.1\n\
                    # 127.0.0.3 12345678901\n\
                    \t127.0.0.4\tHost.1  12345678901\n\
                    ::1 host.1\n\
                    127.0.0.4 host.1\n\
                    nonsense host.1\n\
                    127.0.0.5";
        let found = |name| {
            let found = parse(text, name).into_iter().map(|ip| ip.to_string());
            found.collect::<Vec<_>>()
        };
        assert_eq!(found("12345678901"), ["127.0.0.1", "127.0.0.4"]);
        assert_eq!(found("host.1"), ["127.0.0.4", "::1"]);
        assert_eq!(found("not.1"), [""; 0]);
        assert_eq!(found("127.0.0.5"), [""; 0]);
    }
}
