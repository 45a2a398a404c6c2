use lz4_flex::block::{compress, compress_with_dict};
use twox_hash::XxHash32;

use super::*;
use crate::window::random::Random;

const MOST: usize = 4 * 1024 * 1024;

/// What Kafka 4.3.1's `org.apache.kafka.common.compress` makes of [`text`], on Java 17.
const FROM_JAVA: [(Codec, &str); 4] = [
    (
        Codec::Gzip,
        "1f8b08000000000000ff75cf3b0a80401044c1abf4116cffe26944474c6461dcfb6360282fadac32f692871a95\
         53f50a3d3563bb57e5e7066fc13bf01e7c001fc127f0197ca11786696c2a9bcea6b4696d6a9bdea6b87ff31799\
         195453ea010000",
    ),
    (
        Codec::Snappy,
        "82534e415050590000000001000000010000007bea035c7265636f72642030206f66207468652073747265616d\
         3b200d1800315a180000325a180000335a180000345a180000355a180000365a180000375a180000385a180000\
         395a18000431305e19005ef20000315ef30000315ef40000315ef50000315ef60000315ef70000315ef8000031\
         5ef900003142fa00",
    ),
    (
        Codec::Lz4,
        "04224d186040827f000000f3097265636f72642030206f66207468652073747265616d3b2018001f311800041f\
         321800041f331800041f341800041f351800041f361800041f371800041f381800041f391800041f31f100060f\
         f200051f31f300051f31f400051f31f500051f31f600051f31f700051f31f800051f31f900051831fa00506561\
         6d3b2000000000",
    ),
    (
        Codec::Zstd,
        "28b52ffd0058ec0200a4027265636f72642030206f66207468652073747265616d3b2031323334353637383931\
         313131313131313114007d9b856fe0ed0d647a03256fe0e10d647703c56ee0d50d0cba590ed40cd402ea033503\
         b580fa40cd402da05ed69d63010000",
    ),
];

fn text(records: usize) -> Vec<u8> {
    let record = |record| format!("record {record} of the stream; ").into_bytes();
    (0..records).flat_map(record).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).expect("hexadecimal digits") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn packed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    pack(codec, None, bytes, &mut packed).unwrap();
    packed
}

fn unpacked(codec: Codec, packed: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let mut unpacked = Vec::new();
    unpack(codec, packed, MOST, &mut unpacked).map(|()| unpacked)
}

fn is_damaged(codec: Codec, packed: &[u8]) -> bool {
    matches!(unpacked(codec, packed), Err(UnpackError::Damaged { .. }))
}

/// Bytes of all kinds: noise, runs, and texts with repetitions near and far.
fn random_bytes(random: &mut Random, length_max: i64) -> Vec<u8> {
    let length = random.below(length_max) as usize;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let piece = random.below(400) as usize + 1;
        match random.below(4) {
            0 => bytes.extend((0..piece).map(|_| random.below(256) as u8)),
            1 => bytes.resize(bytes.len() + piece, random.below(256) as u8),
            2 => bytes.extend(text(3)),
            _ => {
                let from = random.below(bytes.len() as i64 + 1) as usize;
                let again = bytes[from..bytes.len().min(from + piece)].to_vec();
                bytes.extend(again);
            }
        }
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn bits_and_names_are_those_of_kafka() {
    let names = [(1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")];
    for (bits, name) in names {
        let codec = Codec::of_bits(bits).unwrap();
        assert_eq!((codec.bits(), codec.name()), (bits, name));
        assert_eq!(Codec::of_name(name), Some(codec));
    }
    assert_eq!([0, 5, 6, 7, 8].map(Codec::of_bits), [None; 5]);
    assert_eq!(["none", "", "GZIP"].map(Codec::of_name), [None; 3]);
}

#[test]
fn what_java_packs_is_unpacked() {
    for (codec, hex) in FROM_JAVA {
        assert_eq!(unpacked(codec, &from_hex(hex)).unwrap(), text(20), "{codec}");
    }
}

#[test]
fn frames_begin_as_those_of_java() {
    for (codec, hex) in FROM_JAVA {
        // Gzip: up to the name of the system. Zstd: the magic number, since the size follows.
        let same = match codec {
            Codec::Gzip => 8,
            Codec::Snappy => 16,
            Codec::Lz4 => 7,
            Codec::Zstd => 4,
        };
        assert_eq!(packed(codec, &text(20))[..same], from_hex(hex)[..same], "{codec}");
    }
}

#[test]
fn what_is_packed_is_unpacked_again() {
    let mut random = Random(1);
    for codec in Codec::ALL {
        for round in 0..60 {
            let length_max = if round % 10 == 0 { 400_000 } else { 2_000 };
            let bytes = random_bytes(&mut random, length_max);
            let level = (round % 3 != 0).then(|| random.below(25) as i32);
            let mut buffer = b"before".to_vec();
            pack(codec, level, &bytes, &mut buffer).unwrap();
            let packed = buffer.strip_prefix(b"before").expect("it is appended").to_vec();
            buffer.truncate("before".len());
            unpack(codec, &packed, bytes.len(), &mut buffer).unwrap();
            assert_eq!(buffer.strip_prefix(b"before").unwrap(), bytes, "{codec} {round}");
        }
    }
}

#[test]
fn nothing_is_packed_and_unpacked_too() {
    for codec in Codec::ALL {
        assert_eq!(unpacked(codec, &packed(codec, b"")).unwrap(), b"", "{codec}");
        assert!(is_damaged(codec, b""), "{codec}");
    }
}

#[test]
fn pieces_one_after_another_are_one() {
    for codec in Codec::ALL {
        let two = [packed(codec, &text(5)), packed(codec, &text(7))].concat();
        assert_eq!(unpacked(codec, &two).unwrap(), [text(5), text(7)].concat(), "{codec}");
    }
}

#[test]
fn a_limit_is_kept_to_the_byte_and_nothing_is_left_behind() {
    for codec in Codec::ALL {
        let bytes = text(20_000);
        let packed = packed(codec, &bytes);
        let mut exact = Vec::new();
        unpack(codec, &packed, bytes.len(), &mut exact).unwrap();
        assert_eq!(exact, bytes, "{codec}");
        for most in [0, 1, 1_000, 70_000, bytes.len() - 1] {
            let mut into = b"before".to_vec();
            let error = unpack(codec, &packed, most, &mut into).unwrap_err();
            assert_eq!(error, UnpackError::TooLarge { most }, "{codec}");
            assert_eq!(into, b"before", "{codec}");
        }
    }
}

#[test]
fn a_bomb_allocates_no_more_than_its_limit() {
    let zeros = vec![0; 16 * 1024 * 1024];
    for codec in Codec::ALL {
        let bomb = packed(codec, &zeros);
        for most in [100, 100_000, 3_000_000] {
            let mut into = Vec::new();
            let error = unpack(codec, &bomb, most, &mut into).unwrap_err();
            assert_eq!(error, UnpackError::TooLarge { most }, "{codec}");
            assert!(into.capacity() <= most, "{codec}: {} of {most}", into.capacity());
        }
    }
}

#[test]
fn a_size_that_is_only_claimed_allocates_no_more_than_the_limit() {
    // A raw block of 4 GiB, and a frame of 2^62 bytes with an empty last block.
    let snappy = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    let zstd = from_hex("28b52ffde00000000000000040010000");
    for (codec, claim) in [(Codec::Snappy, &snappy[..]), (Codec::Zstd, &zstd)] {
        let mut into = Vec::new();
        let error = unpack(codec, claim, MOST, &mut into).unwrap_err();
        assert_eq!(error, UnpackError::TooLarge { most: MOST }, "{codec}");
        assert!(into.capacity() <= MOST, "{codec}");
    }
}

#[test]
fn bare_snappy_is_unpacked() {
    let bytes = text(2_000);
    let bare = snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
    assert_eq!(unpacked(Codec::Snappy, &bare).unwrap(), bytes);
}

/// A frame of LZ4 with everything that a frame can have, whose second and third blocks repeat the
/// first.
fn linked_frame(first: &[u8], second: &[u8], third: &[u8]) -> Vec<u8> {
    let content = [first, second, third].concat();
    // Version 1, linked, checksums of blocks, size and checksum of the content; 256 KiB.
    let mut header = vec![0b0101_1100, 0x50];
    header.extend((content.len() as u64).to_le_bytes());
    let mut frame = 0x184D_2204_u32.to_le_bytes().to_vec();
    frame.extend(&header);
    frame.push((XxHash32::oneshot(0, &header) >> 8) as u8);
    let mut block = |flag: u32, bytes: &[u8]| {
        frame.extend((bytes.len() as u32 | flag).to_le_bytes());
        frame.extend(bytes);
        frame.extend(XxHash32::oneshot(0, bytes).to_le_bytes());
    };
    block(0, &compress(first));
    block(0, &compress_with_dict(second, &first[first.len().saturating_sub(64 * 1024)..]));
    block(1 << 31, third);
    frame.extend(0_u32.to_le_bytes());
    frame.extend(XxHash32::oneshot(0, &content).to_le_bytes());
    frame
}

#[test]
fn blocks_of_lz4_may_be_linked_and_bear_checksums() {
    let content = text(7_000);
    let (first, rest) = content.split_at(100_000);
    let (second, third) = rest.split_at(1_000);
    let frame = linked_frame(first, second, &third[..3_000]);
    assert!(compress(second).len() > compress_with_dict(second, first).len(), "it is linked");
    let wanted = &content[..104_000];
    assert_eq!(unpacked(Codec::Lz4, &frame).unwrap(), wanted);
    // A link does not reach into what was there before.
    let mut into = b"before".to_vec();
    unpack(Codec::Lz4, &frame, MOST, &mut into).unwrap();
    assert_eq!(into[b"before".len()..], *wanted);
}

#[test]
fn every_byte_of_a_frame_of_lz4_is_checked() {
    let content = text(40);
    let frame = linked_frame(&content[..300], &content[300..600], &content[600..]);
    assert!(unpacked(Codec::Lz4, &frame).is_ok());
    for at in 0..frame.len() {
        let mut flipped = frame.clone();
        flipped[at] ^= 1;
        assert!(is_damaged(Codec::Lz4, &flipped), "at {at}");
        assert!(is_damaged(Codec::Lz4, &frame[..at]), "up to {at}");
    }
}

#[test]
fn what_is_cut_off_is_damaged() {
    for codec in Codec::ALL {
        let packed = packed(codec, &text(3_000));
        // Between two blocks of snappy nothing says whether more were to come.
        let whole = [16, 16 + 4 + 2_500];
        for cut in (0..packed.len()).step_by(7).filter(|cut| !whole.contains(cut)) {
            let damaged = is_damaged(codec, &packed[..cut]);
            let bare_header = codec == Codec::Snappy && cut % 16 == 0;
            assert!(damaged || bare_header, "{codec} up to {cut} of {}", packed.len());
        }
    }
}

#[test]
fn what_goes_on_after_its_end_is_damaged() {
    for codec in Codec::ALL {
        let longer = [packed(codec, &text(9)), b"more".to_vec()].concat();
        assert!(is_damaged(codec, &longer), "{codec}");
    }
}

#[test]
fn damage_never_breaks_a_decoder() {
    let mut random = Random(2);
    for codec in Codec::ALL {
        for round in 0..1_500 {
            let mut bytes = packed(codec, &random_bytes(&mut random, 3_000));
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len() as i64) as usize;
                bytes[at] = match random.below(3) {
                    0 => bytes[at] ^ 1 << random.below(8),
                    1 => 0xff,
                    _ => random.below(256) as u8,
                };
            }
            if round % 3 == 0 {
                bytes.truncate(random.below(bytes.len() as i64) as usize);
            }
            check_bounds(codec, &bytes);
        }
    }
}

#[test]
fn noise_never_breaks_a_decoder() {
    let starts = ["1f8b0800", "82534e4150505900", "04224d18", "28b52ffd", "502a4d18", ""];
    let mut random = Random(3);
    for _ in 0..3_000 {
        let length = random.below(60);
        let start = from_hex(starts[random.below(starts.len() as i64) as usize]);
        let noise = (0..length).map(|_| random.below(256) as u8);
        let bytes: Vec<u8> = start.into_iter().chain(noise).collect();
        Codec::ALL.into_iter().for_each(|codec| check_bounds(codec, &bytes));
    }
}

fn check_bounds(codec: Codec, bytes: &[u8]) {
    const FEW: usize = 10_000;
    let mut into = Vec::new();
    let result = unpack(codec, bytes, FEW, &mut into);
    assert!(into.capacity() <= FEW, "{codec}: {} bytes", into.capacity());
    assert!(result.is_ok() || into.is_empty(), "{codec}: {result:?}");
}
