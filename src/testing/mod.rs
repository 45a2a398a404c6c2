//! How is a pipeline tested? With the production code, in process, under a clock that stands still.

mod driver;
mod dropped;
mod simulation;
mod stores;

pub use driver::{TestInput, TestOutput, TopologyTestDriver};
#[doc(hidden)]
pub use simulation::SeededBug;
pub use simulation::{
    Check, FaultKind, Faults, Input, Simulation, SimulationFailure, SimulationRun,
};

#[cfg(test)]
mod tests;
