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
}

impl LogClient for Client {
    fn read_from(&mut self, partition: PartitionId, offset: i64) {
        let name = self.partitions.name(partition);
        self.core.read_from(partition, name, offset);
    }

    fn stop_reading(&mut self, partition: PartitionId) {
        self.core.stop_reading(partition);
    }

    fn pause(&mut self, partition: PartitionId, paused: bool) {
        self.core.pause(partition, paused);
    }

    fn init_producer(&mut self) -> EffectId {
        self.core.init_producer(self.now)
    }

    fn begin_transaction(&mut self) {
        self.core.begin_transaction();
    }

    fn send(&mut self, partition: PartitionId, batch: OpenBatch) -> EffectId {
        let partitions = &self.partitions;
        self.core.send(partition, || partitions.name(partition), batch, self.now)
    }

    fn commit_offsets(&mut self, offsets: &[CommittedOffset], member: &MemberToken) -> EffectId {
        let named = offsets.iter().map(|offset| NamedOffset::of(offset, &self.partitions));
        let offsets = Offsets {
            offsets: named.collect::<Vec<_>>().into(),
            member: self.members.renewed(member),
            is_inside: self.core.is_in_transaction(),
        };
        self.core.commit_offsets(offsets, self.now)
    }

    fn end_transaction(&mut self, end: End) -> EffectId {
        self.core.end_transaction(end, self.now)
    }

    fn poll(&mut self, now: Instant, events: &mut Vec<LogEvent>) {
        self.now = now;
        self.network.exchange(&mut self.core, now);
        self.core.take_events(events);
    }

    fn wait(&mut self, at_most: Duration) {
        let until = self.core.deadline(self.now).map(|deadline| deadline.since(self.now));
        let at_most = until.map_or(at_most, |until| at_most.min(until));
        if !self.core.has_events() {
            self.network.wait(at_most);
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
