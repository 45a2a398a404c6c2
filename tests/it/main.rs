//! Does the crate do what it promises, seen from outside? One binary, so that it links once.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[macro_use]
#[path = "../contract/mod.rs"]
mod contract;

mod aggregations;
mod describe;
mod memory_contract;
mod metrics;
mod processor;
mod processor_state;
mod processor_timers;
mod scratch;
mod shorthand;
mod stateless;
mod stream_joins;
mod tables;
mod windows;
mod windows_kept;
mod windows_model;
