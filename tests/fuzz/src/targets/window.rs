//! Keys with a window behind them, as topics and stores hold them.

use std::sync::Arc;
use std::time::Duration;

use millstream::fuzzing::time_in_changelog;
use millstream::serde::{Canonical, Codec};
use millstream::topology::StoreKind;
use millstream::window::key::{
    SessionWindowedCodec, TimeWindowedCodec, append_session_key, append_window_key,
    append_window_store_key, split_session_key, split_window_key, split_window_store_key,
};
use millstream::{Timestamp, Window, Windowed};

const SIZES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(86_400), Duration::MAX];

pub(crate) fn run(data: &[u8]) {
    store_key(data);
    topic_keys(data);
    for size in SIZES {
        codec::<String>(&TimeWindowedCodec::new(size, Arc::new(Canonical)), data, 8);
        codec::<Vec<u8>>(&TimeWindowedCodec::new(size, Arc::new(Canonical)), data, 8);
    }
    codec::<String>(&SessionWindowedCodec::new(Arc::new(Canonical)), data, 16);
    codec::<u32>(&SessionWindowedCodec::new(Arc::new(Canonical)), data, 16);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (start, end) = (Timestamp::from_millis(5), Timestamp::from_millis(1 << 41));
    let mut seeds = vec![b"key".to_vec(), b"key".to_vec(), b"key".to_vec(), Vec::new()];
    append_window_store_key(&mut seeds[0], start, 7);
    append_window_key(&mut seeds[1], end);
    append_session_key(&mut seeds[2], Window::new(start, end));
    append_session_key(&mut seeds[3], Window::new(Timestamp::UNKNOWN, Timestamp::MAX));
    seeds
}

fn store_key(data: &[u8]) {
    let split = split_window_store_key(data);
    assert_eq!(split.is_ok(), data.len() >= 12);
    let kind = StoreKind::Window { retention: Duration::ZERO, retain_duplicates: false };
    let time = time_in_changelog(kind, data);
    if let Ok((key, start, sequence)) = split {
        assert_eq!(time, Some(start.as_millis()));
        let mut again = key.to_vec();
        append_window_store_key(&mut again, start, sequence);
        assert_eq!(again, data);
    }
}

fn topic_keys(data: &[u8]) {
    let window = split_window_key(data);
    assert_eq!(window.is_ok(), data.len() >= 8);
    if let Ok((key, start)) = window {
        let mut again = key.to_vec();
        append_window_key(&mut again, start);
        assert_eq!(again, data);
    }
    let session = split_session_key(data);
    assert_eq!(session.is_ok(), data.len() >= 16);
    let time = time_in_changelog(StoreKind::Session { retention: Duration::MAX }, data);
    if let Ok((key, session)) = session {
        assert_eq!(time, Some(session.end.as_millis()));
        let mut again = key.to_vec();
        append_session_key(&mut again, session);
        assert_eq!(again, data);
    }
}

/// What is read is written in the same bytes, and goes where its key without the window goes.
fn codec<K: 'static>(codec: &dyn Codec<Windowed<K>>, data: &[u8], window_bytes: usize) {
    let decides = codec.partition_bytes(data);
    assert_eq!(decides, &data[..data.len().checked_sub(window_bytes).unwrap_or(data.len())]);
    if let Ok(windowed) = codec.decode(data) {
        let mut again = Vec::new();
        codec.encode(&windowed, &mut again).expect("it was read just now");
        assert_eq!(again, data);
    }
}
