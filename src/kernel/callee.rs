//! What is called when user code is entered: its kind, and what warnings and reports say of it.

use std::cell::Cell;

use crate::kernel::task::header::Header;

/// Sorts of user code. The histograms of a loop tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A callback of `call_soon`, or a done callback.
    Callback,
    /// A callback of `call_later` or `call_at`.
    Timer,
    /// A callback that another thread has posted.
    Posted,
    /// A callback of a descriptor: `add_reader` and `add_writer`.
    Descriptor,
    /// A signal handler.
    Signal,
    /// A callback that accepts connections from a listening socket.
    Listener,
    /// A method of a protocol.
    Protocol,
    /// A step of a task.
    Step,
}

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
    /// A step of this task. `LoopState::key_of` gives its key.
    Step(&'a Header),
}

impl Callee<'_> {
    #[expect(dead_code, reason = "the histograms use it, which are not here yet")]
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Callback => Kind::Callback,
            Self::Timer => Kind::Timer,
            Self::Posted => Kind::Posted,
            Self::Reader | Self::Writer => Kind::Descriptor,
            Self::Signal => Kind::Signal,
            Self::Listener => Kind::Listener,
            Self::Protocol(_) | Self::ProtocolStep(_) | Self::SubprocessProtocol(_) => {
                Kind::Protocol
            }
            Self::Step(_) => Kind::Step,
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
            Self::Protocol(method) | Self::SubprocessProtocol(method) => method,
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
            Self::Step(_) => "Exception in a task".to_owned(),
        }
    }
}
