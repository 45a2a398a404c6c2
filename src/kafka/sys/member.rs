//! How does a consumer join, take, give back and leave?

use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as rd;

use super::{Fault, Handle, PartitionList, Queue, check, declared, take_error};

impl Handle {
    /// Joins the group for these topics.
    pub(in crate::kafka) fn subscribe(&self, topics: &PartitionList) -> Result<(), Fault> {
        // SAFETY: instance and list live; the list is copied.
        check(unsafe { declared::rd_kafka_subscribe(self.ptr(), topics.ptr()) })
    }

    /// Takes partitions beside those that are held, without ever fetching them.
    pub(in crate::kafka) fn take(&self, partitions: &PartitionList) -> Result<(), Fault> {
        // SAFETY: instance and list live; the list is copied.
        let taken = unsafe { rd::rd_kafka_incremental_assign(self.ptr(), partitions.ptr()) };
        take_error(taken)?;
        // SAFETY: as above.
        check(unsafe { declared::rd_kafka_pause_partitions(self.ptr(), partitions.ptr()) })
    }

    /// Gives partitions back.
    pub(in crate::kafka) fn give_back(&self, partitions: &PartitionList) -> Result<(), Fault> {
        // SAFETY: instance and list live; the list is copied.
        let given = unsafe { rd::rd_kafka_incremental_unassign(self.ptr(), partitions.ptr()) };
        take_error(given)
    }

    /// Whether the partitions are someone else's already.
    pub(in crate::kafka) fn has_lost_assignment(&self) -> bool {
        // SAFETY: the instance lives.
        unsafe { rd::rd_kafka_assignment_lost(self.ptr()) != 0 }
    }

    /// Begins to leave the group; what has to be answered on the way comes into this queue.
    pub(in crate::kafka) fn begin_close(self: &Arc<Self>, queue: &Queue) -> Result<(), Fault> {
        // SAFETY: instance and queue live.
        take_error(unsafe { rd::rd_kafka_consumer_close_queue(self.ptr(), queue.ptr()) })
    }

    /// Whether the group has been left.
    pub(in crate::kafka) fn is_closed(&self) -> bool {
        // SAFETY: the instance lives.
        unsafe { rd::rd_kafka_consumer_closed(self.ptr()) != 0 }
    }
}

/// How long leaving is waited for between two looks.
pub(in crate::kafka) const CLOSE_POLL: Duration = Duration::from_millis(20);
