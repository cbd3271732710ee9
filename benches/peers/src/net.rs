//! Rows over TCP on loopback. The other ends are held by a process of its own, this same binary as `client`, so that
//! its instructions, its time and its memory are not the server's.
//!
//! - `echo_*`: 64 bytes there and back on one connection, the server with 4 KiB of buffer. Processor time and
//!   instructions are the server's alone. Whether it sleeps before each request is the scheduler's choice, so that
//!   instructions have two modes.
//! - `idle_*`: connections that exchange one message and are silent; with 128 bytes of buffer in their task where the
//!   form has one.
//! - `after_*`: connections on which 256 KiB came at once and went back, now silent.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Missing;
use crate::gate::Gate;
use crate::meter::{Report, Stopwatch, resident};
use crate::runtime::{Form, Runtime, Served};

/// A request.
const MESSAGE: usize = 64;
/// What comes at once in `after_*`.
const BURST: usize = 256 << 10;
/// How long the server is left alone before its memory is read.
const REST: Duration = Duration::from_millis(200);

/// Does a row of this module.
pub fn work<R: Runtime>(row: &str, ops: u64) -> Result<Report, Missing> {
    let (kind, form) = row.split_once('_').ok_or(Missing::Row)?;
    let form = match form {
        "protocol" => Form::Protocol,
        "net" => Form::Net,
        "streams" => Form::Streams,
        _ => return Err(Missing::Row),
    };
    if !R::has(form) {
        return Err(Missing::Row);
    }
    let kind = kind.to_owned();
    let done = match kind.as_str() {
        "echo" => R::run(move |on| served::<R, 4096>(on, form, kind, ops)),
        "idle" | "after" => R::run(move |on| served::<R, 128>(on, form, kind, ops)),
        _ => return Err(Missing::Row),
    };
    done.map_err(Missing::Failed)?
}

async fn served<R: Runtime, const BUFFER: usize>(
    on: R,
    form: Form,
    kind: String,
    ops: u64,
) -> Result<Report, Missing> {
    let (served, started) = (Served::default(), Gate::default());
    let port = std::rc::Rc::new(std::cell::Cell::new(0));
    let (announced, opened) = (port.clone(), started.clone());
    let announce = move |port| {
        announced.set(port);
        opened.open();
    };
    let server = on.clone();
    let serving = served.clone();
    on.detach(async move { server.serve::<BUFFER>(form, serving, announce).await });
    started.pass().await;
    let connections = if kind == "echo" { 1 } else { ops };
    let client = Client::start(&kind, ops, port.get())?;
    let watch = Stopwatch::new();
    served.wait(connections).await.map_err(Missing::Failed)?;
    let spent = watch.stop(ops);
    match client.end()? {
        Some(bytes) => Ok(Report::bytes(bytes / ops as f64)),
        None => Ok(spent),
    }
}

/// The process with the other ends.
pub struct Client(std::process::Child);

impl Client {
    pub fn start(kind: &str, ops: u64, port: u16) -> io::Result<Self> {
        let server = std::process::id();
        let client = Command::new(std::env::current_exe()?)
            .args([
                "client",
                kind,
                &ops.to_string(),
                &port.to_string(),
                &server.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        client.map(Self)
    }

    /// Waits for its end; what it prints is the server's growth in bytes.
    pub fn end(self) -> Result<Option<f64>, Missing> {
        let output = self.0.wait_with_output()?;
        if !output.status.success() {
            return Err(Missing::Failed("the client failed".to_owned()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
    }
}

/// The process of [`Client`]: `KIND N PORT SERVER`.
pub fn client(order: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [kind, ops, port, server] = order else {
        return Err("client KIND N PORT SERVER".into());
    };
    let (ops, port): (usize, u16) = (ops.parse()?, port.parse()?);
    if kind == "echo" {
        let mut stream = connect(port)?;
        let mut message = [7; MESSAGE];
        for _ in 0..ops {
            exchange(&mut stream, &mut message)?;
        }
        return Ok(());
    }
    let size = if kind == "idle" { MESSAGE } else { BURST };
    // A tenth to warm up. They stay, so that no connection finds the room that another has left.
    let warm = ops.div_ceil(10);
    let mut held = Vec::with_capacity(ops);
    let mut before = 0.0;
    for number in 0..ops {
        if number == warm {
            std::thread::sleep(REST);
            before = resident(server)?;
        }
        let mut stream = connect(port)?;
        burst(&mut stream, size)?;
        held.push(stream);
    }
    std::thread::sleep(REST);
    let grown = resident(server)? - before;
    println!("{}", grown * ops as f64 / (ops - warm) as f64);
    Ok(())
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream, message: &mut [u8]) -> io::Result<()> {
    stream.write_all(message)?;
    stream.read_exact(message)
}

/// Writes on a thread of its own, since the server echoes what has come while more is on its way.
fn burst(stream: &mut TcpStream, size: usize) -> io::Result<()> {
    let mut message = vec![7; size];
    if size <= MESSAGE {
        return exchange(stream, &mut message);
    }
    let mut writer = stream.try_clone()?;
    let writing = std::thread::spawn(move || writer.write_all(&vec![7; size]));
    stream.read_exact(&mut message)?;
    writing
        .join()
        .map_err(|_| io::Error::other("the writer panicked"))?
}
