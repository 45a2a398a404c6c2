//! Which foreign functions answer with an error code? Declared here with a plain integer, because
//! a broker may send codes that the bindings' enum lacks.

use std::ffi::{c_char, c_int, c_void};

use rdkafka_sys as rd;

/// Hears of a new instance: instance, configuration, opaque, buffer for an error's text.
pub(super) type OnNew = unsafe extern "C" fn(
    *mut rd::rd_kafka_t,
    *const rd::rd_kafka_conf_t,
    *mut c_void,
    *mut c_char,
    usize,
) -> c_int;

/// Hears of a request: instance, socket, broker and its id, API key and version, correlation, size,
/// opaque.
pub(super) type OnSent = unsafe extern "C" fn(
    *mut rd::rd_kafka_t,
    c_int,
    *const c_char,
    i32,
    i16,
    i16,
    i32,
    usize,
    *mut c_void,
) -> c_int;

/// Hears of an answer: as for a request, then the round trip, what came of it, opaque.
pub(super) type OnReceived = unsafe extern "C" fn(
    *mut rd::rd_kafka_t,
    c_int,
    *const c_char,
    i32,
    i16,
    i16,
    i32,
    usize,
    i64,
    c_int,
    *mut c_void,
) -> c_int;

unsafe extern "C" {
    pub(super) fn rd_kafka_error_code(error: *const rd::rd_kafka_error_t) -> c_int;
    pub(super) fn rd_kafka_err2str(code: c_int) -> *const c_char;
    pub(super) fn rd_kafka_last_error() -> c_int;
    pub(super) fn rd_kafka_TopicDescription_authorized_operations(
        topic: *const rd::rd_kafka_TopicDescription_t,
        count: *mut usize,
    ) -> *const c_int;
    pub(super) fn rd_kafka_event_error(event: *mut rd::rd_kafka_event_t) -> c_int;
    pub(super) fn rd_kafka_producev(rk: *mut rd::rd_kafka_t, ...) -> c_int;
    pub(super) fn rd_kafka_purge(rk: *mut rd::rd_kafka_t, flags: c_int) -> c_int;
    pub(super) fn rd_kafka_conf_interceptor_add_on_new(
        conf: *mut rd::rd_kafka_conf_t,
        name: *const c_char,
        on_new: Option<OnNew>,
        opaque: *mut c_void,
    ) -> c_int;
    pub(super) fn rd_kafka_interceptor_add_on_request_sent(
        rk: *mut rd::rd_kafka_t,
        name: *const c_char,
        on_sent: Option<OnSent>,
        opaque: *mut c_void,
    ) -> c_int;
    pub(super) fn rd_kafka_interceptor_add_on_response_received(
        rk: *mut rd::rd_kafka_t,
        name: *const c_char,
        on_received: Option<OnReceived>,
        opaque: *mut c_void,
    ) -> c_int;
    pub(super) fn rd_kafka_fatal_error(
        rk: *mut rd::rd_kafka_t,
        text: *mut c_char,
        text_size: usize,
    ) -> c_int;
    pub(super) fn rd_kafka_message_headers(
        message: *const rd::rd_kafka_message_t,
        headers: *mut *mut rd::rd_kafka_headers_t,
    ) -> c_int;
    pub(super) fn rd_kafka_header_get_all(
        headers: *const rd::rd_kafka_headers_t,
        index: usize,
        name: *mut *const c_char,
        value: *mut *const c_void,
        size: *mut usize,
    ) -> c_int;
    pub(super) fn rd_kafka_header_add(
        headers: *mut rd::rd_kafka_headers_t,
        name: *const c_char,
        name_size: isize,
        value: *const c_void,
        value_size: isize,
    ) -> c_int;
    pub(super) fn rd_kafka_subscribe(
        rk: *mut rd::rd_kafka_t,
        topics: *const rd::rd_kafka_topic_partition_list_t,
    ) -> c_int;
    pub(super) fn rd_kafka_pause_partitions(
        rk: *mut rd::rd_kafka_t,
        partitions: *mut rd::rd_kafka_topic_partition_list_t,
    ) -> c_int;
    pub(super) fn rd_kafka_commit(
        rk: *mut rd::rd_kafka_t,
        offsets: *const rd::rd_kafka_topic_partition_list_t,
        is_async: c_int,
    ) -> c_int;
    pub(super) fn rd_kafka_query_watermark_offsets(
        rk: *mut rd::rd_kafka_t,
        topic: *const c_char,
        partition: i32,
        low: *mut i64,
        high: *mut i64,
        timeout_ms: c_int,
    ) -> c_int;
    pub(super) fn rd_kafka_get_watermark_offsets(
        rk: *mut rd::rd_kafka_t,
        topic: *const c_char,
        partition: i32,
        low: *mut i64,
        high: *mut i64,
    ) -> c_int;
    pub(super) fn rd_kafka_ConfigResource_error(
        resource: *const rd::rd_kafka_ConfigResource_t,
    ) -> c_int;
    pub(super) fn rd_kafka_metadata(
        rk: *mut rd::rd_kafka_t,
        all_topics: c_int,
        topic: *mut rd::rd_kafka_topic_t,
        metadata: *mut *const rd::rd_kafka_metadata,
        timeout_ms: c_int,
    ) -> c_int;
    pub(super) fn rd_kafka_topic_result_error(result: *const rd::rd_kafka_topic_result_t) -> c_int;
    pub(super) fn rd_kafka_NewTopic_set_config(
        topic: *mut rd::rd_kafka_NewTopic_t,
        name: *const c_char,
        value: *const c_char,
    ) -> c_int;
    pub(super) fn rd_kafka_AdminOptions_set_request_timeout(
        options: *mut rd::rd_kafka_AdminOptions_t,
        timeout_ms: c_int,
        text: *mut c_char,
        text_size: usize,
    ) -> c_int;
    pub(super) fn rd_kafka_AdminOptions_set_operation_timeout(
        options: *mut rd::rd_kafka_AdminOptions_t,
        timeout_ms: c_int,
        text: *mut c_char,
        text_size: usize,
    ) -> c_int;
}
