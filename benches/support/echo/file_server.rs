//! Servers of one file, each peer's: a client that connects gets the file and its end.
//!
//! callsoon's three forms and the floor have the system send it; tokio and smol have no call for that and read and
//! write in blocks, which is what their users do.

use std::fs::File;
use std::io;
use std::net::TcpListener as StdListener;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use async_io::Async;
use callsoon::stream::{StreamReader, StreamWriter, start_server};
use callsoon::transport::{Protocol, Transport};
use futures_lite::AsyncWriteExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::support::rounds::Failure;

/// The file's size.
pub(crate) const SIZE: u64 = 64 << 20;

/// A file without a name, all in memory once it was read.
fn file() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("callsoon-bench-{}", std::process::id()));
    let mut options = File::options();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(path)?;
    let block = vec![7; 1 << 20];
    for number in 0..SIZE >> 20 {
        file.write_all_at(&block, number << 20)?;
    }
    Ok(file)
}

pub(crate) fn serve(peer: &str) -> Result<(), Failure> {
    let file = file()?;
    match peer {
        "protocol" => protocol(file),
        "streams" => streams(file),
        "net" => net(&file),
        "floor" => floor(&file),
        "tokio" => tokio(&file),
        "smol" => smol(&file),
        other => Err(format!("no file server {other:?}").into()),
    }
}

struct Send(Rc<File>);

impl Protocol for Send {
    fn connection_made(&self, transport: &Transport) {
        let (transport, file) = (transport.clone(), Rc::clone(&self.0));
        callsoon::create_task(async move {
            // A connection that fails ends; the load generator notices.
            let event_loop = callsoon::get_running_loop();
            let _ = event_loop.sendfile(&transport, &file, 0, None).await;
            transport.close();
        });
    }
}

fn protocol(file: File) -> Result<(), Failure> {
    let file = Rc::new(file);
    callsoon::run(async {
        let event_loop = callsoon::get_running_loop();
        let server = event_loop.create_server(move || Send(Rc::clone(&file)), super::ANYWHERE);
        let server = server.await?;
        super::announce(server.local_addr().ok_or("no address")?);
        Ok(server.serve_forever().await?)
    })?
}

fn streams(file: File) -> Result<(), Failure> {
    callsoon::run(async {
        let send = async move |_: StreamReader, writer: StreamWriter| {
            writer.sendfile(&file, 0, None).await.map(drop)
        };
        let server = start_server(send, super::ANYWHERE).await?;
        super::announce(server.local_addr().ok_or("no address")?);
        Ok(server.serve_forever().await?)
    })?
}

fn net(file: &File) -> Result<(), Failure> {
    callsoon::run(async {
        let listener = callsoon::net::TcpListener::bind(super::ANYWHERE).await?;
        super::announce(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.sendfile(file, 0, None).await?;
        }
    })?
}

fn floor(file: &File) -> Result<(), Failure> {
    let listener = StdListener::bind(super::ANYWHERE)?;
    super::announce(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept()?;
        let mut offset = 0;
        while (offset as u64) < SIZE {
            let left = SIZE as usize - offset as usize;
            let (to, from) = (stream.as_raw_fd(), file.as_raw_fd());
            // SAFETY: both descriptors are open, and `offset` is live and writable for the duration of the call.
            if unsafe { libc::sendfile(to, from, &raw mut offset, left) } < 0 {
                return Err(io::Error::last_os_error().into());
            }
        }
    }
}

fn tokio(file: &File) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(super::ANYWHERE).await?;
        super::announce(listener.local_addr()?);
        let mut block = vec![0; super::BULK_BUFFER];
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut offset = 0;
            while offset < SIZE {
                let count = file.read_at(&mut block, offset)?;
                stream.write_all(&block[..count]).await?;
                offset += count as u64;
            }
        }
    })
}

fn smol(file: &File) -> Result<(), Failure> {
    async_io::block_on(async {
        let listener = Async::<StdListener>::bind(super::ANYWHERE)?;
        super::announce(listener.get_ref().local_addr()?);
        let mut block = vec![0; super::BULK_BUFFER];
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut offset = 0;
            while offset < SIZE {
                let count = file.read_at(&mut block, offset)?;
                stream.write_all(&block[..count]).await?;
                offset += count as u64;
            }
        }
    })
}
