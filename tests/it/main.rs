//! Does the crate do what it promises, seen from outside? One binary, so that it links once.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]
#![allow(clippy::float_cmp, reason = "metrics are read as f64, and these are whole numbers")]
#![allow(clippy::format_push_string, reason = "values that tell what was done to them are short")]
#![allow(clippy::ptr_arg, reason = "functions that are given in place of closures over &String")]

#[macro_use]
#[path = "../contract/mod.rs"]
mod contract;

mod aggregations;
mod app;
mod bad_days;
mod damage;
mod describe;
mod ending;
mod errors;
mod memory_budget;
mod memory_contract;
mod metrics;
mod out_of_range;
mod processor;
mod processor_state;
mod processor_timers;
mod recorder;
mod restoring;
mod scratch;
mod shorthand;
mod start;
mod stateless;
mod stream_joins;
mod tables;
mod too_large;
mod windows;
mod windows_kept;
mod windows_model;
