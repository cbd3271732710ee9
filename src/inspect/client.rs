//! One client of an inspector: it sends a line, gets a line, and is closed. It may be slow, silent or hostile.

use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};

use mio::net::UnixStream;

use crate::inspect::answer::{Request, refusal};

/// The longest request. Both requests are shorter.
const LONGEST: usize = 64;

/// How long a client may take to send its request, or to take its answer. It is a program on the same machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// How far a client is.
enum Stage {
    /// Its request is not complete.
    Asks(Vec<u8>),
    /// It waits for the loop.
    Waits(Request),
    /// So many bytes of its answer were sent.
    Takes(Vec<u8>, usize),
}

/// A client.
pub(crate) struct Client {
    stream: UnixStream,
    stage: Stage,
    /// When it is given up; while it waits for the loop, when it is told that the loop does not answer.
    pub(crate) deadline: Instant,
    /// When it was last heard of: it came, sent or took something.
    heard: Instant,
    /// The number of its request among all that the watcher has read, once it has.
    pub(crate) request: u64,
}

/// What is to be done with a client.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Nothing: it was not ready.
    Wait,
    /// Ask the loop for it.
    Ask,
    /// Close it: it has its answer, or is gone.
    Close,
}

impl Client {
    pub(crate) fn new(stream: UnixStream) -> Self {
        let now = Instant::now();
        Self {
            stream,
            stage: Stage::Asks(Vec::new()),
            deadline: now + PATIENCE,
            heard: now,
            request: 0,
        }
    }

    /// Returns the stream, for its registration.
    pub(crate) fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    /// Returns the request of a client that waits for the loop.
    pub(crate) fn waits(&self) -> Option<Request> {
        match self.stage {
            Stage::Waits(request) => Some(request),
            Stage::Asks(_) | Stage::Takes(..) => None,
        }
    }

    /// Returns since when it keeps its place and does nothing with it: it has sent no request, or takes nothing of its
    /// answer for longer than `pause`. `None` if the loop is to act, or it reads its answer.
    pub(crate) fn silent_since(&self, now: Instant, pause: Duration) -> Option<Instant> {
        let is_silent = match self.stage {
            Stage::Asks(_) => true,
            Stage::Waits(_) => false,
            Stage::Takes(..) => now.saturating_duration_since(self.heard) > pause,
        };
        is_silent.then_some(self.heard)
    }

    /// Goes as far as the socket lets it.
    pub(crate) fn advance(&mut self) -> Next {
        let result = match &mut self.stage {
            Stage::Asks(_) => self.read(),
            Stage::Waits(_) => Ok(Next::Wait),
            Stage::Takes(..) => self.write(),
        };
        match result {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Next::Wait,
            // It is gone.
            Err(_) => Next::Close,
        }
    }

    /// Has an answer sent.
    pub(crate) fn answer(&mut self, text: String) -> Next {
        self.stage = Stage::Takes(text.into_bytes(), 0);
        self.heard = Instant::now();
        self.deadline = self.heard + PATIENCE;
        self.advance()
    }

    fn read(&mut self) -> io::Result<Next> {
        let Stage::Asks(line) = &mut self.stage else {
            return Ok(Next::Wait);
        };
        let mut buffer = [0; LONGEST];
        loop {
            let count = match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(Next::Close),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            };
            line.extend_from_slice(&buffer[..count]);
            if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                let Some(request) = Request::parse(&line[..end]) else {
                    return Ok(self.answer(refusal("unknown request")));
                };
                self.stage = Stage::Waits(request);
                return Ok(Next::Ask);
            }
            if line.len() > LONGEST {
                return Ok(self.answer(refusal("the request is too long")));
            }
        }
    }

    fn write(&mut self) -> io::Result<Next> {
        let Stage::Takes(text, sent) = &mut self.stage else {
            return Ok(Next::Wait);
        };
        while *sent < text.len() {
            match self.stream.write(&text[*sent..]) {
                Ok(count) => {
                    *sent += count;
                    self.heard = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Next::Close)
    }
}
