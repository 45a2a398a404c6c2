//! The data plane on the wire itself: Kafka's protocol, spoken by the worker's own thread.
//!
//! There is no thread, queue or lock between the socket and the operators: an answer is read into a
//! buffer, its batches are handed on as slices of it, and what operators write leaves from the
//! batches that they wrote. See `core` for what decides, `network` for what carries, `admin` for
//! what the control plane asks in the same way.

mod admin;
mod api;
mod cluster;
mod compression;
mod connection;
mod core;
mod errors;
mod link;
mod messages;
mod network;
mod plane;
mod questions;
mod reader;
mod sasl;
mod secret;
mod settings;
#[cfg(test)]
mod simulated;
mod stream;
mod terms;
mod tls;
mod transactor;
mod wire;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::admin::NativeAdmin;
use self::core::Core;
use self::messages::offsets::NamedOffset;
use self::network::Network;
pub(super) use self::plane::Plane;
use self::transactor::Offsets;
use super::members::Members;
use crate::log::{
    CommittedOffset, EffectId, End, LogClient, LogEvent, MemberToken, OpenBatch, PartitionId,
    Partitions, Waker,
};
use crate::time::Instant;

/// Reads and writes on the wire.
pub(super) struct Client {
    core: Core,
    network: Network,
    partitions: Partitions,
    members: Members,
    /// When it was polled last.
    now: Instant,
    /// Whether something has been said since then that has not left: only a poll carries it.
    is_told: bool,
}

impl Client {
    /// The client's core, for what is to leave with the next poll.
    fn tell(&mut self) -> &mut Core {
        self.is_told = true;
        &mut self.core
    }

    /// How long nothing is to be done, unless something happens.
    fn rest(&self, at_most: Duration) -> Duration {
        if self.is_told || self.core.has_events() {
            return Duration::ZERO;
        }
        let until = self.core.deadline(self.now).map(|deadline| deadline.since(self.now));
        until.map_or(at_most, |until| at_most.min(until))
    }
}

impl LogClient for Client {
    fn read_from(&mut self, partition: PartitionId, offset: i64) {
        let name = self.partitions.name(partition);
        self.tell().read_from(partition, name, offset);
    }

    fn stop_reading(&mut self, partition: PartitionId) {
        self.core.stop_reading(partition);
    }

    fn pause(&mut self, partition: PartitionId, paused: bool) {
        self.tell().pause(partition, paused);
    }

    fn init_producer(&mut self) -> EffectId {
        let now = self.now;
        self.tell().init_producer(now)
    }

    fn begin_transaction(&mut self) {
        self.core.begin_transaction();
    }

    fn send(&mut self, partition: PartitionId, batch: OpenBatch) -> EffectId {
        let partitions = &self.partitions;
        self.is_told = true;
        self.core.send(partition, || partitions.name(partition), batch, self.now)
    }

    fn commit_offsets(&mut self, offsets: &[CommittedOffset], member: &MemberToken) -> EffectId {
        let named = offsets.iter().map(|offset| NamedOffset::of(offset, &self.partitions));
        let offsets = Offsets {
            offsets: named.collect::<Vec<_>>().into(),
            member: self.members.renewed(member),
            is_inside: self.core.is_in_transaction(),
        };
        let now = self.now;
        self.tell().commit_offsets(offsets, now)
    }

    fn end_transaction(&mut self, end: End) -> EffectId {
        let now = self.now;
        self.tell().end_transaction(end, now)
    }

    fn poll(&mut self, now: Instant, events: &mut Vec<LogEvent>) {
        self.now = now;
        self.is_told = false;
        self.network.exchange(&mut self.core, now);
        self.core.take_events(events);
    }

    fn wait(&mut self, at_most: Duration) {
        let rest = self.rest(at_most);
        if !rest.is_zero() {
            self.network.wait(rest);
        }
    }

    fn waker(&self) -> Waker {
        let waker = Arc::clone(self.network.waker());
        Waker::new(move || {
            // It fails only when there is nobody to wake.
            let _ = waker.wake();
        })
    }

    fn is_busy(&self) -> bool {
        self.core.is_busy()
    }

    fn end_of(&self, partition: PartitionId) -> Option<i64> {
        self.core.end_of(partition)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{CommittedOffset, Isolation, TopicPartition};

    const HOUR: Duration = Duration::from_secs(3600);

    fn client() -> (Client, PartitionId) {
        let properties = [("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned())];
        let config = crate::log::ClientConfig {
            client_id: "test".into(),
            isolation: Isolation::ReadCommitted,
            transactional_id: None,
            transaction_timeout: HOUR,
            group: "group".into(),
            fetch_bytes_max: 1 << 20,
            batch_bytes_max: 1 << 20,
        };
        let (partitions, members) = (Partitions::default(), Members::default());
        let id = partitions.id(&TopicPartition::new("t", 0));
        let plane = Plane::of(&properties).expect("a broker is all that it needs");
        (plane.client(&config, &partitions, &members).expect("sockets can be used"), id)
    }

    /// A commit is several requests, each of which follows from the answer to the one before. Each
    /// was left until the worker had slept for as long as it had nothing to process.
    #[test]
    fn nobody_sleeps_on_what_has_been_said_and_has_not_left() {
        let (mut client, partition) = client();
        let offset = CommittedOffset { partition, offset: 1, metadata: String::new() };
        let mut events = Vec::new();
        client.poll(Instant::from_origin(HOUR), &mut events);
        assert!(!client.rest(HOUR).is_zero(), "it waits for its broker");
        client.commit_offsets(&[offset], &MemberToken::default());
        assert!(client.rest(HOUR).is_zero());
        client.poll(Instant::from_origin(HOUR), &mut events);
        assert!(!client.rest(HOUR).is_zero());
        client.read_from(partition, 0);
        assert!(client.rest(HOUR).is_zero());
    }
}
