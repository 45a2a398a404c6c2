//! How are small numbers made short? Zigzag varints: seven bits a byte, the lowest first.

/// Takes a 32-bit varint from the front; `None` if there is no whole one or it is too long.
#[inline]
pub(crate) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(unzigzag(u64::from(first)) as i32);
    }
    let (&second, rest) = rest.split_first()?;
    if second < 0x80 {
        *bytes = rest;
        return Some(unzigzag(u64::from(first & 0x7f) | u64::from(second) << 7) as i32);
    }
    i32::try_from(take_long(bytes)?).ok()
}

/// Takes a 64-bit varint from the front; `None` if there is no whole one or it is too long.
#[inline]
pub(super) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(unzigzag(u64::from(first)));
    }
    take_long(bytes)
}

fn take_long(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        // The tenth byte has room for one bit only.
        if index == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Some(unzigzag(value));
        }
    }
    None
}

/// How many bytes a number takes.
#[inline]
pub(super) const fn size(value: i64) -> usize {
    // Bits in use, at least one, in groups of seven.
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends a number.
#[inline]
pub(crate) fn put(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// A few numbers that are appended together: one check of the buffer's room for all.
pub(super) struct Front {
    bytes: [u8; Self::BYTES_MAX],
    length: usize,
}

impl Front {
    /// Room for five numbers of any size.
    const BYTES_MAX: usize = 50;

    #[inline]
    pub(super) const fn new() -> Self {
        Self { bytes: [0; Self::BYTES_MAX], length: 0 }
    }

    #[inline]
    pub(super) fn put(&mut self, value: i64) {
        let mut rest = zigzag(value);
        while rest >= 0x80 {
            self.bytes[self.length] = rest as u8 | 0x80;
            self.length += 1;
            rest >>= 7;
        }
        self.bytes[self.length] = rest as u8;
        self.length += 1;
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[inline]
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_size_come_back_whole() {
        let mut numbers = vec![0, -1, 1, i64::MIN, i64::MAX];
        for shift in 0..63 {
            numbers.extend([1 << shift, -(1 << shift), (1 << shift) - 1]);
        }
        for number in numbers {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            assert_eq!(bytes.len(), size(number), "{number}");
            let mut front = Front::new();
            front.put(number);
            assert_eq!(front.bytes(), bytes);
            assert_eq!(take_i64(&mut bytes.as_slice()), Some(number));
            let short = i32::try_from(number).ok();
            assert_eq!(take_i32(&mut bytes.as_slice()), short);
            let cut = &bytes[..bytes.len() - 1];
            assert_eq!(take_i64(&mut &*cut), None, "a cut number is none");
        }
    }

    #[test]
    fn an_endless_number_is_none() {
        assert_eq!(take_i64(&mut [0xff; 32].as_slice()), None);
        assert_eq!(take_i32(&mut [0xff; 32].as_slice()), None);
    }
}
