//! The key of a task, which is one word and all that a waker carries, and its identity, which never recurs.
//!
//! A key is `loop id 16 | generation 16 | slot 32`; loop ids end at 2¹⁵ − 1, so the topmost bit is always 0. The
//! generation distinguishes the tasks that use one slot in turn: it comes from a counter of the loop when a task is
//! inserted, so the key of an earlier task does not fit. A stale key that fits by accident, after 65,536 insertions,
//! costs one spurious poll, which Rust's contract allows. The key of a live task always fits.
//!
//! So a key is good enough for a wake, and for a task that is known to be unfinished. Code that cancels or compares a
//! task later keeps an [`Identity`]: the key and the task's serial number, which no other task of the loop ever has.

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "callsoon packs a task's key into a waker's data pointer, which has to be 64 bits wide"
);

/// The slot that names the future of `run_until_complete`, which lives in its caller's frame and not in the slab.
pub(crate) const ROOT_SLOT: u32 = u32::MAX;

/// Names a task and its loop, for a wake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(u64);

impl Key {
    /// No task: loop ids start at 1.
    pub(crate) const NONE: Self = Self(0);

    #[inline]
    pub(crate) fn new(loop_id: u16, generation: u16, slot: u32) -> Self {
        Self(u64::from(loop_id) << 48 | u64::from(generation) << 32 | u64::from(slot))
    }

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn loop_id(self) -> u16 {
        (self.0 >> 48) as u16
    }

    #[inline]
    pub(crate) fn generation(self) -> u16 {
        (self.0 >> 32) as u16
    }

    #[inline]
    pub(crate) fn slot(self) -> u32 {
        self.0 as u32
    }
}

/// Names a task for ever: for acting on a task that may have ended meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    /// Where the task is to be found.
    pub(crate) key: Key,
    /// The number of the task among all that its loop has created.
    pub(crate) serial: u64,
}

impl Identity {
    /// No task.
    pub(crate) const NONE: Self = Self {
        key: Key::NONE,
        serial: 0,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_back_its_three_parts() {
        let key = Key::new(0x7edc, 0x1234, 0x89ab_cdef);
        assert_eq!(
            (key.loop_id(), key.generation(), key.slot()),
            (0x7edc, 0x1234, 0x89ab_cdef)
        );
        assert_eq!(Key::from_bits(key.bits()), key);
        assert_ne!(Key::new(1, 0, 0), Key::NONE);
    }
}
