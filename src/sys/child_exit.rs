//! Waiting for a child's end in a thread, where the system gives no descriptor for it.

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;

/// Blocks until a child has exited, or is nobody's to wait for any more. It is not reaped: while it is a zombie its
/// number cannot become another process's.
pub(crate) fn wait_without_reaping(pid: u32) {
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
        // SAFETY: the pointer is to room for one siginfo, which the call may write and nothing reads; it outlives the
        // call. The rest are numbers.
        let waited = unsafe {
            libc::waitid(
                libc::P_PID,
                pid as libc::id_t,
                info.as_mut_ptr(),
                libc::WEXITED | libc::WNOWAIT,
            )
        };
        let interrupted = || io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
        if waited == 0 || !interrupted() {
            return;
        }
    }
}

/// Sends a child that was not reaped a signal.
pub(crate) fn kill(pid: u32, signum: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers.
    if unsafe { libc::kill(pid as libc::pid_t, signum) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes descriptor 0 `/dev/null`, whatever it was.
#[cfg(feature = "process-pool")]
pub(crate) fn forget_stdin() -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let null = std::fs::File::open("/dev/null")?;
    // SAFETY: the call takes numbers, of which the first is open; nothing of this process owns descriptor 0 by type.
    if unsafe { libc::dup2(null.as_raw_fd(), 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
