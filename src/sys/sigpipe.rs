//! Calls that raise SIGPIPE and take no flag against it: `write(2)` on a pipe, `sendfile(2)`.
//!
//! What the process has made of the signal is its own affair, so the signal is held back in this thread for the time of
//! the call, and taken away if it came. Whoever writes to somebody who has gone hears of it by the error alone.

#![allow(unsafe_code)]

use std::io;

/// Runs a call that may raise SIGPIPE in this thread; where it does, nobody hears of it but by the error.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn without_sigpipe<R>(call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    // SAFETY: the sets are zeroed, which is a valid value, and filled by the calls that are made for it; all are live and of
    // the right type for every call. A null `info` and a zeroed time are allowed. The mask is this thread's own: it is as
    // it was when this returns, and every `call` of this crate is one system call and a conversion, which do not unwind.
    unsafe {
        let mut pipe: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut pipe);
        libc::sigaddset(&mut pipe, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &pipe, &mut before);
        let result = call();
        // Where it was held back before this call, somebody else waits for it.
        let ours = libc::sigismember(&before, libc::SIGPIPE) == 0;
        let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        if ours && result.as_ref().is_err_and(broken) {
            let at_once: libc::timespec = std::mem::zeroed();
            libc::sigtimedwait(&pipe, std::ptr::null_mut(), &at_once);
        }
        if ours {
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        }
        result
    }
}

/// Whether SIGPIPE would end this process.
#[cfg(target_os = "linux")]
pub(crate) fn sigpipe_is_deadly() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only asks; the pointer is to room for one action that the call fills, and all zeros is
    // one as well, should it fail.
    let action = unsafe {
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_DFL
}

/// Elsewhere nothing takes a signal away without waiting for it; Rust's runtime ignores this one by default.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn without_sigpipe<R>(call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    call()
}
