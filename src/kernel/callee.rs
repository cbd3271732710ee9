//! What is called when user code is entered: its kind, and what warnings and reports say of it.

use std::cell::Cell;

use crate::inspect::latencies::CallKind;
use crate::kernel::task::header::Header;

/// What is called.
#[derive(Clone, Copy)]
pub(crate) enum Callee<'a> {
    /// A callback of `call_soon`, or a done callback.
    Callback,
    /// A callback of `call_later` or `call_at`.
    Timer,
    /// A callback that another thread has posted.
    Posted,
    /// The callback of a descriptor that became readable.
    Reader,
    /// The callback of a descriptor that became writable.
    Writer,
    /// A signal handler.
    Signal,
    /// A callback that accepts connections from a listening socket.
    Listener,
    /// A method of a protocol, by its name.
    Protocol(&'static str),
    /// Several methods of a protocol, in one entry: the cell names the one that is called at the time.
    ProtocolStep(&'a Cell<&'static str>),
    /// A method of a subprocess protocol, by its name.
    SubprocessProtocol(&'static str),
    /// A hook around the loop's sleep, by its name.
    WaitHook(&'static str),
    /// A step of this task. `LoopState::key_of` gives its key.
    Step(&'a Header),
}

impl Callee<'_> {
    /// Returns the kind under which it is counted.
    #[inline]
    pub(crate) fn kind(self) -> CallKind {
        match self {
            Self::Callback | Self::WaitHook(_) => CallKind::Callback,
            Self::Timer => CallKind::Timer,
            Self::Posted => CallKind::Posted,
            Self::Reader | Self::Writer => CallKind::Descriptor,
            Self::Signal => CallKind::Signal,
            Self::Listener => CallKind::Listener,
            Self::Protocol(_) | Self::ProtocolStep(_) | Self::SubprocessProtocol(_) => {
                CallKind::Protocol
            }
            Self::Step(_) => CallKind::Step,
        }
    }

    /// Returns the name for the warning "a slow … held up the loop".
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Callback
            | Self::Timer
            | Self::Posted
            | Self::Reader
            | Self::Writer
            | Self::Signal => "callback",
            Self::Listener => "listener",
            Self::Protocol(method) | Self::SubprocessProtocol(method) | Self::WaitHook(method) => {
                method
            }
            Self::ProtocolStep(method) => method.get(),
            Self::Step(_) => "step of a task",
        }
    }

    /// Returns the message of the report of a panic.
    pub(crate) fn failure(self) -> String {
        match self {
            Self::Callback
            | Self::Timer
            | Self::Posted
            | Self::Reader
            | Self::Writer
            | Self::Signal => "Exception in callback".to_owned(),
            Self::Listener => "Exception in a listener".to_owned(),
            Self::Protocol(method) => format!("Exception in a protocol's {method}"),
            Self::ProtocolStep(method) => {
                format!("Exception in a protocol's {}", method.get())
            }
            Self::SubprocessProtocol(method) => {
                format!("Exception in a subprocess protocol's {method}")
            }
            Self::WaitHook(method) => format!("Exception in the hook {method}"),
            Self::Step(_) => "Exception in a task".to_owned(),
        }
    }
}
