//! What has been fetched? Messages where librdkafka holds them.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::{ptr, slice};

use rdkafka_sys as rd;

use super::{Code, declared, text_of};

/// Messages taken from a queue, in slots that are used again.
#[derive(Debug)]
pub(in crate::kafka) struct Messages {
    /// Invariant: the first `count` point to messages that are ours.
    slots: Vec<*mut rd::rd_kafka_message_t>,
    count: usize,
}

impl Messages {
    /// Room for that many.
    pub(in crate::kafka) fn with_capacity(count: usize) -> Self {
        Self { slots: vec![ptr::null_mut(); count], count: 0 }
    }

    /// Whether every slot was used, so that more may be waiting.
    pub(in crate::kafka) const fn is_full(&self) -> bool {
        self.count == self.slots.len()
    }

    /// The messages, in order.
    pub(in crate::kafka) fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        self.slots[..self.count].iter().map(|slot| Message { message: *slot, owner: PhantomData })
    }

    /// Gives the messages back to the library.
    pub(in crate::kafka) fn clear(&mut self) {
        for slot in &self.slots[..self.count] {
            // SAFETY: the message is ours and is not used again.
            unsafe { rd::rd_kafka_message_destroy(*slot) };
        }
        self.count = 0;
    }

    pub(super) fn room(&mut self) -> &mut [*mut rd::rd_kafka_message_t] {
        &mut self.slots
    }

    pub(super) fn filled(&mut self, count: usize) {
        self.count = count.min(self.slots.len());
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A message, or an error in its place.
#[derive(Clone, Copy, Debug)]
pub(in crate::kafka) struct Message<'a> {
    message: *mut rd::rd_kafka_message_t,
    owner: PhantomData<&'a Messages>,
}

impl<'a> Message<'a> {
    /// 0 for a record.
    pub(in crate::kafka) fn code(self) -> Code {
        // SAFETY: the message lives; the code is read as an integer.
        unsafe { (&raw const (*self.message).err).cast::<Code>().read() }
    }

    /// Its offset.
    pub(in crate::kafka) fn offset(self) -> i64 {
        // SAFETY: the message lives.
        unsafe { (*self.message).offset }
    }

    /// Milliseconds since the epoch; -1 for none.
    pub(in crate::kafka) fn timestamp_ms(self) -> i64 {
        // SAFETY: the message lives; the kind of timestamp is not asked for.
        unsafe { rd::rd_kafka_message_timestamp(self.message, ptr::null_mut()) }
    }

    /// The key.
    pub(in crate::kafka) fn key(self) -> Option<&'a [u8]> {
        // SAFETY: the message and its bytes live as long as their owner.
        unsafe { slice_of((*self.message).key, (*self.message).key_len) }
    }

    /// The value; for an error, what is said of it.
    pub(in crate::kafka) fn value(self) -> Option<&'a [u8]> {
        // SAFETY: as above.
        unsafe { slice_of((*self.message).payload, (*self.message).len) }
    }

    /// What is said of an error.
    pub(in crate::kafka) fn error_text(self) -> String {
        // SAFETY: the message lives, and its text with it.
        unsafe { text_of(rd::rd_kafka_message_errstr(self.message)) }
    }

    /// Calls with name and value of each header, in order.
    pub(in crate::kafka) fn headers(self, mut on_each: impl FnMut(&'a [u8], Option<&'a [u8]>)) {
        let mut headers = ptr::null_mut();
        // SAFETY: the message lives; the headers remain its own.
        if unsafe { declared::rd_kafka_message_headers(self.message, &raw mut headers) } != 0 {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the headers live as long as the message; name and value point into them,
            // and the name ends in zero.
            let header = unsafe {
                let code = declared::rd_kafka_header_get_all(
                    headers,
                    index,
                    &raw mut name,
                    &raw mut value,
                    &raw mut size,
                );
                (code == 0).then(|| (CStr::from_ptr(name).to_bytes(), slice_of(value, size)))
            };
            let Some((name, value)) = header else { return };
            on_each(name, value);
        }
    }
}

/// The bytes there; `None` for null.
///
/// SAFETY: the pointer is null or points to that many bytes, which live as long as `'a`.
unsafe fn slice_of<'a>(bytes: *const c_void, size: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!bytes.is_null()).then(|| unsafe { slice::from_raw_parts(bytes.cast(), size) })
}
