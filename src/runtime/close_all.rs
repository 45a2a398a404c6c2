//! How do all processes of an application end together? One raises a counter that all watch.
//!
//! The counter is an offset of a group of its own beside the application's, so it needs no topic,
//! and brokers of every version keep it. It stands at the first partition of each input topic, so
//! that processes whose pipelines differ, as during a roll-out, still meet.
//!
//! # Invariants
//!
//! - A process that starts after the counter was raised is not meant: it goes by what it finds at
//!   its start.
//! - A process that may not read the counter runs without it.

use std::time::Duration;

use crate::log::{CommittedOffset, LogError, PartitionId, TopicPartition};
use crate::task::environment::TaskEnvironment;
use crate::time::Instant;
use crate::topology::close_all_group;

/// How often the counter is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How often raising it is tried.
const ATTEMPTS: u32 = 3;

/// What a process knows of the counter.
#[derive(Debug, Default)]
pub(crate) struct CloseAll {
    /// Where it stood when it was last looked at.
    known: Option<i64>,
    looked_at: Option<Instant>,
    /// Whether this process may not read it.
    is_refused: bool,
}

impl CloseAll {
    /// Whether another process has raised the counter; looks at it once in a while.
    pub(crate) fn is_asked(&mut self, environment: &TaskEnvironment, now: Instant) -> bool {
        let is_due = self.looked_at.is_none_or(|before| now.since(before) >= WATCH_INTERVAL);
        if self.is_refused || !is_due {
            return false;
        }
        self.looked_at = Some(now);
        match read(environment) {
            Ok(count) => self.known.replace(count).is_some_and(|before| count > before),
            Err(LogError::Unavailable(_) | LogError::Unstable) => false,
            Err(error) => {
                let group = close_all_group(environment.application_id());
                tracing::warn!(group, %error, "what closes all processes cannot be watched");
                self.is_refused = true;
                false
            }
        }
    }

    /// Raises the counter.
    pub(crate) fn ask(&mut self, environment: &TaskEnvironment) {
        for attempt in 1..=ATTEMPTS {
            match raise(environment) {
                Ok(count) => {
                    self.known = Some(count);
                    return;
                }
                Err(error) => {
                    tracing::error!(attempt, %error, "the other processes cannot be told to close");
                }
            }
        }
    }
}

fn places(environment: &TaskEnvironment) -> Vec<PartitionId> {
    let ids = environment.catalog.ids();
    let topics = environment.input_topics().into_iter();
    topics.map(|topic| ids.id(&TopicPartition::new(topic, 0))).collect()
}

fn read(environment: &TaskEnvironment) -> Result<i64, LogError> {
    let group = close_all_group(environment.application_id());
    let admin = environment.catalog.admin();
    let committed = admin.committed_so_far(&group, &places(environment))?;
    Ok(committed.into_iter().flatten().map(|known| known.offset).max().unwrap_or(0))
}

fn raise(environment: &TaskEnvironment) -> Result<i64, LogError> {
    let count = read(environment)? + 1;
    let offset = |partition| CommittedOffset { partition, offset: count, metadata: String::new() };
    let offsets: Vec<_> = places(environment).into_iter().map(offset).collect();
    let group = close_all_group(environment.application_id());
    environment.catalog.admin().commit(&group, &offsets)?;
    Ok(count)
}
