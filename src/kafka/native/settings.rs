//! What is the native data plane to do, in types? Read from the properties of a process, which bear
//! librdkafka's names.
//!
//! - `names`: every property, and what becomes of it.
//! - `values`: how values are read.
//! - `security`: the properties that only together say something.
//!
//! # Invariants
//!
//! - A property is honoured, harmless or refused by its name: none is passed over in silence.
//! - Of several values of one property the last counts, so that layers can be put into one list.
//! - Nothing secret is in a `Debug`, and no value is in a refusal.

mod names;
mod security;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use self::security::{Protocol, SecurityDraft};
use super::compression::Codec;
use super::sasl::SaslSettings;
use super::stream::SocketOptions;
use super::tls::TlsSettings;

/// What the native data plane is to do. The defaults are librdkafka's.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// `bootstrap.servers`; never none.
    pub(super) brokers: Vec<Broker>,
    /// `client.rack`: brokers in the same one are read from.
    pub(super) rack: Option<String>,
    /// `ssl.*`, if `security.protocol` asks for TLS.
    pub(super) tls: Option<TlsSettings>,
    /// `sasl.*`, if `security.protocol` asks for SASL.
    pub(super) sasl: Option<SaslSettings>,
    pub(super) connections: ConnectionSettings,
    pub(super) metadata: MetadataSettings,
    pub(super) fetch: FetchSettings,
    pub(super) produce: ProduceSettings,
}

/// Where a broker is found first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broker {
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// How connections are made, kept and given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConnectionSettings {
    /// `socket.nagle.disable`, `socket.keepalive.enable`, `socket.*.buffer.bytes`.
    pub(super) socket: SocketOptions,
    /// `broker.address.family`.
    pub(super) family: AddressFamily,
    /// `socket.connection.setup.timeout.ms`: with the handshakes.
    pub(super) setup_timeout: Duration,
    /// `socket.timeout.ms`: how long a broker may leave a request without an answer.
    pub(super) answer_timeout: Duration,
    /// `connections.max.idle.ms`; none is never.
    pub(super) idle_max: Option<Duration>,
    /// `reconnect.backoff.ms`, `reconnect.backoff.max.ms`.
    pub(super) reconnect: Backoff,
    /// `retry.backoff.ms`, and no longer than `retry.backoff.max.ms`: the pause does not grow.
    pub(super) retry: Backoff,
    /// `receive.message.max.bytes`: a longer answer is an error.
    pub(super) answer_bytes_max: usize,
}

/// How long to wait before something is tried again: longer each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    /// Where the wait grows, never less than the first.
    pub(super) most: Duration,
}

/// Which addresses of a broker's name are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressFamily {
    Any,
    V4,
    V6,
}

impl AddressFamily {
    /// Whether an address is one of this family.
    pub(super) const fn includes(self, address: SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// How long what is known of the cluster is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MetadataSettings {
    /// `metadata.max.age.ms` or `topic.metadata.refresh.interval.ms`, whichever is shorter.
    pub(super) age_max: Duration,
    /// `topic.metadata.propagation.max.ms`: how long a topic may be unknown after its creation.
    pub(super) topic_patience: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FetchSettings {
    /// `fetch.wait.max.ms`.
    pub(super) wait_max: Duration,
    /// `fetch.min.bytes`.
    pub(super) bytes_min: usize,
    /// `fetch.max.bytes`: of one answer.
    pub(super) bytes_max: usize,
    /// `fetch.message.max.bytes`, `max.partition.fetch.bytes`.
    pub(super) partition_bytes_max: usize,
    /// `fetch.error.backoff.ms`.
    pub(super) error_backoff: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProduceSettings {
    /// `compression.type`, `compression.codec`; none is not at all.
    pub(super) compression: Option<Codec>,
    /// `compression.level`; none is the codec's own default.
    pub(super) compression_level: Option<i32>,
    /// `batch.size`.
    pub(super) batch_bytes_max: usize,
    /// `message.max.bytes`: of the batches of one request, unless it is of one batch only.
    pub(super) request_bytes_max: usize,
    /// `max.in.flight.requests.per.connection`, `max.in.flight`: from 1 to 5, since brokers keep
    /// only the last five batches of a producer apart.
    pub(super) in_flight_max: usize,
    /// `request.timeout.ms`: how long a broker may wait for its replicas.
    pub(super) replicas_timeout: Duration,
    /// `message.timeout.ms`, `delivery.timeout.ms`; none is without end.
    pub(super) delivery_timeout: Option<Duration>,
}

/// What the native data plane cannot do and librdkafka perhaps can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unsupported(pub(super) Vec<Refusal>);

/// A property that is not honoured; what its value is, is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) property: String,
    pub(super) why: String,
}

impl Refusal {
    fn of(property: &str, why: &str) -> Self {
        Self { property: property.to_owned(), why: why.to_owned() }
    }
}

impl std::error::Error for Unsupported {}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the native data plane cannot honour ")?;
        for (at, Refusal { property, why }) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}`{property}` ({why})")?;
        }
        Ok(())
    }
}

impl Settings {
    /// What these properties ask for, if the native data plane can honour each of them.
    pub(super) fn of(properties: &[(String, String)]) -> Result<Self, Unsupported> {
        let mut draft = Draft::new(Protocol::of(last(properties, "security.protocol")));
        let mut refusals = Vec::new();
        for (at, (name, value)) in properties.iter().enumerate() {
            if last(&properties[at + 1..], name).is_some() {
                continue;
            }
            if let Err(why) = draft.put(name, value) {
                refusals.push(Refusal::of(name, &why));
            }
        }
        let settings = draft.finish(&mut refusals);
        settings.filter(|_| refusals.is_empty()).ok_or(Unsupported(refusals))
    }
}

fn last<'a>(properties: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    let found = properties.iter().rev().find(|(name, _)| name == wanted);
    found.map(|(_, value)| value.as_str())
}

/// What was read before it is known to be whole.
struct Draft {
    brokers: Vec<Broker>,
    rack: Option<String>,
    security: SecurityDraft,
    connections: ConnectionSettings,
    metadata: MetadataSettings,
    /// `topic.metadata.refresh.interval.ms`; none is never.
    refresh_interval: Option<Duration>,
    fetch: FetchSettings,
    produce: ProduceSettings,
}

impl Draft {
    fn new(protocol: Protocol) -> Self {
        Self {
            brokers: Vec::new(),
            rack: None,
            security: SecurityDraft::new(protocol),
            connections: ConnectionSettings::default(),
            metadata: MetadataSettings::default(),
            refresh_interval: Some(Duration::from_secs(300)),
            fetch: FetchSettings::default(),
            produce: ProduceSettings::default(),
        }
    }

    fn put(&mut self, name: &str, value: &str) -> Result<(), String> {
        if self.security.is_beside_the_point(name) {
            return Ok(());
        }
        names::put(self, name, value)
    }

    /// None if there is a refusal.
    fn finish(mut self, refusals: &mut Vec<Refusal>) -> Option<Settings> {
        let is_named = refusals.iter().any(|refusal| refusal.property == "bootstrap.servers");
        if self.brokers.is_empty() && !is_named {
            refusals.push(Refusal::of("bootstrap.servers", "no broker is named"));
        }
        if self.produce.compression == Some(Codec::Lz4)
            && self.produce.compression_level.is_some_and(|level| level > 0)
        {
            refusals.push(Refusal::of("compression.level", "LZ4 has one level only"));
        }
        let (tls, sasl) = self.security.finish(refusals)?;
        self.metadata.age_max =
            self.refresh_interval.map_or(self.metadata.age_max, |i| i.min(self.metadata.age_max));
        let Backoff { first, most } = &mut self.connections.reconnect;
        *most = (*most).max(*first);
        Some(Settings {
            brokers: self.brokers,
            rack: self.rack,
            tls,
            sasl,
            connections: self.connections,
            metadata: self.metadata,
            fetch: self.fetch,
            produce: self.produce,
        })
    }
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        let millis = Duration::from_millis;
        Self {
            socket: SocketOptions {
                has_no_delay: true,
                is_kept_alive: false,
                send_buffer_bytes: None,
                receive_buffer_bytes: None,
            },
            family: AddressFamily::Any,
            setup_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(60),
            idle_max: None,
            reconnect: Backoff { first: millis(100), most: millis(10_000) },
            retry: Backoff { first: millis(100), most: millis(1_000) },
            answer_bytes_max: 100_000_000,
        }
    }
}

impl Default for MetadataSettings {
    fn default() -> Self {
        Self { age_max: Duration::from_secs(900), topic_patience: Duration::from_secs(30) }
    }
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            wait_max: Duration::from_millis(500),
            bytes_min: 1,
            bytes_max: 50 * 1024 * 1024,
            partition_bytes_max: 1024 * 1024,
            error_backoff: Duration::from_millis(500),
        }
    }
}

impl Default for ProduceSettings {
    fn default() -> Self {
        Self {
            compression: None,
            compression_level: None,
            batch_bytes_max: 1_000_000,
            request_bytes_max: 1_000_000,
            in_flight_max: values::IN_FLIGHT_MAX,
            replicas_timeout: Duration::from_secs(30),
            delivery_timeout: Some(Duration::from_secs(300)),
        }
    }
}
