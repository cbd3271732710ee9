//! What happens to the timers of a slot that the current tick enters: they fire, or move to lower levels of the wheel.
//!
//! A slot is a list through the slab, and only an entry says which one is next. With very many timers each step of such
//! a walk waits for memory, which would be most of what a timer costs. So where a walk moves timers to other lists, it
//! notes in each entry which one has come a few places later in the same list. The next walk asks for that one while it
//! still works on the first. The note is a hint: after a cancellation it may name another timer, or none.

use super::due::{Due, sort};
use super::timers::{DIGIT_BITS, DIGIT_MASK, DUE, EMPTY, NONE, Payload, SLOTS, Timers, slot_of};
use crate::sys::prefetch::{AHEAD, CROWD, prefetch};

/// The entry of a list that is to be told next what is ahead of it.
#[derive(Clone, Copy)]
struct Behind {
    index: u32,
    /// How many places it is behind the end of the list, up to [`AHEAD`].
    places: u32,
}

const NOTHING: Behind = Behind {
    index: NONE,
    places: 0,
};

impl<P: Payload> Timers<P> {
    /// Empties a slot: what is due by `now` goes to the batch in order, the rest where the current tick, which has just
    /// entered the slot, wants it.
    pub(super) fn open(&mut self, slot: usize, now: u64) {
        let first = self.batch.len();
        let list = std::mem::replace(&mut self.slots[slot % SLOTS], EMPTY);
        self.mark_empty(slot);
        if self.live > CROWD {
            self.open_crowded(slot, list.head, now);
        } else {
            self.walk(list.head, now, |_, _| (), |_, _, _| ());
        }
        // Stable, because among equals the list's order is the order of creation.
        sort(&mut self.batch[first..], &mut self.spare);
    }

    /// Does the work of [`walk`](Self::walk) where most entries are no longer in the processor's caches.
    #[inline(never)]
    fn open_crowded(&mut self, slot: usize, head: u32, now: u64) {
        let ask = |timers: &Self, ahead: u32| {
            if let Some(entry) = timers.entries.get(ahead as usize) {
                prefetch(entry);
            }
        };
        if slot < 1 << DIGIT_BITS {
            // What stays is not yet due, and comes again into the same list.
            return self.walk(head, now, ask, |_, _, _| ());
        }
        // One for each list of a level: the timers of a slot go to the next level below it, or some of them further down.
        let mut behind = [NOTHING; 1 << DIGIT_BITS];
        self.walk(head, now, ask, |timers, slot, index| {
            let behind = &mut behind[slot & DIGIT_MASK as usize];
            timers.note_ahead(behind, index);
        });
    }

    /// Takes the entries of a list that starts at `head` out, one by one. What is due by `now` goes to the batch. The
    /// rest is linked to where it belongs now, and passed to `moved` with its slot.
    #[inline(always)]
    fn walk(
        &mut self,
        head: u32,
        now: u64,
        ask: impl Fn(&Self, u32),
        mut moved: impl FnMut(&mut Self, usize, u32),
    ) {
        let mut index = head;
        while index != NONE {
            let entry = &mut self.entries[index as usize];
            let (deadline, next, ahead) = (entry.deadline, entry.next, entry.ahead);
            if deadline > now {
                let slot = slot_of(deadline, self.current);
                let prev = self.slots[slot].tail;
                (entry.slot, entry.prev) = (slot as u16, prev);
                (entry.next, entry.ahead) = (NONE, NONE);
                self.link_last(slot, index, prev);
                moved(self, slot, index);
            } else if let Some(task) = entry.payload.task() {
                self.batch.push(Due::task_at(deadline, task));
                self.release(index);
            } else {
                entry.slot = DUE;
                self.batch
                    .push(Due::timer_at(deadline, index, entry.generation));
            }
            ask(self, ahead);
            index = next;
        }
    }

    /// Notes the newest entry of a list in the one that is [`AHEAD`] places before it.
    #[inline]
    fn note_ahead(&mut self, behind: &mut Behind, newest: u32) {
        if behind.places == 0 {
            behind.index = newest;
        }
        if behind.places < AHEAD as u32 {
            behind.places += 1;
            return;
        }
        match self.entries.get_mut(behind.index as usize) {
            Some(entry) => {
                entry.ahead = newest;
                behind.index = entry.next;
            }
            // Two lists of different levels have had the same place, and this was the end of the other one.
            None => *behind = NOTHING,
        }
    }
}
