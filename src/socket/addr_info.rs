//! The system's `getaddrinfo` and `getnameinfo`, with all their options.
//!
//! What needs no server is answered at once. All else is asked on the resolver's threads. Unlike
//! [`lookup_host`](crate::net::lookup_host), these ask the system alone, and never the resolver that a program has set.

use std::ffi::{CStr, CString};
use std::io;
use std::net::IpAddr;
use std::time::Instant;

use socket2::{Domain, Protocol, SockAddr, Type};

use crate::error::invalid_input;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::socket::address::Address;
use crate::socket::dns::{check_name, ends_in_a_number, warn_if_slow};
use crate::socket::hosts_file;
use crate::socket::lookup_error::LookupError;
use crate::socket::resolver::ask;
use crate::sys::dns::{self, Answer, Hints};

/// What [`LoopHandle::getaddrinfo`] looks for. The default is anything.
///
/// ```
/// use callsoon::net::AddrInfoHints;
/// use socket2::{Domain, Type};
/// let hints = AddrInfoHints { family: Some(Domain::IPV4), socktype: Some(Type::STREAM), ..AddrInfoHints::default() };
/// ```
#[derive(Clone, Copy, Default, Debug)]
pub struct AddrInfoHints {
    /// IPv4 or IPv6 only.
    pub family: Option<Domain>,
    /// One kind of socket only.
    pub socktype: Option<Type>,
    /// One protocol only.
    pub protocol: Option<Protocol>,
    /// `AI_…` flags.
    pub flags: i32,
}

/// One answer of [`LoopHandle::getaddrinfo`]: what a socket for it is made of.
///
/// ```
/// # callsoon::doctest::run(async {
/// # use callsoon::net::{AddrInfo, AddrInfoHints};
/// let event_loop = callsoon::get_running_loop();
/// let answers: Vec<AddrInfo> = event_loop.getaddrinfo(Some("::1"), Some("80"), AddrInfoHints::default()).await?;
/// assert_eq!(answers[0].sockaddr.as_socket(), "[::1]:80".parse().ok());
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AddrInfo {
    /// The address family.
    pub family: Domain,
    /// The kind of socket.
    pub socktype: Type,
    /// The protocol, where the system names one.
    pub protocol: Option<Protocol>,
    /// The host's own name, in the first answer, if it was asked for by `AI_CANONNAME`.
    pub canonname: Option<String>,
    /// The address, with its port.
    pub sockaddr: SockAddr,
}

impl From<Answer> for AddrInfo {
    fn from(answer: Answer) -> Self {
        Self {
            family: answer.family.into(),
            socktype: answer.socktype.into(),
            protocol: (answer.protocol != 0).then(|| answer.protocol.into()),
            canonname: answer.canonname,
            sockaddr: answer.address,
        }
    }
}

/// Returns the answers for the addresses that the hosts file has for a name that ends in a number; `None` if it has
/// none.
fn by_hosts_file(host: &str, port: Option<&CStr>, wanted: Hints) -> Option<Vec<Answer>> {
    let mut answers = Vec::new();
    for ip in hosts_file::addresses(host) {
        let text = CString::new(ip.to_string()).ok()?;
        // An address of a family that is not wanted is an error.
        answers.extend(dns::getaddrinfo(Some(&text), port, wanted).unwrap_or_default());
    }
    (!answers.is_empty()).then_some(answers)
}

impl LoopHandle {
    /// Calls the system's `getaddrinfo`: all kinds of sockets that reach a service of a host. Without a host it is this
    /// machine. Without a service the port is 0. A numeric host and service take no thread. A resolver that was set by
    /// [`set_resolver`](Self::set_resolver) is not asked.
    ///
    /// asyncio runs every call on the default executor.
    ///
    /// # Errors
    /// `InvalidInput` for a text that is no host name, no service or no port. If the system has no
    /// answer, the kinds of [`lookup_host`](crate::net::lookup_host). A [`LookupError`] inside
    /// has the host and the [`GaiError`](crate::net::GaiError). `WouldBlock` if the system refuses a thread and there is
    /// none yet.
    ///
    /// # Cancellation
    /// If it is dropped, it abandons the look-up at once. The answer of the thread is dropped when it comes.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// use callsoon::net::AddrInfoHints;
    /// let event_loop = callsoon::get_running_loop();
    /// let hints = AddrInfoHints { socktype: Some(socket2::Type::STREAM), ..AddrInfoHints::default() };
    /// let answers = event_loop.getaddrinfo(Some("127.0.0.1"), Some("80"), hints).await?;
    /// assert_eq!(answers[0].sockaddr.as_socket(), "127.0.0.1:80".parse().ok());
    /// # Ok(()) });
    /// ```
    pub async fn getaddrinfo(
        &self,
        host: Option<&str>,
        service: Option<&str>,
        hints: AddrInfoHints,
    ) -> io::Result<Vec<AddrInfo>> {
        let answers = self.find_info(host, service, hints).await;
        answers.map_err(|error| match host.or(service) {
            Some(place) => LookupError::naming(place)(error),
            None => error,
        })
    }

    async fn find_info(
        &self,
        host: Option<&str>,
        service: Option<&str>,
        hints: AddrInfoHints,
    ) -> io::Result<Vec<AddrInfo>> {
        proceed().await;
        let mut wanted = Hints {
            flags: hints.flags,
            family: hints.family.map_or(0, i32::from),
            socktype: hints.socktype.map_or(0, i32::from),
            protocol: hints.protocol.map_or(0, i32::from),
        };
        let by_number = |host: &str| {
            let plain = host.split_once('%').map_or(host, |(host, _)| host);
            plain.parse::<IpAddr>().is_ok() || ends_in_a_number(plain)
        };
        let numeric_host = host.is_none_or(by_number);
        if let Some(host) = host.filter(|_| !numeric_host) {
            check_name(host)?;
        }
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if service.is_some_and(|text| digits(text) && text.parse::<u16>().is_err()) {
            return Err(invalid_input("the port is no number from 0 to 65535"));
        }
        let numeric_service = service.is_none_or(digits);
        let text = |text: Option<&str>| {
            let text = text.map(CString::new).transpose();
            text.map_err(|_| invalid_input("a host or service name holds a NUL byte"))
        };
        let (name, port) = (text(host)?, text(service)?);
        if numeric_host {
            wanted.flags |= libc::AI_NUMERICHOST;
        }
        let by_name = hints.flags & libc::AI_NUMERICHOST == 0 && numeric_host;
        let hosts_file_has = host.filter(|_| by_name).map(str::to_owned);
        let question = move || {
            let answers = dns::getaddrinfo(name.as_deref(), port.as_deref(), wanted);
            let answers = answers.or_else(|failure| match hosts_file_has {
                Some(host) => by_hosts_file(&host, port.as_deref(), wanted).ok_or(failure),
                None => Err(failure),
            })?;
            Ok(answers.into_iter().map(AddrInfo::from).collect())
        };
        if numeric_host && numeric_service {
            return question();
        }
        let begun = Instant::now();
        let answers = ask(self, question).await;
        warn_if_slow(self, host.unwrap_or_default(), begun);
        answers
    }

    /// Calls the system's `getnameinfo`: host and service of an address, with `NI_…` flags. If both are wanted as
    /// numbers, it takes no thread.
    ///
    /// # Errors
    /// If the system has no answer, the kinds of [`lookup_host`](crate::net::lookup_host). A
    /// [`LookupError`] inside has the address and the [`GaiError`](crate::net::GaiError). `WouldBlock` if the system refuses
    /// a thread and there is none yet.
    ///
    /// # Cancellation
    /// If it is dropped, it abandons the look-up at once. The answer of the thread is dropped when it comes.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let address: std::net::SocketAddr = "127.0.0.1:80".parse().unwrap();
    /// let flags = libc::NI_NUMERICHOST | libc::NI_NUMERICSERV;
    /// let names = callsoon::get_running_loop().getnameinfo(&address.into(), flags).await?;
    /// assert_eq!(names, ("127.0.0.1".to_owned(), "80".to_owned()));
    /// # Ok(()) });
    /// ```
    pub async fn getnameinfo(
        &self,
        address: &SockAddr,
        flags: i32,
    ) -> io::Result<(String, String)> {
        const NUMERIC: i32 = libc::NI_NUMERICHOST | libc::NI_NUMERICSERV;
        proceed().await;
        let asked = address.clone();
        let question = move || Ok(dns::getnameinfo(&asked, flags)?);
        let names = match flags & NUMERIC == NUMERIC {
            true => question(),
            false => ask(self, question).await,
        };
        names.map_err(|error| {
            let place = Address::from(address.clone()).to_string();
            LookupError::naming(place)(error)
        })
    }
}
