//! The parts of one loop, held together.
//!
//! A value of one word is in a `Cell`, a larger structure in a `RefCell` of its own, and the two that nearly every
//! operation touches in a [`LoopCell`]. No borrow is held while user code runs, so no borrow can fail: the methods here
//! borrow, move the wanted value out, and end the borrow before they return. A value that has to be dropped is returned
//! to the caller.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::TryReserveError;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::LoopClosed;
use crate::kernel::batch::Delivery;
use crate::kernel::budget::Budget;
use crate::kernel::cancel::node::{NIL, NodeKey};
use crate::kernel::cancel::tree::Tree;
use crate::kernel::clock::LoopClock;
use crate::kernel::context::Context;
use crate::kernel::inbox::{Inbox, Notify};
use crate::kernel::inhibit::Inhibitor;
use crate::kernel::inline_fn::Stored;
use crate::kernel::inspection::Inspection;
use crate::kernel::io::reactor::{Reactor, Woken};
use crate::kernel::io::source_key::SourceKey;
use crate::kernel::loop_cell::LoopCell;
use crate::kernel::meters::Meters;
use crate::kernel::observers::Observers;
use crate::kernel::post_spin::PostSpin;
use crate::kernel::queues::Queues;
use crate::kernel::ready::ReadyQueue;
use crate::kernel::registry::{self, Claim};
use crate::kernel::report::{ExceptionContext, ReportHandler};
use crate::kernel::settings::Settings;
use crate::kernel::shuffle::Shuffler;
use crate::kernel::spans::Spans;
use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::cell_pool::CellPool;
use crate::kernel::task::key::{Key, ROOT_SLOT};
use crate::kernel::task::root_slot::RootSlot;
use crate::kernel::task::slots::Slots;
use crate::kernel::timers::Timers;
use crate::kernel::wait_hooks::HostHooks;
use crate::sys::fork;
use crate::sys::ticks::Ticks;

/// Where a loop is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Between runs.
    Idle,
    /// Inside `run_forever`, `run_until_complete` or `turn`.
    Running,
    /// All that the loop holds is being dropped; new work is refused without a panic.
    Closing,
    /// Closed for ever.
    Closed,
}

/// When the turn polled for events, and when it will again.
pub(crate) struct EventPolls {
    /// When events were polled for last.
    pub(crate) last: Cell<u64>,
    /// When the clock was last read between two polls for events.
    pub(crate) clock_read: Cell<u64>,
    /// How many entries may still run before the clock is read again; 0 if a poll for events is forced.
    pub(crate) left: Cell<u32>,
    /// How many entries may run between two readings of the clock.
    pub(crate) interval: Cell<u32>,
    /// How often events were polled for.
    pub(crate) count: Cell<u64>,
    /// The next turn polls for events, whatever the clock says.
    pub(crate) forced: Cell<bool>,
}

impl EventPolls {
    fn new(now: u64) -> Self {
        Self {
            last: Cell::new(now),
            clock_read: Cell::new(now),
            left: Cell::new(1),
            interval: Cell::new(1),
            count: Cell::new(0),
            forced: Cell::new(false),
        }
    }

    /// Makes the next turn poll for events.
    #[inline]
    pub(crate) fn force(&self) {
        self.forced.set(true);
        self.left.set(0);
    }
}

/// What the loop counts because no number of its parts says so: a batch at a time, or what is rare.
#[derive(Default)]
pub(crate) struct Counts {
    /// Posts of other threads that were taken from the inbox.
    pub(crate) posts: Cell<u64>,
    /// The most entries that a turn has found after a poll for events, or of more than a few.
    pub(crate) most_ready: Cell<usize>,
    /// Timers that have become due.
    pub(crate) timers: Cell<u64>,
    /// How often the futures of `run_until_complete` were queued: once as new, and once for each wake-up.
    pub(crate) root_queued: Cell<u64>,
    /// Steps of the futures of `run_until_complete`.
    pub(crate) root_steps: Cell<u64>,
    /// First steps of eager tasks, which were not in the ready queue.
    pub(crate) eager_steps: Cell<u64>,
    /// Tasks that were pending when the loop closed, and resources that were open.
    pub(crate) pending: Cell<u64>,
    pub(crate) unclosed: Cell<u64>,
}

/// Adds to a count.
#[inline]
pub(crate) fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get() + more);
}

/// The scopes of all tasks.
pub(crate) struct Scopes {
    /// The scope whose inner future is being polled; none at the level of the task, and between polls.
    pub(crate) current: Cell<NodeKey>,
    /// The task whose poll finds out which of the asked nodes are still wanted: see [`puts_off`](LoopState::puts_off).
    pub(crate) undecided: Cell<Key>,
    /// Counts how often a node was linked.
    pub(crate) linked: Cell<u64>,
    /// Boxed, since most loops never use it.
    pub(crate) forest: Box<Forest>,
}

impl Scopes {
    fn new(counts: u64) -> Self {
        Self {
            forest: Box::new(Forest {
                tree: RefCell::new(Tree::new(counts)),
                newest_root: Cell::new((Key::NONE, NIL)),
            }),
            current: Cell::new(NodeKey::NONE),
            undecided: Cell::new(Key::NONE),
            linked: Cell::new(counts),
        }
    }
}

/// The nodes, and a cache that is read without a borrow.
pub(crate) struct Forest {
    pub(crate) tree: RefCell<Tree>,
    /// The root that was looked up last, and its task: scopes are opened one after the other. Cleared when a tree is
    /// torn down.
    pub(crate) newest_root: Cell<(Key, u32)>,
}

/// A task hook: called with a new task, before its first step.
pub(crate) type TaskHook = Rc<dyn Fn(AnyTask, Key)>;

/// One loop.
///
/// Laid out by hand: the fields that nearly every entry touches fill the first two cache lines, so that new fields
/// further down do not move them. When the compiler chose the layout, a new field cost every task and timer two
/// nanoseconds.
#[repr(C, align(64))]
pub(crate) struct LoopState {
    pub(crate) phase: Cell<Phase>,
    /// There was an observer, such as debug mode, a context variable was set, or a task hook was installed: entries run
    /// on the instrumented path. Most loops never need it and pay one test.
    pub(crate) instrumented: Cell<bool>,
    /// Debug mode; starts as the builder said.
    pub(crate) debug: Cell<bool>,
    /// The run ends after the current turn.
    pub(crate) stopping: Cell<bool>,
    /// A runner or a test ends the loop, in runs that go on after a stop. A `stop_now` would keep them from getting on.
    pub(crate) is_ending: Cell<bool>,
    /// Another loop drives this one by `turn`: between turns every new entry notifies it.
    pub(crate) guest: Cell<bool>,
    /// The notifier was notified since the last guest turn.
    pub(crate) guest_notified: Cell<bool>,
    /// The loop's id, which is in every key of its wakers.
    pub(crate) id: u16,
    /// How many operations may still end in the current poll.
    pub(crate) budget: Budget,
    /// Counts runs; the entry that ends a run carries its number.
    pub(crate) run_number: Cell<u32>,
    /// The task whose poll is under way; [`Key::NONE`] in callbacks and outside runs.
    pub(crate) current_task: Cell<Key>,
    /// Counts turns; `yield_now` waits for it to change.
    pub(crate) turn_number: Cell<u64>,
    pub(crate) scopes: Scopes,
    pub(crate) event_polls: EventPolls,
    /// Where other threads post and wake.
    pub(crate) inbox: &'static Inbox,
    /// The current context; `None` is an empty one. Between entries it is `None`.
    pub(super) context: Cell<Option<Context>>,
    /// Counts done callbacks: the next one's id.
    pub(crate) callbacks: Cell<u64>,
    pub(super) queues: LoopCell<Queues>,
    pub(super) timers: LoopCell<Timers<Stored>>,
    pub(crate) post_spin: PostSpin,
    pub(crate) clock: LoopClock,
    pub(crate) root: RootSlot,
    /// The poller and its sources; `None` once closed.
    reactor: RefCell<Option<Reactor>>,
    /// Buffers that turns reuse.
    pub(crate) woken: Cell<Vec<Woken>>,
    /// Distinguishes this loop from others that had or will have the same id.
    pub(crate) epoch: u64,
    /// The fork generation of the process that made the loop. A forked child has another one.
    forks: u32,
    /// Added to a task's serial number to make its generation.
    pub(super) generation_offset: u16,
    pub(crate) settings: Settings,
    /// The memory of ended tasks.
    pub(crate) cells: CellPool,
    /// Who is told of each entry into user code.
    pub(crate) observers: Observers,
    /// How observers read the time, once one has.
    pub(crate) ticks: OnceCell<Ticks>,
    /// The histograms, if the builder has asked for them.
    pub(crate) meters: Option<Box<Meters>>,
    pub(crate) counts: Counts,
    pub(crate) slow_callback_duration: Cell<Duration>,
    /// Slow calls are reported without debug mode too.
    pub(crate) slow_counts: Cell<bool>,
    /// The exception handler that a program has set.
    pub(super) handler: RefCell<Option<Rc<dyn ReportHandler>>>,
    /// Called with every new task.
    pub(super) task_hook: RefCell<Option<TaskHook>>,
    /// Called before and after each sleep.
    pub(crate) wait_hooks: RefCell<Option<HostHooks>>,
    /// Where timers were armed in debug mode, by their places, with their generations: for listing them.
    pub(crate) timer_locations: RefCell<Vec<(u64, &'static Location<'static>)>>,
    /// One value for each `LoopLocal` that was used, by its number.
    pub(crate) locals: RefCell<Vec<Option<Rc<dyn Any>>>>,
    /// The source whose observer has panicked, until the panic is caught.
    pub(crate) broken: Cell<Option<SourceKey>>,
    /// The notes of an inspected loop.
    pub(crate) inspection: Option<Box<Inspection>>,
    /// Counts the work outside the loop that keeps its virtual clock from moving; made for the first.
    inhibitors: OnceCell<Arc<AtomicUsize>>,
    /// Permutes what is ready, in tests.
    pub(crate) shuffler: Option<Shuffler>,
    /// The spans, if the builder has asked for them.
    pub(crate) spans: Option<Box<Spans>>,
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
        let state = Self::assemble(claim, reactor, settings);
        state.observe_as_set();
        Ok(Rc::new(state))
    }

    fn assemble(claim: Claim, reactor: Reactor, settings: Settings) -> Self {
        let counts = settings.counts;
        let clock = LoopClock::new(settings.clock);
        let now = clock.now();
        // A large odd number, so that loops made one after another start far apart.
        let generation = (claim.epoch as u16).wrapping_mul(40_503);
        Self {
            id: claim.id,
            epoch: claim.epoch,
            forks: fork::generation(),
            generation_offset: generation,
            inbox: claim.inbox,
            phase: Cell::new(Phase::Idle),
            debug: Cell::new(settings.debug),
            instrumented: Cell::new(false),
            observers: Observers::default(),
            ticks: OnceCell::new(),
            meters: settings.metrics.then(|| Box::new(Meters::new())),
            counts: Counts::default(),
            context: Cell::new(None),
            slow_callback_duration: Cell::new(settings.slow_callback_duration),
            slow_counts: Cell::new(settings.slow_counts),
            queues: LoopCell::new(Queues {
                ready: ReadyQueue::new(),
                tasks: Slots::new(generation, counts),
            }),
            timers: LoopCell::new(Timers::new(now, u64::from(generation) + counts)),
            reactor: RefCell::new(Some(reactor)),
            root: RootSlot::new(generation),
            scopes: Scopes::new(counts),
            current_task: Cell::new(Key::NONE),
            turn_number: Cell::new(counts),
            run_number: Cell::new(counts as u32),
            callbacks: Cell::new(counts),
            budget: Budget::new(),
            post_spin: PostSpin::default(),
            stopping: Cell::new(false),
            is_ending: Cell::new(false),
            event_polls: EventPolls::new(now),
            guest: Cell::new(false),
            guest_notified: Cell::new(false),
            handler: RefCell::new(None),
            task_hook: RefCell::new(None),
            wait_hooks: RefCell::new(None),
            timer_locations: RefCell::new(Vec::new()),
            locals: RefCell::new(Vec::new()),
            inspection: settings
                .inspect
                .then(|| Box::new(Inspection::new(claim.id))),
            inhibitors: OnceCell::new(),
            shuffler: settings.shuffle.map(Shuffler::new),
            spans: settings.spans.then(|| Box::new(Spans::new())),
            woken: Cell::new(Vec::new()),
            broken: Cell::new(None),
            cells: CellPool::new(),
            clock,
            settings,
        }
    }

    /// Adds or removes an observer. With one the loop is instrumented.
    pub(crate) fn observe(&self, observer: u8, is_there: bool) {
        self.observers.set(observer, is_there);
        if is_there {
            self.instrumented.set(true);
        }
    }

    /// Has told what there is to tell: histograms, notes and spans if the builder has asked for them, and slow calls in
    /// debug mode or if the program has set from when on a call is slow.
    pub(crate) fn observe_as_set(&self) {
        let counts = self.debug.get() || self.slow_counts.get();
        self.observe(Observers::SLOW, counts);
        self.observe(Observers::METERS, self.meters.is_some());
        self.observe(Observers::NOTES, self.inspection.is_some());
        self.observe(Observers::SPANS, self.spans.is_some());
    }

    /// Makes room for so many tasks, timers and sources.
    ///
    /// # Errors
    /// There is not enough memory.
    pub(crate) fn make_room(&self, capacity: usize) -> Result<(), TryReserveError> {
        self.queues(|queues| {
            queues.ready.make_room(capacity)?;
            queues.tasks.make_room(capacity)
        })?;
        self.timers(|timers| timers.make_room(capacity))?;
        self.reactor(|reactor| reactor.make_room(capacity))
            .unwrap_or(Ok(()))
    }

    /// Borrows the ready queue and the tasks. `f` must hold to the rules of [`LoopCell`], and a borrow inside it panics.
    #[inline(always)]
    pub(crate) fn queues<R>(&self, f: impl FnOnce(&mut Queues) -> R) -> R {
        self.queues.with(f)
    }

    /// Borrows the timers. `f` must hold to the rules of [`LoopCell`], and a borrow inside it panics.
    #[inline(always)]
    pub(crate) fn timers<R>(&self, f: impl FnOnce(&mut Timers<Stored>) -> R) -> R {
        self.timers.with(f)
    }

    /// Borrows the reactor. `f` must not run user code.
    #[inline(always)]
    pub(crate) fn reactor<R>(&self, f: impl FnOnce(&mut Reactor) -> R) -> Result<R, LoopClosed> {
        let mut reactor = self.reactor.borrow_mut();
        // If the loop is closed, `f` and its captures are dropped unused, after the borrow, as arguments are.
        match reactor.as_mut() {
            Some(reactor) => Ok(f(reactor)),
            None => Err(LoopClosed),
        }
    }

    /// Returns a guard that keeps a virtual clock from moving until it is dropped; `None` on the real clock.
    pub(crate) fn inhibit(&self) -> Option<Inhibitor> {
        self.clock.is_virtual().then(|| {
            let count = self.inhibitors.get_or_init(Arc::default);
            Inhibitor::new(count, self.inbox, self.epoch)
        })
    }

    /// Returns whether work outside the loop keeps the virtual clock from moving. Check this before the inbox: an
    /// inhibitor posts its result before it is dropped.
    pub(crate) fn is_inhibited(&self) -> bool {
        let count = self.inhibitors.get();
        count.is_some_and(|count| count.load(Ordering::SeqCst) > 0)
    }

    /// Takes the reactor out, at close.
    pub(crate) fn take_reactor(&self) -> Option<Reactor> {
        self.reactor.borrow_mut().take()
    }

    /// Returns whether the loop will never run anything again. A forked child's copy of its parent's loop counts as
    /// closed.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase.get(), Phase::Closing | Phase::Closed) || self.is_inherited()
    }

    /// Returns whether this is a forked child and the loop its parent's. Then the poller must not be touched.
    pub(crate) fn is_inherited(&self) -> bool {
        self.forks != fork::generation()
    }

    /// Checks that new work may be queued. Between runs it first moves the entries of the inbox to the ready queue, so
    /// that entries keep the order of their arrival, and it notifies a loop that drives this one.
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
            if let Err(error) = self.notify_host() {
                // The next entry tries again.
                self.guest_notified.set(false);
                self.report(ExceptionContext {
                    message: "The loop that drives this one cannot be woken".to_owned(),
                    exception: Some(Arc::new(error)),
                    ..ExceptionContext::default()
                });
            }
        }
        Ok(())
    }

    /// Makes the descriptor readable for a loop that drives this one.
    pub(crate) fn notify_host(&self) -> io::Result<()> {
        let notifier = self.reactor(|reactor| reactor.notifier())?;
        notifier.notify()
    }

    /// Moves the entries of the inbox to the ready queue.
    pub(crate) fn drain_inbox(&self) {
        let (mut came, mut posts) = (0_u32, 0_u64);
        self.inbox.drain(|delivery| match delivery {
            Delivery::Wake(key) => {
                came = came.saturating_add(1);
                self.schedule(Key::from_bits(key));
            }
            Delivery::Calls(count) => {
                came = came.saturating_add(count);
                posts += u64::from(count);
                self.queues(|queues| queues.ready.push_posted(count));
            }
        });
        self.post_spin.note(came);
        add(&self.counts.posts, posts);
    }

    /// Queues the root of the current run, unless it is queued already, if the key is its own.
    #[cold]
    #[inline(never)]
    pub(super) fn schedule_root(&self, key: Key) {
        let generation = key.generation();
        if key == Key::new(self.id, self.root.generation.get(), ROOT_SLOT)
            && self.root.schedule(generation)
        {
            add(&self.counts.root_queued, 1);
            self.queues(|queues| queues.ready.push_root(generation));
        }
    }

    /// Returns whether a timer is due that has not fired.
    pub(crate) fn has_due_timer(&self) -> bool {
        let next = self.timers(|timers| timers.next_deadline());
        next.is_some_and(|deadline| deadline <= self.clock.now())
    }

    #[inline]
    pub(super) fn admit_timer(&self, deadline: u64) -> Result<(), LoopClosed> {
        self.admit()?;
        if deadline <= self.event_polls.last.get() {
            // It is due already and fires in the next turn, which might otherwise not poll for events.
            self.event_polls.force();
        }
        Ok(())
    }
}
