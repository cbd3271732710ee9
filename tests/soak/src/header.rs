//! What a client says first: what kind of conversation it wants, about how many bytes, and the seed of the bytes.

/// The kinds of conversations, as the server sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// For each byte of the client one of the server, until the client ends.
    Echo,
    /// The server sends `count` bytes, and closes.
    Download,
    /// The server reads slowly until the client ends, then answers with one byte for each KiB, and closes.
    Upload,
    /// As `Echo`, but after `count` bytes the server resets the connection.
    Reset,
    /// The server sends `count` bytes, ends its side, and reads until the client ends.
    Half,
}

/// So many bytes.
pub(crate) const LENGTH: usize = 16;

/// The first bytes of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) count: u32,
    pub(crate) seed: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = self.kind as u8;
        bytes[4..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..].copy_from_slice(&self.seed.to_le_bytes());
        bytes
    }

    /// Returns nothing for bytes that no client sends.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let kinds = [
            Kind::Echo,
            Kind::Download,
            Kind::Upload,
            Kind::Reset,
            Kind::Half,
        ];
        Some(Self {
            kind: *kinds.get(usize::from(*bytes.first()?))?,
            count: u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?),
            seed: u64::from_le_bytes(bytes.get(8..LENGTH)?.try_into().ok()?),
        })
    }
}
