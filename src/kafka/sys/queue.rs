//! What waits to be taken from librdkafka? Queues, and the events in them.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as rd;

use super::message::Messages;
use super::{
    Code, Fault, Handle, PartitionList, Topic, check, code_text, declared, millis, text_of,
};
use crate::kafka::signal::Signal;

/// A queue of an instance.
#[derive(Debug)]
pub(in crate::kafka) struct Queue {
    queue: *mut rd::rd_kafka_queue_t,
    /// Raised when the queue gets its first entry; the library has a pointer to it.
    signal: Option<Arc<Signal>>,
    handle: Arc<Handle>,
}

// SAFETY: librdkafka's queues may be used by several threads at once.
unsafe impl Send for Queue {}

impl Queue {
    /// The queue of delivery reports and errors.
    pub(in crate::kafka) fn main(handle: &Arc<Handle>) -> Self {
        // SAFETY: the instance lives; the reference is ours.
        let queue = unsafe { rd::rd_kafka_queue_get_main(handle.ptr()) };
        Self { queue, signal: None, handle: Arc::clone(handle) }
    }

    /// A queue of its own.
    pub(in crate::kafka) fn new(handle: &Arc<Handle>) -> Self {
        // SAFETY: the instance lives; the queue is ours.
        let queue = unsafe { rd::rd_kafka_queue_new(handle.ptr()) };
        Self { queue, signal: None, handle: Arc::clone(handle) }
    }

    /// The queue of a group's events, with the main queue's in it. `None` without a group.
    pub(in crate::kafka) fn consumer(handle: &Arc<Handle>) -> Option<Self> {
        // SAFETY: the instance lives; the reference is ours.
        let queue = unsafe {
            let _ = rd::rd_kafka_poll_set_consumer(handle.ptr());
            rd::rd_kafka_queue_get_consumer(handle.ptr())
        };
        (!queue.is_null()).then(|| Self { queue, signal: None, handle: Arc::clone(handle) })
    }

    /// Raises this signal whenever the queue gets its first entry.
    pub(in crate::kafka) fn raise(mut self, signal: &Arc<Signal>) -> Self {
        let opaque = Arc::as_ptr(signal).cast_mut().cast();
        self.signal = Some(Arc::clone(signal));
        // SAFETY: the signal lives until the callback has been taken back, in `drop`.
        unsafe { rd::rd_kafka_queue_cb_event_enable(self.queue, Some(on_entry), opaque) };
        self
    }

    /// The queue itself, valid as long as this owner.
    pub(super) const fn ptr(&self) -> *mut rd::rd_kafka_queue_t {
        self.queue
    }

    /// The next event, waiting for it that long.
    pub(in crate::kafka) fn poll(&self, at_most: Duration) -> Option<Event> {
        // SAFETY: the queue lives; the event is ours.
        let event = unsafe { rd::rd_kafka_queue_poll(self.queue, millis(at_most)) };
        (!event.is_null()).then_some(Event { event })
    }

    /// Takes the messages that are there, as many as fit, and drops those taken before.
    pub(in crate::kafka) fn take(&self, messages: &mut Messages) {
        messages.clear();
        let room = messages.room();
        // SAFETY: the queue lives; the slots are as many as said. No time is given, so it never
        // waits for a full batch. What it returns is ours.
        let count = unsafe {
            rd::rd_kafka_consume_batch_queue(self.queue, 0, room.as_mut_ptr(), room.len())
        };
        messages.filled(usize::try_from(count).unwrap_or(0));
    }

    /// Starts to fetch a partition into this queue.
    pub(in crate::kafka) fn start(
        &self,
        topic: &Topic,
        partition: u32,
        offset: i64,
    ) -> Result<(), Fault> {
        debug_assert!(ptr::eq(topic.handle(), &raw const *self.handle), "one instance");
        // SAFETY: topic and queue live and belong to one instance.
        let answer = unsafe {
            rd::rd_kafka_consume_start_queue(topic.ptr(), partition as i32, offset, self.queue)
        };
        // SAFETY: reads a thread-local.
        if answer == 0 { Ok(()) } else { check(unsafe { declared::rd_kafka_last_error() }) }
    }

    /// Ends the fetching of a partition. Nothing of it comes into its queue after this.
    pub(in crate::kafka) fn stop(topic: &Topic, partition: u32) {
        // SAFETY: the topic lives. Fails only if the partition was not being fetched.
        let _ = unsafe { rd::rd_kafka_consume_stop(topic.ptr(), partition as i32) };
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: takes the callback back, under the lock under which it is called; then gives up
        // our reference, while the instance still lives.
        unsafe {
            if self.signal.is_some() {
                rd::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            }
            rd::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// Called by a thread of the library.
unsafe extern "C" fn on_entry(_rk: *mut rd::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the pointer is that of `raise`, whose signal its queue holds.
    let signal = unsafe { &*opaque.cast_const().cast::<Signal>() };
    signal.raise();
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum EventKind {
    /// Messages have been delivered, or not.
    Deliveries,
    /// Something went wrong that concerns no call.
    Error,
    /// Partitions come or go.
    Rebalance,
    /// Anything else.
    Other(i32),
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Delivery {
    /// The number that was given with it.
    pub(in crate::kafka) number: u64,
    /// 0 if it was delivered.
    pub(in crate::kafka) code: Code,
    /// Its offset, if it was delivered.
    pub(in crate::kafka) offset: i64,
}

/// An event taken from a queue.
#[derive(Debug)]
pub(in crate::kafka) struct Event {
    event: *mut rd::rd_kafka_event_t,
}

impl Event {
    /// What it is about.
    pub(in crate::kafka) fn kind(&self) -> EventKind {
        // SAFETY: the event lives.
        match unsafe { rd::rd_kafka_event_type(self.event) } {
            rd::RD_KAFKA_EVENT_DR => EventKind::Deliveries,
            rd::RD_KAFKA_EVENT_ERROR => EventKind::Error,
            rd::RD_KAFKA_EVENT_REBALANCE => EventKind::Rebalance,
            other => EventKind::Other(other),
        }
    }

    /// The event itself, valid as long as this owner.
    pub(super) const fn ptr(&self) -> *mut rd::rd_kafka_event_t {
        self.event
    }

    /// Its error.
    pub(in crate::kafka) fn fault(&self) -> Fault {
        // SAFETY: the event lives, and its text with it.
        let (code, text) = unsafe {
            let code: Code = declared::rd_kafka_event_error(self.event);
            (code, text_of(rd::rd_kafka_event_error_string(self.event)))
        };
        let text = if text.is_empty() { code_text(code) } else { text };
        Fault { code, text, needs_abort: false }
    }

    /// Its partitions.
    pub(in crate::kafka) fn partitions(&self) -> PartitionList {
        // SAFETY: the event lives, and its list with it; the list is copied.
        unsafe { PartitionList::copy_of(rd::rd_kafka_event_topic_partition_list(self.event)) }
    }

    /// Calls with each message that was delivered, or not.
    pub(in crate::kafka) fn deliveries(&self, mut on_each: impl FnMut(Delivery)) {
        loop {
            // SAFETY: the event lives; the message lives until the event ends. The code is read
            // as an integer.
            let delivery = unsafe {
                let message = rd::rd_kafka_event_message_next(self.event);
                if message.is_null() {
                    return;
                }
                Delivery {
                    number: (*message)._private.addr() as u64,
                    code: (&raw const (*message).err).cast::<Code>().read(),
                    offset: (*message).offset,
                }
            };
            on_each(delivery);
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is ours.
        unsafe { rd::rd_kafka_event_destroy(self.event) };
    }
}
