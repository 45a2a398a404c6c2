//! How does a table's change travel through a repartition topic? In Kafka Streams' bytes:
//!
//! - `old | 0` and `new | 1` where there is only one of them;
//! - `varint(length of new) | new | old | 2` where there are both, the varint zigzag;
//! - flags 3 to 5 are the same with a byte before the flag that says whether the change is the
//!   latest of its key; they are read, never written.

use crate::error::BoxError;
use crate::log::batch::varint;
use crate::record::Change;
use crate::serde::{Codec, SharedCodec};

/// Codec of a change, over the codec of a row.
pub(crate) struct ChangeCodec<V> {
    pub(crate) row: SharedCodec<V>,
}

const OLD: u8 = 0;
const NEW: u8 = 1;
const BOTH: u8 = 2;
/// Flags from here on have a byte before them.
const WITH_LATEST: u8 = 3;

impl<V: 'static> Codec<Change<V>> for ChangeCodec<V> {
    fn encode(&self, change: &Change<V>, out: &mut Vec<u8>) -> Result<(), BoxError> {
        match (&change.old, &change.new) {
            (None, None) => return Err("a change from nothing to nothing".into()),
            (Some(old), None) => {
                self.row.encode(old, out)?;
                out.push(OLD);
            }
            (None, Some(new)) => {
                self.row.encode(new, out)?;
                out.push(NEW);
            }
            (Some(old), Some(new)) => {
                let mut bytes = Vec::new();
                self.row.encode(new, &mut bytes)?;
                varint::put(out, i64::try_from(bytes.len())?);
                out.extend_from_slice(&bytes);
                self.row.encode(old, out)?;
                out.push(BOTH);
            }
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Change<V>, BoxError> {
        let (flag, mut rows) = bytes.split_last().ok_or("no bytes where a change is expected")?;
        let mut flag = *flag;
        if flag >= WITH_LATEST {
            flag -= WITH_LATEST;
            (_, rows) = rows.split_last().ok_or("a change ends too early")?;
        }
        match flag {
            OLD => Ok(Change { old: Some(self.row.decode(rows)?), new: None }),
            NEW => Ok(Change { old: None, new: Some(self.row.decode(rows)?) }),
            BOTH => {
                let length =
                    varint::take_i32(&mut rows).and_then(|length| usize::try_from(length).ok());
                let rows = length.and_then(|length| rows.split_at_checked(length));
                let (new, old) = rows.ok_or("a change ends too early")?;
                Ok(Change { old: Some(self.row.decode(old)?), new: Some(self.row.decode(new)?) })
            }
            _ => Err(format!("a change with the unknown flag {flag}").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{ChangeCodec, Codec};
    use crate::record::Change;
    use crate::serde::Canonical;

    fn codec() -> ChangeCodec<String> {
        ChangeCodec { row: Arc::new(Canonical) }
    }

    fn change(old: Option<&str>, new: Option<&str>) -> Change<String> {
        Change { old: old.map(str::to_owned), new: new.map(str::to_owned) }
    }

    #[test]
    fn changes_have_the_bytes_of_kafka_streams() {
        let bytes = |change: &Change<String>| {
            let mut bytes = Vec::new();
            codec().encode(change, &mut bytes).unwrap();
            assert_eq!(&codec().decode(&bytes).unwrap(), change);
            bytes
        };
        assert_eq!(bytes(&change(Some("was"), None)), b"was\x00");
        assert_eq!(bytes(&change(None, Some("is"))), b"is\x01");
        assert_eq!(bytes(&change(Some("was"), Some("is"))), b"\x04iswas\x02");
    }

    #[test]
    fn a_change_with_the_latest_flag_is_read() {
        assert_eq!(codec().decode(b"was\x01\x03").unwrap(), change(Some("was"), None));
        assert_eq!(codec().decode(b"\x04iswas\x01\x05").unwrap(), change(Some("was"), Some("is")));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        for bytes in [&b""[..], b"\x02", b"\x7f\x02", b"abc\x09", b"\x03"] {
            assert!(codec().decode(bytes).is_err(), "{bytes:?}");
        }
        assert!(codec().encode(&change(None, None), &mut Vec::new()).is_err());
    }
}
