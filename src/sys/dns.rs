//! The system's resolver: `getaddrinfo`, `getnameinfo`, and interfaces by name. The first two block for as long as some
//! server takes to answer, so they are called on threads of their own, unless all they are given is numeric.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::ptr;

use socket2::{SockAddr, SockAddrStorage};

/// What is asked for; zeros mean anything.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Hints {
    pub(crate) flags: i32,
    pub(crate) family: i32,
    pub(crate) socktype: i32,
    pub(crate) protocol: i32,
}

/// One answer.
pub(crate) struct Answer {
    pub(crate) family: i32,
    pub(crate) socktype: i32,
    pub(crate) protocol: i32,
    pub(crate) canonname: Option<String>,
    pub(crate) address: SockAddr,
}

/// Why there is none: a code of the resolver's own, and with `EAI_SYSTEM` the system's error.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) system: Option<io::Error>,
}

impl Failure {
    fn new(code: i32) -> Self {
        let system = (code == libc::EAI_SYSTEM).then(io::Error::last_os_error);
        Self { code, system }
    }
}

/// `getaddrinfo(3)`.
pub(crate) fn getaddrinfo(
    host: Option<&CStr>,
    service: Option<&CStr>,
    hints: Hints,
) -> Result<Vec<Answer>, Failure> {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    let wanted = libc::addrinfo {
        ai_flags: hints.flags,
        ai_family: hints.family,
        ai_socktype: hints.socktype,
        ai_protocol: hints.protocol,
        ai_addrlen: 0,
        ai_addr: ptr::null_mut(),
        ai_canonname: ptr::null_mut(),
        ai_next: ptr::null_mut(),
    };
    let mut list = ptr::null_mut();
    // SAFETY: the two texts are null or end in NUL and outlive the call, `wanted` is initialised and only read, and
    // `list` is a live place for the pointer that the call stores where it succeeds.
    let code = unsafe { libc::getaddrinfo(pointer(host), pointer(service), &wanted, &mut list) };
    if code != 0 {
        return Err(Failure::new(code));
    }
    let mut answers = Vec::new();
    let mut next = list;
    // SAFETY: the call has succeeded, so `list` is null or the head of a list that stays valid until it is freed, each
    // link of which is null at the end. It is freed once, when nothing that was read from it is borrowed any more.
    unsafe {
        while let Some(entry) = next.as_ref() {
            answers.extend(answer(entry));
            next = entry.ai_next;
        }
        libc::freeaddrinfo(list);
    }
    Ok(answers)
}

/// Copies an entry; `None` for an address of a kind that does not fit into any socket address.
fn answer(entry: &libc::addrinfo) -> Option<Answer> {
    let length = entry.ai_addrlen as usize;
    if entry.ai_addr.is_null() || length > size_of::<SockAddrStorage>() {
        return None;
    }
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the resolver states that `ai_addrlen` bytes of an address lie at `ai_addr`; they fit into the storage, as
    // was checked, which is another object and zeroed, so that the rest of it is initialised too. Then the storage holds
    // an address of that length, with its family in front, by the resolver's word.
    let address = unsafe {
        let to = (&raw mut storage).cast::<u8>();
        ptr::copy_nonoverlapping(entry.ai_addr.cast::<u8>(), to, length);
        SockAddr::new(storage, entry.ai_addrlen)
    };
    let canonname = (!entry.ai_canonname.is_null()).then(|| {
        // SAFETY: not null, so it is a text that ends in NUL and lives as long as the entry.
        let name = unsafe { CStr::from_ptr(entry.ai_canonname) };
        name.to_string_lossy().into_owned()
    });
    Some(Answer {
        family: entry.ai_family,
        socktype: entry.ai_socktype,
        protocol: entry.ai_protocol,
        canonname,
        address,
    })
}

/// `getnameinfo(3)`: host and service.
pub(crate) fn getnameinfo(address: &SockAddr, flags: i32) -> Result<(String, String), Failure> {
    // NI_MAXHOST and NI_MAXSERV, which every answer fits into.
    let mut host = [0_u8; 1025];
    let mut service = [0_u8; 32];
    // SAFETY: the address is initialised for its whole length and only read; both buffers are live and writable for the
    // lengths that are given, and the call ends what it writes in NUL.
    let code = unsafe {
        libc::getnameinfo(
            address.as_ptr().cast(),
            address.len(),
            host.as_mut_ptr().cast(),
            // The type of both lengths differs between systems: `socklen_t`, and `size_t` on FreeBSD.
            host.len() as _,
            service.as_mut_ptr().cast(),
            service.len() as _,
            flags,
        )
    };
    if code != 0 {
        return Err(Failure::new(code));
    }
    let text = |buffer: &[u8]| {
        let text = CStr::from_bytes_until_nul(buffer).unwrap_or_default();
        text.to_string_lossy().into_owned()
    };
    Ok((text(&host), text(&service)))
}

/// Returns what a code means, in the system's words.
pub(crate) fn describe(code: i32) -> String {
    // SAFETY: the call takes any number and gives a text that ends in NUL and is never freed.
    let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
    text.to_string_lossy().into_owned()
}

/// Returns the number of an interface; `None` if there is none of that name.
pub(crate) fn interface(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the text ends in NUL and outlives the call, which only reads it.
    let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (number != 0).then_some(number)
}
