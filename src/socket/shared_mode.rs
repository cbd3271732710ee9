//! The blocking mode of open file descriptions that others share, and that cannot be opened again.
//!
//! The mode is set, and checked again before each call, since others may switch it back. It is restored when the last
//! end in this process that shares the description is dropped: the reader and the writer of one pseudo-terminal are
//! two ends with one mode, and may belong to loops of different threads. So the process keeps one list of all such
//! ends. `kcmp(2)` tells whether two of them are one description. If the system does not tell (before Linux 3.5, or
//! in a sandbox), ends of one file that were opened for the same access count as one.

use std::cell::Cell;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use crate::sys::fd::{is_same_description, set_blocking, set_nonblocking, status};
use crate::sys::fork::{self, generation};

/// All ends of this process whose mode is shared.
static ENDS: Mutex<Vec<End>> = Mutex::new(Vec::new());

struct End {
    fd: RawFd,
    /// Device, inode, and the device that it is.
    file: [u64; 3],
    access: i32,
    /// It has to be switched back when the last end is dropped.
    was_blocking: bool,
    /// A forked child has its parent's list, whose ends are not its own.
    forks: u32,
}

impl End {
    /// Returns whether two ends have one description. The system is asked only if file and access are the same.
    fn shares(&self, other: &Self) -> bool {
        (self.file, self.access, self.forks) == (other.file, other.access, other.forks)
            && is_same_description(self.fd, other.fd).unwrap_or(true)
    }
}

thread_local! {
    /// The list, while this thread forks.
    static HELD: Cell<Option<MutexGuard<'static, Vec<End>>>> = const { Cell::new(None) };
}

extern "C" fn before_fork() {
    let ends = fork::lock(&ENDS);
    // A thread that is ending has no such place any more, and goes without.
    let _ = HELD.try_with(|place| place.set(ends));
}

extern "C" fn after_fork() {
    let _ = HELD.try_with(|place| drop(place.take()));
}

/// The list, which no fork finds locked by another thread.
fn ends() -> MutexGuard<'static, Vec<End>> {
    static SAFE_IN_CHILDREN: Once = Once::new();
    SAFE_IN_CHILDREN.call_once(|| fork::hold(before_fork, after_fork));
    ENDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An end's share in a mode. [`leave`](Self::leave) ends it, before the end is closed.
#[derive(Debug)]
pub(crate) struct SharedMode(());

impl SharedMode {
    /// Switches to non-blocking mode.
    pub(crate) fn join(file: &File, data: &Metadata) -> io::Result<Self> {
        let mut ends = ends();
        let access = status(file.as_fd())? & libc::O_ACCMODE;
        let was_blocking = set_nonblocking(file.as_fd())?;
        ends.push(End {
            fd: file.as_raw_fd(),
            file: [data.dev(), data.ino(), data.rdev()],
            access,
            was_blocking,
            forks: generation(),
        });
        Ok(Self(()))
    }

    /// Makes sure that the next call does not block.
    pub(crate) fn check(&self, file: &File) -> io::Result<()> {
        set_nonblocking(file.as_fd()).map(drop)
    }

    /// Restores the mode, or leaves that to another end that shares it.
    pub(crate) fn leave(self, file: &File) {
        let mut ends = ends();
        let own = |end: &End| end.fd == file.as_raw_fd() && end.forks == generation();
        let Some(place) = ends.iter().position(own) else {
            // The parent's.
            return;
        };
        let own = ends.swap_remove(place);
        if !own.was_blocking {
            return;
        }
        match ends.iter_mut().find(|end| end.shares(&own)) {
            Some(heir) => heir.was_blocking = true,
            // A file that refuses is one that nobody reads any more.
            None => drop(set_blocking(file.as_fd())),
        }
    }
}
