//! The bytes of a connection: each is a function of a seed and of its place, so that both ends know all of them in advance,
//! and a byte that is lost, doubled, or another connection's is seen.

/// Mixes a number: splitmix64, whose results are all different and look random.
pub(crate) fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The bytes of one direction, from a place on.
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    seed: u64,
    at: u64,
}

impl Sequence {
    /// What the client says.
    pub(crate) fn of_client(seed: u64) -> Self {
        Self { seed, at: 0 }
    }

    /// What the server answers.
    pub(crate) fn of_server(seed: u64) -> Self {
        Self {
            seed: mixed(!seed),
            at: 0,
        }
    }

    /// How many bytes have been made or checked.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Gives the eight bytes that hold a place.
    fn word(&self, at: u64) -> [u8; 8] {
        mixed(self.seed.wrapping_add(at / 8)).to_le_bytes()
    }

    /// Makes the next bytes.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        let mut filled = 0;
        while filled < buffer.len() {
            let (word, from) = (self.word(self.at), (self.at % 8) as usize);
            let count = (8 - from).min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&word[from..from + count]);
            filled += count;
            self.at += count as u64;
        }
    }

    /// Makes the next `count` bytes.
    pub(crate) fn next(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.fill(&mut bytes);
        bytes
    }

    /// Counts how many of the next bytes are wrong.
    pub(crate) fn wrong(&mut self, bytes: &[u8]) -> u64 {
        let (mut wrong, mut checked) = (0, 0);
        while checked < bytes.len() {
            let (word, from) = (self.word(self.at), (self.at % 8) as usize);
            let count = (8 - from).min(bytes.len() - checked);
            let (expected, got) = (&word[from..from + count], &bytes[checked..checked + count]);
            if expected != got {
                wrong += expected.iter().zip(got).filter(|(a, b)| a != b).count() as u64;
            }
            checked += count;
            self.at += count as u64;
        }
        wrong
    }
}
