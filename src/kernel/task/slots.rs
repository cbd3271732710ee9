//! Where a loop keeps its tasks.
//!
//! The slots own every task from creation to end, so none dies because a handle was dropped. A slot also carries the
//! scheduled flag: a wake reads and writes the slot alone and leaves the task's memory cold. The list of free slots goes
//! through the slots themselves; it is our own and not the slab crate's, since a spawn and the end of a task come right
//! after one another so often that moving whole entries through memory was a fifth of their cost.

use std::rc::Rc;

use crate::kernel::task::cell::{Header, Run};
use crate::kernel::task::key::Key;

/// The end of the free list. Not a slot: see [`LAST_SLOT`].
const NO_SLOT: u32 = u32::MAX;

/// The highest slot; the two numbers above it mean "the root" and "no place".
const LAST_SLOT: u32 = u32::MAX - 2;

struct Slot {
    /// The task, owned; `None` in a free slot.
    task: Option<Rc<dyn Run>>,
    /// In a free slot the next free one.
    next_free: u32,
    /// From the loop's counter, at insertion; the task's keys carry the same.
    generation: u16,
    /// Whether the ready queue holds this task's key: it never holds it twice.
    scheduled: bool,
}

/// All unfinished tasks of one loop.
pub(crate) struct Slots {
    slots: Vec<Slot>,
    /// The slot that was freed last, the first to be used again.
    free: u32,
    /// How many slots are taken.
    taken: usize,
    /// How many tasks there have been.
    serial: u32,
    /// What is added to a serial number to make a generation. Taken from the loop's epoch, so that the keys of a loop
    /// and those of its predecessor with the same id do not collide by system.
    offset: u16,
}

impl Slots {
    pub(crate) fn new(offset: u16, capacity: usize) -> Self {
        Self {
            slots: Vec::with_capacity(capacity),
            free: NO_SLOT,
            taken: 0,
            serial: 0,
            offset,
        }
    }

    /// The number of the next task, counting from 1.
    #[inline]
    pub(crate) fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// The generation that goes with a serial number.
    #[inline]
    pub(crate) fn generation(&self, serial: u32) -> u16 {
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
                self.free = found.next_free;
                found.task = Some(task);
                found.generation = generation;
                found.scheduled = true;
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
            next_free: NO_SLOT,
            generation,
            scheduled: true,
        });
        slot
    }

    /// Sets the scheduled flag; `true` where the caller has to queue the key.
    #[inline]
    pub(crate) fn schedule(&mut self, key: Key) -> bool {
        match self.slots.get_mut(key.slot() as usize) {
            Some(found) if found.generation == key.generation() && !found.scheduled => {
                found.scheduled = true;
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
        found.scheduled = false;
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

    /// Gives up the ended task; the caller drops it with no borrow held. A free slot counts as scheduled, so that a late
    /// wake by its last key does nothing.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<Rc<dyn Run>> {
        let found = self.slots.get_mut(key.slot() as usize)?;
        if found.generation != key.generation() {
            return None;
        }
        let task = found.task.take()?;
        found.scheduled = true;
        found.next_free = self.free;
        self.free = key.slot();
        self.taken -= 1;
        Some(task)
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
