//! Asks the processor for memory before it is needed. Where its instruction set is not known to have such a request, this
//! does nothing.

#![allow(unsafe_code)]

/// From how many objects on asking ahead is worth its instructions: fewer are mostly in the processor's caches.
pub(crate) const CROWD: usize = 4_096;

/// How many entries ahead to ask: a memory access takes as long as a few entries.
pub(crate) const AHEAD: usize = 8;

/// Asks for the cache line of an address, which need not be valid.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction is a hint. It reads nothing into the program and faults at no address, and every
        // x86_64 processor has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_faults() {
        let value = 7;
        prefetch(&raw const value);
        prefetch(std::ptr::null::<u8>());
        prefetch(std::ptr::without_provenance::<u64>(usize::MAX));
    }
}
