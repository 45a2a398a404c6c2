//! How many partitions has a topic, and which? Asked once per topic and remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::error::{Error, ErrorKind, Result};
use crate::log::{Admin, PartitionId, Partitions, TopicPartition};

/// The topics that an application has met, with their partitions. Shared by its workers.
pub(crate) struct Catalog {
    partitions: Partitions,
    admin: Arc<dyn Admin>,
    known: Mutex<HashMap<Arc<str>, Arc<[PartitionId]>>>,
    /// The largest batch that a topic takes, in bytes.
    limits: Mutex<HashMap<String, usize>>,
}

impl Catalog {
    pub(crate) fn new(partitions: Partitions, admin: Arc<dyn Admin>) -> Self {
        Self { partitions, admin, known: Mutex::default(), limits: Mutex::default() }
    }

    pub(crate) fn ids(&self) -> &Partitions {
        &self.partitions
    }

    pub(crate) fn admin(&self) -> &Arc<dyn Admin> {
        &self.admin
    }

    /// The partitions of a topic. Asks the log, and so may block, on the first call for a topic.
    ///
    /// # Errors
    ///
    /// The topic does not exist, or the log does not answer.
    pub(crate) fn topic(&self, topic: &str) -> Result<Arc<[PartitionId]>> {
        if let Some(ids) = self.known.lock().expect("no panic while held").get(topic) {
            return Ok(Arc::clone(ids));
        }
        let infos = self.admin.topics(&[topic.to_owned()]).map_err(|error| {
            let message = format!("topic `{topic}` cannot be looked up");
            Error::new(ErrorKind::Retriable, message).caused_by(error)
        })?;
        let info = infos.into_iter().flatten().next().ok_or_else(|| {
            let message = format!("topic `{topic}` does not exist; create it");
            Error::new(ErrorKind::Fatal, message)
        })?;
        let name: Arc<str> = Arc::from(topic);
        let id = |index| self.partitions.id(&TopicPartition::new(Arc::clone(&name), index));
        let ids: Arc<[PartitionId]> = (0..info.partitions).map(id).collect();
        let mut known = self.known.lock().expect("no panic while held");
        known.insert(Arc::clone(&name), Arc::clone(&ids));
        Ok(ids)
    }

    /// The largest batch that each of these topics takes, in bytes; `usize::MAX` where the log does
    /// not say. Asks the log, and so may block, on the first call for a topic.
    pub(crate) fn batch_limits(&self, topics: &[String]) -> Vec<usize> {
        let mut limits = self.limits.lock().expect("no panic while held");
        let mut unknown = topics.to_vec();
        unknown.retain(|topic| !limits.contains_key(topic));
        match self.admin.topic_configs(&unknown) {
            _ if unknown.is_empty() => {}
            Ok(settings) => {
                let told = settings.iter().map(|settings| batch_limit(settings));
                limits.extend(unknown.into_iter().zip(told));
            }
            Err(error) => {
                tracing::warn!(%error, topics = ?unknown, "it is not known how much topics take");
            }
        }
        topics.iter().map(|topic| limits.get(topic).copied().unwrap_or(usize::MAX)).collect()
    }

    /// The largest batch that a topic takes, as [`Self::batch_limits`].
    pub(crate) fn batch_limit(&self, topic: &str) -> usize {
        self.batch_limits(&[topic.to_owned()])[0]
    }
}

fn batch_limit(settings: &[(String, String)]) -> usize {
    let limit = settings.iter().find(|(name, _)| name == "max.message.bytes");
    limit.and_then(|(_, bytes)| bytes.parse().ok()).unwrap_or(usize::MAX)
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Catalog")
    }
}
