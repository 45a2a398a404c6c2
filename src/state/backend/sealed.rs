//! Values that only who has the key can read: a backend over another.
//!
//! A sealed value is a nonce of 24 bytes, the enciphered value and a tag of 16 bytes.
//!
//! # Invariants
//!
//! - A nonce is used once: it is 16 random bytes of this opening of the task, and a counter.
//! - What is read was sealed for this very row: task, store and key go into its tag.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};

use super::{Backend, ByteRange, Direction, StateError, StoreIndex, StoreSize, WriteBatch};

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// Seals and opens values with one key.
pub(in crate::state) struct RowCipher {
    cipher: XChaCha20Poly1305,
}

impl RowCipher {
    pub(in crate::state) fn new(key: &[u8; 32]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(key.into()) }
    }

    /// Tells keys apart and does not tell them: the tag of nothing, under a nonce that no value
    /// has.
    pub(in crate::state) fn fingerprint(&self) -> String {
        let mut tag = Vec::new();
        self.seal(&[0; NONCE_BYTES], b"the key of a state directory", b"", &mut tag);
        let digits = tag[NONCE_BYTES..].iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    }

    /// Appends a sealed value.
    fn seal(&self, nonce: &[u8; NONCE_BYTES], row: &[u8], value: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(nonce);
        let start = out.len();
        out.extend_from_slice(value);
        let inside = out[start..].as_mut().into();
        let tag = self.cipher.encrypt_inout_detached(&XNonce::from(*nonce), row, inside);
        out.extend_from_slice(&tag.expect("no value is as long as the cipher's limit"));
    }

    /// Puts the value that was sealed at the end of `out` from `start` on in its place.
    fn open(&self, row: &[u8], out: &mut Vec<u8>, start: usize) -> Result<(), StateError> {
        let sealed = &mut out[start..];
        let parts = sealed.split_first_chunk_mut::<NONCE_BYTES>();
        let parts = parts.and_then(|(nonce, rest)| {
            let (value, tag) = rest.split_last_chunk_mut::<TAG_BYTES>()?;
            Some((XNonce::from(*nonce), value, Tag::from(*tag)))
        });
        let Some((nonce, value, tag)) = parts else { return Err(forged()) };
        let opened = self.cipher.decrypt_inout_detached(&nonce, row, value.into(), &tag);
        opened.map_err(|_| forged())?;
        out.truncate(out.len() - TAG_BYTES);
        out.drain(start..start + NONCE_BYTES);
        Ok(())
    }
}

#[cold]
fn forged() -> StateError {
    StateError::Corrupt("a value is not what was sealed for its row".to_owned())
}

/// Seals the values of a task's stores on their way to the backend below.
pub(in crate::state) struct SealedBackend {
    below: Box<dyn Backend>,
    cipher: Arc<RowCipher>,
    /// By store index: task and store, as they stand in tags.
    names: Vec<String>,
    /// What all nonces of this opening begin with.
    opening: [u8; 16],
    sealed: u64,
    batch: WriteBatch,
    /// The row that is being sealed or opened.
    row: RefCell<Vec<u8>>,
}

impl SealedBackend {
    /// With the names of the task's stores by their index.
    pub(in crate::state) fn new(
        below: Box<dyn Backend>,
        cipher: Arc<RowCipher>,
        names: Vec<String>,
        opening: [u8; 16],
    ) -> Self {
        let (batch, row) = (WriteBatch::default(), RefCell::default());
        Self { below, cipher, names, opening, sealed: 0, batch, row }
    }

    fn with_row<R>(&self, store: StoreIndex, key: &[u8], act: impl FnOnce(&[u8]) -> R) -> R {
        let mut row = self.row.borrow_mut();
        row.clear();
        row.extend_from_slice(self.names[store.0 as usize].as_bytes());
        row.push(0);
        row.extend_from_slice(key);
        act(&row)
    }

    fn seal(&mut self, store: StoreIndex, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
        self.sealed += 1;
        let mut nonce = [0; NONCE_BYTES];
        nonce[..16].copy_from_slice(&self.opening);
        nonce[16..].copy_from_slice(&self.sealed.to_be_bytes());
        self.with_row(store, key, |row| self.cipher.seal(&nonce, row, value, out));
    }

    fn open(
        &self,
        store: StoreIndex,
        key: &[u8],
        value: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), StateError> {
        let opened = self.with_row(store, key, |row| self.cipher.open(row, value, start));
        opened.inspect_err(|_| self.below.distrust())
    }
}

impl Backend for SealedBackend {
    fn get(&self, store: StoreIndex, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StateError> {
        let start = value.len();
        let is_there = self.below.get(store, key, value)?;
        if is_there {
            self.open(store, key, value, start)?;
        }
        Ok(is_there)
    }

    fn scan(
        &self,
        store: StoreIndex,
        range: ByteRange<'_>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        let (mut value, mut opened) = (Vec::new(), Ok(()));
        self.below.scan(store, range, direction, &mut |key, sealed| {
            value.clear();
            value.extend_from_slice(sealed);
            opened = self.open(store, key, &mut value, 0);
            if opened.is_err() { ControlFlow::Break(()) } else { visit(key, &value) }
        })?;
        opened
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<(), StateError> {
        let mut below = std::mem::take(&mut self.batch);
        let mut sealed = Vec::new();
        for (store, key, value) in batch.rows() {
            sealed.clear();
            value.into_iter().for_each(|value| self.seal(store, key, value, &mut sealed));
            below.put(store, key, value.map(|_| &*sealed));
        }
        batch.offsets().iter().for_each(|(store, offset)| below.set_offset(*store, *offset));
        let written = self.below.write(&below);
        below.clear();
        self.batch = below;
        written
    }

    fn changelog_offset(&self, store: StoreIndex) -> Result<Option<i64>, StateError> {
        self.below.changelog_offset(store)
    }

    fn load(
        &mut self,
        store: StoreIndex,
        rows: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        offset: i64,
    ) -> Result<(), StateError> {
        let mut sealed = Vec::new();
        for (key, value) in rows {
            let value = value.map(|value| {
                let mut out = Vec::with_capacity(value.len() + NONCE_BYTES + TAG_BYTES);
                self.seal(store, key, value, &mut out);
                out
            });
            sealed.push((key.to_vec(), value));
        }
        let mut rows = sealed.iter().map(|(key, value)| (&**key, value.as_deref()));
        self.below.load(store, &mut rows, offset)
    }

    fn clear(&mut self, store: StoreIndex) -> Result<(), StateError> {
        self.below.clear(store)
    }

    fn distrust(&self) {
        self.below.distrust();
    }

    fn is_damaged(&self) -> bool {
        self.below.is_damaged()
    }

    fn size(&self, store: StoreIndex) -> StoreSize {
        self.below.size(store)
    }

    fn close(self: Box<Self>) -> Result<(), StateError> {
        self.below.close()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;
    use crate::state::backend::MemoryBackend;

    const STORE: StoreIndex = StoreIndex(0);

    fn sealed(below: MemoryBackend, key: u8, name: &str) -> SealedBackend {
        static OPENINGS: AtomicU8 = AtomicU8::new(0);
        let opening = [OPENINGS.fetch_add(1, Ordering::Relaxed); 16];
        let cipher = Arc::new(RowCipher::new(&[key; 32]));
        SealedBackend::new(Box::new(below), cipher, vec![name.to_owned()], opening)
    }

    /// What lies below after `key` was set to `value`.
    fn written(key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut batch = WriteBatch::default();
        batch.put(STORE, key, Some(value));
        let mut backend = sealed(MemoryBackend::new(), 1, "0_0 counts");
        backend.write(&batch).unwrap();
        let mut below = Vec::new();
        assert!(backend.below.get(STORE, key, &mut below).unwrap());
        below
    }

    fn below(key: &[u8], value: &[u8]) -> MemoryBackend {
        let mut batch = WriteBatch::default();
        batch.put(STORE, key, Some(value));
        let mut below = MemoryBackend::new();
        below.write(&batch).unwrap();
        below
    }

    #[test]
    fn what_lies_below_is_not_the_value_and_never_the_same_twice() {
        let (one, other) =
            (written(b"key", b"a value to hide"), written(b"key", b"a value to hide"));
        assert!(!one.windows(7).any(|part| b"a value to hide".windows(7).any(|own| own == part)));
        assert_eq!(one.len(), NONCE_BYTES + 15 + TAG_BYTES);
        assert_ne!(one, other);
    }

    #[test]
    fn a_value_is_read_only_where_it_was_sealed_as_it_was_sealed_by_who_has_the_key() {
        let value = written(b"key", b"hidden");
        let read = |below: MemoryBackend, key: u8, name: &str, of: &[u8]| {
            let mut value = b"before".to_vec();
            sealed(below, key, name).get(STORE, of, &mut value).map(|_| value)
        };
        assert_eq!(read(below(b"key", &value), 1, "0_0 counts", b"key").unwrap(), b"beforehidden");
        let mut changed = value.clone();
        changed[NONCE_BYTES] ^= 1;
        for (what, found) in [
            ("another key", read(below(b"key", &value), 2, "0_0 counts", b"key")),
            ("another task", read(below(b"key", &value), 1, "0_1 counts", b"key")),
            ("another row", read(below(b"other", &value), 1, "0_0 counts", b"other")),
            ("a changed value", read(below(b"key", &changed), 1, "0_0 counts", b"key")),
            ("a cut value", read(below(b"key", &value[..30]), 1, "0_0 counts", b"key")),
            ("an open value", read(below(b"key", b"hidden"), 1, "0_0 counts", b"key")),
        ] {
            assert!(matches!(found, Err(StateError::Corrupt(_))), "{what}: {found:?}");
        }
    }

    #[test]
    fn rows_that_are_loaded_are_sealed_and_scanned_in_their_order() {
        let mut backend = sealed(MemoryBackend::new(), 1, "0_0 counts");
        let rows = [(&b"a"[..], Some(&b"one"[..])), (b"b", None), (b"c", Some(b""))];
        backend.load(STORE, &mut rows.into_iter(), 7).unwrap();
        assert_eq!(backend.changelog_offset(STORE).unwrap(), Some(7));
        let mut found = Vec::new();
        let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let scanned = backend.scan(STORE, all, Direction::Descending, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        scanned.unwrap();
        assert_eq!(found, [(b"c".to_vec(), b"".to_vec()), (b"a".to_vec(), b"one".to_vec())]);
    }
}
