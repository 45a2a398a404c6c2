//! What becomes of what failed in a task's operators? The policies decide, once the record or the
//! timer is through.

use std::sync::Arc;

use super::Task;
use crate::config::ErrorPolicy;
use crate::error::{Error, ErrorKind, Result};
use crate::operator::push::FailureStage;
use crate::task::dead_letter::{Refused, Stage, refuse};
use crate::task::outbox::{Outbox, TaskOutbox};

impl Task {
    /// Applies the policies to what failed while one source record was processed.
    #[cold]
    pub(super) fn settle_failures(
        &mut self,
        outbox: &mut Outbox,
        index: usize,
        offset: i64,
    ) -> Result<()> {
        let mut failures = std::mem::take(&mut self.failures);
        failures.dedup_by_key(|failure| failure.node);
        let environment = Arc::as_ref(&self.environment);
        let mut collector = TaskOutbox::new(outbox, &mut self.targets, environment, self.id);
        let queue = &self.queues[index];
        for failure in failures {
            let policies = &environment.policies;
            let (policy, stage) = match failure.stage {
                FailureStage::Process => (policies.processing(queue.topic()), Stage::Process),
                FailureStage::Produce => (policies.producing(failure.node), Stage::Produce),
            };
            let node = Some(environment.node_name(failure.node));
            let (partition, error) = (&queue.name, failure.error);
            let counts = &mut self.refused;
            let refused = queue.with_record(offset, |view| {
                let failed = Refused { partition, view, error, stage, node };
                refuse(policy, failed, &mut collector, counts)
            });
            refused.unwrap_or_else(|| {
                Err(Error::new(ErrorKind::Bug, "the record that failed is not there any more"))
            })?;
        }
        Ok(())
    }

    /// Applies the policies to what failed in a timer or a flush. There is no source record to set
    /// aside.
    pub(super) fn settle_outside(&mut self) -> Result<()> {
        let environment = Arc::as_ref(&self.environment);
        for failure in self.failures.drain(..) {
            let node = environment.node_name(failure.node);
            let policy = match failure.stage {
                FailureStage::Process => &environment.policies.process,
                FailureStage::Produce => environment.policies.producing(failure.node),
            };
            if *policy == ErrorPolicy::Fail {
                let message = "a timer or a flush failed, and the error policy is to fail";
                let error = Error::new(ErrorKind::Data, message).caused_by_record(failure.error);
                return Err(error.at_node(node));
            }
            self.refused.skipped[failure.stage as usize + 1] += 1;
            tracing::warn!(node, "result of a timer or flush dropped");
            tracing::trace!(node, error = %failure.error, "why it was dropped");
        }
        Ok(())
    }
}
