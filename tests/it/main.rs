//! Does the crate do what it promises, seen from outside? One binary, so that it links once.

#[macro_use]
#[path = "../contract/mod.rs"]
mod contract;

mod describe;
mod memory_contract;
mod processor;
mod processor_state;
mod processor_timers;
mod stream_joins;
