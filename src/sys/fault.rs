//! System calls that fail by a plan. Compiled with `--cfg callsoon_faults` only: without it the macros below expand to
//! nothing, and the crate makes each call as it stands.
//!
//! ```text
//! may_fail!(Recv, fd)            returns an error in place of the call
//! may_be_short!(Recv, fd, bytes) makes the buffer of the call shorter
//! ```
//!
//! The plan belongs to a thread, and there is none until a test sets one. What becomes of a call depends on the seed, on
//! the kind of call, and on how many of that kind the thread has made. So another order of the calls of different kinds,
//! which threads and children cause, leaves most of the plan as it was.
//!
//! A plan does only what the page of the call allows. A call that says `EAGAIN`, or moves less than it could, although the
//! system has more, breaks what epoll(7) promises of edges. So its descriptor gets its edge anew: the
//! reactor asks for those descriptors before it polls.

/// Returns an error of a system call from the enclosing function, if the plan has one for this call.
macro_rules! may_fail {
    ($call:ident, $fd:expr) => {
        #[cfg(callsoon_faults)]
        $crate::sys::fault::before($crate::sys::fault::Call::$call, $fd)?;
    };
}

/// Shortens the buffer of a system call, if the plan says so.
macro_rules! may_be_short {
    ($call:ident, $fd:expr, $buffer:ident) => {
        #[cfg(callsoon_faults)]
        let $buffer = $buffer
            .get($crate::sys::fault::part(
                $crate::sys::fault::Call::$call,
                $fd,
                $buffer.len(),
            ))
            .unwrap_or_default();
    };
    ($call:ident, $fd:expr, mut $buffer:ident) => {
        #[cfg(callsoon_faults)]
        let $buffer = {
            let part =
                $crate::sys::fault::part($crate::sys::fault::Call::$call, $fd, $buffer.len());
            $buffer.get_mut(part).unwrap_or_default()
        };
    };
}

pub(crate) use {may_be_short, may_fail};

#[cfg(callsoon_faults)]
mod plan {
    use std::cell::RefCell;
    use std::io::{self, IoSlice};
    use std::ops::RangeTo;
    use std::os::fd::RawFd;
    use std::sync::{Arc, Mutex, PoisonError};

    use libc::{
        EACCES, EADDRNOTAVAIL, EAGAIN, ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EINTR,
        EINVAL, EIO, EMFILE, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS, ENODEV, ENOMEM, ENOSPC,
        ENOSYS, EOPNOTSUPP, EPERM, EPIPE, EPROTO, ETIMEDOUT,
    };

    /// A kind of system call.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) enum Call {
        Accept,
        Recv,
        Send,
        RecvDatagram,
        SendDatagram,
        Read,
        Write,
        Preadv2,
        Pwritev2,
        Sendfile,
        Socket,
        Connect,
        ConnectUnix,
        /// The answer of a call that has begun to connect.
        Connecting,
        /// The question whether the attempt has succeeded.
        Connected,
        EpollCreate,
        EpollCtl,
        EpollWait,
        Eventfd,
        Notify,
        TimerfdCreate,
        PidfdOpen,
        Waitid,
    }

    const CALLS: usize = Call::ALL.len();

    impl Call {
        pub(crate) const ALL: [Self; 23] = [
            Self::Accept,
            Self::Recv,
            Self::Send,
            Self::RecvDatagram,
            Self::SendDatagram,
            Self::Read,
            Self::Write,
            Self::Preadv2,
            Self::Pwritev2,
            Self::Sendfile,
            Self::Socket,
            Self::Connect,
            Self::ConnectUnix,
            Self::Connecting,
            Self::Connected,
            Self::EpollCreate,
            Self::EpollCtl,
            Self::EpollWait,
            Self::Eventfd,
            Self::Notify,
            Self::TimerfdCreate,
            Self::PidfdOpen,
            Self::Waitid,
        ];

        /// Returns the errors after which the caller has to give something up, by the call's page.
        fn failures(self) -> &'static [i32] {
            match self {
                Self::Accept => &[
                    ECONNABORTED,
                    EPROTO,
                    EPERM,
                    ENETDOWN,
                    EMFILE,
                    ENFILE,
                    ENOBUFS,
                    ENOMEM,
                ],
                Self::Recv => &[ECONNRESET, ETIMEDOUT, ENOMEM],
                Self::Send => &[ECONNRESET, EPIPE, ENOBUFS, ENOMEM],
                Self::RecvDatagram => &[ECONNREFUSED, ENOMEM],
                Self::SendDatagram => &[ECONNREFUSED, ENOBUFS, EPERM, ENETUNREACH],
                Self::Read => &[EIO],
                Self::Write => &[EPIPE, EIO],
                Self::Preadv2 | Self::Pwritev2 => &[EOPNOTSUPP, ENOSYS],
                Self::Sendfile => &[EINVAL, EIO, ENOMEM],
                Self::Socket => &[EMFILE, ENFILE, ENOBUFS, ENOMEM],
                Self::Connect => &[ECONNREFUSED, EADDRNOTAVAIL, ENETUNREACH, EACCES, EAGAIN],
                Self::ConnectUnix => &[ECONNREFUSED, EACCES],
                Self::Connected => &[ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH],
                Self::EpollCreate => &[EMFILE, ENFILE, ENOMEM],
                Self::EpollCtl => &[ENOMEM, ENOSPC],
                Self::Eventfd | Self::TimerfdCreate => &[EMFILE, ENFILE, ENODEV, ENOMEM],
                Self::PidfdOpen => &[EMFILE, ENFILE, ENODEV, ENOMEM, ENOSYS, EPERM],
                Self::Connecting | Self::EpollWait | Self::Notify | Self::Waitid => &[],
            }
        }

        /// Returns the errors that only say that the call is to be made again.
        fn delays(self) -> &'static [i32] {
            match self {
                Self::Accept
                | Self::Recv
                | Self::Send
                | Self::RecvDatagram
                | Self::SendDatagram
                | Self::Read
                | Self::Write
                | Self::Preadv2
                | Self::Pwritev2
                | Self::Sendfile
                | Self::ConnectUnix => &[EAGAIN, EINTR],
                Self::Connected => &[EAGAIN],
                Self::Connecting | Self::EpollWait | Self::Waitid | Self::Notify => &[EINTR],
                _ => &[],
            }
        }

        /// Returns the kind for this descriptor: the same functions send and receive streams and datagrams.
        fn on(self, fd: RawFd) -> Self {
            match self {
                Self::Recv if is_datagram(fd) => Self::RecvDatagram,
                Self::Send if is_datagram(fd) => Self::SendDatagram,
                Self::Connect if is_unix(fd) => Self::ConnectUnix,
                other => other,
            }
        }
    }

    /// What a plan does to calls.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) enum Severity {
        /// It delays, interrupts and shortens. Whatever is done succeeds in the end.
        Gentle,
        /// It also makes calls fail.
        Harsh,
    }

    /// What was done, in order. Another thread may read it, when the plan's own hangs.
    pub(crate) type Log = Arc<Mutex<Vec<String>>>;

    /// A plan.
    #[derive(Debug)]
    pub(crate) enum Plan {
        /// Of so many calls one is changed.
        Seed {
            seed: u64,
            one_in: u64,
            severity: Severity,
        },
        /// From the call of this number on, counted from one, so many of one kind fail.
        Fail {
            call: Call,
            errno: i32,
            first: u64,
            times: u64,
        },
    }

    #[derive(Debug)]
    struct Active {
        plan: Plan,
        /// How many calls of each kind were made.
        made: [u64; CALLS],
        log: Log,
        /// The descriptors whose edge has to come once more.
        again: Vec<RawFd>,
    }

    thread_local! {
        static ACTIVE: RefCell<Option<Active>> = const { RefCell::new(None) };
    }

    fn active<R>(f: impl FnOnce(&mut Active) -> R) -> Option<R> {
        ACTIVE.with(|active| active.borrow_mut().as_mut().map(f))
    }

    /// Sets the thread's plan, or none.
    pub(crate) fn set(plan: Option<Plan>) {
        let begun = plan.map(|plan| Active {
            plan,
            made: [0; CALLS],
            log: Log::default(),
            again: Vec::new(),
        });
        ACTIVE.with(|active| *active.borrow_mut() = begun);
    }

    /// Returns what was done so far.
    pub(crate) fn log() -> Log {
        active(|active| Arc::clone(&active.log)).unwrap_or_default()
    }

    /// Returns the descriptors whose edge has to come once more, and forgets them.
    pub(crate) fn again() -> Vec<RawFd> {
        active(|active| std::mem::take(&mut active.again)).unwrap_or_default()
    }

    /// Returns the error in place of a call, if there is to be one.
    pub(crate) fn before(call: Call, fd: RawFd) -> io::Result<()> {
        let errno = active(|active| active.errno(call.on(fd), fd));
        errno
            .flatten()
            .map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    /// Returns which part of a buffer of this length a call is given.
    pub(crate) fn part(call: Call, fd: RawFd, length: usize) -> RangeTo<usize> {
        let part = active(|active| active.part(call.on(fd), fd, length));
        ..part.unwrap_or(length)
    }

    /// Returns the part of several buffers that a call is given instead, which is in the first that is not empty.
    pub(crate) fn piece<'a>(call: Call, fd: RawFd, buffers: &'a [IoSlice<'_>]) -> Option<&'a [u8]> {
        let first: &[u8] = buffers.iter().find(|buffer| !buffer.is_empty())?;
        let part = part(call, fd, first.len());
        (part.end < first.len()).then_some(&first[part])
    }

    impl Active {
        fn note(&self, line: String) {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push(line);
        }

        /// Returns two random numbers for the next call of a kind, by which one is decided and the other is chosen from;
        /// `None` if the call is to be left as it is.
        fn chosen(&mut self, call: Call, salt: u64) -> Option<(u64, Severity)> {
            let Plan::Seed {
                seed,
                one_in,
                severity,
            } = self.plan
            else {
                return None;
            };
            let nth = self.made[call as usize];
            let number = mixed(mixed(mixed(seed) ^ (call as u64 + salt * 64)) ^ nth);
            (number % one_in == 0).then_some((mixed(number), severity))
        }

        fn errno(&mut self, call: Call, fd: RawFd) -> Option<i32> {
            self.made[call as usize] += 1;
            let nth = self.made[call as usize];
            let errno = match self.plan {
                Plan::Fail {
                    call: kind,
                    errno,
                    first,
                    times,
                } => (kind == call && (first..first.saturating_add(times)).contains(&nth))
                    .then_some(errno),
                Plan::Seed { .. } => self.chosen(call, 0).and_then(|(number, severity)| {
                    // A failure ends what a seed tries, so most of what it does is something else.
                    let fails = severity == Severity::Harsh && number % 4 == 0;
                    let errors = if fails {
                        call.failures()
                    } else {
                        call.delays()
                    };
                    let most = errors.len().max(1);
                    errors.get((number / 4) as usize % most).copied()
                }),
            }?;
            if errno == EAGAIN {
                self.again.push(fd);
            }
            self.note(format!(
                "{call:?} {nth} on {fd}: {}",
                io::Error::from_raw_os_error(errno)
            ));
            Some(errno)
        }

        fn part(&mut self, call: Call, fd: RawFd, length: usize) -> usize {
            let whole = matches!(call, Call::RecvDatagram | Call::SendDatagram);
            let chosen = if whole || length < 2 {
                None
            } else {
                self.chosen(call, 1)
            };
            let Some((number, _)) = chosen else {
                return length;
            };
            // Short by one, short by much, and a single byte.
            let part = match number % 3 {
                0 => 1,
                1 => length - 1,
                _ => 1 + (number / 3) as usize % (length - 1),
            };
            self.again.push(fd);
            let nth = self.made[call as usize];
            self.note(format!("{call:?} {nth} on {fd}: {part} of {length}"));
            part
        }
    }

    /// The finalizer of splitmix64.
    fn mixed(number: u64) -> u64 {
        let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// Returns an option of a socket; `None` for what is no socket.
    #[allow(unsafe_code)]
    fn option(fd: RawFd, name: libc::c_int) -> Option<libc::c_int> {
        let mut value: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: `value` and `length` are live and writable, and `length` is the size of `value`; the number may be
        // anything.
        let returned = unsafe {
            let to = (&raw mut value).cast();
            libc::getsockopt(fd, libc::SOL_SOCKET, name, to, &mut length)
        };
        (returned == 0).then_some(value)
    }

    /// Returns whether a descriptor is a socket that keeps the boundaries of messages.
    fn is_datagram(fd: RawFd) -> bool {
        option(fd, libc::SO_TYPE).is_some_and(|kind| kind != libc::SOCK_STREAM)
    }

    fn is_unix(fd: RawFd) -> bool {
        option(fd, libc::SO_DOMAIN) == Some(libc::AF_UNIX)
    }
}

#[cfg(callsoon_faults)]
pub(crate) use plan::{Call, Plan, Severity, again, before, log, part, piece, set};
