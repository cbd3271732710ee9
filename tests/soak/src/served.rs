//! What all conversations of the server share, and a conversation's bytes, whichever interface they come through.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::hint::black_box;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use callsoon::transport::Transport;

use crate::counts::{Count, Counts};
use crate::header::Header;
use crate::sequence::Sequence;

/// How the server reads an upload: so many bytes, then so long nothing.
pub(crate) const UPLOAD_BYTES: usize = 16 * 1024;
pub(crate) const UPLOAD_REST: Duration = Duration::from_millis(20);
/// The system's buffer of a slow conversation, so that the server comes to wait for its client, and the client for it.
const SMALL_BUFFER: usize = 16 * 1024;

/// A fault that the server has on request, so that one can see that the program finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Each connection leaves 256 bytes behind.
    Memory,
    /// Every 20th connection leaves a descriptor behind.
    Descriptor,
    /// Every 1000th connection has one wrong byte.
    Byte,
    /// One task waits for ever.
    Task,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "memory" => Ok(Self::Memory),
            "descriptor" => Ok(Self::Descriptor),
            "byte" => Ok(Self::Byte),
            "task" => Ok(Self::Task),
            _ => Err(format!("memory, descriptor, byte or task, not {name:?}")),
        }
    }
}

/// What all conversations share.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) counts: Counts,
    pub(crate) fault: Option<Fault>,
    /// Whether the next conversation is to have a wrong byte.
    spoil: Cell<bool>,
    /// The descriptors that `Fault::Descriptor` has left behind.
    left: RefCell<Vec<File>>,
}

impl Served {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self {
            fault,
            ..Self::default()
        }
    }

    /// Counts a new client.
    pub(crate) fn came(&self) {
        self.counts.one(Count::Connections);
        let number = self.counts.get(Count::Connections);
        match self.fault {
            // Through a black box, since the compiler leaves out memory that nobody uses.
            Some(Fault::Memory) => std::mem::forget(black_box(vec![1_u8; 256])),
            Some(Fault::Descriptor) if number % 20 == 0 => {
                self.left.borrow_mut().extend(File::open("/dev/null"));
            }
            Some(Fault::Byte) if number % 1000 == 0 => self.spoil.set(true),
            _ => {}
        }
    }

    /// Counts how a conversation ended, if not well. That clients reset their connections is a part of the work.
    pub(crate) fn failed(&self, what: &str, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                self.counts.one(Count::ResetsSeen);
            }
            _ => self.counts.unexpected(format_args!("{what}: {error}")),
        }
    }

    /// Resets the connection: the client gets an error instead of an end.
    pub(crate) fn reset(&self, transport: &Transport) {
        self.counts.one(Count::ResetsMade);
        transport.socket(|socket| {
            if let Err(error) = socket.set_linger(Some(Duration::ZERO)) {
                self.counts.unexpected(format_args!("SO_LINGER: {error}"));
            }
        });
        transport.abort();
    }
}

/// Makes the system's buffers of a slow conversation small.
pub(crate) fn shrink(transport: &Transport) -> io::Result<()> {
    let set = transport.socket(|socket| {
        socket.set_send_buffer_size(SMALL_BUFFER)?;
        socket.set_recv_buffer_size(SMALL_BUFFER)
    });
    set.unwrap_or(Ok(()))
}

/// The bytes of one conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) header: Header,
    /// What the client says.
    incoming: Sequence,
    /// What the server answers.
    outgoing: Sequence,
}

impl Conversation {
    pub(crate) fn new(header: Header) -> Self {
        Self {
            header,
            incoming: Sequence::of_client(header.seed),
            outgoing: Sequence::of_server(header.seed),
        }
    }

    /// Checks what the client has said.
    pub(crate) fn check(&mut self, served: &Served, data: &[u8]) {
        served.counts.add(Count::BytesReceived, data.len() as u64);
        let wrong = self.incoming.wrong(data);
        if wrong > 0 {
            served.counts.add(Count::WrongBytes, wrong);
        }
    }

    /// Makes an answer.
    pub(crate) fn answer(&mut self, served: &Served, count: usize) -> Vec<u8> {
        served.counts.add(Count::BytesSent, count as u64);
        let mut bytes = self.outgoing.next(count);
        if served.spoil.take() {
            bytes[0] ^= 1;
        }
        bytes
    }

    /// Whether the client has said all that a conversation with a count has.
    pub(crate) fn has_all(&self) -> bool {
        self.incoming.at() >= u64::from(self.header.count)
    }

    /// How long the answer to an upload is.
    pub(crate) fn upload_answer(&self) -> usize {
        (self.incoming.at() / 1024) as usize
    }
}
