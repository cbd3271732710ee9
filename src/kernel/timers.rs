//! The loop's timers: a slab of entries, linked by index into a hierarchical wheel. The slab is our own, with its free
//! list linked through the entries: a timer is written and taken in its place, and never moved as a whole, which would
//! double its cost.
//!
//! An armed timer costs one entry of 64 bytes until it is cancelled or fires, also if its handle was dropped. The entry
//! holds the deadline, the links and a closure of up to 24 captured bytes, or the key of a task; a larger closure costs a
//! box in addition. A timer that wakes a task leaves when it is due. A callback's entry waits for its turn in the ready
//! queue, so that an earlier callback of the same batch can still cancel it.
//!
//! Most timers are timeouts that never fire, so arming and cancelling must cost a few nanoseconds whatever the number
//! of timers outstanding; a heap does not do that and a map does not either. But users of asyncio also expect timers to
//! fire in exact (deadline, creation) order and never early, which a wheel of coarse slots does not give by itself.
//! This module gives both: slots are lists that are sorted only at the moment they expire.
//!
//! Time is divided into ticks. A timer's tick and the current tick are compared digit by digit, in base 64; the highest
//! digit that differs is the timer's *level*, the timer's own digit there its *slot*. Hence:
//!
//! ```text
//! level 0: same 64-tick block as now, one slot a tick        every timer of level n is due before
//! level 1: same 64²-tick block, one slot every 64 ticks      every timer of level n + 1, and within
//!   ...                                                      a level the lowest slot is due first
//! level 7: one slot every 64⁷ ticks
//! ```
//!
//! The invariant: **every armed timer is in the slot that its tick and the current tick give.** Moving the current tick
//! forward changes the slot of those timers only whose slot it enters, and [`Timers::expire`] opens each slot that it
//! enters: what is due fires, the rest is placed anew, on a lower level.
//!
//! **Why the order is exact without a sequence number.** Equal deadlines are equal ticks, so by the invariant they are
//! always in the same slot. Slots are FIFO lists: insertion appends, and a slot that is opened is walked from its head
//! and appended elsewhere one by one, so equal deadlines never overtake each other. A stable sort by deadline of a slot
//! is therefore the order of creation among equals. A deadline that is already past is placed as if it were in the
//! current tick, which keeps all of this true: an expiry leaves nothing behind that is due, so timers from before the
//! current tick were all inserted since, hence share the current tick's slot, where the sort sees their exact
//! deadlines.
//!
//! ```text
//!            reserve                    expire                take_due
//!  (nothing) ──────> armed, in a slot ─────────> due, in no list ──────> (gone)
//!       │              │ │  └── expire, if it wakes a task ─────────────> (gone)
//!       └──────────> never, in no list             │
//!                      │ └── cancel, from all three ┴──────────────────> (gone)
//! ```

use std::collections::TryReserveError;

use super::due::Due;

/// A tick is 2¹⁶ ns, 65.5 µs: fine enough that timers seldom share a slot that is about to expire (2²⁰ makes firing
/// them one by one six times slower at 100,000), coarse enough that eight levels reach the end of the clock.
pub(super) const TICK_BITS: u32 = 16;

/// 64 slots a level, so that one machine word says which of them hold timers.
pub(super) const DIGIT_BITS: u32 = 6;

/// 16 + 8 × 6 = 64 bits: every deadline has a place, nothing wraps and no overflow list exists.
pub(super) const LEVELS: usize = 8;

/// All slots of all levels in one array, level by level. A power of two, so that a mask replaces the bounds check.
pub(super) const SLOTS: usize = LEVELS << DIGIT_BITS;

/// A digit's mask, and the last slot of a level.
pub(super) const DIGIT_MASK: u64 = (1 << DIGIT_BITS) - 1;

/// The end of a list, and "no entry". The slab never gets there: [`Timers::reserve`] panics first.
pub(super) const NONE: u32 = u32::MAX;

/// `Entry::slot` of a timer that never fires: it can be cancelled, but no list holds it.
const NEVER: u16 = u16::MAX;

/// `Entry::slot` of a timer that has expired and waits for the loop to run it.
pub(super) const DUE: u16 = u16::MAX - 1;

/// `Entry::generation` of an entry that holds no timer, which no timer has.
pub(super) const FREE: u64 = 0;

/// How much room `Timers::batch` keeps between expiries (16 KiB): the usual batch never allocates, a rare batch of a
/// million does not hold its memory for ever.
const BATCH_KEPT: usize = 1024;

/// How many entries' room is kept when few are in use (256 KiB).
const ROOM_KEPT: usize = 4096;

/// How much of a generation [`Timers::take_due`] compares: the ready queue has room for 24 bits in its tokens.
pub(super) const TOKEN_GENERATION: u64 = 0x00FF_FFFF;

/// What the loop does when a timer fires. The default is what a free entry holds.
pub(crate) trait Payload: Default {
    /// Returns the key of a task, below 2⁶³, if it does nothing but wake that task.
    fn task(&self) -> Option<u64>;
}

/// Names one timer, and goes stale with it: a key of a timer that has run or was cancelled finds nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimerKey {
    /// Where the entry is in the slab. Reused by later timers.
    pub(crate) index: u32,
    /// Which of the timers that were ever at this index is meant.
    pub(crate) generation: u64,
}

impl TimerKey {
    /// The key of no timer, stale from the beginning.
    pub(crate) const STALE: Self = Self {
        index: NONE,
        generation: 0,
    };
}

/// One timer, from its insertion until it is cancelled or taken; then a free place. What an expiry reads is at the
/// beginning, in one cache line: a large slab begins 16 bytes behind the beginning of a line.
#[repr(C)]
pub(super) struct Entry<P> {
    /// When it fires, exactly as asked for, even if that was past already; `u64::MAX` if and only if `slot` was
    /// `NEVER`.
    pub(super) deadline: u64,
    /// The entry behind this one in its slot's list, or `NONE`. In a free entry, the next free one. Else it means
    /// nothing.
    pub(super) next: u32,
    /// An entry that probably comes a few places later in the list, to be asked for ahead of time; or `NONE`. Nothing
    /// depends on it.
    pub(super) ahead: u32,
    /// The entry before this one in its slot's list, or `NONE`. Means nothing in no list.
    pub(super) prev: u32,
    /// The slot whose list holds this entry, below `SLOTS`; or else `NEVER` or `DUE`, and no list holds it. Means
    /// nothing in a free entry.
    pub(super) slot: u16,
    /// Equal to the generation in the timer's key, which no two timers share; or else `FREE`.
    pub(super) generation: u64,
    /// What the loop does when the timer fires. Never dropped here: it goes back to the caller.
    pub(super) payload: P,
}

/// A list of entries in order of arrival.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// The entry that came first, or `NONE` when the slot is empty.
    pub(super) head: u32,
    /// The entry that came last, or `NONE` when the slot is empty.
    pub(super) tail: u32,
}

/// A slot without timers. Both ends say so, that neither insertion nor cancellation needs the bitmaps to know.
pub(super) const EMPTY: Slot = Slot {
    head: NONE,
    tail: NONE,
};

/// The lowest slot that holds a timer, hence the one with the earliest.
pub(super) struct FirstSlot {
    /// Its place in `Timers::slots`.
    pub(super) slot: usize,
    /// The first tick that belongs to it.
    pub(super) start: u64,
    /// The last tick that belongs to it: `start` itself on level 0.
    pub(super) end: u64,
}

/// All timers of a loop. Times are nanoseconds of one monotonic clock.
pub(crate) struct Timers<P> {
    /// Every timer that was neither cancelled nor taken: armed, never firing, or due.
    pub(super) entries: Vec<Entry<P>>,
    /// The entry that was freed last, or `NONE`.
    pub(super) free: u32,
    /// How many entries are not free.
    pub(super) live: usize,
    /// How many entries there were before any was given back: with those that there are it says how many timers there
    /// were at most.
    pub(super) most: usize,
    /// The wheel. Boxed, because its 4 KiB would else be copied whenever the loop's state moves.
    pub(super) slots: Box<[Slot; SLOTS]>,
    /// For each level, a bit for each slot: set if and only if its list is not empty.
    pub(super) occupied: [u64; LEVELS],
    /// A bit for each level: set if and only if one of its slots is not empty.
    levels: u8,
    /// The current tick: that of the latest `now` that was expired. Never goes back.
    pub(super) current: u64,
    /// Never later than the earliest armed deadline. Zero without an index means that it must be searched; `u64::MAX`
    /// means that nothing is armed. So an insertion needs one comparison in each of these cases.
    pub(super) earliest: u64,
    /// The entry that has the deadline `earliest`; `NONE` if that is a mere bound or unknown.
    pub(super) earliest_index: u32,
    /// The next timer's generation. Counted here, not in the entries, so that it also gives the order of creation.
    next_generation: u64,
    /// Entries up to this number are never given back.
    pub(super) room: usize,
    /// Free entries from this index on are not in the free list, since they are about to be given back; usually `NONE`.
    pub(super) limit: u32,
    /// What fires, and as much room for sorting. Both are empty between calls; here for their memory only.
    pub(super) batch: Vec<Due>,
    pub(super) spare: Vec<Due>,
}

impl<P: Payload> Timers<P> {
    /// Returns an empty wheel at the time `now`, whose first timer gets `first_generation`: a value that differs
    /// between loops, lest one loop's keys fit another's timers.
    pub(crate) fn new(now: u64, first_generation: u64) -> Self {
        Timers {
            entries: Vec::new(),
            free: NONE,
            live: 0,
            most: 0,
            slots: Box::new([EMPTY; SLOTS]),
            occupied: [0; LEVELS],
            levels: 0,
            current: now >> TICK_BITS,
            earliest: u64::MAX,
            earliest_index: NONE,
            next_generation: first_generation.max(FREE + 1),
            room: ROOM_KEPT,
            limit: NONE,
            batch: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Makes room for so many timers at once, for ever.
    pub(crate) fn make_room(&mut self, timers: usize) -> Result<(), TryReserveError> {
        self.entries.try_reserve_exact(timers)?;
        self.room = self.room.max(timers);
        Ok(())
    }

    /// Arms a timer, whose payload the caller puts in by [`fill`](Self::fill). `u64::MAX` is never: the timer stays until it
    /// is cancelled. A deadline that is past fires at the next [`expire`](Self::expire), in its place by its exact value.
    /// Two steps, so that a payload is written once, where it stays: nothing here depends on how it is made.
    #[inline]
    pub(crate) fn reserve(&mut self, deadline: u64) -> TimerKey {
        if self.free == NONE {
            self.grow();
        }
        let (index, generation) = (self.free, self.next_generation);
        self.next_generation = generation + 1;
        self.live += 1;
        let slot = slot_of(deadline, self.current);
        let prev = self.slots[slot].tail;
        let entry = &mut self.entries[index as usize];
        self.free = entry.next;
        entry.deadline = deadline;
        (entry.next, entry.ahead) = (NONE, NONE);
        entry.prev = prev;
        entry.generation = generation;
        if deadline == u64::MAX {
            entry.slot = NEVER;
            return TimerKey { index, generation };
        }
        entry.slot = slot as u16;
        self.link_last(slot, index, prev);
        if deadline < self.earliest {
            (self.earliest, self.earliest_index) = (deadline, index);
        }
        TimerKey { index, generation }
    }

    /// Returns the place of a timer's payload.
    #[inline]
    pub(crate) fn fill(&mut self, key: TimerKey) -> &mut P {
        &mut self.entries[key.index as usize].payload
    }

    /// Finds or adds a free entry.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        while self.free == NONE && self.limit != NONE {
            self.list_free(self.limit, self.limit.saturating_mul(2));
        }
        if self.free != NONE {
            return;
        }
        let index = self.entries.len();
        if index >= NONE as usize {
            // No panic: its hook is user code.
            std::process::abort();
        }
        self.entries.push(Entry {
            deadline: 0,
            next: NONE,
            ahead: NONE,
            prev: NONE,
            slot: NEVER,
            generation: FREE,
            payload: P::default(),
        });
        self.free = index as u32;
    }

    /// Frees the place of an entry that is in no list. Returns its payload's place, which still holds it.
    #[inline]
    pub(super) fn release(&mut self, index: u32) -> &mut P {
        let entry = &mut self.entries[index as usize];
        entry.generation = FREE;
        self.live -= 1;
        if index < self.limit {
            entry.next = std::mem::replace(&mut self.free, index);
        }
        &mut entry.payload
    }

    /// Returns what a timer does; `None` if the key is stale: it has run, has woken its task, or was cancelled.
    #[inline]
    pub(crate) fn payload(&self, key: TimerKey) -> Option<&P> {
        Some(&self.entry(key)?.payload)
    }

    /// Removes a timer in any state. Returns its payload's place; the caller takes the payload out at once, and drops
    /// it with nothing borrowed. `None` if the key is stale.
    #[inline]
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<&mut P> {
        let entry = self.entry(key)?;
        let (slot, prev, next) = (entry.slot, entry.prev, entry.next);
        if (slot as usize) < SLOTS {
            self.unlink(slot as usize, prev, next);
            // When nothing is armed any more, a mere bound is cleared too: the loop would wake up, or a virtual clock
            // jump, for it.
            if key.index == self.earliest_index || self.levels == 0 {
                self.forget_earliest();
            }
        }
        Some(self.release(key.index))
    }

    /// Removes a timer that [`expire`](Self::expire) reported and left here. Returns its payload's place; the caller takes the
    /// payload out and runs it. `None` if the timer was cancelled meanwhile.
    ///
    /// Only the low 24 bits of the generation count, because the ready queue's tokens hold no more. That suffices: a
    /// token is at most one batch old, and to be mistaken it would have to see exactly a multiple of 2²⁴ insertions
    /// later another timer at its index that is due as well.
    #[inline]
    pub(crate) fn take_due(&mut self, key: TimerKey) -> Option<&mut P> {
        let entry = self.entries.get(key.index as usize)?;
        let differs = (entry.generation ^ key.generation) & TOKEN_GENERATION;
        if entry.slot != DUE || differs != 0 || entry.generation == FREE {
            return None;
        }
        Some(self.release(key.index))
    }

    /// Passes to `fire`, in (deadline, creation) order, every armed timer whose deadline is not after `now`. Those that
    /// wake a task are gone by then. The others stay here, due, until they are taken: a callback of the same batch can
    /// still cancel a later one.
    pub(crate) fn expire(&mut self, now: u64, fire: impl FnOnce(&[Due])) {
        // An older `now` than before fires what is due by it, but moves nothing back.
        let last = (now >> TICK_BITS).max(self.current);
        while let Some(first) = self.first_slot() {
            // The second test keeps a slot that is entered but not yet due from being relinked at every poll for
            // events.
            if first.start > last || (first.end == self.current && self.earliest > now) {
                break;
            }
            // The slot is left behind whole, or it is the one that holds `last`, and then all others start later.
            // Either way its timers precede those of all other slots, so they need no way down through the levels to be
            // sorted.
            self.current = first.end.min(last);
            self.open(first.slot, now);
            if first.end >= last {
                break;
            }
        }
        self.current = last;
        if self.earliest <= now {
            self.forget_earliest();
        }
        if !self.batch.is_empty() {
            fire(&self.batch);
            for used in [&mut self.batch, &mut self.spare] {
                used.clear();
                used.shrink_to(BATCH_KEPT);
            }
        }
    }

    /// Returns how many timers there are, in any state: also those that never fire and those that are due.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Returns how many timers there were at once at most. It may be too large after a burst, while entries that are to
    /// be given back are not used.
    pub(crate) fn most(&self) -> usize {
        self.most.max(self.entries.len())
    }

    /// Returns all timers in no order: the key of the task, if it does nothing but wake one, and the deadline.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let live = self.entries.iter().filter(|entry| entry.generation != FREE);
        live.map(|entry| (entry.payload.task(), entry.deadline))
    }

    /// Takes all timers out, due or not, in the order of creation, and frees the memory. All keys are stale afterwards.
    pub(crate) fn drain(&mut self) -> Vec<P> {
        *self.slots = [EMPTY; SLOTS];
        self.occupied = [0; LEVELS];
        self.levels = 0;
        self.forget_earliest();
        (self.free, self.limit, self.live) = (NONE, NONE, 0);
        self.most = self.most();
        let mut all: Vec<_> = std::mem::take(&mut self.entries)
            .into_iter()
            .filter(|entry| entry.generation != FREE)
            .map(|entry| (entry.generation, entry.payload))
            .collect();
        all.sort_by_key(|&(generation, _)| generation);
        all.into_iter().map(|(_, payload)| payload).collect()
    }

    #[inline]
    fn entry(&self, key: TimerKey) -> Option<&Entry<P>> {
        self.entries
            .get(key.index as usize)
            .filter(|entry| entry.generation == key.generation)
    }

    /// Makes `index`, whose entry already has its slot and links, the last of the slot's list; `prev` was the last so
    /// far.
    #[inline]
    pub(super) fn link_last(&mut self, slot: usize, index: u32, prev: u32) {
        self.slots[slot % SLOTS].tail = index;
        if prev == NONE {
            self.slots[slot % SLOTS].head = index;
            self.occupied[(slot >> DIGIT_BITS) % LEVELS] |= 1 << (slot as u64 & DIGIT_MASK);
            self.levels |= 1 << (slot >> DIGIT_BITS);
        } else {
            self.entries[prev as usize].next = index;
        }
    }

    /// Takes the entry between `prev` and `next` out of the slot's list; the entry itself is not touched.
    #[inline]
    fn unlink(&mut self, slot: usize, prev: u32, next: u32) {
        if prev == NONE {
            self.slots[slot % SLOTS].head = next;
        } else {
            self.entries[prev as usize].next = next;
        }
        if next == NONE {
            self.slots[slot % SLOTS].tail = prev;
        } else {
            self.entries[next as usize].prev = prev;
        }
        if prev == NONE && next == NONE {
            self.mark_empty(slot);
        }
    }

    /// Clears the bits of a slot whose list has become empty.
    #[inline]
    pub(super) fn mark_empty(&mut self, slot: usize) {
        let level = (slot >> DIGIT_BITS) % LEVELS;
        self.occupied[level] &= !(1 << (slot as u64 & DIGIT_MASK));
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    /// Forgets the earliest deadline, so that the next question searches for it.
    #[inline]
    pub(super) fn forget_earliest(&mut self) {
        self.earliest = if self.levels == 0 { u64::MAX } else { 0 };
        self.earliest_index = NONE;
    }

    /// Returns the lowest slot of the lowest level that is not empty.
    #[inline]
    pub(super) fn first_slot(&self) -> Option<FirstSlot> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let digit = self.occupied[level as usize % LEVELS].trailing_zeros();
        // Above its own digit, a slot has the digits of the current tick; below it, all of them.
        let width = DIGIT_BITS * level;
        let block = self.current >> (width + DIGIT_BITS) << DIGIT_BITS;
        let start = (block | u64::from(digit)) << width;
        Some(FirstSlot {
            slot: ((level << DIGIT_BITS) | digit) as usize,
            start,
            end: start | ((1 << width) - 1),
        })
    }
}

/// Returns the slot of a timer: the level of the highest digit in which its tick and the current one differ, and its
/// digit there. A deadline before the current tick counts as in it.
#[inline]
pub(super) fn slot_of(deadline: u64, current: u64) -> usize {
    let tick = (deadline >> TICK_BITS).max(current);
    // The 1 makes equal ticks differ in the lowest digit, where they belong.
    let level = ((tick ^ current) | 1).ilog2() / DIGIT_BITS;
    let digit = (tick >> (level * DIGIT_BITS)) & DIGIT_MASK;
    ((level as usize) << DIGIT_BITS | digit as usize) % SLOTS
}
