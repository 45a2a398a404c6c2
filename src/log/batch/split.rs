//! How does a batch become several smaller ones?

use super::{BatchError, OpenBatch, Records};

/// Distances from a batch's first record may take so much more room than those from its own.
const DISTANCES_MAX: usize = 20;

/// Batches with the records of a sealed one, in order. None of several records is larger than
/// `most` bytes.
///
/// # Errors
///
/// If a record is damaged.
pub(crate) fn split(sealed: &[u8], most: usize) -> Result<Vec<OpenBatch>, BatchError> {
    let mut batches: Vec<OpenBatch> = Vec::new();
    for record in Records::new(sealed) {
        let record = record?;
        let (key, value, headers) = (record.key, record.value, record.headers);
        let bytes = OpenBatch::size_with_only(key, value, headers) + DISTANCES_MAX;
        let fits = |batch: &&mut OpenBatch| batch.size_bytes() + bytes <= most;
        if batches.last_mut().as_ref().is_none_or(|last| !fits(last)) {
            batches.push(OpenBatch::new());
        }
        let last = batches.last_mut().expect("one was pushed if there was none");
        last.append(record.timestamp, key, value, headers);
    }
    Ok(batches)
}
