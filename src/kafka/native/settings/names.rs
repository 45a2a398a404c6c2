//! What becomes of a property of librdkafka's, by its name?

use super::{Draft, values};

/// Reads the value of a property.
type Put = fn(&mut Draft, &str) -> Result<(), String>;

/// What becomes of one property.
pub(super) fn put(draft: &mut Draft, name: &str, value: &str) -> Result<(), String> {
    let tables = [CONNECTIONS, SECURITY, METADATA, FETCH, PRODUCE];
    let mut honoured = tables.into_iter().flatten();
    if let Some((_, put)) = honoured.find(|(honoured, _)| *honoured == name) {
        return put(draft, value);
    }
    if let Some((_, only)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
        let is_one = only.iter().any(|only| only.eq_ignore_ascii_case(value.trim()));
        return if is_one { Ok(()) } else { Err(format!("it can only be `{}`", only[0])) };
    }
    if HARMLESS.contains(&name) || HARMLESS_STARTS.iter().any(|start| name.starts_with(start)) {
        return Ok(());
    }
    let refused = REFUSED.iter().find(|(refused, _)| *refused == name);
    if value.is_empty() && refused.is_some() {
        return Ok(());
    }
    Err(refused.map_or("it is not known", |(_, why)| *why).to_owned())
}

fn set<T>(slot: &mut T, value: Result<T, String>) -> Result<(), String> {
    *slot = value?;
    Ok(())
}

/// Limits are librdkafka's.
const CONNECTIONS: &[(&str, Put)] = &[
    ("bootstrap.servers", |d, v| set(&mut d.brokers, values::brokers(v))),
    ("metadata.broker.list", |d, v| set(&mut d.brokers, values::brokers(v))),
    ("client.rack", |d, v| set(&mut d.rack, Ok(values::text(v)))),
    ("socket.nagle.disable", |d, v| set(&mut d.connections.socket.has_no_delay, values::flag(v))),
    ("socket.keepalive.enable", |d, v| {
        set(&mut d.connections.socket.is_kept_alive, values::flag(v))
    }),
    ("socket.send.buffer.bytes", |d, v| {
        set(&mut d.connections.socket.send_buffer_bytes, values::buffer_bytes(v))
    }),
    ("socket.receive.buffer.bytes", |d, v| {
        set(&mut d.connections.socket.receive_buffer_bytes, values::buffer_bytes(v))
    }),
    ("broker.address.family", |d, v| set(&mut d.connections.family, values::family(v))),
    ("socket.connection.setup.timeout.ms", |d, v| {
        set(&mut d.connections.setup_timeout, values::millis(v, 1_000..=i64::from(i32::MAX)))
    }),
    ("socket.timeout.ms", |d, v| {
        set(&mut d.connections.answer_timeout, values::millis(v, 10..=300_000))
    }),
    ("connections.max.idle.ms", |d, v| {
        set(&mut d.connections.idle_max, values::limit_millis(v, i64::from(i32::MAX)))
    }),
    ("reconnect.backoff.ms", |d, v| {
        set(&mut d.connections.reconnect.first, values::millis(v, 0..=3_600_000))
    }),
    ("reconnect.backoff.max.ms", |d, v| {
        set(&mut d.connections.reconnect.most, values::millis(v, 0..=3_600_000))
    }),
    ("retry.backoff.ms", |d, v| {
        set(&mut d.connections.retry.first, values::millis(v, 1..=300_000))
    }),
    ("retry.backoff.max.ms", |d, v| {
        set(&mut d.connections.retry.most, values::millis(v, 1..=300_000))
    }),
    ("receive.message.max.bytes", |d, v| {
        set(&mut d.connections.answer_bytes_max, values::bytes(v, 1_000..=i64::from(i32::MAX)))
    }),
];

const SECURITY: &[(&str, Put)] = &[
    ("security.protocol", |d, v| d.security.put_protocol(v)),
    ("ssl.ca.location", |d, v| d.security.put_authorities_file(v)),
    ("ssl.ca.pem", |d, v| {
        d.security.put_authorities_text(v);
        Ok(())
    }),
    ("ssl.certificate.location", |d, v| {
        d.security.put_chain_file(v);
        Ok(())
    }),
    ("ssl.certificate.pem", |d, v| {
        d.security.put_chain_text(v);
        Ok(())
    }),
    ("ssl.key.location", |d, v| {
        d.security.put_key_file(v);
        Ok(())
    }),
    ("ssl.key.pem", |d, v| {
        d.security.put_key_text(v);
        Ok(())
    }),
    ("ssl.endpoint.identification.algorithm", |d, v| d.security.put_host_check(v)),
    ("sasl.mechanism", |d, v| {
        d.security.put_mechanism(v);
        Ok(())
    }),
    ("sasl.mechanisms", |d, v| {
        d.security.put_mechanism(v);
        Ok(())
    }),
    ("sasl.username", |d, v| {
        d.security.put_username(v);
        Ok(())
    }),
    ("sasl.password", |d, v| {
        d.security.put_password(v);
        Ok(())
    }),
];

const METADATA: &[(&str, Put)] = &[
    ("metadata.max.age.ms", |d, v| set(&mut d.metadata.age_max, values::millis(v, 1..=86_400_000))),
    ("topic.metadata.refresh.interval.ms", |d, v| {
        set(&mut d.refresh_interval, values::limit_millis(v, 3_600_000))
    }),
    ("topic.metadata.propagation.max.ms", |d, v| {
        set(&mut d.metadata.topic_patience, values::millis(v, 0..=3_600_000))
    }),
];

const FETCH: &[(&str, Put)] = &[
    ("fetch.wait.max.ms", |d, v| set(&mut d.fetch.wait_max, values::millis(v, 0..=300_000))),
    ("fetch.min.bytes", |d, v| set(&mut d.fetch.bytes_min, values::bytes(v, 1..=100_000_000))),
    ("fetch.max.bytes", |d, v| {
        set(&mut d.fetch.bytes_max, values::bytes(v, 0..=i64::from(i32::MAX)))
    }),
    ("fetch.message.max.bytes", partition_bytes_max),
    ("max.partition.fetch.bytes", partition_bytes_max),
    ("fetch.error.backoff.ms", |d, v| {
        set(&mut d.fetch.error_backoff, values::millis(v, 0..=300_000))
    }),
];

const PRODUCE: &[(&str, Put)] = &[
    ("compression.type", compression),
    ("compression.codec", compression),
    ("compression.level", |d, v| set(&mut d.produce.compression_level, values::level(v))),
    ("batch.size", |d, v| {
        set(&mut d.produce.batch_bytes_max, values::bytes(v, 1..=i64::from(i32::MAX)))
    }),
    ("message.max.bytes", |d, v| {
        set(&mut d.produce.request_bytes_max, values::bytes(v, 1_000..=1_000_000_000))
    }),
    ("max.in.flight.requests.per.connection", in_flight_max),
    ("max.in.flight", in_flight_max),
    ("request.timeout.ms", |d, v| {
        set(&mut d.produce.replicas_timeout, values::millis(v, 1..=900_000))
    }),
    ("message.timeout.ms", delivery_timeout),
    ("delivery.timeout.ms", delivery_timeout),
];

fn partition_bytes_max(draft: &mut Draft, value: &str) -> Result<(), String> {
    set(&mut draft.fetch.partition_bytes_max, values::bytes(value, 1..=1_000_000_000))
}

fn compression(draft: &mut Draft, value: &str) -> Result<(), String> {
    set(&mut draft.produce.compression, values::compression(value))
}

fn in_flight_max(draft: &mut Draft, value: &str) -> Result<(), String> {
    set(&mut draft.produce.in_flight_max, values::in_flight(value))
}

fn delivery_timeout(draft: &mut Draft, value: &str) -> Result<(), String> {
    set(&mut draft.produce.delivery_timeout, values::limit_millis(value, i64::from(i32::MAX)))
}

/// What is always so; the first value is the one to name.
const FIXED: &[(&str, &[&str])] = &[
    ("acks", &["all", "-1"]),
    ("request.required.acks", &["all", "-1"]),
    ("enable.idempotence", &["true", "t", "1"]),
    ("enable.gapless.guarantee", &["false", "f", "0"]),
    ("partitioner", &["murmur2_random"]),
    ("allow.auto.create.topics", &["false", "f", "0"]),
    ("api.version.request", &["true", "t", "1"]),
    ("client.dns.lookup", &["use_all_dns_ips"]),
    ("enable.ssl.certificate.verification", &["true", "t", "1"]),
    ("message.send.max.retries", &["2147483647"]),
    ("retries", &["2147483647"]),
    ("queuing.strategy", &["fifo"]),
    ("ssl.ca.certificate.stores", &["Root"]),
];

/// What speaks of the insides of librdkafka, of the membership and the administration, which stay
/// with it, or of what the engine decides: no batch lingers, since what is written while a request
/// is under way is gathered anyway.
const HARMLESS: &[&str] = &[
    "api.version.fallback.ms",
    "api.version.request.timeout.ms",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "batch.num.messages",
    "broker.address.ttl",
    "broker.version.fallback",
    "builtin.features",
    "check.crcs",
    "client.id",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "debug",
    "delivery.report.only.error",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.metrics.push",
    "enable.partition.eof",
    "enable.random.seed",
    "enabled_events",
    "fetch.queue.backoff.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "internal.termination.signal",
    "isolation.level",
    "linger.ms",
    "log.connection.close",
    "log.queue",
    "log.thread.name",
    "log_level",
    "max.poll.interval.ms",
    "message.copy.max.bytes",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "partition.assignment.strategy",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "reconnect.backoff.jitter.ms",
    "session.timeout.ms",
    "socket.blocking.max.ms",
    "socket.max.fails",
    "statistics.interval.ms",
    "sticky.partitioning.linger.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.sparse",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Of mechanisms and requests that are refused where they are asked for.
const HARMLESS_STARTS: &[&str] = &["sasl.kerberos.", "sasl.oauthbearer.", "https.ca."];

/// What librdkafka does and the native data plane does not, unless it is empty.
const REFUSED: &[(&str, &str)] = &[
    ("enable.sasl.oauthbearer.unsecure.jwt", "it makes out no tokens"),
    ("plugin.library.paths", "it loads no foreign code"),
    ("ssl.cipher.suites", "the suites are those of rustls"),
    ("ssl.curves.list", "the curves are those of rustls"),
    ("ssl.sigalgs.list", "the signatures are those of rustls"),
    ("ssl.key.password", "it reads no encrypted keys"),
    ("ssl.crl.location", "it reads no revocation lists"),
    ("ssl.keystore.location", "it reads PEM only"),
    ("ssl.keystore.password", "it reads PEM only"),
    ("ssl.engine.location", "it has no engines"),
    ("ssl.engine.id", "it has no engines"),
    ("ssl.providers", "it has no providers"),
    ("topic.blacklist", "it reads whatever it is told to"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once() {
        let honoured = [CONNECTIONS, SECURITY, METADATA, FETCH, PRODUCE].concat();
        let honoured = honoured.into_iter().map(|(name, _)| name);
        let fixed = FIXED.iter().map(|(name, _)| *name);
        let refused = REFUSED.iter().map(|(name, _)| *name);
        let harmless = HARMLESS.iter().copied();
        let mut all: Vec<_> = honoured.chain(fixed).chain(refused).chain(harmless).collect();
        all.sort_unstable();
        let twice = all.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None);
        let covered = all.iter().find(|name| HARMLESS_STARTS.iter().any(|s| name.starts_with(s)));
        assert_eq!(covered, None);
    }
}
