//! Where a loop keeps its tasks.
//!
//! The slots own every task from creation to end, so none dies because a handle was dropped. A slot also carries the
//! scheduled flag: a wake reads and writes the slot alone and leaves the task's memory cold. The list of free slots is
//! linked through the slots themselves. It is our own and not the slab crate's: a spawn often follows the end of a task
//! at once, and moving whole entries through memory was a fifth of the cost of both.

#![allow(unsafe_code)]

use std::collections::TryReserveError;
use std::mem::ManuallyDrop;

use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::header::Header;
use crate::kernel::task::key::Key;
use crate::sys::prefetch::{CROWD, prefetch};

/// The end of the free list. Not a slot: see [`LAST_SLOT`].
const NO_SLOT: u32 = u32::MAX;

/// The highest slot: half of a [`TaskNodes`]'s numbers are slots.
const LAST_SLOT: u32 = (1 << 31) - 2;

/// How many slots are kept, however few tasks there are.
const KEPT: usize = 1024;

/// The bit by which a slot's link says that it names a tree.
const TREE: u32 = 1 << 31;

/// What a request to a task finds first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TaskNodes {
    /// Nothing: the future is dropped.
    Bare,
    /// The one task that it awaits, or awaited when it was last polled: the header of the task in this slot says
    /// whether it still does.
    Awaits(u32),
    /// The root of its tree.
    Tree(u32),
}

struct Slot {
    /// The task, owned; `None` in a free slot.
    task: Option<AnyTask>,
    /// In a free slot the next free one; otherwise the task's [`TaskNodes`], as a number.
    link: u32,
    /// From the loop's counter, at insertion; the task's key has the same.
    generation: u16,
    /// [`SCHEDULED`], [`AWAITED_NOW`] and [`AWAITED_BEFORE`].
    flags: u8,
}

/// The ready queue holds this task's key: it never holds it twice.
const SCHEDULED: u8 = 1 << 7;

/// In the newest poll of the task, its await that `link` names was polled, or a node of its tree.
const AWAITED_NOW: u8 = 1;

/// The same, of the poll before. A poll begins with one shift, which turns the first flag into this one and clears the
/// rest.
const AWAITED_BEFORE: u8 = AWAITED_NOW << POLL_SHIFT;

/// Neither flag may be shifted to the bit of `SCHEDULED`, and each has to be shifted out after two polls.
const POLL_SHIFT: u8 = 3;

/// In which of a task's last two polls its await or a node of its tree was polled. If none was, the task has set them
/// aside, as `select!` does, and no request waits for them.
#[derive(Clone, Copy)]
pub(crate) struct Recency(u8);

impl Recency {
    /// In no poll.
    pub(crate) const NEVER: Self = Self(0);

    /// Returns whether it was polled in the current poll, or in the newest if there is no current one.
    pub(crate) fn is_now(self) -> bool {
        self.0 & AWAITED_NOW != 0
    }

    /// Returns whether it was polled in the poll before.
    pub(crate) fn is_before(self) -> bool {
        self.0 & AWAITED_BEFORE != 0
    }

    /// Returns the value after another poll has begun.
    pub(crate) fn next_poll(self) -> Self {
        Self(self.0 << POLL_SHIFT)
    }

    /// Returns the value after the await was polled.
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

    /// Returns the root, if the task has a tree.
    #[inline]
    pub(crate) fn tree(self) -> Option<u32> {
        // One comparison: no tree has the number that means `Bare`.
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
    /// How many there were before any was freed: with those that there are it says how many tasks there were at most.
    most: usize,
    /// How many new tasks were taken out of the ready queue again, to be started at once.
    unqueued: u64,
    /// How many slots are never freed.
    kept: usize,
    /// With so many tasks or fewer it is worth a try to free slots.
    few: usize,
    /// How many tasks were inserted so far.
    serial: u64,
    /// Added to a serial number to make a generation. It comes from the loop's epoch, so that the keys of a loop and of
    /// the former loop with the same id do not collide regularly.
    offset: u16,
}

impl Slots {
    /// Makes slots without tasks; the first task gets the number after `serial`.
    pub(crate) fn new(offset: u16, serial: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: NO_SLOT,
            taken: 0,
            most: 0,
            unqueued: 0,
            kept: KEPT,
            few: 0,
            serial,
            offset,
        }
    }

    /// Makes room for so many tasks at once.
    pub(crate) fn make_room(&mut self, tasks: usize) -> Result<(), TryReserveError> {
        self.kept = self.kept.max(tasks);
        self.slots.try_reserve_exact(tasks)
    }

    /// Returns how many tasks there were at once at most: a new slot is made only if all are taken.
    pub(crate) fn most(&self) -> usize {
        self.most.max(self.slots.len())
    }

    /// Returns the number of the newest task.
    pub(crate) fn newest(&self) -> u64 {
        self.serial
    }

    /// Notes that a new task was taken out of the ready queue again.
    pub(crate) fn note_unqueued(&mut self) {
        self.unqueued += 1;
    }

    /// Returns how many tasks were noted so.
    pub(crate) fn unqueued(&self) -> u64 {
        self.unqueued
    }

    /// Returns the number of the next task, counting from 1.
    #[inline]
    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Returns the generation of a serial number.
    #[inline]
    pub(crate) fn generation(&self, serial: u64) -> u16 {
        (serial as u16).wrapping_add(self.offset)
    }

    /// Inserts a task, and sets its number and slot. It counts as scheduled: the caller queues the key.
    #[inline]
    pub(crate) fn insert(&mut self, loop_id: u16, task: AnyTask, header: &Header) -> Key {
        let serial = self.next_serial();
        let generation = self.generation(serial);
        let slot = match self.slots.get_mut(self.free as usize) {
            Some(found) => {
                let slot = self.free;
                self.free = found.link;
                // A free slot has no task that would have to be dropped.
                std::mem::forget(found.task.replace(task));
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
    fn grow(&mut self, task: AnyTask, generation: u16) -> u32 {
        let slot = self.slots.len() as u32;
        if slot >= LAST_SLOT {
            // No panic: its hook is user code, and this is borrowed.
            std::process::abort();
        }
        self.slots.push(Slot {
            task: Some(task),
            link: NO_SLOT,
            generation,
            flags: SCHEDULED,
        });
        self.few = self.slots.len() / 4;
        slot
    }

    /// Frees the slots after the last task, before the loop waits, if at most a quarter is taken and at least half can
    /// be freed. Where a task is in the way, the next try is made with half as many tasks.
    #[inline]
    pub(crate) fn cut_down(&mut self) {
        if self.taken <= self.few && self.slots.len() >= 2 * self.kept {
            self.free_the_last();
        }
    }

    #[inline(never)]
    fn free_the_last(&mut self) {
        let last = self.slots.iter().rposition(|slot| slot.task.is_some());
        let length = last.map_or(0, |last| last + 1).max(self.kept);
        if length > self.slots.len() / 2 {
            self.few = self.taken / 2;
            return;
        }
        self.few = length / 4;
        self.most = self.most();
        self.slots.truncate(length);
        self.slots.shrink_to(length);
        // The free list went through what is freed.
        self.free = NO_SLOT;
        for (number, slot) in self.slots.iter_mut().enumerate().rev() {
            if slot.task.is_none() {
                slot.link = self.free;
                self.free = number as u32;
            }
        }
    }

    /// Returns whether there are so many tasks that most are not in the processor's caches.
    #[inline]
    pub(crate) fn is_crowd(&self) -> bool {
        self.taken > CROWD
    }

    /// Asks for the memory of a key's slot.
    pub(crate) fn prefetch(&self, key: Key) {
        if let Some(found) = self.slots.get(key.slot() as usize) {
            prefetch(found);
        }
    }

    /// Asks for the memory of a key's task, whose slot has come.
    pub(crate) fn prefetch_task(&self, key: Key) {
        if let Some(task) = self.get(key) {
            let cell = task.cell().as_ptr().cast::<u8>();
            prefetch(cell);
            prefetch(cell.wrapping_add(64));
        }
    }

    /// Sets the scheduled flag. Returns whether the caller has to queue the key; `None` without a slot of this number.
    #[inline]
    pub(crate) fn schedule(&mut self, key: Key) -> Option<bool> {
        let found = self.slots.get_mut(key.slot() as usize)?;
        let unqueued = found.generation == key.generation() && found.flags & SCHEDULED == 0;
        if unqueued {
            found.flags |= SCHEDULED;
        }
        Some(unqueued)
    }

    /// Clears the scheduled flag of a key that was popped from the ready queue, and lends its task for one step.
    #[inline]
    pub(crate) fn unschedule(&mut self, key: Key) -> Option<ManuallyDrop<AnyTask>> {
        let found = self.slots.get_mut(key.slot() as usize)?;
        if found.generation != key.generation() {
            return None;
        }
        // SAFETY: `task/mod.rs` says why the slot keeps its task until the caller's step has ended.
        let task = unsafe { found.task.as_ref()?.lend() };
        found.flags <<= POLL_SHIFT;
        Some(task)
    }

    /// Returns the task of a key.
    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&AnyTask> {
        let found = self.slots.get(key.slot() as usize)?;
        if found.generation == key.generation() {
            found.task.as_ref()
        } else {
            None
        }
    }

    /// Removes the ended task of a key, and returns it with its nodes, for the caller to drop with nothing borrowed. A
    /// free slot counts as scheduled, so that a late wake by its last key does nothing.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<(AnyTask, Link)> {
        let found = self.slots.get_mut(key.slot() as usize)?;
        if found.generation != key.generation() {
            return None;
        }
        debug_assert!(!found.task.as_ref()?.header().state.is_running());
        let task = found.task.take()?;
        let link = Link(found.link);
        found.flags = SCHEDULED;
        found.link = self.free;
        self.free = key.slot();
        self.taken -= 1;
        Some((task, link))
    }

    /// Returns the task in a slot.
    pub(crate) fn at(&self, slot: u32) -> Option<&AnyTask> {
        self.slots.get(slot as usize)?.task.as_ref()
    }

    /// Returns whether the ready queue holds the key.
    pub(crate) fn is_scheduled(&self, key: Key) -> bool {
        let found = self.slots.get(key.slot() as usize);
        found.is_some_and(|found| {
            found.generation == key.generation() && found.flags & SCHEDULED != 0
        })
    }

    /// Returns a task's nodes; none if the task has ended.
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

    /// Notes that a running task awaits the one in a slot; `false` if it has other nodes already.
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

    /// Returns in which of a task's newest polls its nodes were polled.
    pub(crate) fn recency(&self, key: Key) -> Recency {
        let found = self.slots.get(key.slot() as usize);
        let found = found.filter(|found| found.generation == key.generation());
        Recency(found.map_or(0, |found| found.flags))
    }

    /// Returns all tasks with their keys, in the order of their creation.
    pub(crate) fn all(&self, loop_id: u16) -> Vec<(Key, AnyTask)> {
        let numbered = self.slots.iter().zip(0..);
        let mut all: Vec<_> = numbered
            .filter_map(|(found, slot)| {
                let task = found.task.as_ref()?;
                Some((Key::new(loop_id, found.generation, slot), task.clone()))
            })
            .collect();
        all.sort_by_key(|(_, task)| task.header().serial.get());
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.taken
    }
}
