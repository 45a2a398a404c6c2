//! How is the cluster administered? Each call sends its request and waits for the answer on a queue
//! of its own.

use std::ffi::{c_char, c_int};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as rd;
use rdkafka_sys::rd_kafka_admin_op_t as Op;

use super::list::{Entry, entry_of};
use super::{
    Code, Event, Fault, Handle, PartitionList, Queue, Topic, c_string, check, code, declared,
    millis, text_of,
};
use crate::log::NewTopic;

/// Options of a call: how long it may take.
pub(super) struct Options {
    options: *mut rd::rd_kafka_AdminOptions_t,
}

impl Options {
    pub(super) fn new(handle: &Handle, op: Op, timeout: Duration) -> Self {
        // SAFETY: the instance lives; the options are ours. A timeout that is out of range leaves
        // the default.
        let options = unsafe {
            let options = rd::rd_kafka_AdminOptions_new(handle.ptr(), op);
            let (mut text, size) = ([0; 1], 1);
            let timeout = millis(timeout);
            let to = text.as_mut_ptr();
            let _ = declared::rd_kafka_AdminOptions_set_request_timeout(options, timeout, to, size);
            options
        };
        Self { options }
    }

    /// The call ends once the cluster has done it, not once it has been accepted.
    fn until_done(self, timeout: Duration) -> Self {
        let (mut text, timeout) = ([0; 1], millis(timeout));
        let to = text.as_mut_ptr();
        // SAFETY: the options live; the buffer is as long as said.
        let _ = unsafe {
            declared::rd_kafka_AdminOptions_set_operation_timeout(self.options, timeout, to, 1)
        };
        self
    }

    /// What is described comes with what may be done with it.
    pub(super) fn with_rights(self) -> Self {
        // SAFETY: the options live; the error, if any, is freed.
        let _ = super::take_error(unsafe {
            rd::rd_kafka_AdminOptions_set_include_authorized_operations(self.options, 1)
        });
        self
    }

    pub(super) const fn ptr(&self) -> *mut rd::rd_kafka_AdminOptions_t {
        self.options
    }

    /// Offsets on which a transaction is open are an error.
    fn only_stable(self) -> Self {
        // SAFETY: the options live; the error, if any, is freed.
        let _ = super::take_error(unsafe {
            rd::rd_kafka_AdminOptions_set_require_stable_offsets(self.options, 1)
        });
        self
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: the options are ours.
        unsafe { rd::rd_kafka_AdminOptions_destroy(self.options) };
    }
}

/// A topic to be created, in the library's form.
struct CTopic {
    topic: *mut rd::rd_kafka_NewTopic_t,
}

impl CTopic {
    fn of(new: &NewTopic) -> Result<Self, Fault> {
        let name = c_string(&new.name);
        let replication = new.replication.map_or(CLUSTER_DEFAULT, c_int::from);
        let mut text = [0 as c_char; 256];
        // SAFETY: the name outlives the call and is copied; the buffer is as long as said.
        let topic = unsafe {
            rd::rd_kafka_NewTopic_new(
                name.as_ptr(),
                new.partitions as c_int,
                replication,
                text.as_mut_ptr(),
                text.len(),
            )
        };
        if topic.is_null() {
            return Err(Fault::of(code!(RD_KAFKA_RESP_ERR__INVALID_ARG)));
        }
        let topic = Self { topic };
        for (name, value) in &new.configs {
            let (name, value) = (c_string(name), c_string(value));
            // SAFETY: the topic lives; the strings are copied.
            let set = unsafe {
                declared::rd_kafka_NewTopic_set_config(topic.topic, name.as_ptr(), value.as_ptr())
            };
            check(set)?;
        }
        Ok(topic)
    }
}

impl Drop for CTopic {
    fn drop(&mut self) {
        let mut topic = self.topic;
        // SAFETY: the topic is ours.
        unsafe { rd::rd_kafka_NewTopic_destroy_array(&raw mut topic, 1) };
    }
}

const CLUSTER_DEFAULT: c_int = -1;

/// Names and values.
pub(in crate::kafka) type Settings = Vec<(String, String)>;

/// Administration. Each call may block, up to its timeout.
pub(in crate::kafka) trait Administer {
    /// Creates topics; what became of each.
    fn create_topics(
        &self,
        topics: &[NewTopic],
        timeout: Duration,
    ) -> Result<Vec<(String, Result<(), Fault>)>, Fault>;
    /// Offsets in the place of their specifications.
    fn list_offsets(&self, wanted: &PartitionList, t: Duration) -> Result<Vec<Entry>, Fault>;
    /// What a group has committed. `only_stable`: an error where a transaction is open.
    fn group_offsets(
        &self,
        group: &str,
        partitions: &PartitionList,
        only_stable: bool,
        timeout: Duration,
    ) -> Result<Vec<Entry>, Fault>;
    /// Commits offsets for a group without members; what became of each.
    fn set_group_offsets(
        &self,
        group: &str,
        offsets: &PartitionList,
        timeout: Duration,
    ) -> Result<Vec<Entry>, Fault>;
    /// Gives up the records before these offsets; what became of each.
    fn delete_records(&self, before: &PartitionList, t: Duration) -> Result<Vec<Entry>, Fault>;
    /// The settings of topics, in this order.
    fn topic_settings(&self, topics: &[String], t: Duration) -> Result<Vec<Settings>, Fault>;
    /// The names of all topics.
    fn topic_names(&self, timeout: Duration) -> Result<Vec<String>, Fault>;
    /// The ids of all groups.
    fn group_ids(&self, timeout: Duration) -> Result<Vec<String>, Fault>;
    /// How many partitions a topic has; none for a topic that does not exist.
    fn partition_count(&self, topic: &str, timeout: Duration) -> Result<Option<u32>, Fault>;
}

/// What a call says of a group.
///
/// # Safety
///
/// The group's result must live. Its error is the result's own, so it is copied and not freed.
unsafe fn of_group(group: *const rd::rd_kafka_group_result_t) -> Result<Vec<Entry>, Fault> {
    // SAFETY: the caller vouches for the result.
    unsafe {
        let error = rd::rd_kafka_group_result_error(group);
        if !error.is_null() {
            check(declared::rd_kafka_error_code(error))?;
        }
        Ok(PartitionList::copy_of(rd::rd_kafka_group_result_partitions(group)).entries())
    }
}

impl Administer for Arc<Handle> {
    fn create_topics(
        &self,
        topics: &[NewTopic],
        timeout: Duration,
    ) -> Result<Vec<(String, Result<(), Fault>)>, Fault> {
        let queue = Queue::new(self);
        let options =
            Options::new(self, Op::RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout).until_done(timeout);
        let topics = topics.iter().map(CTopic::of).collect::<Result<Vec<_>, _>>()?;
        let mut list: Vec<_> = topics.iter().map(|topic| topic.topic).collect();
        // SAFETY: all that is passed lives; the list is as long as said.
        unsafe {
            let (list, count) = (list.as_mut_ptr(), list.len());
            rd::rd_kafka_CreateTopics(self.ptr(), list, count, options.options, queue.ptr());
        }
        let event = answer(&queue, timeout)?;
        // SAFETY: the result and all in it live as long as the event.
        unsafe {
            let mut count = 0;
            let result = rd::rd_kafka_event_CreateTopics_result(event.ptr());
            let results = rd::rd_kafka_CreateTopics_result_topics(result, &raw mut count);
            Ok((0..count).map(|index| created(*results.add(index))).collect())
        }
    }

    fn list_offsets(&self, wanted: &PartitionList, t: Duration) -> Result<Vec<Entry>, Fault> {
        let queue = Queue::new(self);
        let options = Options::new(self, Op::RD_KAFKA_ADMIN_OP_LISTOFFSETS, t);
        // SAFETY: all that is passed lives.
        unsafe {
            rd::rd_kafka_ListOffsets(self.ptr(), wanted.ptr(), options.options, queue.ptr());
        }
        let event = answer(&queue, t)?;
        // SAFETY: the result and all in it live as long as the event.
        unsafe {
            let mut count = 0;
            let result = rd::rd_kafka_event_ListOffsets_result(event.ptr());
            let infos = rd::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            let entry = |index: usize| {
                entry_of(rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index)))
            };
            Ok((0..count).map(entry).collect())
        }
    }

    fn group_offsets(
        &self,
        group: &str,
        partitions: &PartitionList,
        only_stable: bool,
        timeout: Duration,
    ) -> Result<Vec<Entry>, Fault> {
        let queue = Queue::new(self);
        let op = Op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
        let options = Options::new(self, op, OUTLASTING);
        let options = if only_stable { options.only_stable() } else { options };
        let group = c_string(group);
        // SAFETY: all that is passed lives; what is asked for is copied by the call.
        unsafe {
            let mut asked =
                rd::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), partitions.ptr());
            let (list, options) = (&raw mut asked, options.options);
            rd::rd_kafka_ListConsumerGroupOffsets(self.ptr(), list, 1, options, queue.ptr());
            rd::rd_kafka_ListConsumerGroupOffsets_destroy(asked);
        }
        let event = answer_within(&queue, timeout)?;
        // SAFETY: the result and all in it live as long as the event.
        unsafe {
            let mut count = 0;
            let result = rd::rd_kafka_event_ListConsumerGroupOffsets_result(event.ptr());
            let groups =
                rd::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
            if count == 0 {
                return Ok(Vec::new());
            }
            of_group(*groups)
        }
    }

    fn set_group_offsets(
        &self,
        group: &str,
        offsets: &PartitionList,
        timeout: Duration,
    ) -> Result<Vec<Entry>, Fault> {
        let queue = Queue::new(self);
        let op = Op::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS;
        let options = Options::new(self, op, OUTLASTING);
        let group = c_string(group);
        // SAFETY: all that is passed lives; what is asked for is copied by the call.
        unsafe {
            let mut asked =
                rd::rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), offsets.ptr());
            let (list, options) = (&raw mut asked, options.options);
            rd::rd_kafka_AlterConsumerGroupOffsets(self.ptr(), list, 1, options, queue.ptr());
            rd::rd_kafka_AlterConsumerGroupOffsets_destroy(asked);
        }
        let event = answer_within(&queue, timeout)?;
        // SAFETY: the result and all in it live as long as the event.
        unsafe {
            let mut count = 0;
            let result = rd::rd_kafka_event_AlterConsumerGroupOffsets_result(event.ptr());
            let groups =
                rd::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count);
            if count == 0 { Ok(Vec::new()) } else { of_group(*groups) }
        }
    }

    fn delete_records(&self, before: &PartitionList, t: Duration) -> Result<Vec<Entry>, Fault> {
        let queue = Queue::new(self);
        let options = Options::new(self, Op::RD_KAFKA_ADMIN_OP_DELETERECORDS, t).until_done(t);
        // SAFETY: all that is passed lives; what is asked for is copied by the call.
        unsafe {
            let mut asked = rd::rd_kafka_DeleteRecords_new(before.ptr());
            let (list, options) = (&raw mut asked, options.options);
            rd::rd_kafka_DeleteRecords(self.ptr(), list, 1, options, queue.ptr());
            rd::rd_kafka_DeleteRecords_destroy(asked);
        }
        let event = answer(&queue, t)?;
        // SAFETY: the result and all in it live as long as the event.
        unsafe {
            let result = rd::rd_kafka_event_DeleteRecords_result(event.ptr());
            Ok(PartitionList::copy_of(rd::rd_kafka_DeleteRecords_result_offsets(result)).entries())
        }
    }

    fn topic_settings(&self, topics: &[String], t: Duration) -> Result<Vec<Settings>, Fault> {
        let queue = Queue::new(self);
        let options = Options::new(self, Op::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, t);
        let kind = rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
        // SAFETY: all that is passed lives; names are copied; what is asked for is ours, copied by
        // the call, and freed behind it.
        unsafe {
            let resource =
                |name: &String| rd::rd_kafka_ConfigResource_new(kind, c_string(name).as_ptr());
            let mut asked: Vec<_> = topics.iter().map(resource).collect();
            let (list, count) = (asked.as_mut_ptr(), asked.len());
            rd::rd_kafka_DescribeConfigs(self.ptr(), list, count, options.options, queue.ptr());
            rd::rd_kafka_ConfigResource_destroy_array(list, count);
        }
        let event = answer(&queue, t)?;
        // SAFETY: the result and all in it live as long as the event.
        let mut found = unsafe {
            let mut count = 0;
            let result = rd::rd_kafka_event_DescribeConfigs_result(event.ptr());
            let resources = rd::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
            let described = (0..count).map(|index| settings_of(*resources.add(index)));
            described.collect::<Result<std::collections::HashMap<_, _>, _>>()?
        };
        Ok(topics.iter().map(|topic| found.remove(topic).unwrap_or_default()).collect())
    }

    fn topic_names(&self, timeout: Duration) -> Result<Vec<String>, Fault> {
        let mut metadata = ptr::null();
        // SAFETY: the instance lives; no topic is named; the metadata is ours and freed below.
        check(unsafe {
            let (none, to) = (ptr::null_mut(), &raw mut metadata);
            declared::rd_kafka_metadata(self.ptr(), 1, none, to, millis(timeout))
        })?;
        // SAFETY: the metadata lives until it is freed, after its last use; the array is as long
        // as said.
        unsafe {
            let count = usize::try_from((*metadata).topic_cnt).unwrap_or(0);
            let name = |index: usize| text_of((*(*metadata).topics.add(index)).topic);
            let names = (0..count).map(name).collect();
            rd::rd_kafka_metadata_destroy(metadata);
            Ok(names)
        }
    }

    fn group_ids(&self, timeout: Duration) -> Result<Vec<String>, Fault> {
        let queue = Queue::new(self);
        let options = Options::new(self, Op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, timeout);
        // SAFETY: all that is passed lives.
        unsafe { rd::rd_kafka_ListConsumerGroups(self.ptr(), options.options, queue.ptr()) };
        let event = answer(&queue, timeout)?;
        // SAFETY: the result and all in it live as long as the event.
        unsafe {
            let mut count = 0;
            let result = rd::rd_kafka_event_ListConsumerGroups_result(event.ptr());
            let groups = rd::rd_kafka_ListConsumerGroups_result_valid(result, &raw mut count);
            let id = |index: usize| {
                text_of(rd::rd_kafka_ConsumerGroupListing_group_id(*groups.add(index)))
            };
            Ok((0..count).map(id).collect())
        }
    }

    fn partition_count(&self, topic: &str, timeout: Duration) -> Result<Option<u32>, Fault> {
        let topic = Topic::new(self, topic)?;
        let mut metadata = ptr::null();
        // SAFETY: instance and topic live; the metadata is ours and freed below.
        check(unsafe {
            let to = &raw mut metadata;
            declared::rd_kafka_metadata(self.ptr(), 0, topic.ptr(), to, millis(timeout))
        })?;
        // SAFETY: the metadata lives until it is freed, after its last use.
        unsafe {
            let count = count_in(metadata);
            rd::rd_kafka_metadata_destroy(metadata);
            count
        }
    }
}

/// Waits for the answer to a call.
pub(super) fn answer(queue: &Queue, timeout: Duration) -> Result<Event, Fault> {
    answer_within(queue, timeout + GRACE)
}

/// Waits for the answer to a call that the library does not give up by itself.
fn answer_within(queue: &Queue, timeout: Duration) -> Result<Event, Fault> {
    let timed_out = || Fault::of(code!(RD_KAFKA_RESP_ERR__TIMED_OUT));
    let event = queue.poll(timeout).ok_or_else(timed_out)?;
    match event.fault() {
        Fault { code: 0, .. } => Ok(event),
        fault => Err(fault),
    }
}

/// What the library is given for a request to a group's coordinator; the longest that it takes.
///
/// Where such a request times out before the coordinator is reached, the library frees it and still
/// reads it when the coordinator comes back, which ends the process. So it is we who stop waiting:
/// an answer that comes later finds nobody.
const OUTLASTING: Duration = Duration::from_secs(3_600);

/// How much longer than its timeout the library may take to say that it has passed.
const GRACE: Duration = Duration::from_secs(5);

/// What became of a topic.
///
/// SAFETY: the pointer points to a topic's result.
unsafe fn created(result: *const rd::rd_kafka_topic_result_t) -> (String, Result<(), Fault>) {
    // SAFETY: the caller's promise; the strings live as long as the result.
    unsafe {
        let name = text_of(rd::rd_kafka_topic_result_name(result));
        let code: Code = declared::rd_kafka_topic_result_error(result);
        let text = text_of(rd::rd_kafka_topic_result_error_string(result));
        let fault = Fault { code, text: format!("`{name}`: {text}"), needs_abort: false };
        (name, if code == 0 { Ok(()) } else { Err(fault) })
    }
}

/// A topic's name and its settings.
///
/// SAFETY: the pointer points to a described resource.
unsafe fn settings_of(
    resource: *const rd::rd_kafka_ConfigResource_t,
) -> Result<(String, Settings), Fault> {
    // SAFETY: the caller's promise; entries and strings live as long as the resource, and a
    // setting may have no value.
    unsafe {
        check(declared::rd_kafka_ConfigResource_error(resource))?;
        let name = text_of(rd::rd_kafka_ConfigResource_name(resource));
        let mut count = 0;
        let entries = rd::rd_kafka_ConfigResource_configs(resource, &raw mut count);
        let setting = |index: usize| {
            let entry = *entries.add(index);
            let value = rd::rd_kafka_ConfigEntry_value(entry);
            let value = if value.is_null() { String::new() } else { text_of(value) };
            (text_of(rd::rd_kafka_ConfigEntry_name(entry)), value)
        };
        Ok((name, (0..count).map(setting).collect()))
    }
}

/// The number of partitions of the one topic in this metadata, all of which must have leaders.
///
/// SAFETY: the pointer points to metadata.
unsafe fn count_in(metadata: *const rd::rd_kafka_metadata) -> Result<Option<u32>, Fault> {
    const UNKNOWN: Code = code!(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    // SAFETY: the caller's promise; the arrays are as long as said; codes are read as integers.
    unsafe {
        if (*metadata).topic_cnt < 1 {
            return Ok(None);
        }
        let topic = (*metadata).topics;
        match (&raw const (*topic).err).cast::<Code>().read() {
            0 => {}
            UNKNOWN => return Ok(None),
            code => return Err(Fault::of(code)),
        }
        let count = u32::try_from((*topic).partition_cnt).unwrap_or(0);
        let is_led = |index: usize| (*(*topic).partitions.add(index)).leader >= 0;
        if (0..count as usize).all(is_led) {
            Ok(Some(count))
        } else {
            Err(Fault::of(code!(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)))
        }
    }
}
