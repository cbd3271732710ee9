//! Flow control: water marks, paused reading, and the limits of a reader.

use std::io::{Read as _, Write as _};
use std::net::TcpStream as StdStream;
use std::num::NonZeroUsize;

use callsoon::stream::{ReadError, StreamReader, StreamWriter, open_connection};
use callsoon::yield_now;

use super::asyncio::{Program, program, python_bool};
use super::support::{Recorder, Trace, recorded as connected, std_pair, until};
use super::text;

async fn streams(limit: usize) -> (StreamReader, StreamWriter, StdStream) {
    let (ours, peer) = std_pair();
    let limit = NonZeroUsize::new(limit).unwrap();
    let (reader, writer) = open_connection(ours).limit(limit).await.unwrap();
    (reader, writer, peer)
}

/// How a read ended, in the words of the prelude's `tell`.
fn tell(trace: &Trace, read: Result<Vec<u8>, ReadError>) {
    trace.push(match read {
        Ok(bytes) => format!("got {}", text(&bytes)),
        Err(ReadError::Incomplete(error)) => {
            let expected = error.expected.map_or("None".to_owned(), |n| n.to_string());
            format!("incomplete {} {expected}", text(&error.partial))
        }
        Err(ReadError::LimitOverrun(error)) => format!("overrun {}", error.consumed),
        Err(ReadError::Io(error)) => format!("failed {:?}", error.kind()),
        Err(error) => error.to_string(),
    });
}

pub(crate) fn programs() -> Vec<Program<Trace>> {
    let mut all = of_writing();
    all.extend(of_reading());
    all.extend(of_separators());
    all
}

fn of_writing() -> Vec<Program<Trace>> {
    vec![
        program!(
            "high and low water",
            r#"
size = lambda t: t.get_write_buffer_size()
transport, recorder, peer = await connected(Recorder(
    pause=lambda t: say(size(t) > 100_000), resume=lambda t: say(size(t) <= 20_000)))
transport.set_write_buffer_limits(high=100_000, low=20_000)
say(*transport.get_write_buffer_limits())
written = 0
while size(transport) <= 100_000:
    transport.write(b"x" * 10_000)
    written += 10_000
say("full")
for _ in range(10):
    transport.write(b"x" * 10_000)
    written += 10_000
left = written
while left:
    await asyncio.sleep(0)
    left -= len(peer.recv(min(left, 5_000)))
await until(lambda: size(transport) == 0)
transport.close()
await until(lambda: recorder.lost)
"#,
            async |trace: Trace| {
                let (high, low) = (trace.clone(), trace.clone());
                let recorder = Recorder::new(&trace)
                    .on("pause", move |t| {
                        high.push(python_bool(t.write_buffer_size() > 100_000));
                    })
                    .on("resume", move |t| {
                        low.push(python_bool(t.write_buffer_size() <= 20_000));
                    });
                let (transport, recorder, mut peer) = connected(recorder).await;
                let limits = transport.set_write_buffer_limits(Some(100_000), Some(20_000));
                limits.unwrap();
                let (low, high) = transport.write_buffer_limits();
                trace.push(format!("{low} {high}"));
                let mut left = 0;
                while transport.write_buffer_size() <= 100_000 {
                    transport.write([b'x'; 10_000]);
                    left += 10_000;
                }
                trace.push("full");
                for _ in 0..10 {
                    transport.write([b'x'; 10_000]);
                    left += 10_000;
                }
                let mut buffer = [0; 5_000];
                while left > 0 {
                    yield_now().await;
                    let most = left.min(buffer.len());
                    left -= peer.read(&mut buffer[..most]).unwrap();
                }
                until(|| transport.write_buffer_size() == 0).await;
                transport.close();
                until(|| recorder.lost.get()).await;
            }
        ),
        program!(
            "limits that follow from each other, and limits that cannot be",
            r#"
transport, recorder, peer = await connected(Recorder())
for high, low in ((None, None), (100, None), (None, 100), (0, None), (7, 7), (10, 20)):
    try: transport.set_write_buffer_limits(high, low)
    except ValueError: say("no")
    say(*transport.get_write_buffer_limits())
transport.abort()
await until(lambda: recorder.lost)
"#,
            async |trace: Trace| {
                let (transport, recorder, _peer) = connected(Recorder::new(&trace)).await;
                for (high, low) in [
                    (None, None),
                    (Some(100), None),
                    (None, Some(100)),
                    (Some(0), None),
                    (Some(7), Some(7)),
                    (Some(10), Some(20)),
                ] {
                    if transport.set_write_buffer_limits(high, low).is_err() {
                        trace.push("no");
                    }
                    let (low, high) = transport.write_buffer_limits();
                    trace.push(format!("{low} {high}"));
                }
                transport.abort();
                until(|| recorder.lost.get()).await;
            }
        ),
        program!(
            "closing sends what is buffered, what is written meanwhile too",
            r#"
transport, recorder, peer = await connected(Recorder())
written = 0
while transport.get_write_buffer_size() <= 65536:
    transport.write(b"x" * 10_000)
    written += 10_000
transport.close()
transport.write(b"more")
left = written + 4
while left:
    await asyncio.sleep(0)
    left -= len(peer.recv(left))
await until(lambda: recorder.lost)
say(text(peer.recv(1)))
"#,
            async |trace: Trace| {
                let (transport, recorder, mut peer) = connected(Recorder::new(&trace)).await;
                let mut left = 4;
                while transport.write_buffer_size() <= 65536 {
                    transport.write([b'x'; 10_000]);
                    left += 10_000;
                }
                transport.close();
                transport.write(b"more");
                let mut buffer = vec![0; left];
                while left > 0 {
                    yield_now().await;
                    left -= peer.read(&mut buffer[..left]).unwrap();
                }
                until(|| recorder.lost.get()).await;
                let count = peer.read(&mut buffer).unwrap();
                trace.push(text(&buffer[..count]));
            }
        ),
    ]
}

fn of_reading() -> Vec<Program<Trace>> {
    vec![
        program!(
            "reading paused and resumed",
            r#"
transport, recorder, peer = await connected(Recorder(made=lambda t: t.pause_reading()))
say(transport.is_reading())
transport.pause_reading()
peer.sendall(b"patience")
await asyncio.sleep(0.02)
say(recorder.received)
transport.resume_reading()
transport.resume_reading()
say(transport.is_reading(), recorder.received)
await until(lambda: recorder.received)
transport.pause_reading()
peer.shutdown(socket.SHUT_WR)
await asyncio.sleep(0.02)
say("no end yet")
transport.resume_reading()
await until(lambda: recorder.lost)
say(transport.is_reading())
"#,
            async |trace: Trace| {
                let paused = Recorder::new(&trace).on("made", |t| t.pause_reading());
                let (transport, recorder, mut peer) = connected(paused).await;
                trace.push(python_bool(transport.is_reading()));
                transport.pause_reading();
                peer.write_all(b"patience").unwrap();
                callsoon::sleep(std::time::Duration::from_millis(20)).await;
                trace.push(recorder.received.get());
                transport.resume_reading();
                transport.resume_reading();
                let reading = python_bool(transport.is_reading());
                trace.push(format!("{reading} {}", recorder.received.get()));
                until(|| recorder.received.get() > 0).await;
                transport.pause_reading();
                peer.shutdown(std::net::Shutdown::Write).unwrap();
                callsoon::sleep(std::time::Duration::from_millis(20)).await;
                trace.push("no end yet");
                transport.resume_reading();
                until(|| recorder.lost.get()).await;
                trace.push(python_bool(transport.is_reading()));
            }
        ),
        program!(
            "readexactly and readuntil at the end",
            r#"
reader, writer, peer = await streams()
peer.sendall(b"abcdefg;hij")
peer.shutdown(socket.SHUT_WR)
await tell(reader.readexactly(3))
await tell(reader.readexactly(0))
await tell(reader.readuntil(b";"))
say(reader.at_eof())
await tell(reader.readuntil(b";"))
say(reader.at_eof())
await tell(reader.readexactly(1))
await tell(reader.readuntil(b";"))
await tell(reader.readline())
await tell(reader.read(5))
await tell(reader.read())
writer.close()
await writer.wait_closed()
say(writer.is_closing())
"#,
            async |trace: Trace| {
                let (mut reader, writer, mut peer) = streams(1 << 16).await;
                peer.write_all(b"abcdefg;hij").unwrap();
                peer.shutdown(std::net::Shutdown::Write).unwrap();
                tell(&trace, reader.readexactly(3).await);
                tell(&trace, reader.readexactly(0).await);
                tell(&trace, reader.readuntil(b";").await);
                trace.push(python_bool(reader.at_eof()));
                tell(&trace, reader.readuntil(b";").await);
                trace.push(python_bool(reader.at_eof()));
                tell(&trace, reader.readexactly(1).await);
                tell(&trace, reader.readuntil(b";").await);
                tell(&trace, reader.readline().await);
                tell(&trace, reader.read(5).await.map_err(ReadError::Io));
                tell(&trace, reader.read_to_end().await.map_err(ReadError::Io));
                writer.close();
                writer.wait_closed().await.unwrap();
                trace.push(python_bool(writer.is_closing()));
            }
        ),
    ]
}

fn of_separators() -> Vec<Program<Trace>> {
    vec![
        program!(
            "a reader's limit, which readuntil and not readexactly heeds",
            r#"
reader, writer, peer = await streams(10)
peer.sendall(b"0123456789" * 3)
await tell(reader.readexactly(1))
await tell(reader.readuntil(b";"))
await tell(reader.readuntil(b"-*-"))
await tell(reader.readexactly(29))
peer.sendall(b"0123456789;")
await tell(reader.readuntil(b";"))
peer.sendall(b"0123456789+;")
await tell(reader.readexactly(0))
await tell(reader.readuntil(b";"))
await tell(reader.read(100))
peer.sendall(b"x" * 100)
peer.shutdown(socket.SHUT_WR)
await tell(reader.read())
writer.close()
await writer.wait_closed()
"#,
            async |trace: Trace| {
                let (mut reader, writer, mut peer) = streams(10).await;
                peer.write_all(&b"0123456789".repeat(3)).unwrap();
                tell(&trace, reader.readexactly(1).await);
                tell(&trace, reader.readuntil(b";").await);
                tell(&trace, reader.readuntil(b"-*-").await);
                tell(&trace, reader.readexactly(29).await);
                peer.write_all(b"0123456789;").unwrap();
                tell(&trace, reader.readuntil(b";").await);
                peer.write_all(b"0123456789+;").unwrap();
                tell(&trace, reader.readexactly(0).await);
                tell(&trace, reader.readuntil(b";").await);
                tell(&trace, reader.read(100).await.map_err(ReadError::Io));
                peer.write_all(&[b'x'; 100]).unwrap();
                peer.shutdown(std::net::Shutdown::Write).unwrap();
                tell(&trace, reader.read_to_end().await.map_err(ReadError::Io));
                writer.close();
                writer.wait_closed().await.unwrap();
            }
        ),
        program!(
            "a line over the limit",
            differs: "asyncio's readline throws the line away; ours leaves it for the next call",
            r#"
reader, writer, peer = await streams(10)
peer.sendall(b"x" * 20 + b"\nnext\n")
try: await reader.readline()
except ValueError: say("overrun")
await tell(reader.readline())
writer.close()
await writer.wait_closed()
"#,
            async |trace: Trace| {
                let (mut reader, writer, mut peer) = streams(10).await;
                peer.write_all(b"xxxxxxxxxxxxxxxxxxxx\nnext\n").unwrap();
                if reader.readline().await.is_err() {
                    trace.push("overrun");
                }
                tell(&trace, reader.readexactly(21).await);
                tell(&trace, reader.readline().await);
                writer.close();
                writer.wait_closed().await.unwrap();
            }
        ),
    ]
}
