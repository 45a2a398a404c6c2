//! Stream processing embedded in your application.
//!
//! A pipeline is written in a typed language, checked, and run by as many copies of the process as
//! the load needs. Kafka is the log and the coordinator: input, output, the changelog of every
//! store, the membership of the group and the atomic commit all live there. It is what Kafka
//! Streams is for the JVM, with its words and its topic formats.
//!
//! # A whole program
//!
//! ```
//! use std::time::Duration;
//!
//! use millstream::log::memory::MemoryLog;
//! use millstream::{App, Config, Headers, StreamsBuilder, TimeWindows, Timestamp, Topic};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // What is read and written: names, types, codecs.
//! let clicks = Topic::<String, String>::plain("clicks");
//! let per_minute = Topic::<String, i64>::plain("clicks-per-minute");
//!
//! // What is done: clicks per page and minute.
//! let builder = StreamsBuilder::new();
//! builder
//!     .stream(&clicks)
//!     .filter(|_visitor, page| page.starts_with('/'))
//!     .group_by(|_visitor, page| page.clone())
//!     .windowed_by(TimeWindows::tumbling(Duration::from_secs(60)))
//!     .count("clicks")
//!     .updates()
//!     .map(|page, count| (page.key, count))
//!     .to(&per_minute);
//! let topology = builder.build()?;
//!
//! // Where it runs: here, on the in-process log. Leave out `log(..)` to run on the brokers.
//! let log = MemoryLog::new();
//! log.create_topic("clicks", 4);
//! log.create_topic("clicks-per-minute", 4);
//! let state = std::env::temp_dir().join(format!("millstream-doc-{}", std::process::id()));
//! let config = Config::builder("clicks", "localhost:9092").state_dir(&state).build()?;
//! let app = App::builder(&topology, config).log(log.clone()).start()?;
//! let now = Timestamp::from_millis(1_767_225_600_000);
//! log.produce("clicks", None, now, Some(b"ada"), Some(b"/home"), &Headers::new());
//! # while app.error().is_none() && log.read("clicks-per-minute").is_empty() {
//! #     app.wait_until_running(Duration::from_secs(10));
//! # }
//! # assert_eq!(log.read("clicks-per-minute")[0].key.as_deref(), Some(&b"/home"[..]));
//! app.close(Duration::from_secs(30));
//! # std::fs::remove_dir_all(state)?;
//! # Ok(()) }
//! ```
//!
//! The same topology runs in a test, without threads and without waiting, in a
//! [`TopologyTestDriver`](testing::TopologyTestDriver), where it can also crash and lose its disk.
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | topics, their types and codecs | [`Topic`], [`serde`] |
//! | beginning a pipeline | [`StreamsBuilder`] |
//! | what streams, groups and tables can do | [`KStream`], [`KGroupedStream`], [`KTable`] |
//! | windows: tumbling, hopping, sliding, sessions, joins | [`window`] |
//! | operators of your own, with stores and timers | [`processor`] |
//! | running an application, its states, its failures | [`App`], [`AppState`], [`FailureAction`] |
//! | every setting with its default and Kafka's name for it | [`ConfigBuilder`] |
//! | what happens to a record that fails | [`ErrorPolicy`] |
//! | what a running application counts | [`metrics`] |
//! | tests of pipelines | [`testing`] |
//! | logs: in-process, Kafka, or one of your own | [`log`] |
//! | what an error means | [`Error`], [`ErrorKind`], [`StartError`], [`TopologyError`] |
//! | how it is built, and why nothing is lost | [`doc::architecture`] |
//! | coming from Kafka Streams, with state and offsets | [`doc::migrating`] |
//! | connecting to a guarded cluster, and which rights it takes | [`doc::security`] |
//! | what goes wrong in a simulation, and what it catches | [`doc::simulation`] |
//! | what has changed | [`doc::changelog`] |
//!
//! # Features
//!
//! - `kafka` (default): real brokers. Records are read and written on Kafka's own protocol;
//!   membership and administration are librdkafka's, which is compiled from source: it needs a C
//!   compiler, make, and the headers of OpenSSL and zlib. Without it only the in-process log is
//!   there.
//! - `rocksdb` (default): stores on local disk, by RocksDB, which is compiled from source: it needs
//!   a C++ compiler and libclang. Without it stores live in memory and are restored from their
//!   changelogs at each start.
//! - `bincode`: the positional codec of the `bincode` crate, for those who accept its rules for
//!   schema changes.

pub mod config;
#[cfg(doc)]
pub mod doc;
mod dsl;
pub mod error;
#[cfg(millstream_fuzz)]
#[doc(hidden)]
pub mod fuzzing;
pub mod group;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod log;
pub mod metrics;
mod operator;
pub mod processor;
pub mod record;
mod runtime;
pub mod security;
pub mod serde;
mod spawn;
pub mod state;
mod task;
pub mod testing;
pub mod time;
pub mod topic;
pub mod topology;
pub mod window;

pub use config::{Config, ConfigBuilder, DataPlane, ErrorPolicy, Guarantee, Orphans};
pub use dsl::{
    BranchedKStream, Branches, Grouped, GroupingWindows, IntoRow, JoinKey, Joined, KGroupedStream,
    KGroupedTable, KStream, KTable, Materialized, NamedOutput, OpenStores, OutputSet, Processed,
    Repartitioned, SessionWindowedKStream, StoreRef, StoreSet, StreamJoined, StreamsBuilder,
    TimeWindowedKStream, Topology,
};
pub use error::{
    BoxError, ConfigError, ConfigErrors, Error, ErrorKind, LogProblem, Result, StartError,
    TopologyError, TopologyErrors,
};
pub use processor::{
    Cancellable, FixedKeyProcessor, Processor, ProcessorContext, Punctuation, PunctuationType,
};
pub use record::{Change, Data, Headers, Record};
pub use runtime::{App, AppBuilder, AppState, Ended, FailureAction, StateListener};
pub use security::{Sasl, Security, StateEncryption, Tls};
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
