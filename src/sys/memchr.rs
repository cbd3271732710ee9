//! The C library's search for a byte, which looks at many at a time. A loop over a long line costs more than the system
//! call that brings it.

#![allow(unsafe_code)]

/// Returns where `byte` is met first.
pub(crate) fn memchr(byte: u8, bytes: &[u8]) -> Option<usize> {
    let start = bytes.as_ptr();
    // SAFETY: the call reads at most `bytes.len()` bytes from `start`, which the slice says are there and initialised,
    // and an empty slice's pointer is not null either. It keeps nothing.
    let found = unsafe { libc::memchr(start.cast(), i32::from(byte), bytes.len()) };
    (!found.is_null()).then(|| found as usize - start as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_the_first_place_wherever_the_bytes_lie() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for start in 0..70 {
            for end in [start, start + 1, start + 63, start + 300, bytes.len()] {
                for byte in [0, 1, 64, 127, 128, 255] {
                    let part = &bytes[start..end];
                    let naive = part.iter().position(|&other| other == byte);
                    assert_eq!(memchr(byte, part), naive, "{byte} in {start}..{end}");
                }
            }
        }
        assert_eq!(memchr(0, &[]), None);
    }
}
