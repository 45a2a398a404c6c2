//! With which properties does a client of librdkafka run?
//!
//! Properties pass in three layers: what suits us, what the user says, and what we own and the
//! user cannot change. Values are never shown.

use crate::config::Config;

/// The properties of a process, of which each client takes those of its kind.
#[derive(Clone)]
pub(super) struct Properties {
    brokers: String,
    user: Vec<(String, String)>,
}

impl std::fmt::Debug for Properties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Properties").finish_non_exhaustive()
    }
}

/// What suits every client unless the user says otherwise.
const COMMON: &[(&str, &str)] = &[
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.keepalive.enable", "true"),
    // Small requests go out at once.
    ("socket.nagle.disable", "true"),
];

const READING: &[(&str, &str)] = &[
    ("fetch.wait.max.ms", "100"),
    ("fetch.min.bytes", "1"),
    // A queue that has been emptied is filled again at once; the default waits a second.
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.error.backoff.ms", "100"),
    ("check.crcs", "true"),
    ("topic.metadata.propagation.max.ms", "5000"),
];

const WRITING: &[(&str, &str)] = &[
    ("linger.ms", "1"),
    // The engine bounds what it has not yet committed; a full queue would only block it.
    ("queue.buffering.max.messages", "0"),
    ("queue.buffering.max.kbytes", "2147483647"),
    // The topic's own limit decides about large records.
    ("message.max.bytes", "104857600"),
    ("topic.metadata.propagation.max.ms", "5000"),
];

/// Every wait is on the worker's own thread, and a broker that is gone is noticed sooner.
const NATIVE: &[(&str, &str)] =
    &[("socket.timeout.ms", "30000"), ("socket.connection.setup.timeout.ms", "10000")];

/// How many bytes of records leave as one batch unless the user or a topic says otherwise.
const BATCH_BYTES: usize = 1_000_000;

impl Properties {
    /// The properties that this configuration asks for.
    pub(super) fn of(config: &Config) -> Self {
        let secured = config.security.properties().into_iter();
        let secured = secured.map(|(name, value)| (name.to_owned(), value));
        let user = config.client_properties.clone().into_iter().chain(secured).collect();
        Self { brokers: config.brokers.clone(), user }
    }

    /// Of a client that reads.
    pub(super) fn reading(&self, owned: &[(&str, &str)]) -> Vec<(String, String)> {
        self.layered(READING, &[("allow.auto.create.topics", "false")], owned)
    }

    /// Of a client that writes.
    pub(super) fn writing(&self, owned: &[(&str, &str)]) -> Vec<(String, String)> {
        let fixed = [
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("partitioner", "murmur2_random"),
            ("allow.auto.create.topics", "false"),
        ];
        self.layered(WRITING, &fixed, owned)
    }

    /// Of a client that reads and writes without librdkafka.
    pub(super) fn native(&self) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let defaults = READING.iter().chain(NATIVE).map(own);
        defaults.chain(self.plain(&[])).collect()
    }

    /// How many bytes of records leave as one batch, if no batch may be larger than `limit`.
    pub(super) fn batch_size(&self, limit: usize) -> usize {
        let set = self.user.iter().find(|(name, _)| name == "batch.size");
        let wanted = set.and_then(|(_, bytes)| bytes.parse().ok()).unwrap_or(BATCH_BYTES);
        wanted.min(limit).max(1)
    }

    /// Of a client that administers, or keeps a membership.
    pub(super) fn plain(&self, owned: &[(&str, &str)]) -> Vec<(String, String)> {
        self.layered(&[], &[], owned)
    }

    /// The layers, lowest first: a later value replaces an earlier one.
    fn layered(
        &self,
        defaults: &[(&str, &str)],
        fixed: &[(&str, &str)],
        owned: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut properties: Vec<_> = COMMON.iter().chain(defaults).map(own).collect();
        properties.extend(self.user.iter().cloned());
        properties.push(("bootstrap.servers".into(), self.brokers.clone()));
        properties.extend(fixed.iter().chain(owned).map(own));
        properties
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_changes_defaults_but_not_what_is_owned() {
        let config = Config::builder("app", "broker:9092")
            .client_property("linger.ms", "20")
            .client_property("acks", "1")
            .build()
            .unwrap();
        let properties = Properties::of(&config).writing(&[]);
        let last = |name: &str| {
            let found = properties.iter().rev().find(|(n, _)| n == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(last("linger.ms"), Some("20"));
        assert_eq!(last("acks"), Some("all"));
        assert_eq!(last("partitioner"), Some("murmur2_random"));
        assert_eq!(last("bootstrap.servers"), Some("broker:9092"));
    }

    #[test]
    fn no_batch_is_larger_than_what_every_topic_takes() {
        let plain = Config::builder("app", "broker:9092").build().unwrap();
        let own = Config::builder("app", "broker:9092").client_property("batch.size", "5000");
        let own = own.build().unwrap();
        let size = |config: &Config, limit| Properties::of(config).batch_size(limit);
        assert_eq!([usize::MAX, 10_000].map(|limit| size(&plain, limit)), [1_000_000, 10_000]);
        assert_eq!(
            [usize::MAX, 10_000, 4_000].map(|limit| size(&own, limit)),
            [5_000, 5_000, 4_000]
        );
    }
}
