//! Canonical keys, numbers, and values that may be null.

use std::sync::Arc;

use millstream::serde::{Canonical, Codec, Double, Nullable};
use millstream::topology::TaskId;
use millstream::{Key, Timestamp};

use crate::frugal::frugal;

pub(crate) fn run(data: &[u8]) {
    same::<String>(data);
    same::<Arc<str>>(data);
    same::<Vec<u8>>(data);
    same::<()>(data);
    same::<u8>(data);
    same::<i8>(data);
    same::<u16>(data);
    same::<i16>(data);
    same::<u32>(data);
    same::<i32>(data);
    same::<u64>(data);
    same::<i64>(data);
    same::<u128>(data);
    same::<i128>(data);
    assert_eq!(bool::decode_key(data).is_ok(), data.len() == 1);
    same_bytes::<f64>(&Double, data);
    same_bytes::<Option<f64>>(&Nullable::new(Arc::new(Double)), data);
    task(data);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [0, 1, 2, 4, 8, 16].map(|length| vec![0x7F; length]).into();
    seeds.push("k\u{e4}se".into());
    seeds.push(TaskId::new(millstream::topology::SubtopologyId(1), 12).to_string().into());
    seeds.push(Timestamp::MAX.to_string().into());
    seeds
}

fn same<K: Key>(data: &[u8]) {
    same_bytes::<K>(&Canonical, data);
}

fn same_bytes<T: 'static>(codec: &dyn Codec<T>, data: &[u8]) {
    let Ok(value) = frugal(data.len(), (3, 256), || codec.decode(data)) else { return };
    let mut again = Vec::new();
    codec.encode(&value, &mut again).expect("it was read just now");
    assert_eq!(again, data);
    assert_eq!(codec.partition_bytes(data), data);
}

/// A task's name is what it prints, and nothing else.
fn task(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(task) = text.parse::<TaskId>() {
        assert_eq!(task.to_string(), text);
    }
}
