//! Where a loop keeps its tasks.
//!
//! The slots own every task from creation to end, so none dies because a handle was dropped. A slot also carries the
//! scheduled flag: a wake reads and writes the slot alone and leaves the task's memory cold. The list of free slots goes
//! through the slots themselves; it is our own and not the slab crate's, since a spawn and the end of a task come right
//! after one another so often that moving whole entries through memory was a fifth of their cost.

use std::collections::TryReserveError;
use std::rc::Rc;

use crate::kernel::task::cell::{Header, Run};
use crate::kernel::task::key::Key;

/// The end of the free list. Not a slot: see [`LAST_SLOT`].
const NO_SLOT: u32 = u32::MAX;

/// The highest slot: half of a [`TaskNodes`]'s numbers are slots.
const LAST_SLOT: u32 = (1 << 31) - 2;

/// The bit by which a slot's link says that it names a tree.
const TREE: u32 = 1 << 31;

/// What a cancellation of a task finds first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TaskNodes {
    /// Nothing: the future is dropped.
    Bare,
    /// The one task that it awaits, or awaited when it was last polled: the task in this slot says whether that holds.
    Awaits(u32),
    /// The root of its tree.
    Tree(u32),
}

struct Slot {
    /// The task, owned; `None` in a free slot.
    task: Option<Rc<dyn Run>>,
    /// In a free slot the next free one; else what hangs on the task, as a number.
    link: u32,
    /// From the loop's counter, at insertion; the task's keys carry the same.
    generation: u16,
    /// [`SCHEDULED`], [`AWAITED_NOW`] and [`AWAITED_BEFORE`].
    flags: u8,
}

/// The ready queue holds this task's key: it never holds it twice.
const SCHEDULED: u8 = 1 << 7;

/// In the newest poll of the task, its await that `link` names was polled, or a node of its tree.
const AWAITED_NOW: u8 = 1;

/// The same of the poll before. A poll begins with one shift, which makes the one of the other and clears the rest.
const AWAITED_BEFORE: u8 = AWAITED_NOW << POLL_SHIFT;

/// Neither of the two may arrive at the place of `SCHEDULED`, and the second one has to leave with the next shift but one.
const POLL_SHIFT: u8 = 3;

/// In which of a task's last two polls what hangs on it was polled too: an await that was not is one that the task has
/// set aside, as `select!` does, and no request waits for it.
#[derive(Clone, Copy)]
pub(crate) struct Recency(u8);

impl Recency {
    /// In no poll.
    pub(crate) const NEVER: Self = Self(0);

    /// In the poll that is under way, or in the newest where none is.
    pub(crate) fn is_now(self) -> bool {
        self.0 & AWAITED_NOW != 0
    }

    /// In the poll before.
    pub(crate) fn is_before(self) -> bool {
        self.0 & AWAITED_BEFORE != 0
    }

    /// What it is once another poll has begun.
    pub(crate) fn next_poll(self) -> Self {
        Self(self.0 << POLL_SHIFT)
    }

    /// What it is once the await was polled.
    pub(crate) fn visited(self) -> Self {
        Self(self.0 | AWAITED_NOW)
    }
}

/// A [`TaskNodes`] in one word.
#[derive(Clone, Copy)]
pub(crate) struct Link(u32);

impl Link {
    fn nodes(self) -> TaskNodes {
        match self.0 {
            NO_SLOT => TaskNodes::Bare,
            link if link & TREE == 0 => TaskNodes::Awaits(link),
            link => TaskNodes::Tree(link & !TREE),
        }
    }

    /// The root, if it is a tree's.
    #[inline]
    pub(crate) fn tree(self) -> Option<u32> {
        // One comparison: no tree has the number that means nothing.
        (self.0.wrapping_sub(TREE) < NO_SLOT - TREE).then_some(self.0 & !TREE)
    }
}

impl Slot {
    fn nodes(&self) -> TaskNodes {
        Link(self.link).nodes()
    }
}

/// All unfinished tasks of one loop.
pub(crate) struct Slots {
    slots: Vec<Slot>,
    /// The slot that was freed last, the first to be used again.
    free: u32,
    /// How many slots are taken.
    taken: usize,
    /// How many tasks there have been.
    serial: u64,
    /// What is added to a serial number to make a generation. Taken from the loop's epoch, so that the keys of a loop
    /// and those of its predecessor with the same id do not collide by system.
    offset: u16,
}

impl Slots {
    /// No tasks; `serial` is the number of the one before the first.
    pub(crate) fn new(offset: u16, serial: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: NO_SLOT,
            taken: 0,
            serial,
            offset,
        }
    }

    /// Makes room for so many tasks at once.
    pub(crate) fn make_room(&mut self, tasks: usize) -> Result<(), TryReserveError> {
        self.slots.try_reserve_exact(tasks)
    }

    /// The number of the next task, counting from 1.
    #[inline]
    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// The generation that goes with a serial number.
    #[inline]
    pub(crate) fn generation(&self, serial: u64) -> u16 {
        (serial as u16).wrapping_add(self.offset)
    }

    /// Takes the task in, numbers it and tells it its place. It counts as scheduled: the caller queues the key.
    #[inline]
    pub(crate) fn insert(&mut self, loop_id: u16, task: Rc<dyn Run>, header: &Header) -> Key {
        let serial = self.next_serial();
        let generation = self.generation(serial);
        let slot = match self.slots.get_mut(self.free as usize) {
            Some(found) => {
                let slot = self.free;
                self.free = found.link;
                found.task = Some(task);
                found.link = NO_SLOT;
                found.generation = generation;
                found.flags = SCHEDULED;
                slot
            }
            None => self.grow(task, generation),
        };
        self.taken += 1;
        header.serial.set(serial);
        header.slot.set(slot);
        Key::new(loop_id, generation, slot)
    }

    #[cold]
    fn grow(&mut self, task: Rc<dyn Run>, generation: u16) -> u32 {
        let slot = self.slots.len() as u32;
        assert!(slot < LAST_SLOT, "more tasks than a loop can number");
        self.slots.push(Slot {
            task: Some(task),
            link: NO_SLOT,
            generation,
            flags: SCHEDULED,
        });
        slot
    }

    /// Sets the scheduled flag; `true` where the caller has to queue the key.
    #[inline]
    pub(crate) fn schedule(&mut self, key: Key) -> bool {
        match self.slots.get_mut(key.slot() as usize) {
            Some(found) if found.generation == key.generation() && found.flags & SCHEDULED == 0 => {
                found.flags |= SCHEDULED;
                true
            }
            _ => false,
        }
    }

    /// The task whose key was popped from the ready queue, its scheduled flag cleared.
    #[inline]
    pub(crate) fn unschedule(&mut self, key: Key) -> Option<Rc<dyn Run>> {
        let found = self.slots.get_mut(key.slot() as usize)?;
        if found.generation != key.generation() {
            return None;
        }
        let task = found.task.clone()?;
        found.flags <<= POLL_SHIFT;
        Some(task)
    }

    /// The task of a key.
    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&Rc<dyn Run>> {
        let found = self.slots.get(key.slot() as usize)?;
        if found.generation == key.generation() {
            found.task.as_ref()
        } else {
            None
        }
    }

    /// Gives up the ended task, with what hung on it; the caller drops it with no borrow held. A free slot counts as
    /// scheduled, so that a late wake by its last key does nothing.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<(Rc<dyn Run>, Link)> {
        let found = self.slots.get_mut(key.slot() as usize)?;
        if found.generation != key.generation() {
            return None;
        }
        let task = found.task.take()?;
        let link = Link(found.link);
        found.flags = SCHEDULED;
        found.link = self.free;
        self.free = key.slot();
        self.taken -= 1;
        Some((task, link))
    }

    /// The task in a slot.
    pub(crate) fn at(&self, slot: u32) -> Option<&Rc<dyn Run>> {
        self.slots.get(slot as usize)?.task.as_ref()
    }

    /// Whether the ready queue holds the key.
    pub(crate) fn is_scheduled(&self, key: Key) -> bool {
        let found = self.slots.get(key.slot() as usize);
        found.is_some_and(|found| {
            found.generation == key.generation() && found.flags & SCHEDULED != 0
        })
    }

    /// What hangs on a task; nothing on one that is gone.
    #[inline]
    pub(crate) fn nodes(&self, key: Key) -> TaskNodes {
        match self.slots.get(key.slot() as usize) {
            Some(found) if found.generation == key.generation() && found.task.is_some() => {
                found.nodes()
            }
            _ => TaskNodes::Bare,
        }
    }

    pub(crate) fn set_nodes(&mut self, key: Key, nodes: TaskNodes) {
        let Some(found) = self.slots.get_mut(key.slot() as usize) else {
            return;
        };
        if found.generation == key.generation() && found.task.is_some() {
            found.link = match nodes {
                TaskNodes::Bare => NO_SLOT,
                TaskNodes::Awaits(slot) => slot,
                TaskNodes::Tree(root) => root | TREE,
            };
            if let TaskNodes::Awaits(_) = nodes {
                found.flags |= AWAITED_NOW;
            }
        }
    }

    /// Notes that a running task awaits the one in a slot; `false` where something else hangs on it already.
    #[inline]
    pub(crate) fn note_await(&mut self, key: Key, awaited: u32) -> bool {
        let Some(found) = self.slots.get_mut(key.slot() as usize) else {
            return false;
        };
        if found.link == NO_SLOT {
            found.link = awaited;
        }
        if found.link != awaited {
            return false;
        }
        found.flags |= AWAITED_NOW;
        true
    }

    /// Notes that a node of the task's tree is polled.
    pub(crate) fn note_visit(&mut self, key: Key) {
        let found = self.slots.get_mut(key.slot() as usize);
        if let Some(found) = found.filter(|found| found.generation == key.generation()) {
            found.flags |= AWAITED_NOW;
        }
    }

    /// In which of a task's polls what hangs on it was polled too.
    pub(crate) fn recency(&self, key: Key) -> Recency {
        let found = self.slots.get(key.slot() as usize);
        let found = found.filter(|found| found.generation == key.generation());
        Recency(found.map_or(0, |found| found.flags))
    }

    /// All tasks with their keys, in creation order.
    pub(crate) fn all(&self, loop_id: u16) -> Vec<(Key, Rc<dyn Run>)> {
        let numbered = self.slots.iter().zip(0..);
        let mut all: Vec<_> = numbered
            .filter_map(|(found, slot)| {
                let task = found.task.as_ref()?;
                Some((Key::new(loop_id, found.generation, slot), Rc::clone(task)))
            })
            .collect();
        all.sort_by_key(|(_, task)| task.header().serial.get());
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.taken
    }
}
