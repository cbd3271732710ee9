//! The other load generators: one that sends in bulk, one that comes and goes, one that stays and says nothing, one
//! that sends datagrams, one that downloads.
//!
//! Each connects to PORT, says `warm` when the server is to be asked for its figures the first time, waits for a line,
//! does its work, and says `done`, with what it did. All block: the server is what is measured.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::support::rounds::Failure;

/// What the bulk sender writes at once.
const BLOCK: usize = 256 * 1024;
/// A request and its reply.
const MESSAGE: usize = 64;
/// Datagrams that wait for their echo at a time.
const UNDER_WAY: usize = 16;
/// A server that sends nothing for this long has failed.
const SILENCE: Duration = Duration::from_secs(20);

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    Ok(stream)
}

/// One request and its reply.
fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&[7; MESSAGE])?;
    stream.read_exact(&mut [0; MESSAGE])
}

/// Sends so many bytes on a connection of its own and waits until the server has closed it.
fn send(port: u16, count: usize) -> io::Result<()> {
    let mut stream = connect(port)?;
    let block = vec![7; BLOCK];
    let mut left = count;
    while left > 0 {
        let now = left.min(BLOCK);
        stream.write_all(&block[..now])?;
        left -= now;
    }
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

/// Sends so many datagrams and waits for as many, with a few under way at any time: fewer than any buffer holds.
fn exchange(socket: &UdpSocket, count: usize) -> io::Result<()> {
    let mut sent = 0;
    for received in 0..count {
        while sent < count.min(received + UNDER_WAY) {
            socket.send(&[7; MESSAGE])?;
            sent += 1;
        }
        socket.recv(&mut [0; MESSAGE])?;
    }
    Ok(())
}

/// Reads what the server has to the end; how much it was.
fn download(port: u16, block: &mut [u8]) -> io::Result<usize> {
    let mut stream = connect(port)?;
    let mut size = 0;
    loop {
        match stream.read(block)? {
            0 => return Ok(size),
            count => size += count,
        }
    }
}

/// Says `warm` and waits until it may go on.
fn pause() -> io::Result<()> {
    println!("warm");
    io::stdin().read_line(&mut String::new()).map(drop)
}

/// `--child KIND PORT COUNT`.
pub(crate) fn run(kind: &str, order: &[String]) -> Result<(), Failure> {
    let [port, count] = order else {
        return Err(format!("{kind} wants PORT COUNT").into());
    };
    let (port, count) = (port.parse()?, count.parse()?);
    match kind {
        "bulk" => {
            send(port, count / 10)?;
            pause()?;
            let began = Instant::now();
            send(port, count)?;
            println!("done {}", began.elapsed().as_nanos());
        }
        "visits" => {
            for _ in 0..count / 10 {
                ask(&mut connect(port)?)?;
            }
            pause()?;
            let began = Instant::now();
            for _ in 0..count {
                ask(&mut connect(port)?)?;
            }
            println!("done {}", began.elapsed().as_nanos());
        }
        "datagrams" => {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect((Ipv4Addr::LOCALHOST, port))?;
            socket.set_read_timeout(Some(SILENCE))?;
            exchange(&socket, count / 10)?;
            pause()?;
            let began = Instant::now();
            exchange(&socket, count)?;
            println!("done {}", began.elapsed().as_nanos());
        }
        "downloads" => {
            let mut block = vec![0; BLOCK];
            download(port, &mut block)?;
            pause()?;
            let began = Instant::now();
            let mut size = 0;
            for _ in 0..count {
                size += download(port, &mut block)?;
            }
            println!("done {} {size}", began.elapsed().as_nanos());
        }
        _ => {
            // A first one, so that what a server makes once is not counted.
            let mut held = vec![connect(port)?];
            ask(&mut held[0])?;
            pause()?;
            for _ in 0..count {
                let mut stream = connect(port)?;
                ask(&mut stream)?;
                held.push(stream);
            }
            println!("done 0");
            io::stdin().read_line(&mut String::new())?;
        }
    }
    Ok(())
}
