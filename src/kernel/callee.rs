//! What is called when user code is entered: its kind, and what warnings and reports say of it.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

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
    /// A method of a protocol, by its name, with the transport.
    Protocol(&'static str, &'a dyn Reported),
    /// Several methods of a protocol, in one entry: the cell names the one that is called at the time.
    ProtocolStep(&'a Cell<&'static str>, &'a dyn Reported),
    /// A method of a subprocess protocol, by its name, with the transport.
    SubprocessProtocol(&'static str, &'a dyn Reported),
    /// A hook around the loop's sleep, by its name.
    WaitHook(&'static str),
    /// A step of this task. `LoopState::key_of` gives its key.
    Step(&'a Header),
}

/// A transport, for a report.
pub(crate) trait Reported {
    /// Returns one more reference, of the type that the program sees.
    fn reported(&self) -> Rc<dyn Any>;
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
            Self::Protocol(..) | Self::ProtocolStep(..) | Self::SubprocessProtocol(..) => {
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
            Self::Protocol(method, _)
            | Self::SubprocessProtocol(method, _)
            | Self::WaitHook(method) => method,
            Self::ProtocolStep(method, _) => method.get(),
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
            Self::Protocol(method, _) => format!("Exception in a protocol's {method}"),
            Self::ProtocolStep(method, _) => {
                format!("Exception in a protocol's {}", method.get())
            }
            Self::SubprocessProtocol(method, _) => {
                format!("Exception in a subprocess protocol's {method}")
            }
            Self::WaitHook(method) => format!("Exception in the hook {method}"),
            Self::Step(_) => "Exception in a task".to_owned(),
        }
    }
    /// Returns whether it is a callback of the program's, which a report names by where it was scheduled or registered.
    pub(crate) fn is_callback(self) -> bool {
        matches!(
            self,
            Self::Callback
                | Self::Timer
                | Self::Posted
                | Self::Reader
                | Self::Writer
                | Self::Signal
        )
    }

    /// Returns the transport whose protocol is called.
    pub(crate) fn transport(self) -> Option<Rc<dyn Any>> {
        match self {
            Self::Protocol(_, transport)
            | Self::ProtocolStep(_, transport)
            | Self::SubprocessProtocol(_, transport) => Some(transport.reported()),
            _ => None,
        }
    }
}
