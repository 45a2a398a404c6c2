//! How are records and transactions handed to librdkafka?

use std::ffi::c_void;
use std::ptr;
use std::time::Duration;

use rdkafka_sys as rd;

use super::{
    Code, Fault, GroupMetadata, Handle, PartitionList, Topic, check, code, declared, millis,
    take_error,
};
use crate::log::{HeadersView, RecordView};

/// What became of a record that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Produced {
    /// A delivery report will say how it ended.
    Taken,
    /// It was refused at once, and no report will come.
    Refused(Code),
}

impl Topic {
    /// Hands a copy of a record over; `number` comes back with its delivery report. A time of 0
    /// leaves as one of 1 ms.
    pub(in crate::kafka) fn produce(
        &self,
        partition: u32,
        record: &RecordView<'_>,
        number: u64,
    ) -> Produced {
        let Ok(headers) = Headers::of(record.headers) else {
            return Produced::Refused(code!(RD_KAFKA_RESP_ERR_INVALID_RECORD));
        };
        let (key, key_size) = parts(record.key);
        let (value, value_size) = parts(record.value);
        // The library takes 0 for the present time, which would be wrong by decades.
        let timestamp = match record.timestamp.as_millis() {
            0 => 1,
            millis => millis,
        };
        let header_list = headers.as_ref().map_or(ptr::null_mut(), |headers| headers.list);
        // SAFETY: instance and topic live; each tag is followed by arguments of the types that it
        // calls for; the bytes are copied; the headers become the library's unless this fails.
        let code: Code = unsafe {
            declared::rd_kafka_producev(
                self.handle().ptr(),
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT,
                self.ptr(),
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
                partition as i32,
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
                rd::RD_KAFKA_MSG_F_COPY,
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
                key,
                key_size,
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
                value,
                value_size,
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TIMESTAMP,
                timestamp,
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE,
                ptr::without_provenance_mut::<c_void>(number as usize),
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
                header_list,
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
            )
        };
        if code != 0 {
            return Produced::Refused(code);
        }
        if let Some(headers) = headers {
            headers.hand_over();
        }
        Produced::Taken
    }
}

/// Pointer and size; null for none, and never null for what is empty.
fn parts(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr().cast(), bytes.len()))
}

/// Headers in the library's form.
struct Headers {
    list: *mut rd::rd_kafka_headers_t,
}

impl Headers {
    /// A copy of these; none for none.
    fn of(view: HeadersView<'_>) -> Result<Option<Self>, crate::log::batch::BatchError> {
        if view.is_empty() {
            return Ok(None);
        }
        // SAFETY: makes a list that is ours.
        let headers = Self { list: unsafe { rd::rd_kafka_headers_new(view.len()) } };
        for header in &view {
            let (name, value) = header?;
            let (bytes, size) = parts(value);
            // SAFETY: the list lives; name and value are copied at the sizes said.
            let _ = unsafe {
                declared::rd_kafka_header_add(
                    headers.list,
                    name.as_ptr().cast(),
                    name.len() as isize,
                    bytes,
                    size as isize,
                )
            };
        }
        Ok(Some(headers))
    }

    /// The library frees them from here on.
    fn hand_over(self) {
        let _ = std::mem::ManuallyDrop::new(self);
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        // SAFETY: the list is ours.
        unsafe { rd::rd_kafka_headers_destroy(self.list) };
    }
}

/// The calls that wait for the broker.
impl Handle {
    /// Takes the transactional id's next epoch.
    pub(in crate::kafka) fn init_transactions(&self, timeout: Duration) -> Result<(), Fault> {
        // SAFETY: the instance lives.
        take_error(unsafe { rd::rd_kafka_init_transactions(self.ptr(), millis(timeout)) })
    }

    /// Begins a transaction; asks nobody.
    pub(in crate::kafka) fn begin_transaction(&self) -> Result<(), Fault> {
        // SAFETY: the instance lives.
        take_error(unsafe { rd::rd_kafka_begin_transaction(self.ptr()) })
    }

    /// Makes offsets part of the transaction.
    pub(in crate::kafka) fn send_offsets(
        &self,
        offsets: &PartitionList,
        member: &GroupMetadata,
        timeout: Duration,
    ) -> Result<(), Fault> {
        // SAFETY: instance, list and metadata live.
        take_error(unsafe {
            rd::rd_kafka_send_offsets_to_transaction(
                self.ptr(),
                offsets.ptr(),
                member.ptr(),
                millis(timeout),
            )
        })
    }

    /// Commits the transaction.
    pub(in crate::kafka) fn commit_transaction(&self, timeout: Duration) -> Result<(), Fault> {
        // SAFETY: the instance lives.
        take_error(unsafe { rd::rd_kafka_commit_transaction(self.ptr(), millis(timeout)) })
    }

    /// Aborts the transaction.
    pub(in crate::kafka) fn abort_transaction(&self, timeout: Duration) -> Result<(), Fault> {
        // SAFETY: the instance lives.
        take_error(unsafe { rd::rd_kafka_abort_transaction(self.ptr(), millis(timeout)) })
    }

    /// Commits offsets for the group of this instance, and waits for the answer.
    pub(in crate::kafka) fn commit_offsets(&self, offsets: &PartitionList) -> Result<(), Fault> {
        // SAFETY: instance and list live.
        check(unsafe { declared::rd_kafka_commit(self.ptr(), offsets.ptr(), 0) })
    }

    /// Gives up every record that has not been delivered; reports say so of each.
    pub(in crate::kafka) fn purge(&self) {
        let flags = rd::RD_KAFKA_PURGE_F_QUEUE | rd::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: the instance lives. Fails only for what is not a producer.
        let _ = unsafe { declared::rd_kafka_purge(self.ptr(), flags) };
    }
}
