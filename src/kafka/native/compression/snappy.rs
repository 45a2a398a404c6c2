//! Snappy: bare, or in the framing of Java's `xerial` library, which is what Java's clients write.
//!
//! The framing is a header, `magic [8] | version i32 | compatible i32`, and blocks, `length i32 |
//! bare snappy`, all big-endian. A header may come again between two blocks, where streams were
//! put one behind the other.

use std::cell::RefCell;

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::{Output, Refusal, take, take_array};

const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];

/// How many bytes Java's clients put into a block.
const BLOCK_BYTES: usize = 32 * 1024;

thread_local! {
    /// The table of the compressor.
    static ENCODER: RefCell<Encoder> = RefCell::new(Encoder::new());
}

pub(super) fn unpack(mut packed: &[u8], output: &mut Output<'_>) -> Result<(), Refusal> {
    if !packed.starts_with(MAGIC) {
        return unpack_bare(packed, output);
    }
    while !packed.is_empty() {
        if packed.starts_with(MAGIC) {
            take(&mut packed, MAGIC.len() + VERSIONS.len())?;
            continue;
        }
        let length = i32::from_be_bytes(take_array(&mut packed)?);
        let length = usize::try_from(length)
            .map_err(|_| Refusal::Damaged("a block is less than nothing long"))?;
        unpack_bare(take(&mut packed, length)?, output)?;
    }
    Ok(())
}

fn unpack_bare(packed: &[u8], output: &mut Output<'_>) -> Result<(), Refusal> {
    const DAMAGED: Refusal = Refusal::Damaged("a block cannot be unpacked");
    let length = decompress_len(packed).map_err(|_| DAMAGED)?;
    if length > output.left() {
        return Err(Refusal::TooLarge);
    }
    let mut decoder = Decoder::new();
    output.write(length, |_, room| decoder.decompress(packed, room)).map_err(|_| DAMAGED)?;
    Ok(())
}

pub(super) fn pack(bytes: &[u8], into: &mut Vec<u8>) -> Result<(), &'static str> {
    into.extend_from_slice(MAGIC);
    into.extend_from_slice(&VERSIONS);
    ENCODER.with_borrow_mut(|encoder| {
        bytes.chunks(BLOCK_BYTES).try_for_each(|block| pack_block(encoder, block, into))
    })
}

fn pack_block(encoder: &mut Encoder, block: &[u8], into: &mut Vec<u8>) -> Result<(), &'static str> {
    let at = into.len();
    let start = at + size_of::<i32>();
    into.resize(start + max_compress_len(block.len()), 0);
    let length = encoder
        .compress(block, &mut into[start..])
        .map_err(|_| "a block has no room, although its size is bounded")?;
    into[at..start].copy_from_slice(&(length as i32).to_be_bytes());
    into.truncate(start + length);
    Ok(())
}
