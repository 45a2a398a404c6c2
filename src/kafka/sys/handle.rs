//! Who owns a librdkafka instance, and its topics?

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka_sys as rd;

use super::heartbeats::{self, Heartbeats};
use super::{Code, Fault, c_string, check, code, declared, millis, text_of};
use crate::log::{LogError, TopicPartition};

/// What an instance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Kind {
    /// Reads.
    Consumer,
    /// Is a member of a group: its heartbeats are counted.
    Member,
    /// Writes.
    Producer,
}

/// A librdkafka instance with its threads and connections.
#[derive(Debug)]
pub(in crate::kafka) struct Handle {
    rk: *mut rd::rd_kafka_t,
    /// The library has pointers to these.
    told: Arc<Told>,
    heartbeats: Arc<Heartbeats>,
}

// SAFETY: librdkafka's instances may be used by several threads at once.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// Starts an instance. Values never get into an error's text.
    pub(in crate::kafka) fn new(
        kind: Kind,
        properties: &[(String, String)],
    ) -> Result<Arc<Self>, LogError> {
        let told = Arc::new(Told::default());
        let heartbeats = Arc::new(Heartbeats::default());
        let conf = configure(properties, &told)?;
        if kind == Kind::Member {
            // SAFETY: the configuration is ours; the owner of the instance holds the counts.
            unsafe { heartbeats::count(conf, &heartbeats) };
        }
        let kind = match kind {
            Kind::Consumer | Kind::Member => rd::rd_kafka_type_t::RD_KAFKA_CONSUMER,
            Kind::Producer => rd::rd_kafka_type_t::RD_KAFKA_PRODUCER,
        };
        let mut text = [0; TEXT_BYTES];
        // SAFETY: the configuration is ours and goes over to the instance unless this fails; the
        // buffer is as long as said.
        let rk = unsafe { rd::rd_kafka_new(kind, conf, text.as_mut_ptr(), text.len()) };
        if rk.is_null() {
            // SAFETY: the configuration is still ours after a failure, and is not used again.
            unsafe { rd::rd_kafka_conf_destroy(conf) };
            return Err(LogError::Fatal(buffer_text(&text)));
        }
        Ok(Arc::new(Self { rk, told, heartbeats }))
    }

    /// The instance itself, valid as long as this owner.
    pub(super) const fn ptr(&self) -> *mut rd::rd_kafka_t {
        self.rk
    }

    /// What a member has sent to its coordinator.
    pub(in crate::kafka) fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// The error that has ended this instance's usefulness, if there is one.
    pub(in crate::kafka) fn fatal(&self) -> Option<Fault> {
        let mut text = [0; TEXT_BYTES];
        // SAFETY: the instance lives; the buffer is as long as said.
        let code: Code =
            unsafe { declared::rd_kafka_fatal_error(self.rk, text.as_mut_ptr(), text.len()) };
        (code != 0).then(|| Fault { code, text: buffer_text(&text), needs_abort: false })
    }

    /// Whether, since this was last asked, the library has not found something that is fetched.
    ///
    /// It says which only in words, and to nobody who takes messages in batches.
    pub(in crate::kafka) fn take_missing(&self) -> bool {
        self.told.is_missing.swap(false, Ordering::Relaxed)
    }

    /// Why no connection comes about, if it is because one side does not trust the other. The
    /// library goes on trying, and says it only in its log.
    pub(in crate::kafka) fn distrust(&self) -> Option<String> {
        self.told.distrust.lock().expect("no panic while held").clone()
    }

    /// The oldest offset and the high watermark. Asks the broker.
    pub(in crate::kafka) fn watermarks(
        &self,
        topic: &str,
        partition: u32,
        timeout: Duration,
    ) -> Result<(i64, i64), Fault> {
        let topic = c_string(topic);
        let (mut low, mut high) = (0, 0);
        // SAFETY: the instance lives; the out-pointers outlive the call.
        let code = unsafe {
            declared::rd_kafka_query_watermark_offsets(
                self.rk,
                topic.as_ptr(),
                partition as i32,
                &raw mut low,
                &raw mut high,
                millis(timeout),
            )
        };
        check(code).map(|()| (low, high))
    }

    /// The high watermark as the last fetch told it. Asks no one.
    pub(in crate::kafka) fn known_end(&self, partition: &TopicPartition) -> Option<i64> {
        let topic = c_string(&partition.topic);
        let (mut low, mut high) = (0, 0);
        // SAFETY: the instance lives; the out-pointers outlive the call.
        let code = unsafe {
            declared::rd_kafka_get_watermark_offsets(
                self.rk,
                topic.as_ptr(),
                partition.partition as i32,
                &raw mut low,
                &raw mut high,
            )
        };
        (code == 0 && high >= 0).then_some(high)
    }

    /// Has an instance with a group look round at once. A new one connects to nobody until its own
    /// thread has found that it has brokers; whoever only waits for an answer does not wake it, and
    /// by itself it wakes once a second.
    pub(in crate::kafka) fn look_round(&self) {
        drop(super::GroupMetadata::token(self));
    }

    /// The cluster's id, if it is known by then.
    pub(in crate::kafka) fn cluster_id(&self, timeout: Duration) -> Option<String> {
        // SAFETY: the instance lives; the text is ours and freed after it is copied.
        unsafe {
            let text = rd::rd_kafka_clusterid(self.rk, millis(timeout));
            if text.is_null() {
                return None;
            }
            let id = text_of(text);
            rd::rd_kafka_mem_free(self.rk, text.cast());
            Some(id)
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: all that belongs to the instance holds this owner, so nothing is left of it. A
        // group has been left before, if it is to be left.
        unsafe {
            rd::rd_kafka_destroy_flags(self.rk, rd::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        }
    }
}

const TEXT_BYTES: usize = 512;

fn buffer_text(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer.iter().map(|byte| byte.to_ne_bytes()[0]).collect();
    CStr::from_bytes_until_nul(&bytes)
        .map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
}

/// Makes a configuration; it is the caller's to free or to hand over.
fn configure(
    properties: &[(String, String)],
    told: &Arc<Told>,
) -> Result<*mut rd::rd_kafka_conf_t, LogError> {
    // SAFETY: makes a configuration that is ours; the callbacks are functions of this crate, and
    // what they note lives as long as the instance. The events are those that are polled for.
    let conf = unsafe {
        let conf = rd::rd_kafka_conf_new();
        rd::rd_kafka_conf_set_log_cb(conf, Some(on_log));
        rd::rd_kafka_conf_set_error_cb(conf, Some(on_error));
        rd::rd_kafka_conf_set_opaque(conf, Arc::as_ptr(told).cast_mut().cast());
        let events = rd::RD_KAFKA_EVENT_DR | rd::RD_KAFKA_EVENT_REBALANCE;
        rd::rd_kafka_conf_set_events(conf, events | rd::RD_KAFKA_EVENT_ERROR);
        conf
    };
    let refused = |(name, value): &(String, String)| set_property(conf, name, value).err();
    let refused: Vec<String> =
        properties.iter().filter_map(refused).map(|error| error.to_string()).collect();
    if !refused.is_empty() {
        // SAFETY: the configuration is ours and not used again.
        unsafe { rd::rd_kafka_conf_destroy(conf) };
        return Err(LogError::Fatal(refused.join("; ")));
    }
    Ok(conf)
}

fn set_property(conf: *mut rd::rd_kafka_conf_t, name: &str, value: &str) -> Result<(), LogError> {
    let (c_name, c_value) = (c_string(name), c_string(value));
    let mut text = [0; TEXT_BYTES];
    // SAFETY: the configuration lives; the strings end in zero; the buffer is as long as said.
    let answer = unsafe {
        rd::rd_kafka_conf_set(
            conf,
            c_name.as_ptr(),
            c_value.as_ptr(),
            text.as_mut_ptr(),
            text.len(),
        )
    };
    match answer {
        rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(()),
        rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_UNKNOWN => {
            Err(LogError::Fatal(format!("the client property `{name}` is not known")))
        }
        // The library's own text holds the value, which may be a secret.
        rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_INVALID => {
            Err(LogError::Fatal(format!("the client property `{name}` has a value it cannot have")))
        }
    }
}

/// What an instance has said by the way.
#[derive(Debug, Default)]
struct Told {
    /// Whether a partition that is fetched was not found.
    is_missing: AtomicBool,
    /// The last connection that failed for want of trust.
    distrust: Mutex<Option<String>>,
}

impl Told {
    /// Notes a failed connection. The text begins with the thread and the broker.
    fn note_failure(&self, text: &str) {
        if let Some(at) = DISTRUST.iter().find_map(|mark| text.find(mark)) {
            let why = Some(text[at..].to_owned());
            *self.distrust.lock().expect("no panic while held") = why;
        }
    }
}

/// How the library begins to say that it does not trust a broker, or the broker not it.
const DISTRUST: [&str; 2] = ["SSL handshake failed", "SASL authentication error"];

/// Takes the library's log lines over.
unsafe extern "C" fn on_log(
    rk: *const rd::rd_kafka_t,
    level: i32,
    facility: *const c_char,
    text: *const c_char,
) {
    // SAFETY: the library passes strings that end in zero, or null.
    let (facility, text) = unsafe { (text_of(facility), text_of(text)) };
    if facility == "FAIL" && !rk.is_null() {
        // SAFETY: the instance lives; the pointer is that of `configure`, to what its owner holds.
        unsafe { &*rd::rd_kafka_opaque(rk).cast_const().cast::<Told>() }.note_failure(&text);
    }
    if level <= SYSLOG_WARNING {
        tracing::warn!(target: "millstream::kafka", facility, "{text}");
    } else {
        tracing::debug!(target: "millstream::kafka", facility, "{text}");
    }
}

const SYSLOG_WARNING: i32 = 4;

/// Takes errors over that stand among fetched messages and are no messages. All others are events.
unsafe extern "C" fn on_error(
    _rk: *mut rd::rd_kafka_t,
    code: c_int,
    text: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: the library passes a string that ends in zero, or null; the pointer is that of
    // `configure`, to what the instance's owner holds.
    let (text, told) = unsafe { (text_of(text), &*opaque.cast_const().cast::<Told>()) };
    tracing::warn!(target: "millstream::kafka", code, "{text}");
    told.is_missing.fetch_or(NOT_FOUND.contains(&code), Ordering::Relaxed);
}

const NOT_FOUND: &[Code] = &[
    code!(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION),
    code!(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC),
    code!(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART),
    code!(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID),
];

/// A topic of an instance, resolved once.
#[derive(Debug)]
pub(in crate::kafka) struct Topic {
    rkt: *mut rd::rd_kafka_topic_t,
    handle: Arc<Handle>,
}

// SAFETY: as for the instance.
unsafe impl Send for Topic {}

impl Topic {
    /// The topic of this name.
    pub(in crate::kafka) fn new(handle: &Arc<Handle>, name: &str) -> Result<Self, Fault> {
        let name = c_string(name);
        // SAFETY: the instance lives; no configuration means the default one.
        let rkt = unsafe { rd::rd_kafka_topic_new(handle.ptr(), name.as_ptr(), ptr::null_mut()) };
        if rkt.is_null() {
            // SAFETY: reads a thread-local.
            return Err(Fault::of(unsafe { declared::rd_kafka_last_error() }));
        }
        Ok(Self { rkt, handle: Arc::clone(handle) })
    }

    /// The topic itself, valid as long as this owner.
    pub(super) const fn ptr(&self) -> *mut rd::rd_kafka_topic_t {
        self.rkt
    }

    /// The instance it belongs to.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: the topic is ours, and its instance still lives.
        unsafe { rd::rd_kafka_topic_destroy(self.rkt) };
    }
}
