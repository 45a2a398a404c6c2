//! What may this principal do with topics? As the broker lists it beside their descriptions.

use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as rd;
use rdkafka_sys::rd_kafka_AclOperation_t as Acl;

use super::admin::{Options, answer};
use super::{Fault, Handle, Queue, c_string, declared, text_of};

/// An operation of Kafka's, as an integer, since newer brokers know more than the bindings.
pub(in crate::kafka) type Operation = c_int;

pub(in crate::kafka) const READ: Operation = Acl::RD_KAFKA_ACL_OPERATION_READ as Operation;
pub(in crate::kafka) const WRITE: Operation = Acl::RD_KAFKA_ACL_OPERATION_WRITE as Operation;
pub(in crate::kafka) const DELETE: Operation = Acl::RD_KAFKA_ACL_OPERATION_DELETE as Operation;

/// What may be done with these topics, in this order; `None` where the broker does not say.
pub(in crate::kafka) fn allowed(
    handle: &Arc<Handle>,
    topics: &[String],
    timeout: Duration,
) -> Result<Vec<Option<Vec<Operation>>>, Fault> {
    let queue = Queue::new(handle);
    let op = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    let options = Options::new(handle, op, timeout).with_rights();
    let names: Vec<_> = topics.iter().map(|name| c_string(name)).collect();
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: all that is passed lives; names are copied; what is asked for is ours, copied by
    // the call, and freed behind it.
    unsafe {
        let count = pointers.len();
        let asked = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), count);
        rd::rd_kafka_DescribeTopics(handle.ptr(), asked, options.ptr(), queue.ptr());
        rd::rd_kafka_TopicCollection_destroy(asked);
    }
    let event = answer(&queue, timeout)?;
    // SAFETY: the result and all in it live as long as the event.
    let mut found: HashMap<String, _> = unsafe {
        let mut count = 0;
        let result = rd::rd_kafka_event_DescribeTopics_result(event.ptr());
        let described = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        (0..count).map(|index| allowed_on(*described.add(index))).collect()
    };
    Ok(topics.iter().map(|topic| found.remove(topic).flatten()).collect())
}

/// A topic's name, and what may be done with it.
///
/// SAFETY: the pointer points to a topic's description.
unsafe fn allowed_on(
    topic: *const rd::rd_kafka_TopicDescription_t,
) -> (String, Option<Vec<Operation>>) {
    // SAFETY: the caller's promise; the array is as long as said, and null where nothing is said.
    unsafe {
        let name = text_of(rd::rd_kafka_TopicDescription_name(topic));
        let mut count = 0;
        let operations =
            declared::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
        let is_described = rd::rd_kafka_TopicDescription_error(topic).is_null()
            || declared::rd_kafka_error_code(rd::rd_kafka_TopicDescription_error(topic)) == 0;
        if operations.is_null() || !is_described {
            return (name, None);
        }
        (name, Some((0..count).map(|index| *operations.add(index)).collect()))
    }
}
