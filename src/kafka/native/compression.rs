//! How are the records of a batch packed? Kafka's codecs, on the bytes behind a batch's header.
//!
//! What Java's clients and librdkafka write is read: members of gzip one after another, snappy in
//! the framing of `xerial` and bare, frames of LZ4 with or without links and checksums, frames of
//! zstd. What is written is what Java's clients write.
//!
//! # Invariants
//!
//! - No more than `most` bytes come out, and no buffer grows beyond them: a bomb is an error.
//! - Every byte that goes in is accounted for: what was cut off, or goes on after its end, is
//!   damaged.
//! - After an error `into` holds what it held before.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

#[cfg(test)]
mod tests;

use std::fmt;

/// How the records of a batch are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    pub(super) const ALL: [Self; 4] = [Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of bits 0 to 2 of a batch's attributes: 0 is none at all, and the rest is unknown.
    pub(super) fn of_bits(bits: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.bits() == bits)
    }

    /// Bits 0 to 2 of a batch's attributes.
    pub(super) const fn bits(self) -> u8 {
        match self {
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec that `compression.type` names so.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// As in `compression.type`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why packed bytes give no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnpackError {
    #[error("there are more than {most} bytes in it, which is the limit")]
    TooLarge { most: usize },
    #[error("it is not what {codec} packs: {why}")]
    Damaged { codec: Codec, why: &'static str },
}

/// Why bytes could not be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{codec} cannot pack it: {why}")]
pub(super) struct PackError {
    codec: Codec,
    why: &'static str,
}

/// Appends what was packed, at most so many bytes.
pub(super) fn unpack(
    codec: Codec,
    packed: &[u8],
    most: usize,
    into: &mut Vec<u8>,
) -> Result<(), UnpackError> {
    let mut output = Output::new(into, most);
    let result = match codec {
        Codec::Gzip => gzip::unpack(packed, &mut output),
        Codec::Snappy => snappy::unpack(packed, &mut output),
        Codec::Lz4 => lz4::unpack(packed, &mut output),
        Codec::Zstd => zstd::unpack(packed, &mut output),
    };
    let start = output.start;
    result.inspect_err(|_| into.truncate(start)).map_err(|refusal| match refusal {
        Refusal::TooLarge => UnpackError::TooLarge { most },
        Refusal::Damaged(why) => UnpackError::Damaged { codec, why },
    })
}

/// Appends these bytes packed. A level that the codec does not have is taken for the nearest that
/// it has, and none for its default; snappy and LZ4 have one only.
pub(super) fn pack(
    codec: Codec,
    level: Option<i32>,
    bytes: &[u8],
    into: &mut Vec<u8>,
) -> Result<(), PackError> {
    let start = into.len();
    let result = match codec {
        Codec::Gzip => gzip::pack(level, bytes, into),
        Codec::Snappy => snappy::pack(bytes, into),
        Codec::Lz4 => lz4::pack(bytes, into),
        Codec::Zstd => zstd::pack(level, bytes, into),
    };
    result.inspect_err(|_| into.truncate(start)).map_err(|why| PackError { codec, why })
}

/// What a codec says of packed bytes that give no records.
enum Refusal {
    TooLarge,
    Damaged(&'static str),
}

/// Where unpacked bytes go, and how many of them may.
struct Output<'a> {
    into: &'a mut Vec<u8>,
    /// Where in `into` the first of them is.
    start: usize,
    /// Where in `into` there may be none any more.
    limit: usize,
}

impl<'a> Output<'a> {
    fn new(into: &'a mut Vec<u8>, most: usize) -> Self {
        let start = into.len();
        Self { limit: start.saturating_add(most), start, into }
    }

    fn written(&self) -> usize {
        self.into.len() - self.start
    }

    /// What was written since so many bytes were.
    fn since(&self, written: usize) -> &[u8] {
        &self.into[self.start + written..]
    }

    fn left(&self) -> usize {
        self.limit - self.into.len()
    }

    /// Lets something write behind what was written before: it sees both, the second at most
    /// `room` bytes long, and says how many bytes of it are to stay.
    ///
    /// Invariant: what is written ends before the limit, and so does what is reserved for it.
    fn write<E>(
        &mut self,
        room: usize,
        write: impl FnOnce(&[u8], &mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let at = self.into.len();
        let end = at + room.min(self.left());
        if end > self.into.capacity() {
            // Ahead of need, so that many small pieces are not copied at each of them.
            let ahead = self.into.capacity().saturating_mul(2).clamp(end, self.limit);
            self.into.reserve_exact(ahead - at);
        }
        self.into.resize(end, 0);
        let (before, room) = self.into.split_at_mut(at);
        let result = write(&before[self.start..], room);
        let written = result.as_ref().map_or(0, |written| *written);
        assert!(written <= room.len(), "nothing is written behind the room for it");
        self.into.truncate(at + written);
        result
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if bytes.len() > self.left() {
            return Err(Refusal::TooLarge);
        }
        self.write(bytes.len(), |_, room| {
            room.copy_from_slice(bytes);
            Ok(bytes.len())
        })
        .map(drop)
    }
}

/// The next bytes of what is packed, which then go on behind them.
fn take<'a>(packed: &mut &'a [u8], count: usize) -> Result<&'a [u8], Refusal> {
    let (taken, rest) =
        packed.split_at_checked(count).ok_or(Refusal::Damaged("it ends too early"))?;
    *packed = rest;
    Ok(taken)
}

/// As [`take`], for a number of bytes that is known.
fn take_array<const N: usize>(packed: &mut &[u8]) -> Result<[u8; N], Refusal> {
    let (taken, rest) = packed.split_first_chunk().ok_or(Refusal::Damaged("it ends too early"))?;
    *packed = rest;
    Ok(*taken)
}
