//! Which of an application's settings does this data plane keep to?

use std::time::Duration;

use super::core::Terms;
use super::messages::metadata::Address;
use crate::log::ClientConfig;

/// The parts of `host:port,host:port`; those without a port have Kafka's own.
fn addresses(brokers: &str) -> Vec<Address> {
    const KAFKA_PORT: u16 = 9092;
    let each = brokers.split(',').map(str::trim).filter(|each| !each.is_empty());
    let each = each.map(|each| match each.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            let host = host.trim_matches(['[', ']']).to_owned();
            Address { host, port: port.parse().unwrap_or(KAFKA_PORT) }
        }
        _ => Address { host: each.trim_matches(['[', ']']).to_owned(), port: KAFKA_PORT },
    });
    each.collect()
}

impl Terms {
    pub(in crate::kafka) fn of(brokers: &str, config: &ClientConfig) -> Self {
        Self {
            client_id: config.client_id.as_str().into(),
            bootstrap: addresses(brokers),
            isolation: config.isolation,
            rack: String::new(),
            fetch_wait: Duration::from_millis(100),
            fetch_bytes_min: 1,
            fetch_bytes_max: 32 * 1024 * 1024,
            partition_bytes_max: config.fetch_bytes_max.clamp(16 * 1024, 1024 * 1024) as u32,
            unpacked_bytes_max: 128 * 1024 * 1024,
            batch_bytes_max: config.batch_bytes_max,
            packing: None,
            transaction_timeout: config.transaction_timeout,
            request_timeout: Duration::from_secs(30),
            reconnect_pauses: (Duration::from_millis(50), Duration::from_secs(2)),
            metadata_age_max: Duration::from_secs(300),
        }
    }
}
