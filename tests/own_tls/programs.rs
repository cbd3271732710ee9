//! Random programs on both sides, through sockets that hold little: every byte arrives, in its order, and everything ends.

use std::net::TcpStream as StdStream;
use std::os::unix::net::UnixStream;

use callsoon::stream::{StreamReader, StreamWriter, open_connection};
use callsoon::{create_task, yield_now};
use futures_util::future::join4;
use socket2::SockRef;

use crate::certificates::{client_config, server_config};
use crate::pattern;
use crate::peer::Peer;
use crate::support::{settling, std_pair, until};

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// A connected pair with the smallest buffers that the system has. TCP with such buffers waits for timers of its own.
fn narrow_pair() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    for side in [&one, &other] {
        SockRef::from(side).set_send_buffer_size(1).unwrap();
    }
    (one, other)
}

const AMOUNT: usize = 60_000;

async fn rests(random: &mut Random) {
    for _ in 0..random.below(4) {
        yield_now().await;
    }
}

/// Writes everything, in pieces of any size, and waits as it likes.
async fn write(writer: &StreamWriter, mut random: Random) {
    let data = pattern(AMOUNT);
    let mut rest = &data[..];
    while !rest.is_empty() {
        let bound = [2, 100, 5000, 40_000][random.below(4)];
        let (piece, after) = rest.split_at((1 + random.below(bound)).min(rest.len()));
        rest = after;
        match random.below(3) {
            0 => writer.writelines(&[&piece[..piece.len() / 2], &piece[piece.len() / 2..]]),
            _ => writer.write(piece),
        }
        if random.below(2) == 0 {
            writer.drain().await.unwrap();
        }
        rests(&mut random).await;
    }
}

/// Reads everything, by every kind of read.
async fn read(
    reader: &mut StreamReader,
    transport: callsoon::transport::Transport,
    mut random: Random,
) {
    let mut came = Vec::new();
    while came.len() < AMOUNT {
        let left = AMOUNT - came.len();
        match random.below(5) {
            0 => {
                let mut buffer = vec![0; 1 + random.below(3000)];
                let bound = buffer.len().min(left);
                let count = reader.read_into(&mut buffer[..bound]).await.unwrap();
                assert!(count > 0);
                came.extend_from_slice(&buffer[..count]);
            }
            1 => came.extend(
                reader
                    .readexactly((1 + random.below(9000)).min(left))
                    .await
                    .unwrap(),
            ),
            2 => came.extend(
                reader
                    .read((1 + random.below(20_000)).min(left))
                    .await
                    .unwrap(),
            ),
            3 => {
                transport.pause_reading();
                rests(&mut random).await;
                transport.resume_reading();
            }
            _ => rests(&mut random).await,
        }
    }
    assert!(came == pattern(AMOUNT));
}

#[test]
fn g4_random_programs_on_two_streams_through_a_narrow_socket_lose_nothing() {
    settling(|event_loop, _| async move {
        for seed in 1..=40_u64 {
            let (ours, theirs) = narrow_pair();
            let client = open_connection(ours).ssl(client_config());
            let client = create_task(client.server_hostname("localhost").into_future());
            let (reader, writer) = open_connection(theirs).await.unwrap();
            writer.start_tls(server_config()).await.unwrap();
            let client = client.await.unwrap().unwrap();
            let mut sides = [client, (reader, writer)];
            let [(reader, writer), (other_reader, other_writer)] = &mut sides;
            let random =
                |salt: u64| Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt << 32 | 1);
            let transports = (writer.transport().clone(), other_writer.transport().clone());
            join4(
                write(writer, random(1)),
                write(other_writer, random(2)),
                read(reader, transports.0, random(3)),
                read(other_reader, transports.1, random(4)),
            )
            .await;
            for (_, writer) in &sides {
                writer.close();
            }
            for (reader, writer) in &mut sides {
                assert_eq!(reader.read(1).await.unwrap(), b"", "seed {seed}");
                writer.wait_closed().await.unwrap();
            }
            until(|| event_loop.metrics().sources == 0).await;
        }
    });
}

#[test]
fn g4_keys_change_at_random_while_much_is_under_way() {
    settling(|event_loop, _| async move {
        for seed in 1..=20_u64 {
            let (ours, theirs) = std_pair();
            let connecting = open_connection(ours).ssl(client_config());
            let connecting = create_task(connecting.server_hostname("localhost").into_future());
            let mut peer = Peer::server(theirs, server_config());
            peer.handshake().await.unwrap();
            let (mut reader, writer) = connecting.await.unwrap().unwrap();
            let mut random = Random(seed * 7919);
            let data = pattern(AMOUNT);
            let peer = async {
                let mut peer = peer;
                // One task, so what it reads makes room for what it writes: pieces are less than the sockets hold.
                for piece in data.chunks(1000) {
                    for _ in 0..random.below(3) {
                        peer.update_keys();
                    }
                    peer.write(piece).await;
                    assert!(peer.read(piece.len()).await.unwrap() == piece);
                }
                assert_eq!(peer.read(1).await.unwrap(), b"");
                peer.close_notify().await;
            };
            let here = async {
                for piece in data.chunks(1000) {
                    writer.write(piece);
                }
                assert!(reader.readexactly(AMOUNT).await.unwrap() == data);
                writer.close();
                writer.wait_closed().await.unwrap();
            };
            futures_util::future::join(peer, here).await;
            until(|| event_loop.metrics().sources == 0).await;
        }
    });
}

/// Every byte that a client sends in its handshake, changed. Some make no difference, most end the connection, and nothing
/// else ends.
#[test]
fn g3_any_byte_of_a_client_s_handshake_may_be_wrong() {
    settling(|event_loop, _| async move {
        let (server, ends) = crate::echo_server(server_config()).await;
        let address = crate::address_of(&server);
        let length = {
            let mut peer = Peer::client(StdStream::connect(address).unwrap(), client_config());
            let hello = peer.records();
            peer.socket.write_all(&hello).await.unwrap();
            hello.len()
        };
        let mut refused = 0;
        for place in 0..length {
            let mut peer = Peer::client(StdStream::connect(address).unwrap(), client_config());
            let mut hello = peer.records();
            hello[place] ^= [0x01, 0x80, 0xff][place % 3];
            peer.socket.write_all(&hello).await.unwrap();
            peer.end_writing();
            refused += usize::from(peer.handshake().await.is_err());
        }
        assert!(refused > length / 2, "{refused} of {length}");
        until(|| event_loop.metrics().sources == 1).await;
        // What was no handshake has called no function.
        assert!(
            ends.borrow().iter().all(|end| end != "end"),
            "{:?}",
            ends.borrow()
        );
        crate::is_served(address, client_config()).await;
        crate::close(server).await;
    });
}
