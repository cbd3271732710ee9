//! A mark that a thread passes on to the threads that it starts, so that a test can tell its own from all others.
//!
//! A new thread inherits the mask of blocked signals, and the system shows it in `/proc`. So the mark is a set of blocked
//! real-time signals, which stands for a number. They are signals that nobody sends: the C library uses those below, and
//! debuggers the last ones. Blocking a signal that does not come changes nothing. A thread that has not begun yet blocks all
//! signals, which no mark does. A child process inherits the mask, too.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};

/// The signals that are the digits of a mark. The C library takes its own away from the front of the real-time signals.
const FIRST: u32 = 40;
const DIGITS: u32 = 22;

/// All digits, as the system shows a mask: signal 1 is bit 0.
const ALL: u64 = ((1 << DIGITS) - 1) << (FIRST - 1);

/// The mark of the current thread while this exists.
pub(crate) struct ThreadMark {
    bits: u64,
    former: libc::sigset_t,
}

impl ThreadMark {
    /// Marks the current thread with a number that few others have at this time: 4 million marks come before it again.
    /// `None` if the system refuses.
    pub(crate) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = 1 + NUMBER.fetch_add(1, Ordering::Relaxed) % ((1 << DIGITS) - 2);
        // SAFETY: all zeros is a valid set. The calls read the current mask into it, and add and remove signals that exist.
        unsafe {
            let mut former: libc::sigset_t = std::mem::zeroed();
            if libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &mut former) != 0 {
                return None;
            }
            let mut marked = former;
            for digit in 0..DIGITS {
                let signal = (FIRST + digit) as libc::c_int;
                if number >> digit & 1 == 1 {
                    libc::sigaddset(&mut marked, signal);
                } else {
                    libc::sigdelset(&mut marked, signal);
                }
            }
            let set = libc::pthread_sigmask(libc::SIG_SETMASK, &marked, std::ptr::null_mut());
            (set == 0).then_some(Self {
                bits: u64::from(number) << (FIRST - 1),
                former,
            })
        }
    }

    /// Returns whether a mask of blocked signals, as the system shows it, has this mark.
    pub(crate) fn is_in(&self, blocked: u64) -> bool {
        blocked & ALL == self.bits
    }

    /// Returns whether a mask is that of a thread that has not begun.
    pub(crate) fn is_undecided(blocked: u64) -> bool {
        blocked & ALL == ALL
    }
}

impl Drop for ThreadMark {
    fn drop(&mut self) {
        // SAFETY: the set was filled by the system.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.former, std::ptr::null_mut());
        }
    }
}

/// Returns the current thread's number in `/proc`.
pub(crate) fn thread_number() -> u32 {
    // SAFETY: the call takes no arguments and cannot fail.
    unsafe { libc::gettid() as u32 }
}
