//! How does a worker read and write the in-process log?
//!
//! Every effect happens at the call; `poll` reports its end. So what a caller must not conclude
//! before `poll` has said so cannot be learnt here, but nothing here contradicts it either.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::state::State;
use super::transaction::{Producer, Writer};
use super::{Alarm, Shared};
use crate::log::{
    ClientConfig, CommittedOffset, EffectId, End, LogClient, LogEvent, MemberToken, OpenBatch,
    Outcome, PartitionId, ReadError, Waker, WriteError,
};
use crate::time::Instant;

/// A client of the in-process log.
pub(super) struct MemoryClient {
    shared: Arc<Shared>,
    alarm: Arc<Alarm>,
    config: ClientConfig,
    readers: BTreeMap<PartitionId, Reader>,
    /// How many polls there were: it decides which partition comes first.
    turns: usize,
    /// Effects that have ended since the last poll.
    ended: Vec<LogEvent>,
    effects: u64,
    producer: Option<Producer>,
    transaction: Phase,
}

/// Reading of one partition.
#[derive(Clone, Copy)]
struct Reader {
    position: i64,
    is_paused: bool,
    /// The position at which it was last said to have seen all there is.
    caught_up_at: Option<i64>,
}

/// Where the client stands with its transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    None,
    Open,
    /// Something of it failed, so it can only be aborted.
    Broken,
}

impl MemoryClient {
    pub(super) fn new(shared: Arc<Shared>, config: ClientConfig) -> Self {
        Self {
            shared,
            alarm: Arc::new(Alarm::default()),
            config,
            readers: BTreeMap::new(),
            turns: 0,
            ended: Vec::new(),
            effects: 0,
            producer: None,
            transaction: Phase::None,
        }
    }

    /// Does something and notes how it ended.
    fn effect(
        &mut self,
        act: impl FnOnce(&mut State, &ClientConfig) -> Result<Option<i64>, WriteError>,
    ) -> EffectId {
        let result = self.shared.change(|state| act(state, &self.config));
        self.end_effect(result)
    }

    /// `next_offset` is that of a send.
    fn end_effect(&mut self, result: Result<Option<i64>, WriteError>) -> EffectId {
        let effect = EffectId(self.effects);
        self.effects += 1;
        if result.is_err() && self.transaction == Phase::Open {
            self.transaction = Phase::Broken;
        }
        let outcome = match result {
            Ok(next_offset) => Outcome::Done { next_offset },
            Err(error) => Outcome::Failed(error),
        };
        self.ended.push(LogEvent::Ended { effect, outcome });
        effect
    }

    /// Reads on in one partition; `false` if reading has ended.
    fn read(
        &self,
        state: &State,
        partition: PartitionId,
        reader: &mut Reader,
        events: &mut Vec<LogEvent>,
    ) -> bool {
        let bytes_max = self.config.fetch_bytes_max;
        let fetched = match state.log(partition) {
            Some(log) => log.fetch(reader.position, self.config.isolation, bytes_max),
            None => Err(ReadError::NotFound),
        };
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                events.push(LogEvent::ReadFailed { partition, error });
                return false;
            }
        };
        events.extend(fetched.batches.into_iter().map(LogEvent::Fetched));
        let position = fetched.position;
        reader.position = position;
        if fetched.is_caught_up && reader.caught_up_at != Some(position) {
            reader.caught_up_at = Some(position);
            events.push(LogEvent::CaughtUp { partition, position });
        }
        true
    }

    /// Whether `poll` would report something.
    fn has_news(&self, state: &State) -> bool {
        !self.ended.is_empty()
            || self.readers.iter().any(|(partition, reader)| {
                let limit = state.log(*partition).map(|log| log.limit(self.config.isolation));
                let is_done = reader.caught_up_at == Some(reader.position)
                    && limit.is_some_and(|limit| limit <= reader.position)
                    && state.log(*partition).is_some_and(|log| log.start <= reader.position);
                !reader.is_paused && !is_done
            })
    }
}

/// Who this client is towards the log, if it may write to a transaction.
fn writer(config: &ClientConfig, producer: Option<Producer>) -> Result<Writer<'_>, WriteError> {
    let Some(transactional_id) = config.transactional_id.as_deref() else {
        return Err(WriteError::Fatal("the client has no transactional id".to_owned()));
    };
    let Some(producer) = producer else {
        return Err(WriteError::Fatal("the producer has not been initialised".to_owned()));
    };
    Ok(Writer { transactional_id, producer, timeout: config.transaction_timeout })
}

impl LogClient for MemoryClient {
    fn read_from(&mut self, partition: PartitionId, offset: i64) {
        let is_paused = self.readers.get(&partition).is_some_and(|reader| reader.is_paused);
        let reader = Reader { position: offset, is_paused, caught_up_at: None };
        self.readers.insert(partition, reader);
    }

    fn stop_reading(&mut self, partition: PartitionId) {
        self.readers.remove(&partition);
    }

    fn pause(&mut self, partition: PartitionId, paused: bool) {
        if let Some(reader) = self.readers.get_mut(&partition) {
            reader.is_paused = paused;
        }
    }

    fn init_producer(&mut self) -> EffectId {
        self.transaction = Phase::None;
        if let Some(id) = &self.config.transactional_id {
            self.producer = Some(self.shared.change(|state| state.init_producer(id)));
        }
        self.end_effect(Ok(None))
    }

    fn begin_transaction(&mut self) {
        self.transaction = Phase::Open;
    }

    fn send(&mut self, partition: PartitionId, batch: OpenBatch) -> EffectId {
        if batch.is_empty() {
            return self.end_effect(Ok(None));
        }
        let sealed = batch.seal();
        let (producer, phase) = (self.producer, self.transaction);
        self.effect(|state, config| match phase {
            Phase::None if config.transactional_id.is_some() => {
                Err(WriteError::Fatal("no transaction has begun".to_owned()))
            }
            Phase::None => state.send_plain(partition, sealed).map(Some),
            Phase::Open | Phase::Broken => {
                state.send_in_transaction(&writer(config, producer)?, partition, sealed).map(Some)
            }
        })
    }

    fn commit_offsets(&mut self, offsets: &[CommittedOffset], member: &MemberToken) -> EffectId {
        let (producer, phase) = (self.producer, self.transaction);
        self.effect(|state, config| {
            state.check_member(&config.group, member)?;
            state.check_offsets(offsets)?;
            if phase != Phase::None {
                let writer = writer(config, producer)?;
                state.commit_in_transaction(&writer, &config.group, offsets)?;
                return Ok(None);
            }
            let group = state.group_mut(&config.group);
            for offset in offsets {
                group.store(offset.clone());
            }
            Ok(None)
        })
    }

    fn end_transaction(&mut self, end: End) -> EffectId {
        let producer = self.producer;
        let phase = std::mem::replace(&mut self.transaction, Phase::None);
        if (phase, end) == (Phase::Broken, End::Commit) {
            self.transaction = Phase::Broken;
        }
        self.effect(|state, config| match (phase, end) {
            (Phase::None, _) => Err(WriteError::Fatal("no transaction has begun".to_owned())),
            (Phase::Broken, End::Commit) => {
                Err(WriteError::Abort("a write of it has failed".to_owned()))
            }
            _ => state.end_transaction(&writer(config, producer)?, end).map(|()| None),
        })
    }

    fn poll(&mut self, _now: Instant, events: &mut Vec<LogEvent>) {
        events.append(&mut self.ended);
        let mut partitions: Vec<PartitionId> = self
            .readers
            .iter()
            .filter(|(_, reader)| !reader.is_paused)
            .map(|(partition, _)| *partition)
            .collect();
        if partitions.is_empty() {
            return;
        }
        let first = self.turns % partitions.len();
        partitions.rotate_left(first);
        self.turns = self.turns.wrapping_add(1);
        let shared = Arc::clone(&self.shared);
        shared.read(|state| {
            for partition in partitions {
                let mut reader = self.readers[&partition];
                if self.read(state, partition, &mut reader, events) {
                    self.readers.insert(partition, reader);
                } else {
                    self.readers.remove(&partition);
                }
            }
        });
    }

    fn wait(&mut self, at_most: Duration) {
        self.shared.wait(&self.alarm, at_most, |state| self.has_news(state));
    }

    fn waker(&self) -> Waker {
        self.shared.waker(&self.alarm)
    }

    fn end_of(&self, partition: PartitionId) -> Option<i64> {
        self.shared.read(|state| state.log(partition).map(|log| log.end))
    }
}
