//! Asks the processor for memory before it is needed. Where its instruction set is not known to have such a request, this
//! does nothing.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

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

/// Asks for the cache line of an address that is about to be written, so that no other processor has it then. The
/// address need not be valid, nor known.
#[inline(always)]
pub(crate) fn prefetch_to_write(at: MaybeUninit<u64>) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: as above; processors that do not know the instruction, which has been among the no-operations of x86_64
    // from the first, take it for one of those.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
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
        for at in [(&raw const value).addr() as u64, 0, u64::MAX] {
            prefetch_to_write(MaybeUninit::new(at));
        }
        prefetch_to_write(MaybeUninit::uninit());
        assert_eq!(value, 7);
    }
}
