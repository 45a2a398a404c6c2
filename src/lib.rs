//! Stream processing embedded in your application.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "contracts of processors and timers stand before their operators"
)]

pub mod config;
mod dsl;
pub mod error;
pub mod group;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod log;
pub mod metrics;
mod operator;
pub mod processor;
pub mod record;
mod runtime;
pub mod serde;
pub mod state;
mod task;
pub mod testing;
pub mod time;
pub mod topic;
pub mod topology;
pub mod window;

pub use config::{Config, ConfigBuilder, ErrorPolicy, Guarantee};
pub use dsl::{
    BranchedKStream, Branches, Grouped, GroupingWindows, IntoRow, JoinKey, Joined, KGroupedStream,
    KGroupedTable, KStream, KTable, Materialized, NamedOutput, OpenStores, OutputSet, Processed,
    Repartitioned, SessionWindowedKStream, StoreRef, StoreSet, StreamJoined, StreamsBuilder,
    TimeWindowedKStream, Topology,
};
pub use error::{
    BoxError, ConfigError, Error, ErrorKind, Result, StartError, TopologyError, TopologyErrors,
};
pub use processor::{
    Cancellable, FixedKeyProcessor, Processor, ProcessorContext, Punctuation, PunctuationType,
};
pub use record::{Change, Data, Headers, Record};
pub use runtime::{App, AppBuilder, AppState, Ended, FailureAction, StateListener};
pub use serde::{Codec, Key, Value};
pub use time::Timestamp;
pub use topic::{OffsetReset, TimestampExtractor, Topic};
pub use window::{
    Emit, JoinWindows, SessionWindows, SlidingWindows, TimeWindows, Window, WindowError, Windowed,
};

/// The README's programs, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
