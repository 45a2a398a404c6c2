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
}

impl Catalog {
    pub(crate) fn new(partitions: Partitions, admin: Arc<dyn Admin>) -> Self {
        Self { partitions, admin, known: Mutex::default() }
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
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Catalog")
    }
}
