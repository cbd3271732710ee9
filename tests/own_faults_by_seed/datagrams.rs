//! Datagrams: each is there as it was sent, or was lost with an error.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::UdpSocket;
use callsoon::transport::{DatagramProtocol, DatagramTransport};
use callsoon::{create_task, get_running_loop, sleep};

use crate::support::loopback;
use crate::world::World;

const MESSAGES: u64 = 60;

/// The message that ends a conversation.
const END: &[u8] = b"end";

fn message(world: &World, number: u64) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend(world.bytes(number, 400));
    bytes
}

fn number_of(world: &World, bytes: &[u8]) -> u64 {
    let number = u64::from_be_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(
        bytes,
        message(world, number),
        "a message has changed on its way"
    );
    number
}

pub(crate) async fn by_sockets(world: World) {
    let receiver = world.again(|| UdpSocket::bind(loopback())).await;
    let sender = world.again(|| UdpSocket::bind(loopback())).await;
    let address = receiver.local_addr().unwrap();
    let same = world.clone();
    let received = create_task(async move {
        let (world, mut received, mut buffer) = (same, Vec::new(), [0; 1000]);
        loop {
            match receiver.recv_from(&mut buffer).await {
                Ok((count, _)) if &buffer[..count] == END => return received,
                Ok((count, _)) => received.push(number_of(&world, &buffer[..count])),
                Err(error) => assert!(!world.gentle, "{error}"),
            }
        }
    });
    let mut sent = Vec::new();
    for number in 0..MESSAGES {
        match sender.send_to(&message(&world, number), address).await {
            Ok(count) => {
                assert_eq!(count, 408);
                sent.push(number);
            }
            Err(error) => assert!(!world.gentle, "{error}"),
        }
        // So that the receiver's buffer, which is the system's to size, does not overflow.
        if number % 20 == 19 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    world.again(|| sender.send_to(END, address)).await;
    assert_eq!(received.await.unwrap(), sent);
}

#[derive(Default)]
struct Receiver {
    world: RefCell<Option<World>>,
    received: RefCell<Vec<u64>>,
    errors: Cell<usize>,
    ended: Cell<bool>,
    lost: Cell<bool>,
}

impl DatagramProtocol for Receiver {
    fn datagram_received(&self, _: &DatagramTransport, data: &[u8], _: SocketAddr) {
        if data == END {
            return self.ended.set(true);
        }
        let world = self.world.borrow();
        let number = number_of(world.as_ref().unwrap(), data);
        self.received.borrow_mut().push(number);
    }

    fn error_received(&self, _: &DatagramTransport, _: io::Error) {
        self.errors.set(self.errors.get() + 1);
    }

    fn connection_lost(&self, _: &DatagramTransport, _: Option<io::Error>) {
        self.lost.set(true);
    }
}

type End = (DatagramTransport, Rc<Receiver>);

async fn endpoint(world: &World) -> End {
    let attempt = || {
        let receiver = Receiver::default();
        *receiver.world.borrow_mut() = Some(world.clone());
        let endpoint = get_running_loop().create_datagram_endpoint(move || receiver);
        endpoint.local_addr(loopback())
    };
    world.again(attempt).await
}

pub(crate) async fn by_endpoints(world: World) {
    let (far, receiver) = endpoint(&world).await;
    let (near, sender) = endpoint(&world).await;
    let address = far.local_addr().unwrap();
    let mut refused = 0;
    for number in 0..MESSAGES {
        let sent = near.sendto(&message(&world, number), Some(address));
        refused += usize::from(sent.is_err());
        if number % 20 == 19 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    for _ in 0..1000 {
        if receiver.ended.get() || far.is_closing() || near.is_closing() {
            break;
        }
        let _ = near.sendto(END, Some(address));
        sleep(Duration::from_millis(1)).await;
    }
    assert!(receiver.ended.get(), "the end never comes");
    let received = receiver.received.take();
    let lost = MESSAGES as usize - received.len();
    let known = refused + sender.errors.get();
    assert!(
        received.is_sorted_by(|one, other| one < other),
        "out of order: {received:?}"
    );
    assert!(
        lost <= known,
        "{lost} were lost, and {known} are known to be"
    );
    assert!(!world.gentle || lost == 0);
    near.close();
    far.close();
    for _ in 0..1000 {
        if sender.lost.get() && receiver.lost.get() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("an endpoint does not close");
}
