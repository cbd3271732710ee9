//! The server's conversations by a protocol: the same as by streams, in callbacks.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use callsoon::get_running_loop;
use callsoon::transport::{Protocol, Transport};

use crate::counts::Count;
use crate::header::{Header, Kind, LENGTH};
use crate::served::{Conversation, Served, UPLOAD_REST, shrink};

/// So much of a download is written at once.
const PIECE: usize = 16 * 1024;

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    served: Rc<Served>,
    state: RefCell<State>,
    /// How much of a download is still to be written.
    left: Cell<usize>,
    /// Between `pause_writing` and `resume_writing`.
    paused: Cell<bool>,
}

/// How far a client is.
#[derive(Debug)]
enum State {
    /// Its header is not complete.
    Begun(Vec<u8>),
    Talking(Conversation),
}

impl Client {
    pub(crate) fn new(served: Rc<Served>) -> Self {
        Self {
            served,
            state: RefCell::new(State::Begun(Vec::new())),
            left: Cell::new(0),
            paused: Cell::new(false),
        }
    }

    /// Takes what it can of the header. Gives the bytes behind it, and whether this completed it.
    fn header<'d>(&self, data: &'d [u8]) -> io::Result<(&'d [u8], Option<Header>)> {
        let mut state = self.state.borrow_mut();
        let State::Begun(bytes) = &mut *state else {
            return Ok((data, None));
        };
        let (head, rest) = data.split_at(data.len().min(LENGTH - bytes.len()));
        bytes.extend_from_slice(head);
        if bytes.len() < LENGTH {
            return Ok((rest, None));
        }
        let header = Header::decode(bytes)
            .ok_or_else(|| io::Error::other("a header that no client sends"))?;
        *state = State::Talking(Conversation::new(header));
        Ok((rest, Some(header)))
    }

    /// Calls the conversation, if it has begun.
    fn talk<R>(&self, call: impl FnOnce(&mut Conversation, &Served) -> R) -> Option<R> {
        match &mut *self.state.borrow_mut() {
            State::Begun(_) => None,
            State::Talking(talk) => Some(call(talk, &self.served)),
        }
    }

    /// Does what the server begins with.
    fn begin(&self, transport: &Transport, header: Header) -> io::Result<()> {
        match header.kind {
            Kind::Echo | Kind::Reset => {}
            Kind::Upload => shrink(transport)?,
            Kind::Download => {
                shrink(transport)?;
                self.left.set(header.count as usize);
                self.pour(transport);
            }
            Kind::Half => {
                self.say(transport, header.count as usize);
                transport.write_eof();
                self.served.counts.one(Count::HalfCloses);
            }
        }
        Ok(())
    }

    /// Writes the next bytes of the answer.
    fn say(&self, transport: &Transport, count: usize) {
        if let Some(answer) = self.talk(|talk, served| talk.answer(served, count)) {
            transport.write(answer);
        }
    }

    /// Writes on at a download, until the transport has enough or the client is gone, and closes after its end.
    fn pour(&self, transport: &Transport) {
        while self.left.get() > 0 && !self.paused.get() && !transport.is_closing() {
            let count = self.left.get().min(PIECE);
            self.left.set(self.left.get() - count);
            self.say(transport, count);
            if self.left.get() == 0 {
                transport.close();
            }
        }
    }

    /// Takes what the client says behind its header.
    fn hear(&self, transport: &Transport, data: &[u8]) {
        let now = self.talk(|talk, served| {
            talk.check(served, data);
            (talk.header.kind, talk.has_all())
        });
        match now {
            Some((Kind::Echo, _)) => self.say(transport, data.len()),
            Some((Kind::Reset, has_all)) => {
                self.say(transport, data.len());
                if has_all {
                    self.served.reset(transport);
                }
            }
            Some((Kind::Upload, _)) => {
                transport.pause_reading();
                let transport = transport.clone();
                get_running_loop().call_later(UPLOAD_REST, move || transport.resume_reading());
            }
            Some((Kind::Download | Kind::Half, _)) | None => {}
        }
    }
}

impl Protocol for Client {
    fn connection_made(&self, _: &Transport) {
        self.served.came();
    }

    fn data_received(&self, transport: &Transport, data: &[u8]) {
        let begun = self.header(data).and_then(|(rest, header)| {
            if let Some(header) = header {
                self.begin(transport, header)?;
            }
            Ok(rest)
        });
        match begun {
            Ok([]) => {}
            Ok(rest) => self.hear(transport, rest),
            Err(error) => {
                self.served.failed("a protocol's client", &error);
                transport.abort();
            }
        }
    }

    fn eof_received(&self, transport: &Transport) -> bool {
        let answer = self.talk(|talk, _| match talk.header.kind {
            Kind::Upload => talk.upload_answer(),
            _ => 0,
        });
        match answer {
            None => self.served.counts.unexpected("an end within a header"),
            Some(0) => {}
            Some(count) => self.say(transport, count),
        }
        false
    }

    // The echo writes no more than it reads, so a client that does not read must not be read either.
    fn pause_writing(&self, transport: &Transport) {
        self.paused.set(true);
        transport.pause_reading();
    }

    fn resume_writing(&self, transport: &Transport) {
        self.paused.set(false);
        transport.resume_reading();
        self.pour(transport);
    }

    fn connection_lost(&self, _: &Transport, error: Option<io::Error>) {
        if let Some(error) = error {
            self.served.failed("a protocol's client", &error);
        }
    }
}
