//! A network in memory. A wire between a client and the server is four ends of [`testing::duplex`], and two tasks that carry
//! bytes from one end to another: late, in segments, or not at all.
//!
//! What goes wrong is drawn from the seed. Each end of a user reads and writes fewer bytes than it asks for. A wire may be
//! reset; it may be cut, so that it carries nothing any more and nobody is told; and it may be part of a partition, which
//! heals.
//!
//! ```text
//!  client  writer ══ from ─ carry ─ to ══ reader  server
//!          reader ══ to ─ carry ─ from ══ writer
//! ```

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Duration;

use callsoon::testing::{self, DuplexStream, Faults};
use callsoon::{Event, PollBufRead, PollRead, Queue, TaskGroup, race, sleep, task_group};

use crate::history::{History, WireFacts};
use crate::random::Random;

/// How many connections wait to be accepted before a further one waits to connect.
const BACKLOG: usize = 2;

/// The longest partition that nobody may notice, in milliseconds.
const SHORT: u64 = 4_000;

pub(crate) struct Network {
    /// The tasks that carry.
    group: TaskGroup,
    random: Random,
    history: History,
    listener: Rc<Queue<Link>>,
    wires: RefCell<Vec<Rc<Wire>>>,
    /// How many ends of users exist.
    open_ends: Rc<Cell<usize>>,
}

/// A connection, as one of its users has it.
pub(crate) struct Link {
    pub(crate) wire: usize,
    pub(crate) reader: UserEnd,
    pub(crate) writer: UserEnd,
}

/// A user's end of one direction. The network counts those that exist.
pub(crate) struct UserEnd {
    stream: DuplexStream,
    open_ends: Rc<Cell<usize>>,
}

/// The server does not listen any more.
#[derive(Debug)]
pub(crate) struct Refused;

/// What both directions of a connection share.
struct Wire {
    number: usize,
    /// Set when it is reset.
    reset: Event,
    /// Set unless a partition holds it, or it was cut.
    passes: Event,
    holds: Cell<usize>,
    latency: Duration,
    jitter: u64,
    segment: u64,
}

/// What happens to a wire.
enum Fate {
    Works,
    Reset { after: Duration },
    Cut { after: Duration },
    Held { after: Duration, length: Duration },
}

impl Network {
    pub(crate) fn new(group: TaskGroup, random: Random, history: History) -> Self {
        Self {
            group,
            random,
            history,
            listener: Rc::new(Queue::new(BACKLOG)),
            wires: RefCell::default(),
            open_ends: Rc::default(),
        }
    }

    /// Returns the queue of connections to accept. The server shuts it down when it stops.
    pub(crate) fn listener(&self) -> Rc<Queue<Link>> {
        Rc::clone(&self.listener)
    }

    /// Connects a client to the server.
    pub(crate) async fn connect(&self) -> Result<Link, Refused> {
        let wire = self.new_wire();
        let capacity = self.random.within(24..=256) as usize;
        let [(writer, up_from), (up_to, server_reader)] =
            [(); 2].map(|()| testing::duplex(capacity));
        let [(server_writer, down_from), (down_to, reader)] =
            [(); 2].map(|()| testing::duplex(capacity));
        let [near, far] =
            [(reader, writer), (server_reader, server_writer)].map(|(reader, writer)| Link {
                wire: wire.number,
                reader: self.user_end(reader),
                writer: self.user_end(writer),
            });
        let fate = self.draw_fate();
        sleep(wire.latency).await;
        self.listener.put(far).await.map_err(|_| Refused)?;
        self.history
            .note(format_args!("wire {} connected", wire.number));
        let up = self.carrier(&wire, "up").run(up_from, up_to);
        let down = self.carrier(&wire, "down").run(down_from, down_to);
        let history = self.history.clone();
        self.group.create_task(async move {
            let both = async {
                let both = task_group(async |group| {
                    group.create_task(up);
                    group.create_task(down);
                });
                both.await.expect("a carrier has panicked");
            };
            race!(both, wire.meet(fate, &history)).await;
        });
        Ok(near)
    }

    fn new_wire(&self) -> Rc<Wire> {
        let mut wires = self.wires.borrow_mut();
        let wire = Rc::new(Wire {
            number: wires.len(),
            reset: Event::new(),
            passes: Event::new(),
            holds: Cell::new(0),
            latency: self.random.millis(1..=15),
            jitter: self.random.within(0..=15),
            segment: self.random.within(16..=64),
        });
        wire.passes.set();
        wires.push(Rc::clone(&wire));
        self.history.facts().wires.push(WireFacts::default());
        wire
    }

    fn carrier(&self, wire: &Rc<Wire>, direction: &'static str) -> Carrier {
        Carrier {
            wire: Rc::clone(wire),
            history: self.history.clone(),
            random: self.random.fork(),
            direction,
        }
    }

    fn user_end(&self, mut stream: DuplexStream) -> UserEnd {
        if self.random.percent(50) {
            let most = self.random.within(1..=40) as usize;
            let faults = Faults::new()
                .random_reads(self.random.next(), most)
                .random_writes(self.random.next(), most);
            stream.set_faults(faults);
        }
        self.open_ends.set(self.open_ends.get() + 1);
        UserEnd {
            stream,
            open_ends: Rc::clone(&self.open_ends),
        }
    }

    fn draw_fate(&self) -> Fate {
        let after = self.random.millis(0..=15_000);
        match self.random.within(0..=99) {
            0..=9 => Fate::Reset { after },
            10..=16 => Fate::Cut { after },
            17..=31 => Fate::Held {
                after,
                length: self.random.millis(100..=SHORT),
            },
            32..=36 => Fate::Held {
                after,
                length: self.random.millis(40_000..=60_000),
            },
            _ => Fate::Works,
        }
    }

    /// Divides the network now and then: some wires carry nothing for a while.
    pub(crate) async fn divide(&self, times: u64) {
        for _ in 0..times {
            sleep(self.random.millis(500..=12_000)).await;
            let wires: Vec<_> = self.wires.borrow().iter().map(Rc::clone).collect();
            let apart = wires.into_iter().filter(|_| self.random.percent(40));
            let apart: Vec<_> = apart.collect();
            for wire in &apart {
                wire.hold(&self.history);
            }
            sleep(self.random.millis(100..=SHORT)).await;
            for wire in &apart {
                wire.release(&self.history);
            }
        }
    }

    /// Ends all wires that are left. The ends of users are gone by then: cut wires still carry what nobody receives.
    pub(crate) fn close(&self) {
        for wire in &*self.wires.borrow() {
            wire.reset.set();
        }
    }

    pub(crate) fn open_ends(&self) -> usize {
        self.open_ends.get()
    }
}

impl Wire {
    /// Waits until something happens to the wire, and lets it happen.
    async fn meet(&self, fate: Fate, history: &History) {
        match fate {
            Fate::Works => std::future::pending().await,
            Fate::Reset { after } => {
                sleep(after).await;
                history.note(format_args!("wire {} reset", self.number));
                history.wire(self.number, |facts| facts.reset = Some(history.now()));
                self.reset.set();
            }
            Fate::Cut { after } => {
                sleep(after).await;
                history.wire(self.number, |facts| facts.cut = Some(history.now()));
                self.hold(history);
            }
            Fate::Held { after, length } => {
                sleep(after).await;
                self.hold(history);
                sleep(length).await;
                self.release(history);
            }
        }
        std::future::pending().await
    }

    fn hold(&self, history: &History) {
        if self.holds.replace(self.holds.get() + 1) == 0 {
            history.note(format_args!("wire {} carries nothing", self.number));
            history.wire(self.number, |facts| facts.held_since = Some(history.now()));
            self.passes.clear();
        }
    }

    fn release(&self, history: &History) {
        self.holds.set(self.holds.get() - 1);
        if self.holds.get() == 0 {
            history.note(format_args!("wire {} carries again", self.number));
            history.wire(self.number, |facts| facts.end_hold(history.now()));
            self.passes.set();
        }
    }
}

/// One direction of a wire at work.
struct Carrier {
    wire: Rc<Wire>,
    history: History,
    random: Random,
    direction: &'static str,
}

impl Carrier {
    /// Carries until the stream has ended, an end is gone, or the wire is reset.
    async fn run(self, mut from: DuplexStream, mut to: DuplexStream) {
        let wire = &self.wire;
        let reset = async {
            wire.reset.wait().await;
            true
        };
        let was_reset = race!(reset, self.carry_all(&mut from, &mut to)).await;
        if was_reset {
            from.reset();
            to.reset();
        }
    }

    async fn carry_all(&self, from: &mut DuplexStream, to: &mut DuplexStream) -> bool {
        let carried = self.carry(from, to).await;
        let number = self.wire.number;
        self.history.note(format_args!(
            "wire {number} {} ended: {carried:?}",
            self.direction
        ));
        false
    }

    async fn carry(&self, from: &mut DuplexStream, to: &mut DuplexStream) -> io::Result<()> {
        let mut segment = [0; 64];
        loop {
            let most = self.random.within(1..=self.wire.segment) as usize;
            let count = from.read(&mut segment[..most]).await?;
            let jitter = self.random.millis(0..=self.wire.jitter);
            sleep(self.wire.latency + jitter).await;
            self.wire.passes.wait().await;
            if count == 0 {
                return to.shutdown().await;
            }
            to.write_all(&segment[..count]).await?;
            self.history
                .wire(self.wire.number, |facts| facts.carried += count as u64);
            self.history.note(format_args!(
                "wire {} {} {count}",
                self.wire.number, self.direction
            ));
        }
    }
}

impl Deref for UserEnd {
    type Target = DuplexStream;

    fn deref(&self) -> &DuplexStream {
        &self.stream
    }
}

impl DerefMut for UserEnd {
    fn deref_mut(&mut self) -> &mut DuplexStream {
        &mut self.stream
    }
}

impl PollRead for UserEnd {
    fn poll_read(
        &mut self,
        context: &mut std::task::Context<'_>,
        buffer: &mut [u8],
    ) -> std::task::Poll<io::Result<usize>> {
        self.stream.poll_read(context, buffer)
    }
}

impl PollBufRead for UserEnd {
    fn poll_fill_buf(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<&[u8]>> {
        self.stream.poll_fill_buf(context)
    }

    fn consume(&mut self, count: usize) {
        self.stream.consume(count);
    }
}

impl Drop for UserEnd {
    fn drop(&mut self) {
        self.open_ends.set(self.open_ends.get() - 1);
    }
}
