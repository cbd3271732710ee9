//! Where a loop keeps its tasks.
//!
//! The slab owns every task from creation to end, so none dies because a handle was dropped. A slot also carries the
//! scheduled flag: a wake reads and writes the slot alone and leaves the task's memory cold.

use std::rc::Rc;

use slab::Slab;

use crate::kernel::task::cell::Run;
use crate::kernel::task::key::Key;

struct Slot {
    /// The task, owned.
    task: Rc<dyn Run>,
    /// From the loop's counter, at insertion; the task's keys carry the same.
    generation: u16,
    /// Whether the ready queue holds this task's key: it never holds it twice.
    scheduled: bool,
}

/// All unfinished tasks of one loop.
pub(crate) struct Slots {
    slots: Slab<Slot>,
    /// How many tasks there have been.
    serial: u32,
    /// What is added to a serial number to make a generation. Taken from the loop's epoch, so that the keys of a loop
    /// and those of its predecessor with the same id do not collide by system.
    offset: u16,
}

impl Slots {
    pub(crate) fn new(offset: u16, capacity: usize) -> Self {
        Self {
            slots: Slab::with_capacity(capacity),
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

    /// Takes the task in, scheduled already: its caller queues the key.
    #[inline]
    pub(crate) fn insert(&mut self, loop_id: u16, serial: u32, task: Rc<dyn Run>) -> Key {
        let generation = self.generation(serial);
        let slot = self.slots.insert(Slot {
            task,
            generation,
            scheduled: true,
        });
        Key::new(loop_id, generation, slot as u32)
    }

    /// Sets the scheduled flag; `true` where the caller has to queue the key.
    #[inline]
    pub(crate) fn schedule(&mut self, slot: u32, generation: u16) -> bool {
        match self.slots.get_mut(slot as usize) {
            Some(found) if found.generation == generation && !found.scheduled => {
                found.scheduled = true;
                true
            }
            _ => false,
        }
    }

    /// The task whose key was popped from the ready queue, its scheduled flag cleared.
    #[inline]
    pub(crate) fn unschedule(&mut self, slot: u32, generation: u16) -> Option<Rc<dyn Run>> {
        let found = self.slots.get_mut(slot as usize)?;
        if found.generation != generation {
            return None;
        }
        found.scheduled = false;
        Some(Rc::clone(&found.task))
    }

    /// The task of a key.
    pub(crate) fn get(&self, key: Key) -> Option<&Rc<dyn Run>> {
        let found = self.slots.get(key.slot() as usize)?;
        (found.generation == key.generation()).then_some(&found.task)
    }

    /// Gives up the ended task; the caller drops it with no borrow held.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Rc<dyn Run>> {
        self.get(key)?;
        Some(self.slots.remove(key.slot() as usize).task)
    }

    /// All tasks with their keys, in creation order.
    pub(crate) fn all(&self, loop_id: u16) -> Vec<(Key, Rc<dyn Run>)> {
        let mut all: Vec<_> = self
            .slots
            .iter()
            .map(|(slot, found)| {
                (
                    Key::new(loop_id, found.generation, slot as u32),
                    Rc::clone(&found.task),
                )
            })
            .collect();
        all.sort_by_key(|(_, task)| task.header().serial);
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}
