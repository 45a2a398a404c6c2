//! How are the values of properties read? As librdkafka reads them, except that what is odd is
//! refused.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{AddressFamily, Broker};
use crate::kafka::native::compression::Codec;

/// Brokers keep that many batches of a producer apart.
pub(super) const IN_FLIGHT_MAX: usize = 5;

const PORT: u16 = 9092;

pub(super) fn number(value: &str, range: RangeInclusive<i64>) -> Result<i64, String> {
    let number = value.trim().parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("it is no number from {} to {}", range.start(), range.end()))
}

pub(super) fn bytes(value: &str, range: RangeInclusive<i64>) -> Result<usize, String> {
    assert!(*range.start() >= 0, "sizes are not negative");
    number(value, range).map(|number| number as usize)
}

/// None for 0, which leaves it to the system.
pub(super) fn buffer_bytes(value: &str) -> Result<Option<usize>, String> {
    bytes(value, 0..=100_000_000).map(|bytes| (bytes > 0).then_some(bytes))
}

pub(super) fn millis(value: &str, range: RangeInclusive<i64>) -> Result<Duration, String> {
    assert!(*range.start() >= 0, "durations are not negative");
    number(value, range).map(|number| Duration::from_millis(number.unsigned_abs()))
}

/// None for 0 and for -1, which stand for no limit.
pub(super) fn limit_millis(value: &str, most: i64) -> Result<Option<Duration>, String> {
    let limit = |number: i64| (number > 0).then(|| Duration::from_millis(number.unsigned_abs()));
    number(value, -1..=most).map(limit)
}

pub(super) fn flag(value: &str) -> Result<bool, String> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Ok(true),
        "false" | "f" | "0" => Ok(false),
        _ => Err("it is neither true nor false".to_owned()),
    }
}

/// None if it is empty.
pub(super) fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

pub(super) fn family(value: &str) -> Result<AddressFamily, String> {
    match value {
        "any" => Ok(AddressFamily::Any),
        "v4" => Ok(AddressFamily::V4),
        "v6" => Ok(AddressFamily::V6),
        _ => Err("it is none of `any`, `v4` and `v6`".to_owned()),
    }
}

pub(super) fn compression(value: &str) -> Result<Option<Codec>, String> {
    match (value, Codec::of_name(value)) {
        ("none", _) => Ok(None),
        (_, Some(codec)) => Ok(Some(codec)),
        (_, None) => Err("it is no codec of Kafka's".to_owned()),
    }
}

/// None for -1, which leaves it to the codec.
pub(super) fn level(value: &str) -> Result<Option<i32>, String> {
    let level = number(value, -1..=22)?;
    Ok((level >= 0).then_some(level as i32))
}

pub(super) fn in_flight(value: &str) -> Result<usize, String> {
    Ok(bytes(value, 1..=1_000_000)?.min(IN_FLIGHT_MAX))
}

/// `host`, `host:port`, `[address]` and `[address]:port`, with commas between.
pub(super) fn brokers(value: &str) -> Result<Vec<Broker>, String> {
    let named = value.split(',').map(str::trim).filter(|broker| !broker.is_empty());
    named.map(broker).collect()
}

fn broker(named: &str) -> Result<Broker, String> {
    if named.contains("://") {
        return Err("a broker is named with a protocol".to_owned());
    }
    let (host, port) = match named.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or("a bracket is not closed")?,
        None => match named.split_once(':') {
            Some((_, port)) if port.contains(':') => (named, ""),
            Some((host, port)) => (host, &named[named.len() - port.len() - 1..]),
            None => (named, ""),
        },
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => Some(PORT),
        None => None,
        Some(port) => port.parse().ok().filter(|port| *port > 0),
    };
    let port = port.ok_or("a port is no number from 1 to 65535")?;
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '[' || c == ']') {
        return Err("a broker has no host".to_owned());
    }
    Ok(Broker { host: host.to_owned(), port })
}
