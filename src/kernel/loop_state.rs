//! The parts of one loop, held together.
//!
//! Cells for what is one word, a `RefCell` for each structure that is more. Nobody holds a borrow across user code, so
//! none of the borrows can fail: the methods here borrow, move what is wanted out, and end the borrow before they
//! return. What must be dropped is returned to the caller.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::TryReserveError;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::LoopClosed;
use crate::kernel::budget::Budget;
use crate::kernel::cancel::node::{NIL, NodeKey};
use crate::kernel::cancel::tree::Tree;
use crate::kernel::clock::{Clock, LoopClock};
use crate::kernel::context::Context;
use crate::kernel::inbox::{Delivery, Inbox, Notify};
use crate::kernel::inhibit::Inhibitor;
use crate::kernel::inline_fn::InlineFn;
use crate::kernel::io::reactor::{Reactor, SourceKey, Woken};
use crate::kernel::queues::Queues;
use crate::kernel::ready::ReadyQueue;
use crate::kernel::registry;
use crate::kernel::report::{ExceptionContext, ReportHandler};
use crate::kernel::task::cell::{Header, Run};
use crate::kernel::task::key::{Identity, Key, ROOT_SLOT};
use crate::kernel::task::slots::{Recency, Slots, TaskNodes};
use crate::kernel::timers::{TimerKey, Timers};
use crate::sys::fork;

/// What the builder decided.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) clock: Clock,
    pub(crate) debug: bool,
    /// The most entries between two readings of the clock; 1 = look for events in every turn.
    pub(crate) event_interval: u32,
    /// How far apart deadlines may be and still share a wake-up.
    pub(crate) timer_slack: Duration,
    /// How long to poll busily before sleeping.
    pub(crate) spin: Duration,
    /// For how many tasks, timers and sources room is made at once.
    pub(crate) capacity: usize,
    pub(crate) slow_callback_duration: Duration,
    /// Where the counts of tasks, timers, scopes, turns and callbacks begin: 0, but for tests.
    pub(crate) counts: u64,
}

/// What the loop is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Between runs.
    Idle,
    /// Inside `run_forever`, `run_until_complete` or `turn`.
    Running,
    /// Everything is being dropped; new work is refused without a panic.
    Closing,
    /// For ever.
    Closed,
}

/// What the turn remembers about its looks for events.
pub(crate) struct EventPolls {
    /// When the last look took place.
    pub(crate) last: Cell<u64>,
    /// When the clock was last read between event_polls.
    pub(crate) clock_read: Cell<u64>,
    /// Entries that may still run before the clock is read again; 0 where a look is forced.
    pub(crate) left: Cell<u32>,
    /// How many entries may run between two readings of the clock.
    pub(crate) interval: Cell<u32>,
    /// How many looks there have been.
    pub(crate) count: Cell<u64>,
    /// The next turn must look, whatever the clock says.
    pub(crate) forced: Cell<bool>,
}

impl EventPolls {
    /// Makes the next turn look.
    #[inline]
    pub(crate) fn force(&self) {
        self.forced.set(true);
        self.left.set(0);
    }
}

/// The future of `run_until_complete` in the eyes of wakers.
pub(crate) struct RootSlot {
    /// The generation of the current run's root; wakers of earlier runs carry another.
    pub(crate) generation: Cell<u16>,
    /// Whether the ready queue holds the root's token.
    pub(crate) scheduled: Cell<bool>,
    /// The root as a task, while there is one.
    pub(crate) task: RefCell<Option<Rc<dyn Run>>>,
    /// What hangs on it.
    pub(crate) nodes: Cell<TaskNodes>,
    /// In which of its polls that was polled too.
    pub(crate) recency: Cell<Recency>,
    /// Somebody wants the context in which it ends.
    pub(crate) keeps_context: Cell<bool>,
    /// That context.
    pub(crate) context: Cell<Option<Context>>,
}

/// The scopes of all tasks.
pub(crate) struct Scopes {
    /// The scope whose inside is being polled; none at the level of the task, and between polls.
    pub(crate) current: Cell<NodeKey>,
    /// The task whose poll finds out who of those that a request has asked is still wanted: see
    /// [`puts_off`](LoopState::puts_off).
    pub(crate) undecided: Cell<Key>,
    /// How often a node was linked in the tree.
    pub(crate) linked: Cell<u64>,
    /// Boxed, since most loops never look into it.
    pub(crate) forest: Box<Forest>,
}

/// The nodes, and what is known of them without a borrow.
pub(crate) struct Forest {
    pub(crate) tree: RefCell<Tree>,
    /// The root that was looked up last, and its task: scopes are opened one after the other. Forgotten when a tree goes.
    pub(crate) newest_root: Cell<(Key, u32)>,
}

/// Called with a task that was just made, before its first step.
pub(crate) type TaskHook = Rc<dyn Fn(Rc<dyn Run>, Key)>;

/// One loop.
///
/// Laid out by hand: what nearly every entry touches fills the first two cache lines, so that what is added further down
/// does not move it. Left to the compiler, a new field cost every task and timer two nanoseconds.
#[repr(C, align(64))]
pub(crate) struct LoopState {
    pub(crate) phase: Cell<Phase>,
    /// Debug mode is on, or a context variable was set: entries take the way with more to look after. One test decides
    /// what most loops never need.
    pub(crate) instrumented: Cell<bool>,
    /// Debug mode; starts as the builder said.
    pub(crate) debug: Cell<bool>,
    /// The run ends after the current turn.
    pub(crate) stopping: Cell<bool>,
    /// Another loop drives this one by `turn`: between turns the inbox rings for every entry.
    pub(crate) guest: Cell<bool>,
    /// The bell was rung since the last guest turn.
    pub(crate) guest_notified: Cell<bool>,
    /// In every key of this loop's wakers.
    pub(crate) id: u16,
    /// How many operations the current poll may still end.
    pub(crate) budget: Budget,
    /// Counts runs; the entry that ends a run carries its number.
    pub(crate) run_number: Cell<u32>,
    /// The task whose poll is under way; [`Key::NONE`] in callbacks and outside runs.
    pub(crate) current_task: Cell<Key>,
    /// Counts turns; `yield_now` waits for it to change.
    pub(crate) turn_number: Cell<u64>,
    pub(crate) scopes: Scopes,
    pub(crate) event_polls: EventPolls,
    /// The other threads' door.
    pub(crate) inbox: &'static Inbox,
    /// The current context; `None` is an empty one. Between entries it is `None`.
    pub(super) context: Cell<Option<Context>>,
    /// Counts done callbacks: the next one's id.
    pub(crate) callbacks: Cell<u64>,
    queues: RefCell<Queues>,
    timers: RefCell<Timers<InlineFn>>,
    pub(crate) clock: LoopClock,
    pub(crate) root: RootSlot,
    /// `None` once closed.
    reactor: RefCell<Option<Reactor>>,
    /// Buffers that turns reuse.
    pub(crate) woken: Cell<Vec<Woken>>,
    pub(crate) due: Cell<Vec<TimerKey>>,
    /// Tells this loop from others that had or will have the same id.
    pub(crate) epoch: u64,
    /// How many forks this process had come from when the loop was made: a child finds another number.
    forks: u32,
    /// What is added to a task's serial number to make its generation.
    generation_offset: u16,
    pub(crate) settings: Settings,
    pub(crate) slow_callback_duration: Cell<Duration>,
    /// The exception handler that a program has set.
    pub(super) handler: RefCell<Option<Rc<dyn ReportHandler>>>,
    /// Told of every new task.
    pub(super) task_hook: RefCell<Option<TaskHook>>,
    /// One value for each `LoopLocal` that was used, by its number.
    pub(crate) locals: RefCell<Vec<Option<Rc<dyn Any>>>>,
    /// The source whose watcher has panicked, while the panic is on its way to where it is caught.
    pub(crate) broken: Cell<Option<SourceKey>>,
    /// How many pieces of work outside the loop hold its virtual clock; made for the first.
    inhibitors: OnceCell<Arc<AtomicUsize>>,
}

impl LoopState {
    pub(crate) fn new(settings: Settings) -> io::Result<Rc<Self>> {
        let reactor = Reactor::new()?;
        let Some(claim) = registry::claim() else {
            return Err(io::Error::other(
                "32,767 event loops exist already in this process",
            ));
        };
        claim.inbox.open(claim.epoch, reactor.notifier());
        let counts = settings.counts;
        let clock = LoopClock::new(settings.clock);
        let now = clock.now();
        // A large odd number, so that loops made one after another start far apart.
        let generation = (claim.epoch as u16).wrapping_mul(40_503);
        Ok(Rc::new(Self {
            id: claim.id,
            epoch: claim.epoch,
            forks: fork::generation(),
            generation_offset: generation,
            inbox: claim.inbox,
            phase: Cell::new(Phase::Idle),
            debug: Cell::new(settings.debug),
            instrumented: Cell::new(settings.debug),
            context: Cell::new(None),
            slow_callback_duration: Cell::new(settings.slow_callback_duration),
            queues: RefCell::new(Queues {
                ready: ReadyQueue::new(),
                tasks: Slots::new(generation, counts),
            }),
            timers: RefCell::new(Timers::new(now, u64::from(generation) + counts)),
            reactor: RefCell::new(Some(reactor)),
            root: RootSlot {
                generation: Cell::new(generation),
                scheduled: Cell::new(false),
                task: RefCell::new(None),
                nodes: Cell::new(TaskNodes::Bare),
                recency: Cell::new(Recency::NEVER),
                keeps_context: Cell::new(false),
                context: Cell::new(None),
            },
            scopes: Scopes {
                forest: Box::new(Forest {
                    tree: RefCell::new(Tree::new(counts)),
                    newest_root: Cell::new((Key::NONE, NIL)),
                }),
                current: Cell::new(NodeKey::NONE),
                undecided: Cell::new(Key::NONE),
                linked: Cell::new(counts),
            },
            current_task: Cell::new(Key::NONE),
            turn_number: Cell::new(counts),
            run_number: Cell::new(counts as u32),
            callbacks: Cell::new(counts),
            budget: Budget::new(),
            stopping: Cell::new(false),
            event_polls: EventPolls {
                last: Cell::new(now),
                clock_read: Cell::new(now),
                left: Cell::new(1),
                interval: Cell::new(1),
                count: Cell::new(0),
                forced: Cell::new(false),
            },
            guest: Cell::new(false),
            guest_notified: Cell::new(false),
            handler: RefCell::new(None),
            task_hook: RefCell::new(None),
            locals: RefCell::new(Vec::new()),
            inhibitors: OnceCell::new(),
            woken: Cell::new(Vec::new()),
            due: Cell::new(Vec::new()),
            broken: Cell::new(None),
            clock,
            settings,
        }))
    }

    /// Makes room for so many tasks, timers and sources, as far as there is memory.
    pub(crate) fn make_room(&self, capacity: usize) -> Result<(), TryReserveError> {
        self.queues(|queues| {
            queues.ready.make_room(capacity)?;
            queues.tasks.make_room(capacity)
        })?;
        self.timers(|timers| timers.make_room(capacity))?;
        self.reactor(|reactor| reactor.make_room(capacity))
            .unwrap_or(Ok(()))
    }

    /// Borrows the ready queue and the tasks. `f` must not run user code. What is done in the borrow belongs to its
    /// caller's code, as [`take_in`](Self::take_in) does.
    #[inline(always)]
    pub(crate) fn queues<R>(&self, f: impl FnOnce(&mut Queues) -> R) -> R {
        f(&mut self.queues.borrow_mut())
    }

    /// Borrows the timers. `f` must not run user code.
    #[inline]
    pub(crate) fn timers<R>(&self, f: impl FnOnce(&mut Timers<InlineFn>) -> R) -> R {
        f(&mut self.timers.borrow_mut())
    }

    /// Borrows the reactor. `f` must not run user code.
    #[inline]
    pub(crate) fn reactor<R>(&self, f: impl FnOnce(&mut Reactor) -> R) -> Result<R, LoopClosed> {
        let mut reactor = self.reactor.borrow_mut();
        // Where the loop is closed, `f` and what it holds are dropped unused: after the borrow, as an argument is.
        match reactor.as_mut() {
            Some(reactor) => Ok(f(reactor)),
            None => Err(LoopClosed),
        }
    }

    /// Holds a virtual clock still until it is dropped; `None` on the real clock, which nobody can hold.
    pub(crate) fn inhibit(&self) -> Option<Inhibitor> {
        self.clock.is_virtual().then(|| {
            let count = self.inhibitors.get_or_init(Arc::default);
            Inhibitor::new(count, self.inbox, self.epoch)
        })
    }

    /// Whether somebody holds the virtual clock. Asked before the inbox is: who lets go has posted before.
    pub(crate) fn is_inhibited(&self) -> bool {
        let count = self.inhibitors.get();
        count.is_some_and(|count| count.load(Ordering::SeqCst) > 0)
    }

    /// Gives up the reactor, at close.
    pub(crate) fn take_reactor(&self) -> Option<Reactor> {
        self.reactor.borrow_mut().take()
    }

    /// Whether the loop will never run anything again. In a forked child that is so from the beginning.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase.get(), Phase::Closing | Phase::Closed) || self.is_inherited()
    }

    /// Whether this is a forked child, and the loop its parent's. Then nothing may touch the poller.
    pub(crate) fn is_inherited(&self) -> bool {
        self.forks != fork::generation()
    }

    /// Whether new work may come in. Between runs it also moves what other threads and wakers have left at the door to
    /// the queue first, so that entries stand in the order of their arrival, and tells the loop that drives us.
    #[inline]
    pub(crate) fn admit(&self) -> Result<(), LoopClosed> {
        if self.phase.get() == Phase::Running {
            Ok(())
        } else {
            self.admit_between_runs()
        }
    }

    #[cold]
    fn admit_between_runs(&self) -> Result<(), LoopClosed> {
        if self.is_closed() {
            return Err(LoopClosed);
        }
        if self.inbox.has_posts() {
            self.drain_inbox();
        }
        if self.guest.get() && !self.guest_notified.replace(true) {
            let notifier = self.reactor(|reactor| reactor.notifier())?;
            if let Err(error) = notifier.notify() {
                // The next entry tries again.
                self.guest_notified.set(false);
                self.report(ExceptionContext {
                    message: "The loop that drives this one cannot be woken".to_owned(),
                    exception: Some(Rc::new(error)),
                    ..ExceptionContext::default()
                });
            }
        }
        Ok(())
    }

    /// Moves what other threads sent into the queue.
    pub(crate) fn drain_inbox(&self) {
        self.inbox.drain(|delivery| match delivery {
            Delivery::Wake(key) => self.schedule(Key::from_bits(key)),
            Delivery::Call => self.queues(|queues| queues.ready.push_posted()),
        });
    }

    /// Queues a callback and gives its sequence number, or gives it back when the loop is closed.
    #[inline]
    pub(crate) fn push_call(&self, call: Box<dyn FnOnce()>) -> Result<u64, Box<dyn FnOnce()>> {
        if self.admit().is_err() {
            return Err(call);
        }
        Ok(self.queues(|queues| queues.ready.push_call(call)))
    }

    /// Makes a new task known to wakers and queues its first step. Left to the compiler it is now and then a call, which
    /// costs a spawn a tenth.
    #[inline(always)]
    pub(crate) fn take_in(&self, task: Rc<dyn Run>, header: &Header) -> Key {
        let mut queues = self.queues.borrow_mut();
        let key = queues.tasks.insert(self.id, task, header);
        queues.ready.push_task(key);
        key
    }

    /// Queues the task of a key of this loop, unless it is queued already or gone.
    #[inline]
    pub(crate) fn schedule(&self, key: Key) {
        if key.slot() == ROOT_SLOT {
            return self.schedule_root(key.generation());
        }
        self.queues(|queues| queues.schedule(key));
    }

    fn schedule_root(&self, generation: u16) {
        if self.root.generation.get() == generation
            && self.root.task.borrow().is_some()
            && !self.root.scheduled.replace(true)
        {
            self.queues(|queues| queues.ready.push_root(generation));
        }
    }

    /// Arms a timer, or gives back what it would have done where the loop is closed. `wakes` says that it only wakes a
    /// task, which is done as soon as the timer is due; anything else takes its place in the queue then.
    ///
    /// One borrow for all of it: a borrow is a store that the next one waits for.
    #[inline]
    pub(crate) fn arm_timer<F: FnOnce() + 'static>(
        &self,
        deadline: u64,
        wakes: bool,
        call: F,
    ) -> Result<TimerKey, F> {
        if self.admit().is_err() {
            return Err(call);
        }
        if deadline <= self.event_polls.last.get() {
            // It is due: it fires in the next turn, which would otherwise be free not to look.
            self.event_polls.force();
        }
        let mut timers = self.timers.borrow_mut();
        let key = timers.reserve(deadline, wakes);
        InlineFn::put(timers.fill(key), call);
        Ok(key)
    }

    /// Disarms a timer; what it would have done comes back, to be dropped with nothing borrowed.
    #[inline]
    pub(crate) fn cancel_timer(&self, key: TimerKey) -> Option<InlineFn> {
        self.timers(|timers| InlineFn::take(timers.cancel(key)?))
    }

    /// The task of a key of this loop, while it is unfinished. The key of a task that has ended may have become another's:
    /// who has kept one for long asks by [identity](Self::find_task).
    pub(crate) fn task(&self, key: Key) -> Option<Rc<dyn Run>> {
        if key.slot() == ROOT_SLOT {
            if key.generation() != self.root.generation.get() {
                return None;
            }
            return self.root.task.borrow().clone();
        }
        self.queues(|queues| queues.tasks.get(key).map(Rc::clone))
    }

    /// A task of this loop, while it is unfinished.
    pub(crate) fn find_task(&self, identity: Identity) -> Option<Rc<dyn Run>> {
        let task = self.task(identity.key)?;
        (task.header().serial.get() == identity.serial).then_some(task)
    }

    /// Which task of this loop it is, also after its end.
    pub(crate) fn identity_of(&self, header: &Header) -> Identity {
        Identity {
            key: self.key_of(header),
            serial: header.serial.get(),
        }
    }

    /// The key of a task of this loop, also after its end.
    pub(crate) fn key_of(&self, header: &Header) -> Key {
        let generation = (header.serial.get() as u16).wrapping_add(self.generation_offset);
        Key::new(self.id, generation, header.slot.get())
    }

    /// The key of the root's current run.
    pub(crate) fn root_key(&self) -> Key {
        Key::new(self.id, self.root.generation.get(), ROOT_SLOT)
    }
}
