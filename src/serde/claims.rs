//! Can MessagePack bytes hold as many elements as they claim?
//!
//! A reader makes room for the elements of a list when it meets its head, up to a megabyte for each
//! list that it is in. A few hundred bytes of heads, one inside the other, would so claim a hundred
//! megabytes.

/// Whether each element that the bytes claim has a byte of its own; false also where they end too
/// early.
///
/// What lies behind the first whole value is not looked at.
pub(super) fn are_covered(bytes: &[u8]) -> bool {
    // Other heads claim up to 15 pairs and lie about little; most values have no long list.
    let is_suspect = bytes.iter().fold(false, |found, byte| found | matches!(byte, 0xDC..=0xDF));
    !is_suspect || walk(bytes).is_some()
}

/// Passes over one value; `None` if it is not all there.
fn walk(bytes: &[u8]) -> Option<()> {
    let mut rest = bytes;
    let mut owed = 1;
    while owed > 0 {
        if owed > rest.len() {
            return None;
        }
        let (&head, behind) = rest.split_first()?;
        rest = behind;
        let (elements, skipped) = claimed(head, &mut rest)?;
        rest = rest.get(skipped..)?;
        owed = (owed - 1).checked_add(elements)?;
    }
    Some(())
}

/// How many elements and how many bytes follow the head of a value.
fn claimed(head: u8, rest: &mut &[u8]) -> Option<(usize, usize)> {
    let small = usize::from(head);
    Some(match head {
        0x80..=0x8F => (2 * (small & 15), 0),
        0x90..=0x9F => (small & 15, 0),
        0xA0..=0xBF => (0, small & 31),
        // Bytes and text.
        0xC4 | 0xD9 => (0, length::<1>(rest)?),
        0xC5 | 0xDA => (0, length::<2>(rest)?),
        0xC6 | 0xDB => (0, length::<4>(rest)?),
        // Bytes with a type ahead of them.
        0xC7 => (0, length::<1>(rest)?.checked_add(1)?),
        0xC8 => (0, length::<2>(rest)?.checked_add(1)?),
        0xC9 => (0, length::<4>(rest)?.checked_add(1)?),
        0xD4..=0xD8 => (0, 1 + (1 << (small - 0xD4))),
        // Numbers.
        0xCC | 0xD0 => (0, 1),
        0xCD | 0xD1 => (0, 2),
        0xCA | 0xCE | 0xD2 => (0, 4),
        0xCB | 0xCF | 0xD3 => (0, 8),
        // Lists and maps.
        0xDC => (length::<2>(rest)?, 0),
        0xDD => (length::<4>(rest)?, 0),
        0xDE => (length::<2>(rest)?.checked_mul(2)?, 0),
        0xDF => (length::<4>(rest)?.checked_mul(2)?, 0),
        // Small numbers, null, true and false.
        _ => (0, 0),
    })
}

fn length<const N: usize>(rest: &mut &[u8]) -> Option<usize> {
    let (digits, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(digits.iter().fold(0, |number, digit| number << 8 | usize::from(*digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value of every kind and size of head, as another library writes it.
    fn bytes_of<T: serde::Serialize>(value: &T) -> Vec<u8> {
        rmp_serde::to_vec_named(value).unwrap()
    }

    #[test]
    fn every_whole_value_is_passed_over_and_every_cut_one_is_not() {
        let mut values = Vec::new();
        for size in [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
            values.push(bytes_of(&vec![true; size]));
            values.push(bytes_of(&"x".repeat(size)));
            values.push(bytes_of(&(0..size).map(|n| (n, n as f32)).collect::<Vec<_>>()));
            values.push(bytes_of(
                &(0..size).map(|n| (n, -1)).collect::<std::collections::BTreeMap<_, _>>(),
            ));
        }
        for number in [0, -1, 127, -128, 255, 1 << 15, -(1 << 15), 1 << 31, -(1 << 31), i64::MIN] {
            values.push(bytes_of(&(number, number as f64, Some(number), None::<u8>)));
        }
        values.push(bytes_of(&i128::MIN));
        for value in values {
            assert_eq!(walk(&value), Some(()));
            assert!(are_covered(&value));
            assert_eq!(walk(&value[..value.len() - 1]), None);
        }
    }

    #[test]
    fn heads_of_typed_bytes_are_passed_over() {
        for (head, skipped) in [(0xD4, 2), (0xD5, 3), (0xD6, 5), (0xD7, 9), (0xD8, 17)] {
            assert_eq!(claimed(head, &mut &[][..]), Some((0, skipped)));
        }
        assert_eq!(claimed(0xC7, &mut &[5][..]), Some((0, 6)));
        assert_eq!(claimed(0xC8, &mut &[1, 0][..]), Some((0, 257)));
        assert_eq!(claimed(0xC9, &mut &[0, 0, 1, 0][..]), Some((0, 257)));
    }

    #[test]
    fn claims_inside_claims_add_up() {
        let pair = [0xDC, 0, 2, 0xDC, 0, 2, 1, 1, 1];
        assert!(are_covered(&pair));
        let more = [0xDC, 0, 2, 0xDC, 0, 3, 1, 1, 1];
        assert!(!are_covered(&more));
        for head in [0xDD, 0xDF] {
            assert!(!are_covered(&[head, 0xFF, 0xFF, 0xFF, 0xFF]));
        }
    }
}
