//! Which partitions, at which offsets? librdkafka's own list of them.

use std::ffi::c_void;

use rdkafka_sys as rd;

use super::{Code, c_string, text_of};
use crate::log::TopicPartition;

/// One entry, copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Entry {
    pub(in crate::kafka) partition: TopicPartition,
    pub(in crate::kafka) offset: i64,
    pub(in crate::kafka) metadata: String,
    pub(in crate::kafka) code: Code,
}

/// A list of partitions.
#[derive(Debug)]
pub(in crate::kafka) struct PartitionList {
    list: *mut rd::rd_kafka_topic_partition_list_t,
}

// SAFETY: the list is plain memory with one owner.
unsafe impl Send for PartitionList {}

impl PartitionList {
    /// An empty list.
    pub(in crate::kafka) fn new() -> Self {
        // SAFETY: makes a list that is ours.
        Self { list: unsafe { rd::rd_kafka_topic_partition_list_new(8) } }
    }

    /// A copy of a list; empty for null.
    ///
    /// SAFETY: the pointer is null or points to a list.
    pub(super) unsafe fn copy_of(list: *const rd::rd_kafka_topic_partition_list_t) -> Self {
        if list.is_null() {
            return Self::new();
        }
        // SAFETY: the caller's promise.
        Self { list: unsafe { rd::rd_kafka_topic_partition_list_copy(list) } }
    }

    /// The list itself, valid as long as this owner.
    pub(super) const fn ptr(&self) -> *mut rd::rd_kafka_topic_partition_list_t {
        self.list
    }

    /// Adds a partition.
    pub(in crate::kafka) fn add(&mut self, partition: &TopicPartition) {
        self.add_at(partition, i64::from(rd::RD_KAFKA_OFFSET_INVALID), "");
    }

    /// Adds a topic without naming a partition.
    pub(in crate::kafka) fn add_topic(&mut self, topic: &str) {
        let topic = c_string(topic);
        // SAFETY: the list lives; the name is copied.
        unsafe { rd::rd_kafka_topic_partition_list_add(self.list, topic.as_ptr(), -1) };
    }

    /// Adds a partition at an offset.
    pub(in crate::kafka) fn add_at(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
        metadata: &str,
    ) {
        let topic = c_string(&partition.topic);
        // SAFETY: the list lives and the name is copied; the entry is the list's. The metadata is
        // allocated as the list frees it.
        unsafe {
            let number = partition.partition as i32;
            let entry = rd::rd_kafka_topic_partition_list_add(self.list, topic.as_ptr(), number);
            (*entry).offset = offset;
            if !metadata.is_empty() {
                (*entry).metadata = foreign_copy(metadata.as_bytes());
                (*entry).metadata_size = metadata.len();
            }
        }
    }

    /// Its entries, in order.
    pub(in crate::kafka) fn entries(&self) -> Vec<Entry> {
        // SAFETY: the list lives and has that many entries.
        let count = unsafe { usize::try_from((*self.list).cnt).unwrap_or(0) };
        (0..count).map(|index| self.entry(index)).collect()
    }

    fn entry(&self, index: usize) -> Entry {
        // SAFETY: the list has that entry.
        unsafe { entry_of((*self.list).elems.add(index)) }
    }
}

/// A copy of an entry.
///
/// SAFETY: the pointer points to an entry of a list.
pub(super) unsafe fn entry_of(entry: *const rd::rd_kafka_topic_partition_t) -> Entry {
    // SAFETY: the caller's promise; the entry's strings live as long as it. The code is read as
    // an integer.
    unsafe {
        let metadata = if (*entry).metadata.is_null() {
            Vec::new()
        } else {
            let bytes = (*entry).metadata.cast::<u8>();
            std::slice::from_raw_parts(bytes, (*entry).metadata_size).to_vec()
        };
        let number = u32::try_from((*entry).partition).unwrap_or(u32::MAX);
        Entry {
            partition: TopicPartition::new(text_of((*entry).topic), number),
            offset: (*entry).offset,
            metadata: String::from_utf8_lossy(&metadata).into_owned(),
            code: (&raw const (*entry).err).cast::<Code>().read(),
        }
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: the list is ours.
        unsafe { rd::rd_kafka_topic_partition_list_destroy(self.list) };
    }
}

/// A copy of bytes in memory that the library may free.
///
/// SAFETY: the caller hands the pointer to the library.
unsafe fn foreign_copy(bytes: &[u8]) -> *mut c_void {
    // SAFETY: the memory is asked for at the size that is written; without memory nothing goes on.
    unsafe {
        let copy = rd::rd_kafka_mem_malloc(std::ptr::null_mut(), bytes.len());
        assert!(!copy.is_null(), "there is memory for a few bytes");
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), copy.cast(), bytes.len());
        copy
    }
}
