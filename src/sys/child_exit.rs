//! Waiting for a child's end in a thread: where the system gives no descriptor for it, or where a loop could not wait.

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;

use crate::sys::fault::may_fail;
use crate::sys::result::number;

/// Blocks until a child has exited, or is no child of this process any more. The child is not reaped: while it is a
/// zombie its number cannot become another process's.
pub(crate) fn wait_without_reaping(pid: u32) {
    // It is gone if that is an error.
    let _ = wait(pid, libc::WNOWAIT);
}

/// Blocks until a child has exited, and reaps it. The caller knows that no other code does.
pub(crate) fn reap(pid: u32) {
    let _ = wait(pid, 0);
}

/// Waits for a child's end, however often a signal interrupts that; an error if this process has no such child.
fn wait(pid: u32, how: i32) -> io::Result<()> {
    loop {
        match wait_id(pid, how) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            waited => return waited,
        }
    }
}

fn wait_id(pid: u32, how: i32) -> io::Result<()> {
    may_fail!(Waitid, -1);
    let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
    let options = libc::WEXITED | how;
    // SAFETY: the pointer is to room for one siginfo, which the call may write and nothing reads; it outlives the call.
    // The rest are numbers.
    let returned =
        unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, info.as_mut_ptr(), options) };
    number(returned).map(drop)
}

/// Sends a child a signal; `ESRCH` if other code has reaped it, since its number may then be another process's.
pub(crate) fn kill(pid: u32, signum: i32) -> io::Result<()> {
    if wait(pid, libc::WNOHANG | libc::WNOWAIT).is_err() {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: the call takes numbers.
    number(unsafe { libc::kill(pid as libc::pid_t, signum) }).map(drop)
}

/// Makes descriptor 0 `/dev/null`, whatever it was.
#[cfg(feature = "process-pool")]
pub(crate) fn forget_stdin() -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let null = std::fs::File::open("/dev/null")?;
    // SAFETY: the call takes numbers, of which the first is open; nothing of this process owns descriptor 0 by type.
    number(unsafe { libc::dup2(null.as_raw_fd(), 0) }).map(drop)
}
