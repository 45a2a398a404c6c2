//! LZ4: frames, one after another.
//!
//! A frame is `magic u32 | flags u8 | block size u8 | [content size u64] | header checksum u8`,
//! blocks, `length u32 | bytes | [checksum u32]`, an end, `0 u32`, and `[content checksum u32]`,
//! all little-endian. A block whose length has the upper bit set is not packed. A block of a frame
//! whose blocks are linked may repeat what earlier blocks unpacked to.
//!
//! The framing is here and not a crate's, because blocks can so be unpacked where their bytes are
//! wanted, within the caller's limit, and a frame that was cut off between two blocks is found out.

use std::cell::RefCell;

use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into,
    decompress_into_with_dict, get_maximum_output_size,
};
use twox_hash::XxHash32;

use super::{Output, Refusal, take, take_array};

const MAGIC: u32 = 0x184D_2204;
/// A frame that is there to be passed over has any of sixteen magic numbers.
const SKIPPABLE: u32 = 0x184D_2A50;
const SKIPPABLE_MASK: u32 = !0xF;

const VERSION_BITS: u8 = 0b1100_0000;
const VERSION: u8 = 0b0100_0000;
const INDEPENDENT: u8 = 0b0010_0000;
const BLOCK_CHECKSUMS: u8 = 0b0001_0000;
const CONTENT_SIZE: u8 = 0b0000_1000;
const CONTENT_CHECKSUM: u8 = 0b0000_0100;
const RESERVED: u8 = 0b0000_0010;
const DICTIONARY: u8 = 0b0000_0001;

/// In a block's length: it is not packed.
const PLAIN: u32 = 1 << 31;

/// How far back a block may reach.
const WINDOW_BYTES: usize = 64 * 1024;

/// A byte of a packed block stands for that many bytes at most.
const RATIO_MAX: usize = 255;

/// What Java's clients write: independent blocks of 64 KiB, without checksums.
const WRITTEN_FLAGS: u8 = VERSION | INDEPENDENT;
const WRITTEN_SIZE_CODE: u8 = 4 << 4;
const WRITTEN_BLOCK_BYTES: usize = 64 * 1024;

thread_local! {
    /// The table of the compressor.
    static TABLE: RefCell<CompressTable> = RefCell::new(CompressTable::large());
}

pub(super) fn unpack(mut packed: &[u8], output: &mut Output<'_>) -> Result<(), Refusal> {
    loop {
        match u32::from_le_bytes(take_array(&mut packed)?) {
            MAGIC => Frame::read(&mut packed, output)?.unpack(&mut packed, output)?,
            magic if magic & SKIPPABLE_MASK == SKIPPABLE => {
                let length = u32::from_le_bytes(take_array(&mut packed)?);
                take(&mut packed, length as usize)?;
            }
            _ => return Err(Refusal::Damaged("it does not begin as a frame does")),
        }
        if packed.is_empty() {
            return Ok(());
        }
    }
}

/// What the header of a frame says.
struct Frame {
    flags: u8,
    block_bytes_max: usize,
    content_size: Option<u64>,
    /// How much was written before it.
    start: usize,
}

impl Frame {
    fn read(packed: &mut &[u8], output: &Output<'_>) -> Result<Self, Refusal> {
        let header = *packed;
        let [flags, size_code] = take_array(packed)?;
        if flags & VERSION_BITS != VERSION || flags & RESERVED != 0 {
            return Err(Refusal::Damaged("a frame is of an unknown version"));
        }
        if flags & DICTIONARY != 0 {
            return Err(Refusal::Damaged("a frame needs a dictionary"));
        }
        let block_bytes_max = block_bytes(size_code)?;
        let content_size = match flags & CONTENT_SIZE {
            0 => None,
            _ => Some(u64::from_le_bytes(take_array(packed)?)),
        };
        let header = &header[..header.len() - packed.len()];
        let [checksum] = take_array(packed)?;
        if checksum != header_checksum(header) {
            return Err(Refusal::Damaged("the checksum of a frame's header is wrong"));
        }
        Ok(Self { flags, block_bytes_max, content_size, start: output.written() })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn unpack(&self, packed: &mut &[u8], output: &mut Output<'_>) -> Result<(), Refusal> {
        loop {
            match u32::from_le_bytes(take_array(packed)?) {
                0 => break,
                length => self.block(length, packed, output)?,
            }
        }
        let content = output.since(self.start);
        if self.has(CONTENT_CHECKSUM) {
            let checksum = u32::from_le_bytes(take_array(packed)?);
            if checksum != XxHash32::oneshot(0, content) {
                return Err(Refusal::Damaged("the checksum of a frame's content is wrong"));
            }
        }
        if self.content_size.is_some_and(|size| size != content.len() as u64) {
            return Err(Refusal::Damaged("a frame is not as long as its header says"));
        }
        Ok(())
    }

    fn block(
        &self,
        length: u32,
        packed: &mut &[u8],
        output: &mut Output<'_>,
    ) -> Result<(), Refusal> {
        let bytes = (length & !PLAIN) as usize;
        if bytes > self.block_bytes_max {
            return Err(Refusal::Damaged("a block is longer than its frame allows"));
        }
        let block = take(packed, bytes)?;
        if self.has(BLOCK_CHECKSUMS) {
            let checksum = u32::from_le_bytes(take_array(packed)?);
            if checksum != XxHash32::oneshot(0, block) {
                return Err(Refusal::Damaged("the checksum of a block is wrong"));
            }
        }
        if length & PLAIN != 0 { output.put(block) } else { self.unpack_block(block, output) }
    }

    fn unpack_block(&self, block: &[u8], output: &mut Output<'_>) -> Result<(), Refusal> {
        let wanted = block.len().saturating_mul(RATIO_MAX).min(self.block_bytes_max);
        let left = output.left();
        let unpacked = output.write(wanted, |before, room| {
            let window = self.start.max(before.len().saturating_sub(WINDOW_BYTES));
            if self.has(INDEPENDENT) || window == before.len() {
                decompress_into(block, room)
            } else {
                decompress_into_with_dict(block, room, &before[window..])
            }
        });
        unpacked.map(drop).map_err(|error| match error {
            DecompressError::OutputTooSmall { .. } if wanted > left => Refusal::TooLarge,
            _ => Refusal::Damaged("a block cannot be unpacked"),
        })
    }
}

/// How long a block may be, packed or not.
fn block_bytes(size_code: u8) -> Result<usize, Refusal> {
    match size_code {
        0x40 => Ok(64 * 1024),
        0x50 => Ok(256 * 1024),
        0x60 => Ok(1024 * 1024),
        0x70 => Ok(4 * 1024 * 1024),
        _ => Err(Refusal::Damaged("the blocks of a frame are of an unknown size")),
    }
}

/// Of what stands between the magic number and the checksum.
fn header_checksum(header: &[u8]) -> u8 {
    let [_, second, ..] = XxHash32::oneshot(0, header).to_le_bytes();
    second
}

pub(super) fn pack(bytes: &[u8], into: &mut Vec<u8>) -> Result<(), &'static str> {
    let header = [WRITTEN_FLAGS, WRITTEN_SIZE_CODE];
    into.extend_from_slice(&MAGIC.to_le_bytes());
    into.extend_from_slice(&header);
    into.push(header_checksum(&header));
    TABLE.with_borrow_mut(|table| {
        bytes.chunks(WRITTEN_BLOCK_BYTES).try_for_each(|block| pack_block(table, block, into))
    })?;
    into.extend_from_slice(&0_u32.to_le_bytes());
    Ok(())
}

fn pack_block(
    table: &mut CompressTable,
    block: &[u8],
    into: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let at = into.len();
    let start = at + size_of::<u32>();
    into.resize(start + get_maximum_output_size(block.len()), 0);
    let length = compress_into_with_table(block, &mut into[start..], table)
        .map_err(|_| "a block has no room, although its size is bounded")?;
    let length = if length < block.len() {
        into.truncate(start + length);
        length as u32
    } else {
        into.truncate(start);
        into.extend_from_slice(block);
        block.len() as u32 | PLAIN
    };
    into[at..start].copy_from_slice(&length.to_le_bytes());
    Ok(())
}
