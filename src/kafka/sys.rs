//! How is librdkafka called? One small function per foreign call, and owners that free what they
//! hold; nothing here decides anything.
//!
//! # Invariants
//!
//! - Whatever belongs to a [`Handle`] holds it, so the handle goes last.
//! - An error code is an `i32` here. The bindings' enum lacks codes that newer brokers send, and a
//!   Rust enum may never hold a value that it lacks; so no foreign function is called through a
//!   declaration that returns it.

#![expect(unsafe_code, reason = "this is the border to the C library")]

mod admin;
mod declared;
mod group;
mod handle;
mod heartbeats;
mod list;
mod member;
mod message;
mod producer;
mod queue;
mod rights;

pub(super) use admin::Administer;
pub(super) use group::GroupMetadata;
pub(super) use handle::{Handle, Kind, Topic};
pub(super) use heartbeats::Heartbeats;
pub(super) use list::{Entry, PartitionList};
pub(super) use member::CLOSE_POLL;
pub(super) use message::{Message, Messages};
pub(super) use producer::Produced;
pub(super) use queue::{Delivery, Event, EventKind, Queue};
pub(super) use rights::{DELETE, Operation, READ, WRITE, allowed};

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka_sys as rd;

/// An error code of librdkafka or of the broker; 0 is success.
pub(super) type Code = i32;

/// The code of one of the bindings' names.
macro_rules! code {
    ($name:ident) => {
        rdkafka_sys::rd_kafka_resp_err_t::$name as i32
    };
}
pub(super) use code;

/// What a call answered that can say more than a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Which error.
    pub(super) code: Code,
    /// What librdkafka says of it.
    pub(super) text: String,
    /// Whether the transaction can only be aborted.
    pub(super) needs_abort: bool,
}

impl Fault {
    /// A fault of which only the code is known.
    pub(super) fn of(code: Code) -> Self {
        Self { code, text: code_text(code), needs_abort: false }
    }
}

/// Takes a C error apart and frees it; null is success.
fn take_error(error: *mut rd::rd_kafka_error_t) -> Result<(), Fault> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error is not null, is ours, and is freed after its last use.
    let fault = unsafe {
        let fault = Fault {
            code: declared::rd_kafka_error_code(error),
            text: text_of(rd::rd_kafka_error_string(error)),
            needs_abort: rd::rd_kafka_error_txn_requires_abort(error) != 0,
        };
        rd::rd_kafka_error_destroy(error);
        fault
    };
    Err(fault)
}

/// Success, or the fault of a call that answers with a bare code.
fn check(code: Code) -> Result<(), Fault> {
    if code == 0 { Ok(()) } else { Err(Fault::of(code)) }
}

/// What librdkafka says of a code.
pub(super) fn code_text(code: Code) -> String {
    // SAFETY: any integer may be asked for; the text is static.
    unsafe { text_of(declared::rd_kafka_err2str(code)) }
}

/// A copy of a C string; empty for null.
///
/// SAFETY: the pointer is null or points to a string that ends in a zero byte.
unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A C string; what would end it early is left out.
fn c_string(text: &str) -> CString {
    let bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
    CString::new(bytes).expect("no byte is zero")
}

/// Milliseconds as librdkafka takes them.
fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
