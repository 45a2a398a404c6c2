//! How do types become bytes? Codecs, and the canonical bytes of keys.
//!
//! - A key has *one* byte form ([`Key`]), the one that Kafka's own serialisers write, so that every
//!   client sends the same key to the same partition.
//! - A value's codec belongs to its topic. State and repartition topics default to
//!   [`MessagePack`] with field names, which survives added, removed and reordered fields.
//! - Null is not a value of a codec: only [`Nullable`] knows it, and its type is an `Option`.

mod claims;

use std::hash::Hash;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BoxError;
use crate::record::Data;

/// Turns values of one type into bytes and back.
pub trait Codec<T>: Send + Sync + 'static {
    /// Appends the bytes of `value` to `out`; on an error, `out` may hold a part of them.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError>;

    /// Reads a value that fills `bytes` exactly.
    fn decode(&self, bytes: &[u8]) -> Result<T, BoxError>;

    /// Whether this value is written as Kafka's null.
    fn is_null(&self, _value: &T) -> bool {
        false
    }

    /// The value of Kafka's null, for types that have one.
    fn decode_null(&self) -> Result<T, BoxError> {
        Err("null where the type has none; read the topic as `Option` with `nullable_values` or \
             `nullable_keys`"
            .into())
    }

    /// The part of an encoded key that decides its partition; all of it, but for windowed keys.
    fn partition_bytes<'a>(&self, encoded: &'a [u8]) -> &'a [u8] {
        encoded
    }
}

/// A codec as the engine holds it.
pub type SharedCodec<T> = Arc<dyn Codec<T>>;

/// Reads a value where it may be null.
pub(crate) fn decode_option<T: 'static>(
    codec: &dyn Codec<T>,
    bytes: Option<&[u8]>,
) -> Result<T, BoxError> {
    match bytes {
        Some(bytes) => codec.decode(bytes),
        None => codec.decode_null(),
    }
}

/// A type that may be a record's key: it has one canonical byte form.
///
/// Strings are UTF-8, integers big-endian as Kafka's Java serialisers write them, bytes themselves.
/// Implement it for a type of your own where the key is more than that.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a record key",
    label = "keys need one canonical byte form, so that every client partitions them alike",
    note = "use `String`, an integer, `bool` or `Vec<u8>`, or implement `millstream::Key`"
)]
pub trait Key: Data + Eq + Hash {
    /// Appends the canonical bytes to `out`.
    fn encode_key(&self, out: &mut Vec<u8>);
    /// Reads a key that fills `bytes` exactly.
    fn decode_key(bytes: &[u8]) -> Result<Self, BoxError>;
}

/// A type that may be kept in a store or sent through a repartition topic without naming a codec.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in a store or sent through a repartition topic",
    label = "stateful operators need to save this type",
    note = "add `#[derive(Clone, serde::Serialize, serde::Deserialize)]` to `{Self}`, or use the \
            `_with` form of the operator and name a codec"
)]
pub trait Value: Data + Serialize + DeserializeOwned {}
impl<T: Data + Serialize + DeserializeOwned> Value for T {}

impl Key for String {
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    fn decode_key(bytes: &[u8]) -> Result<Self, BoxError> {
        Ok(std::str::from_utf8(bytes)?.to_owned())
    }
}

impl Key for Arc<str> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    fn decode_key(bytes: &[u8]) -> Result<Self, BoxError> {
        Ok(Self::from(std::str::from_utf8(bytes)?))
    }
}

impl Key for Vec<u8> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn decode_key(bytes: &[u8]) -> Result<Self, BoxError> {
        Ok(bytes.to_owned())
    }
}

impl Key for () {
    fn encode_key(&self, _out: &mut Vec<u8>) {}
    fn decode_key(bytes: &[u8]) -> Result<Self, BoxError> {
        fixed::<0>(bytes).map(|_| ())
    }
}

impl Key for bool {
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn decode_key(bytes: &[u8]) -> Result<Self, BoxError> {
        Ok(fixed::<1>(bytes)? != [0])
    }
}

macro_rules! integer_keys {
    ($($integer:ty),*) => {$(
        impl Key for $integer {
            fn encode_key(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn decode_key(bytes: &[u8]) -> Result<Self, BoxError> {
                Ok(Self::from_be_bytes(fixed(bytes)?))
            }
        }
    )*};
}
integer_keys!(u8, i8, u16, i16, u32, i32, u64, i64, u128, i128);

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], BoxError> {
    bytes.try_into().map_err(|_| format!("{} bytes where {N} are expected", bytes.len()).into())
}

/// The canonical bytes of a [`Key`], also for values: UTF-8 strings, big-endian integers, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Canonical;

impl<T: Key> Codec<T> for Canonical {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        value.encode_key(out);
        Ok(())
    }
    fn decode(&self, bytes: &[u8]) -> Result<T, BoxError> {
        T::decode_key(bytes)
    }
}

/// An `f64` as eight big-endian bytes, as Kafka's Java serialiser writes a `Double`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Double;

impl Codec<f64> for Double {
    fn encode(&self, value: &f64, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }
    fn decode(&self, bytes: &[u8]) -> Result<f64, BoxError> {
        Ok(f64::from_be_bytes(fixed(bytes)?))
    }
}

/// How deep lists and maps of a value may lie in each other, so that reading it fits any stack.
const DEPTH_MAX: usize = 128;

/// JSON text. A floating-point number comes back as it was, to the last bit. Values nested more
/// than 128 deep are not read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(serde_json::to_writer(out, value)?)
    }
    fn decode(&self, bytes: &[u8]) -> Result<T, BoxError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// MessagePack with field names: the default of state and repartition topics. Values nested more
/// than 128 deep are not read.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagePack;

impl<T: Serialize + DeserializeOwned> Codec<T> for MessagePack {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(rmp_serde::encode::write_named(out, value)?)
    }
    fn decode(&self, bytes: &[u8]) -> Result<T, BoxError> {
        if !claims::are_covered(bytes) {
            return Err("the bytes end before the value does".into());
        }
        let mut rest = bytes;
        let mut reader = rmp_serde::Deserializer::new(&mut rest);
        reader.set_max_depth(DEPTH_MAX);
        let value = T::deserialize(&mut reader)?;
        if rest.is_empty() { Ok(value) } else { Err("bytes are left after the value".into()) }
    }
}

/// bincode 2, standard configuration: small and fast, but positional.
///
/// A field added, removed or moved makes old bytes undecodable or, worse, decodes them as other
/// values. Fit for types that never change. It sets no bound to nesting: do not read a type that
/// contains itself from a topic that strangers write.
#[cfg(feature = "bincode")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Bincode;

#[cfg(feature = "bincode")]
impl<T: Serialize + DeserializeOwned> Codec<T> for Bincode {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        bincode::serde::encode_into_std_write(value, out, bincode::config::standard())?;
        Ok(())
    }
    fn decode(&self, bytes: &[u8]) -> Result<T, BoxError> {
        let (value, read) = decode_bincode(bytes)?;
        if read == bytes.len() { Ok(value) } else { Err("bytes are left after the value".into()) }
    }
}

/// Reads a value from the front, and how many bytes it took, with bincode's limit set.
///
/// bincode makes room for a text of the length that the bytes claim before it looks for the text;
/// only a limit stops it. One byte stands for 16 at most, as a small `u128` does, so a whole value
/// stays within 16 times its bytes. A limit is a constant: there are three.
#[cfg(feature = "bincode")]
fn decode_bincode<T: DeserializeOwned>(
    bytes: &[u8],
) -> Result<(T, usize), bincode::error::DecodeError> {
    use bincode::serde::decode_from_slice;
    const SMALL: usize = 1 << 16;
    const MEDIUM: usize = 1 << 24;
    /// More than a record of Kafka can hold.
    const LARGE: usize = i32::MAX as usize;
    let config = bincode::config::standard();
    if bytes.len() <= SMALL {
        decode_from_slice(bytes, config.with_limit::<{ 16 * SMALL }>())
    } else if bytes.len() <= MEDIUM {
        decode_from_slice(bytes, config.with_limit::<{ 16 * MEDIUM }>())
    } else {
        decode_from_slice(bytes, config.with_limit::<LARGE>())
    }
}

/// A codec that knows null: `None` is Kafka's null, `Some` what the inner codec writes.
pub struct Nullable<T> {
    inner: SharedCodec<T>,
}

impl<T> Nullable<T> {
    /// Null beside the values of `inner`.
    pub fn new(inner: SharedCodec<T>) -> Self {
        Self { inner }
    }
}

impl<T> std::fmt::Debug for Nullable<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nullable")
    }
}

impl<T: 'static> Codec<Option<T>> for Nullable<T> {
    fn encode(&self, value: &Option<T>, out: &mut Vec<u8>) -> Result<(), BoxError> {
        value.as_ref().map_or(Ok(()), |value| self.inner.encode(value, out))
    }
    fn decode(&self, bytes: &[u8]) -> Result<Option<T>, BoxError> {
        self.inner.decode(bytes).map(Some)
    }
    fn is_null(&self, value: &Option<T>) -> bool {
        value.is_none()
    }
    fn decode_null(&self) -> Result<Option<T>, BoxError> {
        Ok(None)
    }
    fn partition_bytes<'a>(&self, encoded: &'a [u8]) -> &'a [u8] {
        self.inner.partition_bytes(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round<T: Value>(codec: &impl Codec<T>, value: &T) -> T {
        let mut bytes = Vec::new();
        codec.encode(value, &mut bytes).unwrap();
        codec.decode(&bytes).unwrap()
    }

    /// Found by fuzzing: the number came back with another last digit, so that an aggregate drifted
    /// each time it was saved and restored.
    #[test]
    fn json_numbers_come_back_to_the_last_bit() {
        for number in [-7.637_558_449_608_672e-84, 0.1, f64::MAX, f64::MIN_POSITIVE, 5e-324] {
            assert_eq!(round(&Json, &number).to_bits(), number.to_bits(), "{number}");
        }
    }

    /// Found by fuzzing: nine bytes that claim a text of 2^64 - 1 bytes were a panic, and those
    /// that claim one of a few terabytes the end of the process.
    #[cfg(feature = "bincode")]
    #[test]
    fn bincode_believes_no_length_that_the_bytes_cannot_hold() {
        for length in [u64::MAX, 1 << 62, 1 << 42, 1 << 32] {
            let bytes = [&[0xFD][..], &length.to_le_bytes()].concat();
            let text: Result<String, _> = Bincode.decode(&bytes);
            assert!(text.is_err(), "{length}");
            let list: Result<Vec<String>, _> = Bincode.decode(&bytes);
            assert!(list.is_err(), "{length}");
        }
    }

    /// A list of lists, without a bound to its depth.
    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Tree {
        below: Vec<Tree>,
    }

    /// Found by fuzzing: 120 bytes took 40 MB, and 5 kB would have taken a gigabyte, a megabyte for
    /// each list that claimed to be long.
    #[test]
    fn messagepack_lists_are_as_long_as_their_bytes_allow() {
        let bytes = [0xDD, 0, 1, 0, 0].repeat(1_000);
        let tree: Result<Tree, _> = MessagePack.decode(&bytes);
        assert_eq!(tree.unwrap_err().to_string(), "the bytes end before the value does");
    }

    /// Values nested too deep for the stack are an error, in a test's small stack, too.
    #[test]
    fn no_depth_overflows_the_stack() {
        let lists = vec![0x91; 100_000];
        assert!(Codec::<Tree>::decode(&MessagePack, &lists).is_err());
        let maps = b"{\"below\":[".repeat(100_000);
        assert!(Codec::<Tree>::decode(&Json, &maps).is_err());
        let mut tree = Tree { below: Vec::new() };
        for _ in 0..50 {
            tree = Tree { below: vec![tree] };
        }
        assert_eq!(round(&Json, &tree), tree);
        assert_eq!(round(&MessagePack, &tree), tree);
    }

    #[cfg(feature = "bincode")]
    #[test]
    fn bincode_takes_values_that_are_longer_than_their_bytes() {
        for count in [1, 1 << 12, (1 << 16) + 1] {
            let smalls = vec![7_u128; count];
            assert_eq!(round(&Bincode, &smalls), smalls);
            let text = "x".repeat(count);
            assert_eq!(round(&Bincode, &text), text);
        }
    }
}
