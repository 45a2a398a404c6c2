//! With which settings do the clients of a process read and write?
//!
//! # Invariants
//!
//! - What was asked for is done, or refused by its name before anything runs.

use std::sync::Arc;
use std::time::Duration;

use super::Client;
use super::core::Core;
use super::messages::metadata::Address;
use super::network::{Network, Wiring};
use super::settings::{Settings, Unsupported};
use super::terms::{Packing, Terms};
use super::tls::{self, TlsError};
use crate::kafka::members::Members;
use crate::log::{ClientConfig, Isolation, LogError, Partitions};
use crate::time::Instant;

/// What all clients of a process share.
#[derive(Clone, Debug)]
pub(in crate::kafka) struct Plane {
    settings: Settings,
    tls: Option<Arc<rustls::ClientConfig>>,
}

/// Why this data plane cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(in crate::kafka) struct NoPlane {
    why: String,
    /// Whether librdkafka may be able to do what was asked for.
    pub(in crate::kafka) is_unsupported: bool,
}

impl From<Unsupported> for NoPlane {
    fn from(why: Unsupported) -> Self {
        Self { why: why.to_string(), is_unsupported: true }
    }
}

impl From<TlsError> for NoPlane {
    fn from(why: TlsError) -> Self {
        Self { why: why.to_string(), is_unsupported: why.is_unsupported() }
    }
}

impl Plane {
    /// The data plane that these properties ask for.
    pub(in crate::kafka) fn of(properties: &[(String, String)]) -> Result<Self, NoPlane> {
        let settings = Settings::of(properties)?;
        let tls = settings.tls.as_ref().map(tls::client_config).transpose()?;
        Ok(Self { settings, tls })
    }

    /// A client for one worker or restorer.
    pub(in crate::kafka) fn client(
        &self,
        config: &ClientConfig,
        partitions: &Partitions,
        members: &Members,
    ) -> Result<Client, LogError> {
        Ok(Client {
            network: self.network()?,
            core: Core::new(self.terms(config), config),
            partitions: partitions.clone(),
            members: members.clone(),
            now: Instant::from_origin(Duration::ZERO),
            is_told: false,
        })
    }

    /// A client that only asks, in the name of this group's application.
    pub(super) fn asker(&self, group: &str) -> Result<(Core, Network), LogError> {
        let config = ClientConfig {
            client_id: "millstream-admin".into(),
            isolation: Isolation::ReadUncommitted,
            transactional_id: None,
            transaction_timeout: FENCED_TIMEOUT,
            group: group.to_owned(),
            fetch_bytes_max: 0,
            batch_bytes_max: 0,
        };
        let mut terms = self.terms(&config);
        // Whoever does not answer may have died, and another taken its place.
        terms.request_timeout = terms.request_timeout.min(ANSWER_TIMEOUT);
        terms.setup_timeout = terms.setup_timeout.min(ANSWER_TIMEOUT);
        terms.topic_patience = terms.topic_patience.min(ANSWER_TIMEOUT);
        terms.reconnect_pauses.1 = terms.reconnect_pauses.1.min(RECONNECT_PAUSE_MAX);
        Ok((Core::new(terms, &config), self.network()?))
    }

    fn network(&self) -> Result<Network, LogError> {
        let connections = &self.settings.connections;
        Network::new(Wiring {
            options: connections.socket,
            family: connections.family,
            tls: self.tls.clone(),
            answer_bytes_max: connections.answer_bytes_max,
        })
    }

    fn terms(&self, config: &ClientConfig) -> Terms {
        let Settings { connections, metadata, fetch, produce, .. } = &self.settings;
        let level = produce.compression_level;
        let bootstrap = self.settings.brokers.iter();
        let bootstrap =
            bootstrap.map(|broker| Address { host: broker.host.clone(), port: broker.port });
        Terms {
            client_id: config.client_id.as_str().into(),
            bootstrap: bootstrap.collect(),
            sasl: self.settings.sasl.clone().map(Arc::new),
            isolation: config.isolation,
            rack: self.settings.rack.clone().unwrap_or_default(),
            fetch_wait: fetch.wait_max,
            fetch_bytes_min: fetch.bytes_min,
            fetch_bytes_max: fetch.bytes_max,
            partition_bytes_max: fetch
                .partition_bytes_max
                .min(config.fetch_bytes_max)
                .max(PARTITION_BYTES_MIN),
            unpacked_bytes_max: connections.answer_bytes_max,
            batch_bytes_max: produce.batch_bytes_max.min(config.batch_bytes_max).max(1),
            request_bytes_max: produce.request_bytes_max,
            packing: produce.compression.map(|codec| Packing { codec, level }),
            delivery_timeout: produce.delivery_timeout,
            in_flight_max: produce.in_flight_max,
            transaction_timeout: config.transaction_timeout,
            replicas_timeout: produce.replicas_timeout,
            request_timeout: connections.answer_timeout,
            setup_timeout: connections.setup_timeout,
            reconnect_pauses: (connections.reconnect.first, connections.reconnect.most),
            retry_pause: connections.retry.first.min(connections.retry.most),
            fetch_pause: fetch.error_backoff,
            idle_max: connections.idle_max,
            metadata_age_max: metadata.age_max,
            topic_patience: metadata.topic_patience,
        }
    }
}

/// How long a broker may leave a question of the control plane without an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause before the control plane connects again.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// The timeout of a transaction that whoever fences another never begins.
const FENCED_TIMEOUT: Duration = Duration::from_secs(60);

/// Of a partition at once: less would be many small answers.
const PARTITION_BYTES_MIN: usize = 16 * 1024;
