//! What does a worker do with what it has read? It hands it to the tasks, as fast as they take it.
//!
//! # Invariants
//!
//! - What waits in a queue is bounded: a partition whose queue is full is not fetched.

use super::Worker;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{LogEvent, Outcome, PartitionId, ReadError, TopicPartition};
use crate::task::active::{Now, Task};

impl Worker {
    pub(super) fn poll(&mut self, now: Now) -> Result<()> {
        let mut events = std::mem::take(&mut self.events);
        self.client.poll(now.instant, &mut events);
        self.meters.poll_seconds.record(self.setup.clock.instant().since(now.instant));
        for event in events.drain(..) {
            self.take_event(event)?;
        }
        self.events = events;
        Ok(())
    }

    fn take_event(&mut self, event: LogEvent) -> Result<()> {
        match event {
            LogEvent::Fetched(batch) => {
                let partition = batch.partition();
                if let Some(task) = self.task_of(partition) {
                    task.enqueue(batch);
                    self.hold_back(partition);
                }
            }
            LogEvent::CaughtUp { partition, position } => {
                if let Some(task) = self.task_of(partition) {
                    task.caught_up(partition, position);
                }
            }
            LogEvent::ReadFailed { partition, error: ReadError::OutOfRange { .. } } => {
                self.out_of_range.insert(partition);
            }
            LogEvent::ReadFailed { partition, error } => {
                let name = self.setup.environment.catalog.ids().name(partition);
                return Err(reading_failed(&name, error));
            }
            LogEvent::Ended { effect, outcome } => {
                if matches!(outcome, Outcome::Done { next_offset: Some(_) }) && self.is_lapsed() {
                    self.meters.late_sends.increment(1);
                }
                self.committer.ended(effect, outcome);
            }
        }
        Ok(())
    }

    /// Closes tasks that have processed all that could be fetched of a partition which is out of
    /// range. Whoever opens them again decides where they go on.
    pub(super) fn close_out_of_range(&mut self) {
        for partition in std::mem::take(&mut self.out_of_range) {
            let Some(id) = self.routes.get(&partition).copied() else { continue };
            let queues = self.tasks.get(&id).map_or(&[][..], Task::queues);
            if queues.iter().any(|queue| queue.partition == partition && !queue.is_empty()) {
                self.out_of_range.insert(partition);
            } else {
                tracing::info!(task = %id, "a position is out of range: the task is opened anew");
                self.close(id);
            }
        }
    }

    fn task_of(&mut self, partition: PartitionId) -> Option<&mut Task> {
        let id = self.routes.get(&partition)?;
        self.tasks.get_mut(id)
    }

    /// Stops fetching of a partition whose queue is full.
    fn hold_back(&mut self, partition: PartitionId) {
        let limit = self.setup.config.fetch_bytes_max;
        let Some(task) = self.routes.get(&partition).and_then(|id| self.tasks.get_mut(id)) else {
            return;
        };
        let queue = task.queues_mut().iter_mut().find(|queue| queue.partition == partition);
        if let Some(queue) = queue.filter(|queue| !queue.is_paused && queue.bytes() > limit) {
            queue.is_paused = true;
            self.client.pause(partition, true);
        }
    }

    pub(super) fn resume_drained(&mut self) {
        let limit = self.setup.config.fetch_bytes_max / 2;
        for queue in self.tasks.values_mut().flat_map(Task::queues_mut) {
            if queue.is_paused && queue.bytes() <= limit {
                queue.is_paused = false;
                self.client.pause(queue.partition, false);
            }
        }
    }
}

/// Why a partition cannot be read any further, and what to do.
#[cold]
pub(crate) fn reading_failed(partition: &TopicPartition, error: ReadError) -> Error {
    let fix = match &error {
        ReadError::NotFound => "create the topic again, or reset the application".to_owned(),
        ReadError::Corrupt(_) => "check the broker's disks and the network".to_owned(),
        ReadError::OutOfRange { .. } | ReadError::Fatal(_) => format!(
            "see that this principal has the right `--operation Read --topic {}`, and what the \
             broker's log says",
            partition.topic
        ),
    };
    let message = format!("`{partition}` cannot be read any further; {fix}");
    Error::new(ErrorKind::Fatal, message).caused_by(error)
}
