//! What was dropped without a failure? The counts of the running tasks of a driver.

use crate::error::Result;
use crate::testing::TopologyTestDriver;

impl TopologyTestDriver {
    /// How many records were dropped because they were late, since the last start; a record that is
    /// late for several hopping or sliding windows counts for each of them.
    ///
    /// # Errors
    ///
    /// What keeps the application from starting.
    pub fn late_records(&mut self) -> Result<u64> {
        Ok(self.started()?.worker().tasks().map(|task| task.drops.late).sum())
    }

    /// How many records were dropped because their key was null where an operator needs one, since
    /// the last start. Null where a topic's type has none is a data error and not counted here.
    ///
    /// # Errors
    ///
    /// What keeps the application from starting.
    pub fn null_keys(&mut self) -> Result<u64> {
        Ok(self.started()?.worker().tasks().map(|task| task.drops.null_key).sum())
    }
}
