//! A process of its own, because five thousand clients and their server need more descriptors than a process has by
//! default.
//!
//! Fault E1: all the clients of a burst wait before the first of them is accepted. None is lost, other
//! tasks run between them, and clients that have reset their connections meanwhile delay no other.

mod own {
    pub(crate) mod raised;
}
#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::cell::Cell;
use std::future::Future;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::{ListenOptions, TcpListener};
use callsoon::transport::{Protocol, Transport};
use callsoon::{create_task, gather, get_running_loop, yield_now};

use own::raised::raise_descriptor_limit;
use support::{counted_fds, loopback, on_real_time, reset, until};

/// How many clients come at once.
const BURST: usize = 5_000;

/// How many operations a task may do at once.
const BUDGET: usize = 128;

/// How many clients a server accepts at once.
const AT_ONCE: usize = 100;

/// A test inside a loop, where both ends of all connections may be open at once. Skipped, with the reason printed,
/// where not even an administrator's limit allows that.
#[track_caller]
fn with_room_for_a_burst(test: impl AsyncFnOnce() + Send + 'static) {
    let needed = 2 * BURST + 500;
    let limit = raise_descriptor_limit(needed as libc::rlim_t);
    if limit < needed {
        println!("skipped: {needed} descriptors are needed, and {limit} is the hard limit");
        return;
    }
    on_real_time(move |trace, event_loop| {
        // Only the watchdog's patience counts: to connect them all may take a busy machine a while.
        event_loop.run_until_complete(test()).unwrap();
        trace.expect([]);
    });
}

/// How many listeners it takes that all clients may wait: the system has a limit for each.
fn listeners() -> usize {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let most = most.map_or(128, |most| most.trim().parse().unwrap());
    BURST.div_ceil(BURST.min(most))
}

/// All clients, one for each listener in turn.
fn burst(addresses: &[SocketAddr]) -> Vec<StdStream> {
    let connected = addresses.iter().cycle().take(BURST).map(|address| {
        let client = StdStream::connect(address).unwrap();
        let patience = Some(Duration::from_secs(20));
        client.set_read_timeout(patience).unwrap();
        client
    });
    connected.collect()
}

/// Runs a task that yields again and again beside `work`. Returns the output of `work`, and by how much `count` has
/// grown at most between two steps of that task.
async fn beside<F: Future>(count: &Rc<Cell<usize>>, work: F) -> (F::Output, usize) {
    let most = Rc::new(Cell::new(0));
    let (highest, count) = (Rc::clone(&most), Rc::clone(count));
    // Counted from here on: the first of the others may have their turn before it has its first.
    let mut before = count.get();
    let neighbour = create_task(async move {
        loop {
            let now = count.get();
            highest.set(highest.get().max(now - before));
            before = now;
            yield_now().await;
        }
    });
    let output = work.await;
    neighbour.cancel();
    drop(neighbour.await);
    (output, most.get())
}

/// Accepts so many clients, and gives where they come from in the order of their coming.
async fn accept(listener: TcpListener, clients: usize, count: Rc<Cell<usize>>) -> Vec<SocketAddr> {
    let mut streams = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..clients {
        let (stream, peer) = listener.accept().await.unwrap();
        count.set(count.get() + 1);
        streams.push(stream);
        peers.push(peer);
    }
    peers
}

#[test]
fn e1_a_burst_is_accepted_without_losing_a_client_and_lets_others_run() {
    with_room_for_a_burst(async || {
        let before = counted_fds();
        let options = ListenOptions::new().backlog(BURST as i32);
        let listening: Vec<_> = (0..listeners())
            .map(|_| options.clone().bind(loopback()).unwrap())
            .collect();
        let addresses: Vec<_> = listening
            .iter()
            .map(|listener| listener.local_addr().unwrap())
            .collect();
        let clients = burst(&addresses);
        let every = addresses.len();
        let expected: Vec<Vec<_>> = (0..every)
            .map(|first| {
                let its = clients.iter().skip(first).step_by(every);
                its.map(|client| client.local_addr().unwrap()).collect()
            })
            .collect();
        let count = Rc::default();
        let acceptors = listening.into_iter().zip(&expected);
        let acceptors =
            acceptors.map(|(listener, its)| accept(listener, its.len(), Rc::clone(&count)));
        let (accepted, most) = beside(&count, gather(acceptors)).await;
        assert_eq!(accepted.unwrap(), expected);
        assert!(
            (1..=BUDGET * every).contains(&most),
            "{most} without another's turn"
        );
        drop(clients);
        assert_eq!(counted_fds(), before);
        assert_eq!(get_running_loop().metrics().sources, 0);
    });
}

/// What has become of a server's clients.
#[derive(Default)]
struct Counts {
    made: Rc<Cell<usize>>,
    heard: Cell<usize>,
    lost: Cell<usize>,
}

/// Answers each client that says something.
struct Answer(Rc<Counts>);

impl Protocol for Answer {
    fn connection_made(&self, _: &Transport) {
        self.0.made.set(self.0.made.get() + 1);
    }

    fn data_received(&self, transport: &Transport, data: &[u8]) {
        assert_eq!(data, b"?");
        self.0.heard.set(self.0.heard.get() + 1);
        transport.write(b"!");
    }

    fn connection_lost(&self, _: &Transport, _: Option<io::Error>) {
        self.0.lost.set(self.0.lost.get() + 1);
    }
}

#[test]
fn e1_a_server_answers_all_of_a_burst_but_those_who_reset_and_lets_others_run() {
    with_room_for_a_burst(async || {
        let before = counted_fds();
        let counts = Rc::new(Counts::default());
        let mut servers = Vec::new();
        for _ in 0..listeners() {
            let counts = Rc::clone(&counts);
            let factory = move || Answer(Rc::clone(&counts));
            let serving = get_running_loop().create_server(factory, loopback());
            servers.push(serving.backlog(BURST as i32).await.unwrap());
        }
        let addresses: Vec<_> = servers
            .iter()
            .map(|server| server.local_addr().unwrap())
            .collect();
        let mut stay = Vec::new();
        for (number, mut client) in burst(&addresses).into_iter().enumerate() {
            if number % 3 == 0 {
                reset(client);
            } else {
                client.write_all(b"?").unwrap();
                stay.push(client);
            }
        }
        let expected = stay.len();
        let all_heard = until(|| counts.heard.get() >= expected);
        let ((), most) = beside(&counts.made, all_heard).await;
        assert!(
            (1..=AT_ONCE * servers.len()).contains(&most),
            "{most} without another's turn"
        );
        for client in &mut stay {
            let mut answer = [0];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"!");
        }
        // The servers go on: a client that connects now is answered too.
        for address in addresses {
            let mut client = StdStream::connect(address).unwrap();
            client.write_all(b"?").unwrap();
            let heard = counts.heard.get();
            until(|| counts.heard.get() > heard).await;
            client.read_exact(&mut [0]).unwrap();
        }
        drop(stay);
        for server in servers {
            server.close();
            server.wait_closed().await;
        }
        assert_eq!(counts.lost.get(), counts.made.get());
        assert!(counts.made.get() <= BURST + listeners());
        assert_eq!(counted_fds(), before);
        assert_eq!(get_running_loop().metrics().sources, 0);
    });
}
