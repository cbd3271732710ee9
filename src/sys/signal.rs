//! Signal dispositions, and the signal handler, which counts and notifies one descriptor.
//!
//! A handler runs between any two instructions of any thread, so ours does only three things, all of them allowed
//! there: it adds to the signal's counter, writes one word to the notifier, and restores `errno`. A loop that listens
//! for a signal polls the notifier and compares the counter with the value that it saw last. So no signal is lost when
//! the notifier is full, and the handler knows none of the listening loops.
//!
//! The notifier is an eventfd that is never read: it stays readable, each write is an edge for every poller, and one
//! write reaches any number of loops. On systems other than Linux it is a pipe, which has to be drained. A poller that
//! sees the edge after that finds nothing, so the loop that drains has to wake the others.
//!
//! A signal is caught while at least one [`Registration`] for it lives; the last one to go puts back the disposition
//! that the first one found, unless other code has installed a handler meanwhile, which then stays. Handlers restart
//! the system calls that they interrupt. In a forked child every disposition is restored before `fork` returns, and the
//! notifier, which the child shares with its parent, is never touched: there a signal does what it did before the
//! parent caught it.
//!
//! The notifier is made for the first registration and never closed: a handler that has read its number may be about to
//! write, and must not write to another file.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

#[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
use libc::__errno as errno_place;
#[cfg(target_os = "linux")]
use libc::__errno_location as errno_place;
#[cfg(any(target_os = "macos", target_os = "freebsd"))]
use libc::__error as errno_place;
use mio::unix::SourceFd;

use crate::sys::fork;
#[cfg(target_os = "linux")]
use crate::sys::notifier::event_counter;
use crate::sys::result::number;
use crate::sys::source::{Act, Pollable};

/// One more than the highest number of a signal anywhere: Linux has 64, other systems fewer.
const KINDS: usize = 65;

/// One signal, in words that a handler may read and write.
struct Kind {
    /// How often it has arrived while it was caught. Only grows.
    arrived: AtomicU64,
    /// How many registrations live. Changed under the lock of [`TABLE`].
    users: AtomicU32,
    /// The disposition from before; null while the signal is not caught. Changed under the lock of [`TABLE`], and read
    /// by no handler.
    former: AtomicPtr<libc::sigaction>,
    /// Once `arrived` has got here, and while there is one registration only, the signal's default action takes place
    /// as it arrives, without waiting for any loop. `u64::MAX` is never.
    hard: AtomicU64,
}

static KIND: [Kind; KINDS] = [const {
    Kind {
        arrived: AtomicU64::new(0),
        users: AtomicU32::new(0),
        former: AtomicPtr::new(ptr::null_mut()),
        hard: AtomicU64::new(u64::MAX),
    }
}; KINDS];

/// The descriptor to which handlers write; −1 before there is a notifier, and in a forked child until it makes its own.
static WRITTEN: AtomicI32 = AtomicI32::new(-1);

/// Held while dispositions change. No handler takes it.
static TABLE: Mutex<Option<Made>> = Mutex::new(None);

/// What a handler writes: a count for an eventfd, some bytes for a pipe.
static ONE: u64 = 1;

/// The notifier's other end.
#[derive(Clone, Copy)]
struct Made {
    /// The fork generation of the process that made it.
    forks: u32,
    /// Becomes readable when a handler writes. Never closed, like [`WRITTEN`].
    polled: RawFd,
}

/// The signal handler of this crate, for every signal.
extern "C" fn arrived(signum: libc::c_int) {
    let Some(kind) = usize::try_from(signum).ok().and_then(|n| KIND.get(n)) else {
        return;
    };
    let count = kind.arrived.fetch_add(1, Ordering::SeqCst) + 1;
    let written = WRITTEN.load(Ordering::SeqCst);
    // SAFETY: `errno` is a thread-local of this very thread, alive as long as the thread runs; reading and writing it
    // is allowed in a handler, and no other reference to it is used during this call. `write` is allowed too; it reads
    // eight bytes of a static. The notifier is never closed in the process that made it, so the number is either −1,
    // which fails, or the notifier's. The result of `write` is ignored: a full notifier is readable already.
    unsafe {
        let errno = errno_place();
        let kept = *errno;
        libc::write(written, (&raw const ONE).cast(), size_of::<u64>());
        if count >= kind.hard.load(Ordering::SeqCst) && kind.users.load(Ordering::SeqCst) == 1 {
            // Both calls are allowed in a handler. The signal is blocked until it returns, and takes effect then.
            libc::signal(signum, libc::SIG_DFL);
            libc::raise(signum);
        }
        *errno = kept;
    }
}

/// Why a signal is not caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// There is no signal of that number.
    Unknown,
    /// It cannot be caught, or it reports that the program has failed at this very instruction, to which a handler
    /// would return.
    Uncatchable,
}

/// Returns whether a handler for that signal makes sense.
pub(crate) fn check(signum: i32) -> Result<(), Unfit> {
    const UNCATCHABLE: [i32; 6] = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
    ];
    if UNCATCHABLE.contains(&signum) {
        return Err(Unfit::Uncatchable);
    }
    match usize::try_from(signum) {
        Ok(1..KINDS) => Ok(()),
        _ => Err(Unfit::Unknown),
    }
}

/// While it lives the signal is caught and counted.
#[derive(Debug)]
pub(crate) struct Registration {
    signum: i32,
    /// The fork generation of the process that it is for.
    forks: u32,
}

impl Registration {
    /// Catches a signal that [`check`] has let through.
    pub(crate) fn new(signum: i32) -> io::Result<Self> {
        let taken = Self::take(signum, |_| true)?;
        Ok(taken.expect("any disposition will do"))
    }

    /// Catches a signal if it has its default disposition; `None` if other code has caught or ignored it.
    pub(crate) fn if_default(signum: i32) -> io::Result<Option<Self>> {
        Self::take(signum, |former| former.sa_sigaction == libc::SIG_DFL)
    }

    /// Catches a signal if `will_do` accepts its former disposition. That is read by replacing it, in one step: a
    /// disposition that other code installs at the same moment, without our lock, is found here and put back, never
    /// lost.
    fn take(
        signum: i32,
        will_do: impl FnOnce(&libc::sigaction) -> bool,
    ) -> io::Result<Option<Self>> {
        let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        make_notifier(&mut table)?;
        let kind = kind(signum);
        if kind.users.load(Ordering::SeqCst) == 0 {
            let former = exchange(signum, Some(&ours()))?;
            if !will_do(&former) {
                exchange(signum, Some(&former))?;
                return Ok(None);
            }
            kind.former
                .store(Box::into_raw(Box::new(former)), Ordering::SeqCst);
        } else if !will_do(&ours()) {
            return Ok(None);
        }
        kind.users.fetch_add(1, Ordering::SeqCst);
        Ok(Some(Self {
            signum,
            forks: fork::generation(),
        }))
    }

    pub(crate) fn signum(&self) -> i32 {
        self.signum
    }

    /// Returns how often the signal has arrived while it was caught.
    pub(crate) fn arrived(&self) -> u64 {
        kind(self.signum).arrived.load(Ordering::SeqCst)
    }

    /// Returns whether this is the only registration for the signal.
    pub(crate) fn is_only_one(&self) -> bool {
        kind(self.signum).users.load(Ordering::SeqCst) == 1
    }

    /// The arrival by which [`arrived`](Self::arrived) gets to `count`, and each after it, has the signal's default
    /// action at once, whatever the loop is doing; only while this is the only registration.
    pub(crate) fn harden(&self, count: u64) {
        kind(self.signum).hard.store(count, Ordering::SeqCst);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.forks != fork::generation() {
            // A forked child, where everything has been put back already.
            return;
        }
        let _table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kind(self.signum);
        if kind.users.fetch_sub(1, Ordering::SeqCst) == 1 {
            kind.hard.store(u64::MAX, Ordering::SeqCst);
            put_back(self.signum, kind.former.load(Ordering::SeqCst));
            // Out of reach first, freed then: the child of a fork between the two must not find it.
            let former = kind.former.swap(ptr::null_mut(), Ordering::SeqCst);
            if !former.is_null() {
                // SAFETY: every pointer in `former` came from `Box::into_raw`, and the code that swaps it out owns it.
                // The lock of the table is held, so no other thread reads it; handlers never do.
                drop(unsafe { Box::from_raw(former) });
            }
        }
    }
}

/// Sends a signal to the calling thread.
#[cfg(test)]
pub(crate) fn raise(signum: i32) -> io::Result<()> {
    // SAFETY: the call takes a number. What it sets off is what the signal's disposition says.
    number(unsafe { libc::raise(signum) }).map(drop)
}

/// Returns whether this is the thread on which the program began, to which the terminal's signals belong.
pub(crate) fn is_main_thread() -> bool {
    #[cfg(target_os = "linux")]
    {
        super::thread_mark::thread_number() == std::process::id()
    }
    #[cfg(not(target_os = "linux"))]
    {
        std::thread::current().name() == Some("main")
    }
}

/// Gives a signal its default action, whatever this process was started with.
#[cfg(test)]
pub(crate) fn reset(signum: i32) {
    exchange(signum, Some(&default_action())).unwrap();
}

/// Returns the words of a signal that `check` has let through.
fn kind(signum: i32) -> &'static Kind {
    // Registrations are made for checked numbers only; 0 is no signal.
    usize::try_from(signum)
        .ok()
        .and_then(|n| KIND.get(n))
        .unwrap_or(&KIND[0])
}

/// The disposition of a signal for which a program has done nothing.
fn default_action() -> libc::sigaction {
    // SAFETY: `sigaction` is plain data for which all zeros is a value: no flags, an empty mask, the default action.
    unsafe { std::mem::zeroed() }
}

/// Our handler, as the system wants it.
fn ours() -> libc::sigaction {
    let mut action = default_action();
    action.sa_sigaction = handler();
    // On the alternate stack where a thread has one: its own may be small, or nearly full.
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    action
}

fn handler() -> libc::sighandler_t {
    arrived as extern "C" fn(libc::c_int) as libc::sighandler_t
}

/// Installs a disposition, or none, and returns the former one.
fn exchange(signum: i32, action: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let mut former = default_action();
    let action = action.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `action` is null, which means "change nothing", or a live and initialised disposition; `former` is live
    // and writable. The only handler that this crate installs is `arrived`, which does what handlers may do; any other
    // disposition is one that stood before.
    number(unsafe { libc::sigaction(signum, action, &mut former) })?;
    Ok(former)
}

/// Restores the disposition from before, unless other code has replaced ours.
fn put_back(signum: i32, former: *mut libc::sigaction) {
    if former.is_null() {
        return;
    }
    let present = exchange(signum, None);
    if present.is_ok_and(|present| present.sa_sigaction == handler()) {
        // SAFETY: the pointer was in `former`, so it came from `Box::into_raw` of an initialised disposition. It is
        // freed under the lock that the caller holds, and never in a forked child, which has only this thread.
        let _ = exchange(signum, Some(unsafe { &*former }));
    }
}

/// Makes the notifier if this process has none.
fn make_notifier(made: &mut Option<Made>) -> io::Result<Made> {
    static FORGET_IN_CHILDREN: Once = Once::new();
    if let Some(made) = made.filter(|made| made.forks == fork::generation()) {
        return Ok(made);
    }
    let (polled, written) = new_notifier()?;
    FORGET_IN_CHILDREN.call_once(|| {
        fork::hold(before_fork, after_fork);
        // `child` does what is allowed between fork and exec: it reads and writes atomics and calls `sigaction`.
        fork::at_fork(None, None, Some(child));
    });
    let new = Made {
        forks: fork::generation(),
        polled,
    };
    *made = Some(new);
    WRITTEN.store(written, Ordering::SeqCst);
    Ok(new)
}

/// Makes the end to poll and the end to write to.
#[cfg(target_os = "linux")]
fn new_notifier() -> io::Result<(RawFd, RawFd)> {
    let fd = event_counter()?.into_raw_fd();
    Ok((fd, fd))
}

/// Makes the end to poll and the end to write to.
#[cfg(not(target_os = "linux"))]
fn new_notifier() -> io::Result<(RawFd, RawFd)> {
    let (sender, receiver) = mio::unix::pipe::new()?;
    Ok((receiver.into_raw_fd(), sender.into_raw_fd()))
}

thread_local! {
    /// The table, while this thread forks.
    static HELD: Cell<Option<MutexGuard<'static, Option<Made>>>> = const { Cell::new(None) };
}

extern "C" fn before_fork() {
    let table = fork::lock(&TABLE);
    // A thread that is ending has no thread-local any more, and forks without it.
    let _ = HELD.try_with(|place| place.set(table));
}

extern "C" fn after_fork() {
    let _ = HELD.try_with(|place| drop(place.take()));
}

/// Called in a forked child: its signals do what they did before the parent caught them, and the notifier stays the
/// parent's.
extern "C" fn child() {
    WRITTEN.store(-1, Ordering::SeqCst);
    for (signum, kind) in (0..).zip(&KIND) {
        kind.users.store(0, Ordering::SeqCst);
        kind.hard.store(u64::MAX, Ordering::SeqCst);
        // Not freed: another thread of the parent may have been doing just that.
        put_back(signum, kind.former.swap(ptr::null_mut(), Ordering::SeqCst));
    }
}

/// The notifier as a source of readiness: each loop registers it for itself.
pub(crate) struct SignalNotifier {
    polled: RawFd,
}

impl SignalNotifier {
    /// Every poller sees every write, and there is nothing to drain.
    pub(crate) const STAYS_READABLE: bool = cfg!(target_os = "linux");

    /// Returns the process's notifier, made if there is none.
    pub(crate) fn new() -> io::Result<Self> {
        let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        let polled = make_notifier(&mut table)?.polled;
        Ok(Self { polled })
    }

    /// Empties the notifier if it is a pipe, so that the next write is an edge. Read the counters afterwards: their
    /// values are newer.
    pub(crate) fn drain(&self) {
        if Self::STAYS_READABLE {
            return;
        }
        let mut buffer = [0_u8; 512];
        loop {
            // SAFETY: the buffer is writable and as long as said; the descriptor is never closed, and does not block.
            let read = unsafe { libc::read(self.polled, buffer.as_mut_ptr().cast(), buffer.len()) };
            if read <= 0 {
                return;
            }
        }
    }
}

impl AsRawFd for SignalNotifier {
    fn as_raw_fd(&self) -> RawFd {
        self.polled
    }
}

impl Pollable for SignalNotifier {
    fn by_source(&mut self, act: Act<'_>) -> io::Result<()> {
        act(&mut SourceFd(&self.polled))
    }
}

impl fmt::Debug for SignalNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalNotifier").finish_non_exhaustive()
    }
}
