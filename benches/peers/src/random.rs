//! A small generator with a fixed seed: every peer and every round sees the same deadlines.

/// Marsaglia's xorshift64.
pub struct Random(u64);

impl Random {
    /// The seed is arbitrary, only never 0, which the generator cannot leave.
    pub fn new(stream: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (stream << 1))
    }

    /// A number below `end`. The modulo's bias is far below what any row can show.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Puts `items` in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}
