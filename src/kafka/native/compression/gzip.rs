//! Gzip: members, one after another.

use std::io::{ErrorKind, Read, Write};
use std::ops::RangeInclusive;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Output, Refusal};

/// The least that is asked for at once.
const STEP: usize = 4096;

const LEVELS: RangeInclusive<i32> = 1..=9;

/// How many times smaller gzip makes records, as a first guess.
const USUAL_RATIO: usize = 4;

pub(super) fn unpack(packed: &[u8], output: &mut Output<'_>) -> Result<(), Refusal> {
    let mut members = MultiGzDecoder::new(packed);
    let mut step = packed.len().saturating_mul(USUAL_RATIO).max(STEP);
    while output.left() > 0 {
        if output.write(step, |_, room| read(&mut members, room))? == 0 {
            return Ok(());
        }
        step = output.written().max(STEP);
    }
    match read(&mut members, &mut [0])? {
        0 => Ok(()),
        _ => Err(Refusal::TooLarge),
    }
}

fn read(members: &mut impl Read, room: &mut [u8]) -> Result<usize, Refusal> {
    members.read(room).map_err(|error| {
        Refusal::Damaged(match error.kind() {
            ErrorKind::UnexpectedEof => "it ends too early",
            _ => "a member has no good header, data or checksum",
        })
    })
}

pub(super) fn pack(
    level: Option<i32>,
    bytes: &[u8],
    into: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let level = level.map_or(Compression::default(), |level| {
        Compression::new(level.clamp(*LEVELS.start(), *LEVELS.end()).unsigned_abs())
    });
    let mut member = GzEncoder::new(into, level);
    let packed = member.write_all(bytes).and_then(|()| member.try_finish());
    packed.map_err(|_| "the compressor failed")
}
