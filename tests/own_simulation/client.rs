//! A client of the chat server, which follows a random script: it joins, says, leaves, stalls, quits or vanishes, and
//! connects again.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use callsoon::stream::ReadError;
use callsoon::{
    Event, Queue, get_running_loop, lines, race, sleep, task_group, timeout, timeout_at,
};

use crate::history::{End, History, View};
use crate::network::{Link, Network, Refused, UserEnd};
use crate::random::Random;

/// How long nothing may come from the server, which answers pings.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// The longest time for which a client does not read, in milliseconds.
pub(crate) const STALL: u64 = 12_000;

/// How often a client sends a ping.
const PING: Duration = Duration::from_secs(4);

const ROOMS: [&str; 3] = ["tea", "rust", "chess"];

/// Uses several connections, one after the other, until the server refuses one.
pub(crate) async fn use_server(
    client: usize,
    network: Rc<Network>,
    random: Random,
    history: History,
) {
    for _ in 0..random.within(1..=3) {
        sleep(random.millis(0..=3_000)).await;
        let Ok(link) = network.connect().await.inspect_err(|Refused| {
            history.note(format_args!("client {client} refused"));
        }) else {
            return;
        };
        let wire = link.wire;
        history.facts().views.insert(wire, View::default());
        let talk = Talk {
            wire,
            random: random.fork(),
            history: history.clone(),
            requests: Queue::new(0),
            reads: Event::new(),
            joined: RefCell::default(),
        };
        let end = Rc::new(talk).run(link).await;
        let now = history.now();
        history.view(wire, |view| view.end = Some((end, now)));
        history.note(format_args!("client {client} ended wire {wire}: {end:?}"));
    }
}

/// One connection of a client.
struct Talk {
    wire: usize,
    random: Random,
    history: History,
    /// What waits to be sent.
    requests: Queue<String>,
    /// Set unless the client stalls.
    reads: Event,
    /// The rooms that it wants to be in.
    joined: RefCell<BTreeSet<&'static str>>,
}

impl Talk {
    async fn run(self: Rc<Self>, link: Link) -> End {
        self.reads.set();
        task_group(async |group| {
            let sending = group.create_task(Rc::clone(&self).send(link.writer));
            let end = race!(self.receive(link.reader), self.act()).await;
            sending.cancel();
            Ok::<_, io::Error>(end)
        })
        .await
        .expect("a client's task has panicked")
    }

    /// Receives until the connection ends in one way or another.
    async fn receive(&self, reader: UserEnd) -> End {
        let mut answers = lines(reader);
        let mut is_last = false;
        loop {
            self.reads.wait().await;
            let line = match timeout(SILENCE, answers.next_line()).await {
                Err(_) => return End::Silent,
                Ok(Err(ReadError::Io(_))) => return End::Reset,
                Ok(Err(error)) => panic!("{error}"),
                Ok(Ok(None)) if is_last => return End::Goodbye,
                Ok(Ok(None)) => return End::Closed,
                Ok(Ok(Some(line))) => String::from_utf8(line).unwrap(),
            };
            // The beginning of a line, before a reset or an end.
            let Some(line) = line.strip_suffix('\n') else {
                continue;
            };
            self.history
                .note(format_args!("client on wire {} receives {line}", self.wire));
            is_last = line == "bye";
            self.history
                .view(self.wire, |view| view.received.push(line.to_owned()));
        }
    }

    /// Sends what is to be sent, and pings. A failure of a write is seen by the reader as well.
    async fn send(self: Rc<Self>, mut writer: UserEnd) {
        let mut next_ping = get_running_loop().time() + PING;
        loop {
            let request = match timeout_at(next_ping, self.requests.get()).await {
                Ok(Ok(request)) => request,
                Ok(Err(_)) => break,
                Err(_) => {
                    next_ping += PING;
                    "ping".to_owned()
                }
            };
            if writer
                .write_all(format!("{request}\n").as_bytes())
                .await
                .is_err()
            {
                return;
            }
        }
        // The end of the stream. The answers to what was sent before still come.
        let _ = writer.shutdown().await;
    }

    fn request(&self, request: String) {
        self.history
            .note(format_args!("client on wire {}: {request}", self.wire));
        self.history
            .view(self.wire, |view| view.requests.push(request.clone()));
        self.requests.put_nowait(request).unwrap();
    }

    /// Follows a script. Returns only if the client vanishes.
    async fn act(&self) -> End {
        let mut said = 0;
        self.join();
        for _ in 0..self.random.within(3..=14) {
            sleep(self.random.millis(0..=2_500)).await;
            match self.random.within(0..=99) {
                0..=14 => self.join(),
                15..=21 => self.leave(),
                22..=27 => self.stall().await,
                28..=30 => {
                    self.history
                        .note(format_args!("client on wire {} vanishes", self.wire));
                    return End::Vanished;
                }
                _ => {
                    for _ in 0..self.random.within(1..=5) {
                        self.say(said);
                        said += 1;
                    }
                }
            }
        }
        if self.random.percent(50) {
            self.request("quit".into());
        }
        self.requests.shutdown(false);
        self.history
            .note(format_args!("client on wire {} is done", self.wire));
        self.history.view(self.wire, |view| view.has_quit = true);
        std::future::pending().await
    }

    fn join(&self) {
        let room = *self.random.pick(&ROOMS);
        if self.joined.borrow_mut().insert(room) {
            self.request(format!("join {room}"));
        }
    }

    fn leave(&self) {
        let room = self.joined.borrow_mut().pop_first();
        if let Some(room) = room {
            self.request(format!("leave {room}"));
        }
    }

    fn say(&self, number: usize) {
        let joined: Vec<_> = self.joined.borrow().iter().copied().collect();
        if !joined.is_empty() {
            let room = self.random.pick(&joined);
            let padding = "~".repeat(self.random.within(0..=30) as usize);
            self.request(format!("say {room} {}.{number}{padding}", self.wire));
        }
    }

    /// Does not read for a while.
    async fn stall(&self) {
        self.reads.clear();
        self.history
            .note(format_args!("client on wire {} stalls", self.wire));
        sleep(self.random.millis(500..=STALL)).await;
        self.reads.set();
        self.history
            .note(format_args!("client on wire {} reads again", self.wire));
        let now = self.history.now();
        self.history
            .view(self.wire, |view| view.stalled_last = Some(now));
    }
}
