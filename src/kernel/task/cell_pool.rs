//! The memory of ended tasks, kept for new ones.
//!
//! A third of what a short task costs is its allocation. So a loop keeps the memory of ended tasks in lists, one for each
//! size class. A class is 16 k + 8 bytes, since the common allocators spend 16 more for a multiple of 16.
//!
//! While the loop is busy the lists keep all they get, but when memory of another class has to be allocated at most as
//! much as is in use then, or [`KEPT`] if that is more. Before the loop waits they are cut down to half of what is in use,
//! or to [`KEPT`]: so the memory of a burst goes back. A burst that still ends is waited for: nothing is cut as long as the
//! lists have grown since the last wait. Where bursts recur, the memory of each is kept for more waits than that of the
//! one before.
//!
//! A memory checker sees no use after free in memory that is kept. So the lists are off under Miri, and where the
//! environment variable `CALLSOON_SANITIZED` is set when the crate is built.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

/// How many bytes the lists may keep while the loop waits, however little is in use: about 1,500 small tasks.
const KEPT: usize = 256 << 10;

/// The most waits that the memory of a burst outlasts.
const LONGEST_WAIT: u32 = 255;

/// How many size classes there are; larger tasks are allocated one by one.
const CLASSES: usize = 64;

/// The alignment of the memory in the lists.
const ALIGNMENT: usize = 16;

/// Whether memory is kept at all.
const KEEPS: bool = option_env!("CALLSOON_SANITIZED").is_none() && !cfg!(miri);

/// A size and alignment, rounded up to a class if there is one.
#[derive(Clone, Copy)]
pub(super) struct Space {
    layout: Layout,
    /// The number of the class, or [`CLASSES`].
    class: usize,
}

impl Space {
    /// Returns the space for a value.
    pub(super) const fn of<T>() -> Self {
        let layout = Layout::new::<T>();
        let class = layout.size().saturating_sub(8).div_ceil(16);
        if KEEPS && class < CLASSES && layout.align() <= ALIGNMENT {
            Self::of_class(class)
        } else {
            let class = CLASSES;
            Self { layout, class }
        }
    }

    const fn of_class(class: usize) -> Self {
        let Ok(layout) = Layout::from_size_align(16 * class + 8, ALIGNMENT) else {
            panic!("the classes are small");
        };
        Self { layout, class }
    }
}

/// Free memory in a list.
struct Free {
    next: Option<NonNull<Free>>,
}

/// The lists of one loop.
pub(crate) struct CellPool {
    lists: [Cell<Option<NonNull<Free>>>; CLASSES],
    /// How many bytes are in the lists.
    kept: Cell<usize>,
    /// How many bytes are in the lists or in use.
    allocated: Cell<usize>,
    /// How many bytes were in the lists before the last wait in which they had grown.
    last_kept: Cell<usize>,
    /// The lists were cut down, and no burst has come since.
    was_cut: Cell<bool>,
    /// How many calls of `cut_down` the present memory still outlasts, and that of the next burst.
    wait: Cell<u32>,
    next_wait: Cell<u32>,
    /// The loop has closed: nothing is kept any more.
    closed: Cell<bool>,
}

impl CellPool {
    pub(crate) fn new() -> Self {
        Self {
            lists: [const { Cell::new(None) }; CLASSES],
            kept: Cell::new(0),
            allocated: Cell::new(0),
            last_kept: Cell::new(0),
            was_cut: Cell::new(false),
            wait: Cell::new(0),
            next_wait: Cell::new(0),
            closed: Cell::new(false),
        }
    }

    /// Returns memory, uninitialised, for the caller to own until it [gives it back](Self::give).
    #[inline]
    pub(super) fn take(&self, space: Space) -> NonNull<u8> {
        match self.pop(space.class) {
            Some(free) => free.cast(),
            None => self.allocate(space),
        }
    }

    #[inline]
    fn pop(&self, class: usize) -> Option<NonNull<Free>> {
        let list = self.lists.get(class)?;
        let first = list.get()?;
        // SAFETY: memory in a list is owned by it, and begins with a `Free` that was written when it was put there.
        list.set(unsafe { first.read() }.next);
        self.kept.set(self.kept.get() - (16 * class + 8));
        Some(first)
    }

    #[cold]
    #[inline(never)]
    fn allocate(&self, space: Space) -> NonNull<u8> {
        let most = (self.allocated.get() - self.kept.get()).max(KEPT);
        if self.kept.get() > most {
            self.free_down_to(most);
        }
        // SAFETY: the layout is not of size 0: a class has 8 bytes, and a cell is larger.
        let memory = unsafe { alloc(space.layout) };
        let allocated = self.allocated.get() + space.layout.size();
        self.allocated.set(allocated);
        if allocated > 2 * KEPT && self.was_cut.replace(false) {
            let wait = self.next_wait.get();
            self.wait.set(wait);
            self.next_wait.set((2 * wait + 1).min(LONGEST_WAIT));
        }
        NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(space.layout))
    }

    /// Takes memory back.
    ///
    /// # Safety
    /// `place` came from [`take`](Self::take) of this pool with this `space`, and the caller gives it up with no value
    /// in it.
    #[inline]
    pub(super) unsafe fn give(&self, place: NonNull<u8>, space: Space) {
        let list = self.lists.get(space.class);
        let Some(list) = list.filter(|_| !self.closed.get()) else {
            return self.free(place, space);
        };
        let free = place.cast();
        // SAFETY: the caller gives the memory up. It has the size and alignment of a class, which are those of a `Free`
        // at least. In debug builds all of it is overwritten, so that a use after free shows.
        unsafe {
            if cfg!(debug_assertions) {
                place.write_bytes(0xa5, space.layout.size());
            }
            free.write(Free { next: list.get() });
        }
        list.set(Some(free));
        self.kept.set(self.kept.get() + space.layout.size());
    }

    /// Cuts the lists down before the loop waits.
    #[inline]
    pub(crate) fn cut_down(&self) {
        if self.kept.get() > KEPT {
            self.cut_down_excess();
        }
    }

    #[cold]
    #[inline(never)]
    fn cut_down_excess(&self) {
        let in_use = self.allocated.get() - self.kept.get();
        let most = KEPT.max(in_use / 2);
        if self.kept.get() <= most || self.last_kept.replace(self.kept.get()) < self.kept.get() {
            return;
        }
        match self.wait.get().checked_sub(1) {
            Some(wait) => self.wait.set(wait),
            None => {
                self.was_cut.set(true);
                self.free_down_to(most);
            }
        }
    }

    /// Frees what is kept; from now on nothing is.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.free_down_to(0);
    }

    /// Frees memory in the lists, the largest first, until they have no more than `most` bytes.
    fn free_down_to(&self, most: usize) {
        for class in (0..CLASSES).rev() {
            while self.kept.get() > most {
                let Some(free) = self.pop(class) else { break };
                self.free(free.cast(), Space::of_class(class));
            }
        }
    }

    #[inline(never)]
    fn free(&self, place: NonNull<u8>, space: Space) {
        self.allocated
            .set(self.allocated.get() - space.layout.size());
        // SAFETY: the callers own the memory, which `allocate` got with this layout: a class has one layout, and other
        // memory is never put into a list.
        unsafe { dealloc(place.as_ptr(), space.layout) };
    }
}

impl Drop for CellPool {
    fn drop(&mut self) {
        self.free_down_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many places of a size at once, and gives them back.
    fn burst<T>(pool: &CellPool, count: usize) {
        let space = Space::of::<T>();
        let places: Vec<_> = (0..count).map(|_| pool.take(space)).collect();
        for place in places {
            // SAFETY: it came from this pool with this space, and holds nothing.
            unsafe { pool.give(place, space) };
        }
    }

    #[test]
    fn bursts_of_different_sizes_do_not_add_up_while_the_loop_is_busy() {
        let pool = CellPool::new();
        let size = 4 * KEPT;
        burst::<[u8; 100]>(&pool, size / 100);
        if KEEPS {
            assert!(pool.kept.get() >= size, "there is no wait yet");
        }
        burst::<[u8; 200]>(&pool, size / 200);
        burst::<[u8; 300]>(&pool, size / 300);
        assert!(pool.kept.get() <= size + 2 * KEPT, "{}", pool.kept.get());
    }

    #[test]
    fn a_burst_that_still_ends_is_cut_down_when_it_has_ended() {
        let pool = CellPool::new();
        let space = Space::of::<[u8; 100]>();
        let mut places: Vec<_> = (0..8 * KEPT / 100).map(|_| pool.take(space)).collect();
        while let Some(place) = places.pop() {
            // SAFETY: it came from this pool with this space, and holds nothing.
            unsafe { pool.give(place, space) };
            let before = pool.kept.get();
            pool.cut_down();
            assert_eq!(pool.kept.get(), before, "more comes back at each wait");
        }
        pool.cut_down();
        assert!(pool.kept.get() <= KEPT);
    }
}
