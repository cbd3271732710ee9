//! Calls that raise SIGPIPE and take no flag against it: `write(2)` on a pipe, `sendfile(2)`.
//!
//! The program decides about the signal's disposition, and may change it at any time. So the disposition is never read:
//! the signal is blocked in this thread during the call, and consumed if it was raised. A program that writes to a
//! closed pipe gets only the error. The two calls that this takes cost a quarter of a microsecond, less than the write
//! itself, and are the same whatever the disposition is.

#![allow(unsafe_code)]

use std::io;

/// Runs a call that may raise SIGPIPE in this thread, and consumes the signal if it does. `may_have_raised` says
/// whether the signal may have been raised together with a result.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn without_sigpipe<R>(
    call: impl FnOnce() -> io::Result<R>,
    may_have_raised: impl FnOnce(&io::Result<R>) -> bool,
) -> io::Result<R> {
    // SAFETY: the sets are zeroed, which is a valid value, and filled by the calls that are made for it; all are live
    // and of the right type for every call. A null `info` and a zeroed time are allowed. The mask is this thread's own:
    // it is as it was when this returns, and every `call` of this crate is one system call and a conversion, which do
    // not unwind.
    unsafe {
        let mut pipe: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut pipe);
        libc::sigaddset(&mut pipe, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &pipe, &mut before);
        let result = call();
        // If it was blocked before this call, other code waits for it.
        let ours = libc::sigismember(&before, libc::SIGPIPE) == 0;
        if ours && may_have_raised(&result) {
            let at_once: libc::timespec = std::mem::zeroed();
            libc::sigtimedwait(&pipe, std::ptr::null_mut(), &at_once);
        }
        if ours {
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        }
        result
    }
}

/// For a call that does one thing: the signal is raised with the error or not at all.
pub(crate) fn is_broken_pipe<R>(result: &io::Result<R>) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    result.as_ref().is_err_and(broken)
}

/// Other systems cannot consume a signal without waiting for it; Rust's runtime ignores this one by default.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn without_sigpipe<R>(
    call: impl FnOnce() -> io::Result<R>,
    _: impl FnOnce(&io::Result<R>) -> bool,
) -> io::Result<R> {
    call()
}
