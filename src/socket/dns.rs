//! Names to addresses.
//!
//! A numeric host is read here, at once and exactly: IPv4 and IPv6 addresses, with a zone or without, and the old forms
//! such as `0x7f.1`. The old forms are given to the system as numbers only, so that no server is asked. If such a text is
//! no address, the hosts file may have it as a name. A name is checked first: one that is empty, too long, holds a NUL
//! byte or is not ASCII is an error here, and is never cut or guessed at. All other names go to the system's resolver, on
//! the threads of `socket/resolver.rs`.

use std::cell::RefCell;
use std::ffi::CString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;
use std::time::Instant;

use socket2::Domain;

use crate::error::invalid_input;
use crate::event_loop::free::get_running_loop;
use crate::kernel::events::slow_lookup;
use crate::kernel::local::LoopLocal;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::socket::hosts_file;
use crate::socket::lookup_error::LookupError;
use crate::socket::resolver::ask;
use crate::sys::dns::{self, Hints};

/// The most characters of a name, by RFC 1035, without the dot at its end.
const LONGEST_NAME: usize = 253;

/// The most characters of each part between two dots.
const LONGEST_LABEL: usize = 63;

/// What answers for names instead of the system.
type Resolve = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

static RESOLVE: LoopLocal<RefCell<Option<Resolve>>> = LoopLocal::new(|| RefCell::new(None));

/// What can be connected to, bound to or sent to: an address, several, or a host and a port.
///
/// `SocketAddr` and its two kinds, an array, a slice or a `Vec` of them, `(IpAddr, u16)` and its two kinds, `("host",
/// 80)`, `"host:80"` with IPv6 addresses in brackets, and references to these. The trait is sealed: no other type can
/// implement it.
///
/// ```
/// use callsoon::net::{ToSocketAddrs, lookup_host};
/// async fn first(host: impl ToSocketAddrs) -> std::io::Result<std::net::SocketAddr> {
///     Ok(lookup_host(host).await?[0])
/// }
/// callsoon::run(async {
///     let address: std::net::SocketAddr = "[::1]:80".parse().unwrap();
///     assert_eq!(first(address).await?, first(("::1", 80)).await?);
///     assert_eq!(first(address).await?, first("[::1]:80").await?);
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ToSocketAddrs: IntoTarget {}

impl<T: IntoTarget> ToSocketAddrs for T {}

/// What a program has named.
#[derive(Clone, Debug)]
pub enum Target {
    /// One address.
    Address(SocketAddr),
    /// Several.
    Addresses(Vec<SocketAddr>),
    /// A host that has to be parsed or looked up, and a port.
    Host(String, u16),
}

impl Target {
    /// Returns the addresses, after a look-up if need be.
    pub(crate) async fn addresses(self, handle: &LoopHandle) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Address(address) => Ok(vec![address]),
            Self::Addresses(addresses) => Ok(addresses),
            Self::Host(host, port) => resolve(handle, host, port).await,
        }
    }

    /// Returns those of the addresses that are of the family, if one is wanted.
    pub(crate) async fn of_family(
        self,
        family: Option<Domain>,
        handle: &LoopHandle,
    ) -> io::Result<Vec<SocketAddr>> {
        let mut addresses = self.addresses(handle).await?;
        addresses.retain(|it| family.is_none_or(|family| family == Domain::for_address(*it)));
        Ok(addresses)
    }

    /// Tries the addresses one after the other, after a look-up if need be, until an attempt succeeds. If none does, it
    /// returns the error of the last one.
    pub(crate) async fn try_each<T>(
        self,
        handle: &LoopHandle,
        mut attempt: impl FnMut(SocketAddr) -> io::Result<T>,
    ) -> io::Result<T> {
        if let Self::Address(address) = self {
            return attempt(address);
        }
        let addresses = self.addresses(handle).await?;
        first_of(addresses, attempt).map_err(|refusal| refusal.unwrap_or_else(no_address))
    }
}

/// Returns the result of the first attempt that succeeds; otherwise the error of the last one, if there was one.
pub(crate) fn first_of<A, T>(
    addresses: impl IntoIterator<Item = A>,
    mut attempt: impl FnMut(A) -> io::Result<T>,
) -> Result<T, Option<io::Error>> {
    let mut refusal = None;
    for address in addresses {
        match attempt(address) {
            Ok(given) => return Ok(given),
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal)
}

/// Returns the error for an empty list.
pub(crate) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "there is no address in the list")
}

/// Converts what a program names. The module is private, which seals [`ToSocketAddrs`].
pub trait IntoTarget {
    /// Sorts out what was given.
    ///
    /// # Errors
    /// `InvalidInput` for a text that is no host and port.
    fn into_target(self) -> io::Result<Target>;
}

macro_rules! into_address {
    ($($type:ty),+) => {
        $(impl IntoTarget for $type {
            #[inline]
            fn into_target(self) -> io::Result<Target> {
                Ok(Target::Address(self.into()))
            }
        })+
    };
}

into_address!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);

impl IntoTarget for &[SocketAddr] {
    fn into_target(self) -> io::Result<Target> {
        Ok(Target::Addresses(self.to_vec()))
    }
}

impl<const N: usize> IntoTarget for [SocketAddr; N] {
    fn into_target(self) -> io::Result<Target> {
        Ok(Target::Addresses(self.to_vec()))
    }
}

impl IntoTarget for Vec<SocketAddr> {
    fn into_target(self) -> io::Result<Target> {
        Ok(Target::Addresses(self))
    }
}

/// A reference to any of them; an address is copied.
impl<T: IntoTarget + Clone> IntoTarget for &T {
    #[inline]
    fn into_target(self) -> io::Result<Target> {
        self.clone().into_target()
    }
}

impl IntoTarget for (&str, u16) {
    fn into_target(self) -> io::Result<Target> {
        let (host, port) = self;
        Ok(match host.parse::<IpAddr>() {
            Ok(ip) => Target::Address((ip, port).into()),
            Err(_) => Target::Host(host.to_owned(), port),
        })
    }
}

impl IntoTarget for (String, u16) {
    fn into_target(self) -> io::Result<Target> {
        (self.0.as_str(), self.1).into_target()
    }
}

impl IntoTarget for String {
    fn into_target(self) -> io::Result<Target> {
        self.as_str().into_target()
    }
}

impl IntoTarget for &str {
    fn into_target(self) -> io::Result<Target> {
        if let Ok(address) = self.parse() {
            return Ok(Target::Address(address));
        }
        host_and_port(self).map_err(LookupError::naming(self))
    }
}

/// Reads a text such as `host:80`.
fn host_and_port(text: &str) -> io::Result<Target> {
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(invalid_input("a host and a port are wanted, as in host:80"));
    };
    let port = port
        .parse()
        .map_err(|_| invalid_input("the port is no number from 0 to 65535"))?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if bracketed.is_none() && host.contains(':') {
        return Err(invalid_input(
            "an IPv6 address needs brackets before a port",
        ));
    }
    Ok(Target::Host(bracketed.unwrap_or(host).to_owned(), port))
}

/// Returns the addresses of a host, in the order in which the system prefers them. A numeric host takes no thread.
///
/// asyncio has [`getaddrinfo`](crate::LoopHandle::getaddrinfo) alone, which is here too. There a look-up runs on the
/// default executor; here it has threads of its own.
///
/// # Errors
/// `InvalidInput` for a text that is no host name. `NotFound` if the name has no address. A
/// [`LookupError`] inside has the host, and the [`GaiError`](crate::net::GaiError) of the system's
/// resolver if that fails: of kind `NotFound` for `EAI_NONAME` and
/// `EAI_NODATA`, `OutOfMemory` for `EAI_MEMORY`, `Other` for the rest, such as `EAI_AGAIN`. `WouldBlock` if the system
/// refuses a thread and there is none yet.
///
/// # Panics
/// Outside a running loop.
///
/// # Cancellation
/// If it is dropped, it abandons the look-up at once. The answer of the thread is dropped when it comes.
///
/// ```
/// callsoon::run(async {
///     let addresses = callsoon::net::lookup_host(("localhost", 80)).await?;
///     assert!(addresses.iter().all(|address| address.ip().is_loopback()));
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    proceed().await;
    match host.into_target()? {
        Target::Address(address) => Ok(vec![address]),
        Target::Addresses(addresses) => Ok(addresses),
        Target::Host(host, port) => resolve(&get_running_loop(), host, port).await,
    }
}

/// Returns the addresses of a host, on a thread if need be.
pub(crate) async fn resolve(
    handle: &LoopHandle,
    host: String,
    port: u16,
) -> io::Result<Vec<SocketAddr>> {
    let found = find(handle, &host, port).await;
    found.map_err(LookupError::naming(host))
}

async fn find(handle: &LoopHandle, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(addresses) = numeric(host, port)? {
        return Ok(addresses);
    }
    check_name(host)?;
    let own = RESOLVE.with(handle, |resolve| resolve.borrow().clone());
    let begun = Instant::now();
    let name = host.to_owned();
    let question = move || match own {
        Some(own) => {
            let found = own(&name)?;
            Ok(found.into_iter().map(|ip| (ip, port).into()).collect())
        }
        None => from_system(&name, port, 0),
    };
    let found = ask(handle, question).await;
    warn_if_slow(handle, host, begun);
    match found {
        Ok(addresses) if addresses.is_empty() => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the host has no address",
        )),
        found => found,
    }
}

/// Asks the system, on this thread.
fn from_system(host: &str, port: u16, flags: i32) -> io::Result<Vec<SocketAddr>> {
    let host = CString::new(host).map_err(|_| invalid_input("a host name holds a NUL byte"))?;
    let hints = Hints {
        flags,
        // One kind of socket, or every address comes three times.
        socktype: libc::SOCK_STREAM,
        ..Hints::default()
    };
    let answers = dns::getaddrinfo(Some(&host), None, hints)?;
    let mut found: Vec<_> = answers
        .iter()
        .filter_map(|it| it.address.as_socket())
        .collect();
    found.iter_mut().for_each(|it| it.set_port(port));
    Ok(found)
}

/// Warns in debug mode of a look-up that took long. asyncio logs how long each took.
pub(crate) fn warn_if_slow(handle: &LoopHandle, host: &str, begun: Instant) {
    if handle.debug() && begun.elapsed() >= handle.slow_callback_duration() {
        slow_lookup(host, begun.elapsed());
    }
}

/// Returns whether the last part of a name is a number. No name in the public DNS ends so: it is an address in one of
/// its old forms, or nothing.
pub(crate) fn ends_in_a_number(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last
        .strip_prefix("0x")
        .or_else(|| last.strip_prefix("0X"))
        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns the address that a numeric host is, or those that the hosts file has for it; `None` if it is a name.
fn numeric(host: &str, port: u16) -> io::Result<Option<Vec<SocketAddr>>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Some(vec![(ip, port).into()]));
    }
    if let Some((ip, zone)) = host.split_once('%') {
        let Ok(ip) = ip.parse::<Ipv6Addr>() else {
            return Err(invalid_input("only an IPv6 address has a zone"));
        };
        let zone = zone.parse().ok().or_else(|| dns::interface(zone));
        let Some(zone) = zone else {
            let why = "the zone of the address is no interface of this machine";
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        };
        return Ok(Some(vec![SocketAddrV6::new(ip, port, 0, zone).into()]));
    }
    if !ends_in_a_number(host) {
        return Ok(None);
    }
    match from_system(host, port, libc::AI_NUMERICHOST) {
        Ok(found) => Ok(Some(vec![*found.first().ok_or(io::ErrorKind::NotFound)?])),
        Err(failure) => {
            let found = hosts_file::addresses(host);
            if found.is_empty() {
                return Err(failure);
            }
            let found = found.into_iter().map(|ip| (ip, port).into());
            Ok(Some(found.collect()))
        }
    }
}

/// Checks a name before a resolver is asked. What a resolver would cut, or read in its own way, is an error.
pub(crate) fn check_name(host: &str) -> io::Result<()> {
    if host.is_empty() {
        return Err(invalid_input("the host name is empty"));
    }
    if host.contains('\0') {
        return Err(invalid_input("a host name holds a NUL byte"));
    }
    if !host.is_ascii() {
        let why = "a host name that is not ASCII is written in its xn-- form";
        return Err(invalid_input(why));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > LONGEST_NAME {
        return Err(invalid_input("a host name has at most 253 characters"));
    }
    let label = |label: &str| (1..=LONGEST_LABEL).contains(&label.len());
    if !name.split('.').all(label) {
        return Err(invalid_input(
            "a part of a host name has from 1 to 63 characters",
        ));
    }
    Ok(())
}

impl LoopHandle {
    /// Makes `resolve` answer for names instead of the system, for this loop's [`lookup_host`] and for connecting by
    /// name. It runs on the look-up threads and may block. Numeric hosts and impossible names are never given to it.
    /// asyncio has no counterpart.
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// callsoon::run(async {
    ///     callsoon::get_running_loop().set_resolver(|host| match host {
    ///         "db.internal" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
    ///         _ => Err(std::io::ErrorKind::NotFound.into()),
    ///     });
    ///     let addresses = callsoon::net::lookup_host("db.internal:5432").await?;
    ///     assert_eq!(addresses, ["127.0.0.1:5432".parse().unwrap()]);
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_resolver(
        &self,
        resolve: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) {
        drop(RESOLVE.with(self, |place| place.replace(Some(Arc::new(resolve)))));
    }

    /// Makes the system answer for names again.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.set_resolver(|_| Ok(vec![]));
    /// event_loop.reset_resolver();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset_resolver(&self) {
        drop(RESOLVE.with(self, RefCell::take));
    }
}
