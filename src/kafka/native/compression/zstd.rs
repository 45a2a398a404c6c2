//! Zstandard: frames, one after another.
//!
//! A frame is unpacked at one go, into memory that is there before: so no window is kept beside
//! the output, which a frame could ask for in any size. How much a frame unpacks to, its header
//! says, or else the headers of its blocks bound it: Java's clients write frames of the latter
//! kind.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall;
use zstd_safe::{CCtx, CParameter, DCtx, compress_bound, get_error_name, is_error_kind};

use super::{Output, Refusal, take, take_array};

const MAGIC: u32 = 0xFD2F_B528;
/// A frame that is there to be passed over has any of sixteen magic numbers.
const SKIPPABLE: u32 = 0x184D_2A50;
const SKIPPABLE_MASK: u32 = !0xF;

/// No block unpacks to more.
const BLOCK_BYTES_MAX: u64 = 128 * 1024;

const LEVELS: RangeInclusive<i32> = 1..=22;
/// As in Java's clients.
const DEFAULT_LEVEL: i32 = 3;

thread_local! {
    static UNPACKER: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
    static PACKER: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
}

pub(super) fn unpack(packed: &[u8], output: &mut Output<'_>) -> Result<(), Refusal> {
    let size = Size::of(packed)?;
    if size.least > output.left() as u64 {
        return Err(Refusal::TooLarge);
    }
    let room = usize::try_from(size.most).unwrap_or(usize::MAX);
    let unpacked = output.write(room, |_, room| {
        UNPACKER.with_borrow_mut(|unpacker| unpacker.decompress(room, packed))
    });
    unpacked.map(drop).map_err(|code| {
        let has_no_room = is_error_kind(code, ZSTD_error_dstSize_tooSmall);
        if has_no_room && size.most > output.left() as u64 {
            Refusal::TooLarge
        } else {
            Refusal::Damaged(get_error_name(code))
        }
    })
}

pub(super) fn pack(
    level: Option<i32>,
    bytes: &[u8],
    into: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let level = level.unwrap_or(DEFAULT_LEVEL).clamp(*LEVELS.start(), *LEVELS.end());
    let at = into.len();
    into.resize(at + compress_bound(bytes.len()), 0);
    let packed = PACKER.with_borrow_mut(|packer| {
        packer.set_parameter(CParameter::CompressionLevel(level))?;
        packer.compress2(&mut into[at..], bytes)
    });
    into.truncate(at + packed.map_err(get_error_name)?);
    Ok(())
}

/// How many bytes frames unpack to, if they are not damaged.
#[derive(Default)]
struct Size {
    least: u64,
    most: u64,
}

impl Size {
    fn of(mut packed: &[u8]) -> Result<Self, Refusal> {
        let mut size = Self::default();
        loop {
            match u32::from_le_bytes(take_array(&mut packed)?) {
                MAGIC => size.add_frame(&mut packed)?,
                magic if magic & SKIPPABLE_MASK == SKIPPABLE => {
                    let length = u32::from_le_bytes(take_array(&mut packed)?);
                    take(&mut packed, length as usize)?;
                }
                _ => return Err(Refusal::Damaged("it does not begin as a frame does")),
            }
            if packed.is_empty() {
                return Ok(size);
            }
        }
    }

    /// Adds the frame that follows its magic number.
    fn add_frame(&mut self, packed: &mut &[u8]) -> Result<(), Refusal> {
        let [descriptor] = take_array(packed)?;
        let is_one_segment = descriptor & 0b10_0000 != 0;
        if !is_one_segment {
            // What the window is does not matter here.
            take(packed, 1)?;
        }
        let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
        take(packed, dictionary_bytes)?;
        let content = match descriptor >> 6 {
            0 if !is_one_segment => None,
            0 => Some(u64::from(u8::from_le_bytes(take_array(packed)?))),
            1 => Some(u64::from(u16::from_le_bytes(take_array(packed)?)) + 256),
            2 => Some(u64::from(u32::from_le_bytes(take_array(packed)?))),
            _ => Some(u64::from_le_bytes(take_array(packed)?)),
        };
        let blocks = Self::of_blocks(packed)?;
        if descriptor & 0b100 != 0 {
            take(packed, size_of::<u32>())?;
        }
        let least = content.unwrap_or(blocks.least);
        let most = content.map_or(blocks.most, |content| content.min(blocks.most));
        self.least = self.least.saturating_add(least);
        self.most = self.most.saturating_add(most);
        Ok(())
    }

    /// Of the blocks of one frame.
    fn of_blocks(packed: &mut &[u8]) -> Result<Self, Refusal> {
        let mut size = Self::default();
        loop {
            let [first, second, third] = take_array(packed)?;
            let header = u32::from_le_bytes([first, second, third, 0]);
            let bytes = header >> 3;
            let (packed_bytes, least, most) = match (header >> 1) & 0b11 {
                0 => (bytes, u64::from(bytes), u64::from(bytes)),
                1 => (1, u64::from(bytes), u64::from(bytes)),
                2 => (bytes, 0, BLOCK_BYTES_MAX),
                _ => return Err(Refusal::Damaged("a block is of an unknown kind")),
            };
            take(packed, packed_bytes as usize)?;
            size.least += least;
            size.most += most;
            if header & 1 != 0 {
                return Ok(size);
            }
        }
    }
}
