//! The thread of an inspector: it serves the clients, and has the loop asked for snapshots.
//!
//! ```text
//!   client ── line ──► watcher ── post ──► loop: takes a snapshot, gives it to the watcher, wakes it
//!   client ◄── line ── watcher ◄──────────
//! ```
//!
//! At most one post is on its way, however many clients wait: its snapshot is for all whose requests are older than it. If the loop has not answered a
//! client after [`ANSWERS_WITHIN`], the client is told what keeps the loop. The watcher blocks in its poll only, so it
//! ends as soon as it is told to.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mio::net::UnixListener;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::event_loop::free::try_get_running_loop;
use crate::event_loop::remote::RemoteHandle;
use crate::inspect::answer::{Identification, answer, busy};
use crate::inspect::client::{Client, Next};
use crate::inspect::snapshot::LoopSnapshot;
use crate::kernel::inspection::Running;
use crate::sys::socket::peer_cred;

/// After which time a loop counts as busy. A loop that is well answers within a few milliseconds.
const ANSWERS_WITHIN: Duration = Duration::from_millis(200);

/// The most clients at a time. A further one takes the place of the one that has been silent for longest, so that clients
/// that do nothing keep nobody out. It is closed at once if none is silent.
const MOST_CLIENTS: usize = 16;

/// After which time a client that takes nothing of its answer counts as silent, if its place is needed.
const TAKES_WITHIN: Duration = Duration::from_millis(200);

/// When a listener that has failed, as without descriptors, is tried again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

const WOKEN: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST_CLIENT: usize = 2;

/// What the watcher shares with the loop.
pub(crate) struct Shared {
    waker: Waker,
    closing: AtomicBool,
    /// How many requests the watcher has read.
    requests: AtomicU64,
    /// A snapshot, and how many requests had been read before it was taken.
    snapshot: Mutex<Option<(u64, LoopSnapshot)>>,
}

impl Shared {
    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake();
    }

    /// Takes a snapshot, on the loop's thread.
    fn give(&self) {
        if let Some(handle) = try_get_running_loop() {
            let requests = self.requests.load(Ordering::Acquire);
            let snapshot = handle.snapshot();
            let mut place = self.lock();
            *place = Some((requests, snapshot));
            drop(place);
            self.wake();
        }
    }

    fn wake(&self) {
        // If the descriptor is refused, the watcher finds out at its next deadline.
        let _ = self.waker.wake();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(u64, LoopSnapshot)>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watcher, on its thread.
pub(crate) struct Watcher {
    poll: Poll,
    listener: UnixListener,
    accept_again: Option<Instant>,
    clients: HashMap<usize, Client>,
    /// The token of the next client.
    next: usize,
    shared: Arc<Shared>,
    remote: RemoteHandle,
    running: Arc<Running>,
    /// A post is on its way to the loop.
    asked: bool,
    who: Identification,
    /// The only user that is answered.
    user: u32,
}

impl Watcher {
    pub(crate) fn new(
        mut listener: UnixListener,
        user: u32,
        remote: RemoteHandle,
        running: Arc<Running>,
    ) -> io::Result<(Self, Arc<Shared>)> {
        let poll = Poll::new()?;
        let shared = Arc::new(Shared {
            waker: Waker::new(poll.registry(), WOKEN)?,
            closing: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            snapshot: Mutex::default(),
        });
        let interest = Interest::READABLE;
        poll.registry()
            .register(&mut listener, LISTENER, interest)?;
        let watcher = Self {
            poll,
            listener,
            accept_again: None,
            clients: HashMap::new(),
            next: FIRST_CLIENT,
            shared: Arc::clone(&shared),
            remote,
            running,
            asked: false,
            who: Identification::of_this_thread(),
            user,
        };
        Ok((watcher, shared))
    }

    /// Serves clients until [`Shared::close`] is called.
    pub(crate) fn serve(mut self) {
        let mut events = Events::with_capacity(64);
        while !self.shared.closing.load(Ordering::Acquire) {
            match self.serve_once(&mut events) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    // A poller that fails serves nobody.
                    return;
                }
                _ => {}
            }
        }
    }

    /// Waits for events and acts on them.
    fn serve_once(&mut self, events: &mut Events) -> io::Result<()> {
        let wait = self.next_deadline();
        let wait = wait.map(|at| at.saturating_duration_since(Instant::now()));
        self.poll.poll(events, wait)?;
        let mut accepts = false;
        for event in &*events {
            match event.token() {
                WOKEN => {}
                LISTENER => accepts = true,
                Token(number) => self.advance(number),
            }
        }
        // Last: clients that have left make room for those that came after them.
        if accepts {
            self.accept();
        }
        self.deliver();
        self.expire();
        Ok(())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let clients = self.clients.values().map(|client| client.deadline);
        clients.chain(self.accept_again).min()
    }

    fn accept(&mut self) {
        self.accept_again = None;
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
                    _ => {
                        self.accept_again = Some(Instant::now() + ACCEPT_AGAIN);
                        return;
                    }
                },
            };
            // Where the system does not say who it is, the mode of the file alone protects the socket.
            let refused = match peer_cred(stream.as_fd()) {
                Ok((_, user, _)) => user != self.user,
                Err(error) => error.kind() != io::ErrorKind::Unsupported,
            };
            if self.clients.len() >= MOST_CLIENTS {
                // Some may have left since the poll.
                let known: Vec<_> = self.clients.keys().copied().collect();
                known.into_iter().for_each(|number| self.advance(number));
            }
            if refused || !self.has_place() {
                continue;
            }
            let mut client = Client::new(stream);
            let (token, interest) = (Token(self.next), Interest::READABLE | Interest::WRITABLE);
            let registry = self.poll.registry();
            if registry.register(client.stream(), token, interest).is_ok() {
                self.clients.insert(self.next, client);
                // 2⁶⁴ clients will not come.
                self.next += 1;
            }
        }
    }

    /// Returns whether there is a place for one more client, after a silent one had to give up its own if there was none.
    fn has_place(&mut self) -> bool {
        if self.clients.len() < MOST_CLIENTS {
            return true;
        }
        let now = Instant::now();
        let silent = self.clients.iter().filter_map(|(number, client)| {
            Some((client.silent_since(now, TAKES_WITHIN)?, *number))
        });
        let longest = silent.min();
        longest.is_some_and(|(_, number)| self.clients.remove(&number).is_some())
    }

    fn advance(&mut self, number: usize) {
        if let Some(client) = self.clients.get_mut(&number) {
            let next = client.advance();
            self.act(number, next);
        }
    }

    fn act(&mut self, number: usize, next: Next) {
        match next {
            Next::Wait => {}
            Next::Close => drop(self.clients.remove(&number)),
            Next::Ask => {
                let read = self.shared.requests.fetch_add(1, Ordering::AcqRel);
                if let Some(client) = self.clients.get_mut(&number) {
                    client.deadline = Instant::now() + ANSWERS_WITHIN;
                    client.request = read + 1;
                }
                self.ask();
            }
        }
    }

    /// Asks the loop for a snapshot, unless that is on its way.
    fn ask(&mut self) {
        if !self.asked {
            let shared = Arc::clone(&self.shared);
            // A closed loop is about to end this thread.
            self.asked = self.remote.post(move || shared.give()).is_ok();
        }
    }

    /// Gives a snapshot that has come to all who had asked before it was taken. A client that has asked since may know
    /// of more than the snapshot does, so the loop is asked again for it.
    fn deliver(&mut self) {
        let Some((requests, snapshot)) = self.shared.lock().take() else {
            return;
        };
        self.asked = false;
        for (number, request) in self.waiting(|client| client.request <= requests) {
            self.reply(number, answer(self.who, request, &snapshot));
        }
        if self.clients.values().any(|client| client.waits().is_some()) {
            self.ask();
        }
    }

    /// Closes clients that were too slow, and tells those that wait for too long what keeps the loop.
    fn expire(&mut self) {
        let now = Instant::now();
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept();
        }
        for (number, _) in self.waiting(|client| client.deadline <= now) {
            self.reply(number, busy(self.who, &self.running));
        }
        self.clients.retain(|_, client| client.deadline > now);
    }

    fn waiting(
        &self,
        which: impl Fn(&Client) -> bool,
    ) -> Vec<(usize, crate::inspect::answer::Request)> {
        let clients = self.clients.iter().filter(|(_, client)| which(client));
        clients
            .filter_map(|(number, client)| Some((*number, client.waits()?)))
            .collect()
    }

    fn reply(&mut self, number: usize, text: String) {
        if let Some(client) = self.clients.get_mut(&number) {
            let next = client.answer(text);
            self.act(number, next);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::event_loop::free::yield_now;
    use crate::event_loop::owner::EventLoop;

    fn run_a_turn(event_loop: &EventLoop) {
        event_loop.run_until_complete(yield_now()).unwrap();
    }

    /// Waits for events and acts on them. No client is told that the loop is busy, however slow this thread is.
    fn serve(watcher: &mut Watcher) {
        watcher.serve_once(&mut Events::with_capacity(64)).unwrap();
        for client in watcher.clients.values_mut() {
            client.deadline += Duration::from_secs(60);
        }
    }

    #[test]
    fn a_client_that_asks_after_a_snapshot_was_taken_gets_a_newer_one() {
        let name = format!("callsoon-watcher-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let event_loop = EventLoop::builder().inspect(true).build().unwrap();
        let state = &event_loop.handle().state;
        let listener = UnixListener::bind(&path).unwrap();
        let user = std::fs::metadata(&path).unwrap().uid();
        let running = Arc::clone(&state.inspection.as_ref().unwrap().running);
        let remote = RemoteHandle::new(state);
        let (mut watcher, _shared) = Watcher::new(listener, user, remote, running).unwrap();
        let [mut first, mut second] = [(); 2].map(|()| UnixStream::connect(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        serve(&mut watcher);
        first.write_all(b"snapshot\n").unwrap();
        while !watcher.asked {
            serve(&mut watcher);
        }
        // The loop answers, and the watcher has not heard of that yet.
        run_a_turn(&event_loop);
        let late = event_loop.task_builder().name("late");
        let late = late.spawn(std::future::pending::<()>());
        second.write_all(b"snapshot\n").unwrap();
        serve(&mut watcher);
        while watcher.clients.len() > 1 {
            serve(&mut watcher);
        }
        run_a_turn(&event_loop);
        while !watcher.clients.is_empty() {
            serve(&mut watcher);
        }
        let [first, second] = [&mut first, &mut second].map(|stream| {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            (
                answer.contains("\"answered\":true"),
                answer.contains("late"),
            )
        });
        assert_eq!((first, second), ((true, false), (true, true)));
        late.cancel();
        run_a_turn(&event_loop);
    }
}
