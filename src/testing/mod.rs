//! How is a pipeline tested? With the production code, in process, under a clock that stands still.

mod driver;
mod dropped;
mod stores;

pub use driver::{TestInput, TestOutput, TopologyTestDriver};

#[cfg(test)]
mod tests;
