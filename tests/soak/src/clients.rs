//! The clients: a function for each kind of conversation. They use sockets with async methods.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::{ConnectOptions, TcpStream};
use callsoon::{Event, sleep, timeout};

use crate::counts::{Count, Counts};
use crate::header::{Header, Kind};
use crate::sequence::{Sequence, mixed};
use crate::watch::pause;

/// The addresses that clients come from, so that there are ports enough: a connection keeps its port for a minute after
/// it has closed, and an address has some 28,000.
const SOURCES: u64 = 16;
/// A conversation that takes longer than this, and has not been slow on purpose, is stuck.
const LIMIT: Duration = Duration::from_secs(60);

/// A slow reader: so many bytes, in such pieces, and so long between two of them.
const DOWNLOAD: u32 = 1024 * 1024;
const DOWNLOAD_PIECE: usize = 16 * 1024;
const DOWNLOAD_REST: Duration = Duration::from_millis(50);
/// A slow writer: so many pieces of so many bytes, and so long between two of them.
const PIECES: usize = 60;
const PIECE: usize = 16;
const PIECE_REST: Duration = Duration::from_millis(50);
/// An upload, which the server reads slowly.
const UPLOAD: usize = 1024 * 1024;
/// What an idle connection says now and then, and the least and most seconds between two times.
const PING: usize = 32;
const PING_SECONDS: (u64, u64) = (5, 60);

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) counts: Counts,
    pub(crate) stopping: Rc<Event>,
    /// Where the server listens.
    servers: Vec<SocketAddr>,
    /// Where nobody listens.
    nobody: SocketAddr,
}

/// A client's connection, and the bytes of both directions.
struct Talk<'c> {
    counts: &'c Counts,
    stream: TcpStream,
    outgoing: Sequence,
    incoming: Sequence,
}

impl Talk<'_> {
    /// Sends the next bytes.
    async fn say(&mut self, count: usize) -> io::Result<()> {
        let bytes = self.outgoing.next(count);
        self.stream.write_all(&bytes).await?;
        self.counts.add(Count::BytesSent, count as u64);
        Ok(())
    }

    /// Reads at most so many bytes and checks them; 0 at the end.
    async fn hear(&mut self, most: usize) -> io::Result<usize> {
        let mut buffer = vec![0; most];
        let count = self.stream.read(&mut buffer).await?;
        self.counts.add(Count::BytesReceived, count as u64);
        let wrong = self.incoming.wrong(&buffer[..count]);
        self.counts.add(Count::WrongBytes, wrong);
        Ok(count)
    }

    /// Reads exactly so many bytes.
    async fn hear_all(&mut self, mut count: usize) -> io::Result<()> {
        while count > 0 {
            match self.hear(count).await? {
                0 => return Err(io::Error::other(format!("an end, {count} bytes too early"))),
                heard => count -= heard,
            }
        }
        Ok(())
    }

    /// Reads until the end, which must come after so many bytes of the whole conversation.
    async fn hear_end(&mut self, count: u64) -> io::Result<()> {
        while self.hear(DOWNLOAD_PIECE).await? > 0 {}
        match self.incoming.at() {
            at if at == count => Ok(()),
            at => Err(io::Error::other(format!("{at} bytes instead of {count}"))),
        }
    }
}

impl Clients {
    pub(crate) fn new(servers: Vec<SocketAddr>, nobody: SocketAddr, stopping: Rc<Event>) -> Self {
        Self {
            counts: Counts::default(),
            stopping,
            servers,
            nobody,
        }
    }

    /// The server and the source of a connection.
    async fn connect(&self, number: u64, to: Option<SocketAddr>) -> io::Result<TcpStream> {
        let place = mixed(number);
        let source = [127, 0, 2, 1 + (place % SOURCES) as u8];
        let server = self.servers[(place >> 8) as usize % self.servers.len()];
        ConnectOptions::new()
            .local_addr(SocketAddr::from((source, 0)))
            .connect(to.unwrap_or(server))
            .await
    }

    /// Connects and says the header.
    async fn begin(&self, number: u64, kind: Kind, count: usize) -> io::Result<Talk<'_>> {
        let stream = self.connect(number, None).await?;
        self.counts.one(Count::Connections);
        let header = Header {
            kind,
            count: count as u32,
            seed: number,
        };
        stream.write_all(&header.encode()).await?;
        Ok(Talk {
            counts: &self.counts,
            stream,
            outgoing: Sequence::of_client(number),
            incoming: Sequence::of_server(number),
        })
    }

    /// One short connection. The number says what happens in it.
    pub(crate) async fn short(self: Rc<Self>, number: u64) {
        let size = 64 + (mixed(number) >> 32) as usize % 4000;
        let (what, done) = match number % 20 {
            0..10 => ("echo", timeout(LIMIT, self.echo(number, size)).await),
            10..12 => ("half", timeout(LIMIT, self.half(number, size)).await),
            12..14 => (
                "half by server",
                timeout(LIMIT, self.server_half(number, size)).await,
            ),
            14..16 => ("reset", timeout(LIMIT, self.reset(number)).await),
            16..18 => (
                "reset by server",
                timeout(LIMIT, self.server_reset(number, size)).await,
            ),
            18 => ("refused", timeout(LIMIT, self.refused(number)).await),
            _ => ("cancelled", timeout(LIMIT, self.cancelled(number)).await),
        };
        self.ended(what, done);
    }

    fn ended(&self, what: &str, done: Result<io::Result<()>, callsoon::TimedOut>) {
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.counts.unexpected(format_args!("{what}: {error}")),
            Err(_) => self.counts.unexpected(format_args!("{what}: stuck")),
        }
    }

    async fn echo(&self, number: u64, size: usize) -> io::Result<()> {
        let mut talk = self.begin(number, Kind::Echo, size).await?;
        talk.say(size).await?;
        talk.hear_all(size).await
    }

    /// Ends its side, and reads the answer after that.
    async fn half(&self, number: u64, size: usize) -> io::Result<()> {
        let mut talk = self.begin(number, Kind::Echo, size).await?;
        talk.say(size).await?;
        talk.stream.shutdown(Shutdown::Write)?;
        self.counts.one(Count::HalfCloses);
        talk.hear_end(size as u64).await
    }

    /// The server ends its side, and reads what comes after that.
    async fn server_half(&self, number: u64, size: usize) -> io::Result<()> {
        let mut talk = self.begin(number, Kind::Half, size).await?;
        talk.hear_end(size as u64).await?;
        talk.say(size).await
    }

    /// Resets the connection in the middle of the answer.
    async fn reset(&self, number: u64) -> io::Result<()> {
        let size = 32 * 1024;
        let mut talk = self.begin(number, Kind::Echo, size).await?;
        talk.say(size).await?;
        talk.hear_all(size / 4).await?;
        talk.stream.set_linger(Some(Duration::ZERO))?;
        self.counts.one(Count::ResetsMade);
        Ok(())
    }

    /// The server resets the connection.
    async fn server_reset(&self, number: u64, size: usize) -> io::Result<()> {
        let mut talk = self.begin(number, Kind::Reset, size).await?;
        talk.say(size).await?;
        loop {
            match talk.hear(DOWNLOAD_PIECE).await {
                Ok(0) => return Err(io::Error::other("an end instead of a reset")),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    self.counts.one(Count::ResetsSeen);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Connects to where nobody listens.
    async fn refused(&self, number: u64) -> io::Result<()> {
        match self.connect(number, Some(self.nobody)).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                self.counts.one(Count::Refused);
                Ok(())
            }
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::other("somebody answered")),
        }
    }

    /// Gives up reading after a few milliseconds, anywhere.
    async fn cancelled(&self, number: u64) -> io::Result<()> {
        let mut talk = self
            .begin(number, Kind::Download, DOWNLOAD as usize)
            .await?;
        talk.hear_all(1).await?;
        let patience = Duration::from_micros(mixed(number) % 5000);
        if let Ok(ended) = timeout(patience, talk.hear_end(u64::from(DOWNLOAD))).await {
            return ended;
        }
        self.counts.one(Count::Cancelled);
        Ok(())
    }

    /// Reads slowly, one download after the other.
    pub(crate) async fn slow_reader(self: Rc<Self>, first: u64) {
        let mut number = first;
        while !self.stopping.is_set() {
            let done = timeout(2 * LIMIT, self.slow_download(number)).await;
            self.ended("a slow reader", done);
            self.counts.one(Count::SlowReads);
            number += 1;
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn slow_download(&self, number: u64) -> io::Result<()> {
        let mut talk = self
            .begin(number, Kind::Download, DOWNLOAD as usize)
            .await?;
        while talk.hear(DOWNLOAD_PIECE).await? > 0 {
            sleep(DOWNLOAD_REST).await;
        }
        talk.hear_end(u64::from(DOWNLOAD)).await
    }

    /// Writes slowly, one conversation after the other; every third is an upload that the server reads slowly.
    pub(crate) async fn slow_writer(self: Rc<Self>, first: u64) {
        let mut number = first;
        while !self.stopping.is_set() {
            let done = match number % 3 {
                0 => timeout(2 * LIMIT, self.upload(number)).await,
                _ => timeout(2 * LIMIT, self.slow_echo(number)).await,
            };
            self.ended("a slow writer", done);
            self.counts.one(Count::SlowWrites);
            number += 1;
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn slow_echo(&self, number: u64) -> io::Result<()> {
        let mut talk = self.begin(number, Kind::Echo, PIECE).await?;
        for _ in 0..PIECES {
            talk.say(PIECE).await?;
            talk.hear_all(PIECE).await?;
            sleep(PIECE_REST).await;
        }
        Ok(())
    }

    async fn upload(&self, number: u64) -> io::Result<()> {
        let mut talk = self.begin(number, Kind::Upload, UPLOAD).await?;
        talk.say(UPLOAD).await?;
        talk.stream.shutdown(Shutdown::Write)?;
        self.counts.one(Count::HalfCloses);
        talk.hear_end(UPLOAD as u64 / 1024).await
    }

    /// Holds a connection until the load ends, and says something now and then. Tells when the first answer is there.
    pub(crate) async fn idle(self: Rc<Self>, number: u64, is_there: impl FnOnce()) {
        if let Err(error) = self.hold(number, is_there).await {
            self.counts
                .unexpected(format_args!("an idle client: {error}"));
        }
    }

    async fn hold(&self, number: u64, is_there: impl FnOnce()) -> io::Result<()> {
        let mut talk = self.begin(number, Kind::Echo, PING).await?;
        self.ping(&mut talk).await?;
        is_there();
        let (least, most) = PING_SECONDS;
        loop {
            let seconds = least + mixed(number ^ talk.incoming.at()) % (most - least);
            if pause(Duration::from_secs(seconds), &self.stopping).await {
                return Ok(());
            }
            self.ping(&mut talk).await?;
        }
    }

    async fn ping(&self, talk: &mut Talk<'_>) -> io::Result<()> {
        let ping = async {
            talk.say(PING).await?;
            talk.hear_all(PING).await
        };
        timeout(LIMIT, ping)
            .await
            .unwrap_or_else(|_| Err(io::Error::other("a ping without an answer")))?;
        self.counts.one(Count::Pings);
        Ok(())
    }
}
