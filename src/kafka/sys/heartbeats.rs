//! When did the group's coordinator last hear of a member? The library keeps that to itself, but it
//! tells interceptors of each request and each answer.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka_sys as rd;

use super::declared;

/// The requests by which the coordinator hears of a member: to join, to sync, heartbeats of both
/// protocols.
const HEARD_OF_BY: [i16; 4] = [11, 14, 12, 68];

/// Requests by which the coordinator hears of a member, counted as they come and go.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Heartbeats {
    /// How many were sent.
    sent: AtomicU64,
    /// The latest that was answered, by its number.
    answered: AtomicU64,
    /// The latest that was answered and then followed by another, by its number.
    confirmed: AtomicU64,
}

impl Heartbeats {
    /// How many have been sent.
    pub(in crate::kafka) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// How many of them the coordinator has surely taken from one of its members. An answer may be
    /// a refusal; but a member that is refused says that it has lost everything before it asks
    /// anything again.
    pub(in crate::kafka) fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::SeqCst)
    }

    pub(in crate::kafka) fn note_sent(&self) {
        self.confirmed.store(self.answered.load(Ordering::SeqCst), Ordering::SeqCst);
        self.sent.fetch_add(1, Ordering::SeqCst);
    }

    /// There is one on its way at a time.
    pub(in crate::kafka) fn note_answered(&self) {
        self.answered.store(self.sent.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

/// Has every instance of this configuration count here.
///
/// # Safety
///
/// The configuration lives, and the counts live as long as every instance that it makes.
pub(super) unsafe fn count(conf: *mut rd::rd_kafka_conf_t, heartbeats: &Arc<Heartbeats>) {
    let opaque = Arc::as_ptr(heartbeats).cast_mut().cast();
    // SAFETY: the configuration lives, the name is static, and the caller vouches for the counts.
    let code =
        unsafe { declared::rd_kafka_conf_interceptor_add_on_new(conf, NAME, Some(on_new), opaque) };
    assert_eq!(code, 0, "an interceptor is added once to a new configuration");
}

const NAME: *const c_char = c"heartbeats".as_ptr();

unsafe extern "C" fn on_new(
    rk: *mut rd::rd_kafka_t,
    _conf: *const rd::rd_kafka_conf_t,
    opaque: *mut c_void,
    _text: *mut c_char,
    _text_size: usize,
) -> c_int {
    // SAFETY: the library hands over its new instance, and the pointer that was given to it.
    unsafe {
        declared::rd_kafka_interceptor_add_on_request_sent(rk, NAME, Some(on_sent), opaque)
            | declared::rd_kafka_interceptor_add_on_response_received(
                rk,
                NAME,
                Some(on_answered),
                opaque,
            )
    }
}

unsafe extern "C" fn on_sent(
    _rk: *mut rd::rd_kafka_t,
    _socket: c_int,
    _broker: *const c_char,
    _broker_id: i32,
    api_key: i16,
    _api_version: i16,
    _correlation: i32,
    _size: usize,
    opaque: *mut c_void,
) -> c_int {
    if HEARD_OF_BY.contains(&api_key) {
        // SAFETY: the pointer is that of `count`, whose counts outlive the instance.
        unsafe { &*opaque.cast_const().cast::<Heartbeats>() }.note_sent();
    }
    0
}

unsafe extern "C" fn on_answered(
    _rk: *mut rd::rd_kafka_t,
    _socket: c_int,
    _broker: *const c_char,
    _broker_id: i32,
    api_key: i16,
    _api_version: i16,
    _correlation: i32,
    _size: usize,
    _round_trip_micros: i64,
    code: c_int,
    opaque: *mut c_void,
) -> c_int {
    if code == 0 && HEARD_OF_BY.contains(&api_key) {
        // SAFETY: as for `on_sent`.
        unsafe { &*opaque.cast_const().cast::<Heartbeats>() }.note_answered();
    }
    0
}
