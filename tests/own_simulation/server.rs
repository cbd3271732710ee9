//! A chat server, as a user of the crate would write it: rooms with numbered messages, a task and a bounded queue for each
//! client, time limits, and a shutdown that ends in time. It knows nothing of the simulation but its log.
//!
//! # Protocol
//! One request or answer a line. The server answers in the order of the requests.
//!
//! | request | answer |
//! |---|---|
//! | `join ROOM` | `joined ROOM NEXT`, where NEXT is the number of the first message that the client will get |
//! | `say ROOM TEXT` | every member, the sender too, gets `message ROOM NUMBER SENDER TEXT` |
//! | `leave ROOM` | `left ROOM NEXT`, where NEXT is the number of the first message that the client will not get |
//! | `ping` | `pong` |
//! | `quit`, or the end of the stream | `left` for each room, `bye`, and the end |
//!
//! When the server stops, each client gets what a client gets that quits. A client for which more than [`OUTBOX`] lines
//! wait is disconnected.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use callsoon::{
    Event, Queue, TaskGroup, TaskRef, Timeout, create_task, current_task, get_running_loop, lines,
    race, sleep, task_group, timeout,
};

use crate::faults::Fault;
use crate::history::History;
use crate::network::{Link, UserEnd};

/// How many lines may wait for one client.
pub(crate) const OUTBOX: usize = 12;

/// How long nothing may come from a client, which is asked to send a ping every few seconds.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// How long a client that has quit may take to receive what it still gets.
pub(crate) const LINGER: Duration = Duration::from_secs(10);

/// How long a shutdown may take.
pub(crate) const GRACE: Duration = Duration::from_secs(8);

pub(crate) struct Server {
    rooms: RefCell<BTreeMap<String, Room>>,
    clients: RefCell<BTreeMap<usize, Client>>,
    stopping: Cell<bool>,
    /// Filled by a planted fault alone.
    kept: RefCell<Vec<UserEnd>>,
    history: History,
    fault: Fault,
}

#[derive(Default)]
struct Room {
    /// The number of the next message.
    next: u64,
    members: BTreeSet<usize>,
}

#[derive(Clone)]
struct Client {
    outbox: Rc<Queue<Rc<str>>>,
    session: TaskRef,
}

impl Server {
    pub(crate) fn new(history: History, fault: Fault) -> Self {
        Self {
            rooms: RefCell::default(),
            clients: RefCell::default(),
            stopping: Cell::new(false),
            kept: RefCell::default(),
            history,
            fault,
        }
    }

    /// Serves until it is told to stop, and then for [`GRACE`] at most. Returns whether that was enough.
    pub(crate) async fn serve(self: Rc<Self>, listener: Rc<Queue<Link>>, stop: Rc<Event>) -> bool {
        let limit = Timeout::at(None);
        let sessions = task_group(async |group| {
            race!(self.accept(&listener, group), stop.wait()).await;
            drop(listener.shutdown(true));
            self.say_goodbye();
            if self.fault != Fault::WaitsForever {
                let deadline = get_running_loop().time() + GRACE;
                limit.reschedule(Some(deadline)).unwrap();
            }
            if self.fault == Fault::DoesNotWait {
                group.cancel();
            }
        });
        limit.run(sessions).await.is_ok()
    }

    /// Returns whether no client is left, and no room has a member.
    pub(crate) fn is_empty(&self) -> bool {
        let rooms = self.rooms.borrow();
        self.clients.borrow().is_empty() && rooms.values().all(|room| room.members.is_empty())
    }

    async fn accept(self: &Rc<Self>, listener: &Queue<Link>, group: &TaskGroup) {
        while let Ok(link) = listener.get().await {
            group.create_task(Rc::clone(self).session(link));
        }
    }

    /// Serves one client.
    async fn session(self: Rc<Self>, link: Link) {
        let number = link.wire;
        let outbox = Rc::new(Queue::new(OUTBOX));
        let client = Client {
            outbox: Rc::clone(&outbox),
            session: current_task().unwrap(),
        };
        if self.fault == Fault::LeavesTask {
            create_task(sleep(Duration::from_secs(86_400))).detach();
        }
        self.clients.borrow_mut().insert(number, client);
        let _presence = Presence {
            server: &self,
            number,
        };
        self.history.session(number, |_| ());
        if self.stopping.get() {
            // It was accepted in the turn of the stop, and the goodbye to all has not reached it.
            self.bid_farewell(number);
        }
        let served = task_group(async |group| {
            let sending = group.create_task(Rc::clone(&self).send(outbox, link.writer));
            let received = self.receive(number, link.reader).await;
            self.bid_farewell(number);
            received?;
            let _ = timeout(LINGER, sending).await;
            Ok::<_, io::Error>(())
        })
        .await;
        self.history
            .note(format_args!("session {number} ends: {}", served.is_ok()));
    }

    /// Obeys the requests of a client, up to the last one.
    async fn receive(&self, number: usize, reader: UserEnd) -> io::Result<()> {
        let mut requests = lines(reader);
        let silence = match self.fault {
            Fault::TrustsSilence => Duration::from_secs(86_400),
            Fault::LosesBegun => Duration::from_secs(1),
            _ => SILENCE,
        };
        loop {
            let request = timeout(silence, requests.next_line()).await;
            if self.fault == Fault::LosesBegun && request.is_err() {
                requests = lines(requests.into_parts().0);
                continue;
            }
            let request = request??;
            let Some(request) = request.filter(|line| line.ends_with(b"\n")) else {
                return Ok(());
            };
            let request = String::from_utf8_lossy(&request);
            let mut words = request.trim_end().splitn(3, ' ');
            let word = words.next().unwrap_or_default();
            let room = words.next().unwrap_or_default();
            match word {
                // Those who wait for the end of a client that is told goodbye do not listen to it.
                _ if self.stopping.get() => {}
                "join" => self.join(number, room).await,
                "say" => {
                    self.say(number, room, words.next().unwrap_or_default())
                        .await
                }
                "leave" => self.leave(number, room),
                "ping" => self.answer(number, "pong".into()),
                // The client may still send pings, and closes when it has got everything.
                "quit" => self.bid_farewell(number),
                _ => self.answer(number, format!("unknown {word}")),
            }
        }
    }

    /// Sends what waits for a client, and ends the stream after the last line.
    async fn send(
        self: Rc<Self>,
        outbox: Rc<Queue<Rc<str>>>,
        mut writer: UserEnd,
    ) -> io::Result<()> {
        while let Ok(line) = outbox.get().await {
            if self.fault == Fault::WritesTwice {
                let second = Duration::from_secs(1);
                while timeout(second, writer.write_all(line.as_bytes()))
                    .await
                    .is_err()
                {}
                continue;
            }
            writer.write_all(line.as_bytes()).await?;
        }
        writer.shutdown().await?;
        if self.fault == Fault::KeepsGone {
            self.kept.borrow_mut().push(writer);
        }
        Ok(())
    }

    async fn join(&self, number: usize, name: &str) {
        if self.fault == Fault::SkipsJoiner {
            let next = self.rooms.borrow().get(name).map_or(0, |room| room.next);
            self.answer(number, format!("joined {name} {next}"));
        }
        // A look-up, such as whether the client may join.
        sleep(Duration::from_millis(20)).await;
        if self.stopping.get() || !self.clients.borrow().contains_key(&number) {
            return;
        }
        let next = {
            let mut rooms = self.rooms.borrow_mut();
            let room = rooms.entry(name.to_owned()).or_default();
            room.members.insert(number);
            room.next
        };
        if self.fault != Fault::SkipsJoiner {
            self.answer(number, format!("joined {name} {next}"));
        }
    }

    /// Sends a message to all members of a room, if the sender is one.
    async fn say(&self, sender: usize, name: &str, text: &str) {
        let Some(number) = self.number_in(sender, name) else {
            return;
        };
        if self.fault == Fault::LostUpdate {
            sleep(Duration::from_millis(5)).await;
        }
        let members = {
            let mut rooms = self.rooms.borrow_mut();
            let room = rooms.get_mut(name).unwrap();
            room.next = number + 1;
            room.members.clone()
        };
        let line: Rc<str> = format!("message {name} {number} {sender} {text}\n").into();
        for member in self.in_order(members) {
            // A client that an eviction has removed meanwhile gets nothing any more.
            let client = self.clients.borrow().get(&member).cloned();
            let Some(client) = client else { continue };
            if self.fault == Fault::WaitsForSlow {
                let _ = client.outbox.put(Rc::clone(&line)).await;
            } else if client.outbox.put_nowait(Rc::clone(&line)).is_err()
                && self.fault != Fault::DropsWhenFull
            {
                self.evict(member);
            }
        }
    }

    /// Returns the number of the next message in a room, if the client is a member.
    fn number_in(&self, sender: usize, name: &str) -> Option<u64> {
        let rooms = self.rooms.borrow();
        let room = rooms.get(name)?;
        room.members.contains(&sender).then_some(room.next)
    }

    fn in_order(&self, members: BTreeSet<usize>) -> Vec<usize> {
        match self.fault {
            Fault::RandomOrder => members
                .into_iter()
                .collect::<HashSet<_>>()
                .into_iter()
                .collect(),
            _ => members.into_iter().collect(),
        }
    }

    fn leave(&self, number: usize, name: &str) {
        let next = {
            let mut rooms = self.rooms.borrow_mut();
            let Some(room) = rooms.get_mut(name) else {
                return;
            };
            if !room.members.remove(&number) {
                return;
            }
            room.next
        };
        self.answer(number, format!("left {name} {next}"));
    }

    fn answer(&self, number: usize, line: String) {
        let client = self.clients.borrow().get(&number).cloned();
        let Some(client) = client else { return };
        let line = format!("{line}\n").into();
        if client.outbox.put_nowait(line).is_err() {
            self.evict(number);
        }
    }

    /// Ends the connection of a client that is too slow.
    fn evict(&self, number: usize) {
        let Some(client) = self.remove(number) else {
            return;
        };
        self.history.note(format_args!("session {number} evicted"));
        self.history
            .session(number, |session| session.evicted = true);
        client.outbox.shutdown(true);
        client.session.cancel();
    }

    /// Takes a client out of its rooms, and lets it have what waits for it, a word about each room, and a last one.
    fn bid_farewell(&self, number: usize) {
        let names: Vec<_> = {
            let rooms = self.rooms.borrow();
            let joined = rooms
                .iter()
                .filter(|(_, room)| room.members.contains(&number));
            joined.map(|(name, _)| name.clone()).collect()
        };
        for name in names {
            self.leave(number, &name);
        }
        self.answer(number, "bye".into());
        if let Some(client) = self.remove(number) {
            client.outbox.shutdown(false);
        }
    }

    fn say_goodbye(&self) {
        self.stopping.set(true);
        let numbers: Vec<_> = self.clients.borrow().keys().copied().collect();
        for number in numbers {
            self.bid_farewell(number);
        }
    }

    fn remove(&self, number: usize) -> Option<Client> {
        for room in self.rooms.borrow_mut().values_mut() {
            room.members.remove(&number);
        }
        self.clients.borrow_mut().remove(&number)
    }
}

/// Takes a client out of everything when its session ends, for whatever reason.
struct Presence<'a> {
    server: &'a Server,
    number: usize,
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        let server = self.server;
        server.remove(self.number);
        let now = server.history.now();
        server
            .history
            .session(self.number, |session| session.end = Some(now));
        server
            .history
            .note(format_args!("session {} ended", self.number));
    }
}
