//! The load generators: rustls over a blocking socket. Each says `warm` when the server is to be asked for its figures the
//! first time, waits for a line, does its work, and says `done`, with how much it was and how many nanoseconds it took.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, version};

use crate::support::rounds::Failure;

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// What is written at once in bulk.
const BLOCK: usize = 256 * 1024;
/// A request and its reply.
const MESSAGE: usize = 64;
/// A server that sends nothing for this long has failed.
const SILENCE: Duration = Duration::from_secs(20);

/// A server, as a client knows it.
struct Target {
    port: u16,
    config: Arc<ClientConfig>,
}

impl Target {
    /// Reads `PORT:CERTIFICATE`.
    fn parse(text: &str) -> Result<Self, Failure> {
        let (port, digits) = text.split_once(':').ok_or("no certificate")?;
        let byte = |place| u8::from_str_radix(&digits[place..place + 2], 16);
        let bytes: Result<Vec<_>, _> = (0..digits.len()).step_by(2).map(byte).collect();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(bytes?))?;
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            port: port.parse()?,
            config: Arc::new(config),
        })
    }

    fn connect(&self) -> Result<Stream, Failure> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE))?;
        socket.set_write_timeout(Some(SILENCE))?;
        let name = ServerName::try_from("localhost")?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name)?;
        Ok(StreamOwned::new(connection, socket))
    }
}

/// One request and its reply.
fn ask(stream: &mut Stream) -> io::Result<()> {
    stream.write_all(&[7; MESSAGE])?;
    stream.read_exact(&mut [0; MESSAGE])
}

fn finish(stream: &mut Stream) -> io::Result<()> {
    stream.conn.send_close_notify();
    stream.flush()
}

/// A connection with one request; whether it was resumed.
fn visit(target: &Target) -> Result<bool, Failure> {
    let mut stream = target.connect()?;
    ask(&mut stream)?;
    finish(&mut stream)?;
    Ok(stream.conn.handshake_kind() == Some(HandshakeKind::Resumed))
}

/// So many visits, each of which must be resumed, or none.
fn visits(target: &Target, count: usize, resumed: bool) -> Result<usize, Failure> {
    for _ in 0..count {
        if visit(target)? != resumed {
            return Err("a handshake was not of the kind that is measured".into());
        }
    }
    Ok(count)
}

/// Sends so many bytes on a connection of its own and waits until the server has closed it.
fn send(target: &Target, count: usize) -> Result<usize, Failure> {
    let mut stream = target.connect()?;
    let block = vec![7; BLOCK];
    let mut left = count;
    while left > 0 {
        let now = left.min(BLOCK);
        stream.write_all(&block[..now])?;
        left -= now;
    }
    finish(&mut stream)?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(count)
}

/// Asks for so many bytes and reads them to their end.
fn receive(target: &Target, count: usize) -> Result<usize, Failure> {
    let mut stream = target.connect()?;
    stream.write_all(&(count as u64).to_be_bytes())?;
    let mut block = vec![0; BLOCK];
    let mut received = 0;
    loop {
        match stream.read(&mut block)? {
            0 if received == count => return Ok(received),
            0 => return Err(format!("{received} bytes of {count}").into()),
            more => received += more,
        }
    }
}

/// Keeps a request outstanding on each connection for a time; how many there were.
fn echoes(streams: &mut [Stream], time: Duration) -> Result<usize, Failure> {
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < time {
        for stream in &mut *streams {
            stream.write_all(&[7; MESSAGE])?;
        }
        for stream in &mut *streams {
            stream.read_exact(&mut [0; MESSAGE])?;
        }
        count += streams.len();
    }
    Ok(count)
}

/// Warms up, waits until it may go on, works, and says how much it was.
fn timed(
    warm_up: impl FnOnce() -> Result<(), Failure>,
    work: impl FnOnce() -> Result<usize, Failure>,
) -> Result<(), Failure> {
    warm_up()?;
    println!("warm");
    io::stdin().read_line(&mut String::new())?;
    let began = Instant::now();
    let count = work()?;
    println!("done {count} {}", began.elapsed().as_nanos());
    Ok(())
}

/// `--child KIND PORT:CERTIFICATE NUMBER...`.
pub(crate) fn run(kind: &str, order: &[String]) -> Result<(), Failure> {
    let (target, numbers) = order.split_first().ok_or("a load wants a port")?;
    let mut target = Target::parse(target)?;
    let numbers: Result<Vec<usize>, _> = numbers.iter().map(|number| number.parse()).collect();
    match (kind, numbers?.as_slice()) {
        ("full", &[count]) => {
            let config = Arc::make_mut(&mut target.config);
            config.resumption = Resumption::disabled();
            let some = || visits(&target, count / 10, false).map(drop);
            timed(some, || visits(&target, count, false))
        }
        ("resumed", &[count]) => {
            let some = || {
                visit(&target)?;
                visits(&target, count / 10, true).map(drop)
            };
            timed(some, || visits(&target, count, true))
        }
        ("in", &[count]) => timed(
            || send(&target, count / 10).map(drop),
            || send(&target, count),
        ),
        ("out", &[count]) => timed(
            || receive(&target, count / 10).map(drop),
            || receive(&target, count),
        ),
        ("echoes", &[connections, millis]) => {
            let streams: Result<Vec<_>, _> = (0..connections).map(|_| target.connect()).collect();
            let mut streams = streams?;
            // Handshakes, one after another, so that none waits for another one.
            for stream in &mut streams {
                ask(stream)?;
            }
            let time = Duration::from_millis(millis as u64);
            echoes(&mut streams, time / 10)?;
            timed(|| Ok(()), || echoes(&mut streams, time))?;
            streams.iter_mut().try_for_each(finish)?;
            Ok(())
        }
        (kind, numbers) => Err(format!("no load {kind:?} of {numbers:?}").into()),
    }
}
