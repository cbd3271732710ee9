//! callsoon's server by callbacks: no task a connection.

use std::cell::Cell;
use std::rc::Rc;

use callsoon::transport::{Protocol, Transport};

use super::{BULK_BUFFER, Identity, Work, number};
use crate::echo::ANYWHERE;
use crate::support::rounds::Failure;

pub(crate) fn serve(identity: &Identity, work: Work) -> Result<(), Failure> {
    callsoon::run(async {
        let event_loop = callsoon::get_running_loop();
        let block: Rc<[u8]> = vec![7; BULK_BUFFER].into();
        let serving = match work {
            Work::Echo => event_loop.create_server(|| Echo, ANYWHERE),
            Work::Sink => event_loop.create_server(|| Sink, ANYWHERE),
            Work::Source => {
                let source = move || Source {
                    left: Cell::new(0),
                    paused: Cell::new(false),
                    block: Rc::clone(&block),
                };
                event_loop.create_server(source, ANYWHERE)
            }
        };
        let server = serving.ssl(identity.config.clone()).await?;
        identity.announce(server.local_addr().ok_or("no address")?);
        Ok(server.serve_forever().await?)
    })?
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

struct Sink;

impl Protocol for Sink {}

struct Source {
    /// Bytes to send.
    left: Cell<usize>,
    /// Enough is buffered.
    paused: Cell<bool>,
    block: Rc<[u8]>,
}

impl Source {
    fn go_on(&self, transport: &Transport) {
        while !self.paused.get() && self.left.get() > 0 {
            let count = self.left.get().min(self.block.len());
            self.left.set(self.left.get() - count);
            transport.write(&self.block[..count]);
        }
        if self.left.get() == 0 {
            transport.close();
        }
    }
}

impl Protocol for Source {
    fn data_received(&self, transport: &Transport, data: &[u8]) {
        self.left.set(number(data).unwrap_or(0));
        self.go_on(transport);
    }

    fn pause_writing(&self, _: &Transport) {
        self.paused.set(true);
    }

    fn resume_writing(&self, transport: &Transport) {
        self.paused.set(false);
        self.go_on(transport);
    }
}
