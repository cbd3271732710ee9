//! How long a loop may sleep: until which time no timer is due. And what it gives back before it sleeps.
//!
//! The wheel keeps its timers unsorted inside a slot, so the earliest deadline has to be searched for. It is searched
//! for only when the loop is about to sleep, only in the first slot, and the answer is kept until it changes. A slot
//! above level 0 may hold a million timers; it is not searched, and its start stands for its earliest deadline.

use super::timers::{Entry, FREE, NONE, Payload, SLOTS, TICK_BITS, Timers};
use crate::sys::prefetch::{CROWD as COLD, prefetch};

/// From how many entries on a slot above level 0 answers with its start instead of being searched for its earliest
/// timer. Sixteen list nodes cost about as much as the extra turn that the answer causes.
const CROWD: usize = 16;

/// Entries are given back when less than one in so many is in use.
const SPARSE: usize = 8;

impl<P: Payload> Timers<P> {
    /// Returns a time to sleep until: the earliest armed deadline, or an earlier bound if the slot that holds it is
    /// crowded. At a bound perhaps nothing is due, but expiring then spreads the slot over lower levels, so that the
    /// next answer is nearer to the deadline.
    #[inline]
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        if self.earliest == 0 && self.earliest_index == NONE {
            self.find_earliest();
        }
        (self.earliest != u64::MAX).then_some(self.earliest)
    }

    /// Like [`next_deadline`](Self::next_deadline), but later, so that one wake-up serves more timers: the last
    /// deadline that is at most `slack` after it. It is a deadline and not the end of that window, so a single timer
    /// still wakes exactly. It searches only the first slot and the next one on level 0, and of a crowded slot above
    /// level 0 only the first entries.
    #[inline(always)]
    pub(crate) fn wake_time(&mut self, slack: u64) -> Option<u64> {
        let earliest = self.next_deadline()?;
        // It is a bound; the next call knows more.
        if slack == 0 || self.earliest_index == NONE {
            return Some(earliest);
        }
        let limit = earliest.saturating_add(slack);
        let first = self.first_slot()?;
        if first.start < first.end {
            return Some(self.last_until(first.slot, limit, earliest, CROWD));
        }
        let mut wake = self.last_until(first.slot, limit, earliest, usize::MAX);
        let later = self.occupied[0] & (self.occupied[0] - 1);
        if later != 0 {
            wake = self.last_until(later.trailing_zeros() as usize, limit, wake, usize::MAX);
        }
        Some(wake)
    }

    /// Gives memory back after a burst: the entries behind the last one in use. Those that are free and lie high are not
    /// used again until low ones run out, so a timer that was armed again and again in one of them ends the next time.
    pub(crate) fn trim(&mut self) {
        let usable = self.entries.len().min(self.limit as usize);
        if usable > self.room && self.live <= usable / SPARSE {
            self.list_free(0, self.room.max(2 * self.live) as u32);
        } else if self.limit == NONE {
            return;
        }
        let limit = self.limit as usize;
        self.most = self.most();
        while self.entries.len() > limit
            && self
                .entries
                .last()
                .is_some_and(|entry| entry.generation == FREE)
        {
            self.entries.pop();
        }
        let used = self.entries.len();
        if used <= limit {
            self.limit = NONE;
        }
        if used <= limit || used <= self.entries.capacity() / 2 {
            self.entries.shrink_to(self.room);
        }
    }

    /// Makes the free entries of a range the free list. `to` becomes the limit, unless there are no more entries.
    pub(super) fn list_free(&mut self, from: u32, to: u32) {
        let end = self.entries.len().min(to as usize);
        self.limit = if end == to as usize { to } else { NONE };
        self.free = NONE;
        // The lowest are used first, so that the end becomes free.
        for index in (from as usize..end).rev() {
            if self.entries[index].generation == FREE {
                self.entries[index].next = std::mem::replace(&mut self.free, index as u32);
            }
        }
    }

    /// Searches the first slot, which holds the earliest timer. Above level 0 it gives up after a few entries.
    fn find_earliest(&mut self) {
        let Some(first) = self.first_slot() else {
            return self.forget_earliest();
        };
        let mut found = (u64::MAX, NONE);
        for (seen, (index, entry)) in self.list(first.slot).enumerate() {
            if seen == CROWD && first.start < first.end {
                // Kept like a real deadline. Otherwise a million equal timeouts would be searched in every turn. It is
                // after the current tick, so it is not the zero that means unknown.
                found = (first.start << TICK_BITS, NONE);
                break;
            }
            if entry.deadline < found.0 {
                found = (entry.deadline, index);
            }
        }
        (self.earliest, self.earliest_index) = found;
    }

    /// Returns the latest deadline up to `limit` among `wake` and the first `most` entries of a slot.
    fn last_until(&self, slot: usize, limit: u64, wake: u64, most: usize) -> u64 {
        self.list(slot)
            .take(most)
            .map(|(_, entry)| entry.deadline)
            .filter(|&deadline| deadline <= limit)
            .fold(wake, u64::max)
    }

    /// Returns the entries of a slot, in order of arrival.
    fn list(&self, slot: usize) -> impl Iterator<Item = (u32, &Entry<P>)> {
        let mut index = self.slots[slot % SLOTS].head;
        let is_cold = self.live > COLD;
        std::iter::from_fn(move || {
            let entry = (index != NONE).then(|| &self.entries[index as usize])?;
            if is_cold {
                let ahead = self.entries.get(entry.ahead as usize);
                ahead.into_iter().for_each(|ahead| prefetch(ahead));
            }
            Some((std::mem::replace(&mut index, entry.next), entry))
        })
    }
}
