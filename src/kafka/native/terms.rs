//! What does a client keep to?

use std::sync::Arc;
use std::time::Duration;

use super::compression::Codec;
use super::messages::metadata::Address;
use super::sasl::SaslSettings;
use crate::log::Isolation;

/// What a client keeps to, whoever drives it.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) client_id: Arc<str>,
    pub(super) bootstrap: Vec<Address>,
    /// As whom the client comes; `None` where nobody asks.
    pub(super) sasl: Option<Arc<SaslSettings>>,
    pub(super) isolation: Isolation,
    pub(super) rack: String,
    /// How long a broker may wait for records.
    pub(super) fetch_wait: Duration,
    pub(super) fetch_bytes_min: usize,
    /// Of one answer.
    pub(super) fetch_bytes_max: usize,
    /// Of one partition in one answer.
    pub(super) partition_bytes_max: usize,
    pub(super) unpacked_bytes_max: usize,
    pub(super) batch_bytes_max: usize,
    /// Of all batches in one request.
    pub(super) request_bytes_max: usize,
    pub(super) packing: Option<Packing>,
    /// How long a batch may wait to be acknowledged; `None` is without end.
    pub(super) delivery_timeout: Option<Duration>,
    pub(super) transaction_timeout: Duration,
    /// Batches of a partition, and requests of a connection, that may be under way.
    pub(super) in_flight_max: usize,
    /// How long a broker may wait for its replicas.
    pub(super) replicas_timeout: Duration,
    /// How long a broker may take to answer.
    pub(super) request_timeout: Duration,
    /// How long it may take to be connected, greetings included.
    pub(super) setup_timeout: Duration,
    /// How long a topic may be unknown.
    pub(super) topic_patience: Duration,
    /// The pause before a connection is made again: the first, and the longest.
    pub(super) reconnect_pauses: (Duration, Duration),
    /// The pause before what was refused, or not answered, is written again.
    pub(super) retry_pause: Duration,
    /// The same of what is read.
    pub(super) fetch_pause: Duration,
    /// A connection of which nothing was asked for so long is closed; `None` is never.
    pub(super) idle_max: Option<Duration>,
    pub(super) metadata_age_max: Duration,
}

/// How batches are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packing {
    pub(super) codec: Codec,
    /// The codec's own, if there is none.
    pub(super) level: Option<i32>,
}
