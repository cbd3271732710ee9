//! A proxy between a client and a server that knows where TLS records end. It forwards them as they come, one by one, cut
//! in two, or byte by byte, and may end the connection at any boundary.
//!
//! It is a task of the test's own loop, so that nothing of it is left when the loop is, and pieces are kept apart by
//! polls for events and not by time.

use std::cell::Cell;
use std::future::pending;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::{TcpListener, TcpStream};
use callsoon::{Task, create_task};
use futures_util::future::try_join;

use crate::support::event_polls;

/// A record's type, version and length.
const HEADER: usize = 5;

/// How bytes are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    AsTheyCome,
    /// Each record by itself.
    Records,
    /// Each record in two pieces, the first of so many bytes: 1 and 4 are within the header, 5 is its end.
    CutAfter(usize),
    Bytes,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// How a connection ends early.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// Both sides get a FIN.
    Close,
    /// Both sides get a reset.
    Reset,
    /// Nothing passes any more, either way, and everything stays open.
    Stall,
}

/// Where a connection ends early: after so many records that went this way, and so many bytes of the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) way: Way,
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    pub(crate) end: End,
}

/// A proxy for one connection.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    counts: Rc<Counts>,
    serving: Task<()>,
}

#[derive(Default)]
struct Counts {
    to_server: Cell<usize>,
    to_client: Cell<usize>,
}

impl Counts {
    fn of(&self, way: Way) -> &Cell<usize> {
        match way {
            Way::ToServer => &self.to_server,
            Way::ToClient => &self.to_client,
        }
    }
}

impl Proxy {
    /// Starts one that connects to `server` when a client comes.
    pub(crate) async fn start(server: SocketAddr, pace: Pace, cut: Option<Cut>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Rc::new(Counts::default());
        let counted = Rc::clone(&counts);
        let serving = create_task(async move {
            let (client, _) = listener.accept().await.unwrap();
            drop(listener);
            let server = TcpStream::connect(server).await.unwrap();
            for side in [&client, &server] {
                side.set_nodelay(true).unwrap();
            }
            forward(&client, &server, pace, cut, &counted).await;
        });
        Self {
            address,
            counts,
            serving,
        }
    }

    /// Returns how many whole records have gone this way.
    pub(crate) fn records(&self, way: Way) -> usize {
        self.counts.of(way).get()
    }

    /// Waits until the connection is over.
    pub(crate) async fn ended(self) {
        self.serving.await.unwrap();
    }

    /// Ends a connection that stalls, or one that nobody began.
    pub(crate) async fn stop(self) {
        self.serving.cancel();
        let _ = self.serving.await;
    }
}

/// Forwards both ways until both sides have ended, or the cut is reached.
async fn forward(
    client: &TcpStream,
    server: &TcpStream,
    pace: Pace,
    cut: Option<Cut>,
    counts: &Counts,
) {
    let pump = |from, to, way| {
        let cut = cut.filter(|cut| cut.way == way);
        Pump::new(from, to, pace, cut, counts.of(way)).run()
    };
    let to_server = pump(client, server, Way::ToServer);
    let to_client = pump(server, client, Way::ToClient);
    match try_join(to_server, to_client).await {
        Ok(_) | Err(End::Close) => {}
        // A socket that is closed with this set sends a reset.
        Err(End::Reset) => {
            for side in [client, server] {
                let _ = side.set_linger(Some(Duration::ZERO));
            }
        }
        Err(End::Stall) => pending().await,
    }
}

/// One direction of a connection.
struct Pump<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    pace: Pace,
    cut: Option<Cut>,
    /// How many whole records have been forwarded.
    records: &'a Cell<usize>,
    /// What was received and not forwarded yet.
    held: Vec<u8>,
}

impl<'a> Pump<'a> {
    fn new(
        from: &'a TcpStream,
        to: &'a TcpStream,
        pace: Pace,
        cut: Option<Cut>,
        records: &'a Cell<usize>,
    ) -> Self {
        Self {
            from,
            to,
            pace,
            cut,
            records,
            held: Vec::new(),
        }
    }

    async fn run(mut self) -> Result<(), End> {
        let mut buffer = vec![0; 64 * 1024];
        self.check_cut().await?;
        loop {
            // A side that resets its connection has the other one reset too.
            let count = self.from.read(&mut buffer).await.map_err(|_| End::Reset)?;
            self.held.extend_from_slice(&buffer[..count]);
            self.check_cut().await?;
            while let Some(length) = self.whole_record() {
                let record: Vec<_> = self.held.drain(..length).collect();
                self.send(&record).await?;
                self.records.set(self.records.get() + 1);
                self.check_cut().await?;
            }
            if count == 0 {
                let rest = std::mem::take(&mut self.held);
                self.write(&rest).await?;
                let _ = self.to.shutdown(Shutdown::Write);
                return Ok(());
            }
        }
    }

    /// Returns the length of the first record that is held, if it is whole.
    fn whole_record(&self) -> Option<usize> {
        let header = self.held.get(..HEADER)?;
        let length = HEADER + usize::from(u16::from_be_bytes([header[3], header[4]]));
        (self.held.len() >= length).then_some(length)
    }

    async fn send(&self, record: &[u8]) -> Result<(), End> {
        match self.pace {
            Pace::AsTheyCome => self.write(record).await,
            Pace::Records => self.write_apart(record).await,
            Pace::CutAfter(count) => {
                let (first, rest) = record.split_at(count.min(record.len()));
                self.write_apart(first).await?;
                self.write_apart(rest).await
            }
            Pace::Bytes => {
                for byte in record.chunks(1) {
                    self.write_apart(byte).await?;
                }
                Ok(())
            }
        }
    }

    /// Writes, and lets the sides that are on this loop read it before more comes.
    async fn write_apart(&self, bytes: &[u8]) -> Result<(), End> {
        self.write(bytes).await?;
        event_polls(2).await;
        Ok(())
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), End> {
        self.to.write_all(bytes).await.map_err(|_| End::Reset)
    }

    /// Ends the connection if this is the place, after the part of the next record that still goes through.
    async fn check_cut(&mut self) -> Result<(), End> {
        match self.cut {
            Some(cut) if cut.records == self.records.get() && self.held.len() >= cut.bytes => {
                let part: Vec<_> = self.held.drain(..cut.bytes).collect();
                self.write(&part).await?;
                Err(cut.end)
            }
            _ => Ok(()),
        }
    }
}
