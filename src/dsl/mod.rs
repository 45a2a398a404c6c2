//! What do users write? The typed language of pipelines.
//!
//! A call writes two things in one function: a node in the plan, which is plain data, and a typed
//! factory on the output it reads from. Nothing runs here.

pub(crate) mod attach;
mod branched;
mod builder;
mod fallible;
mod grouped;
mod grouped_table;
mod options;
mod process;
mod process_outputs;
mod process_stores;
mod routing;
mod row;
mod session_windowed;
mod source_table;
mod stateless;
mod stream;
mod stream_joined;
mod table;
mod table_joined;
mod table_views;
mod windowed;

pub use branched::{BranchedKStream, Branches};
pub use builder::{StreamsBuilder, Topology};
pub use grouped::KGroupedStream;
pub use grouped_table::KGroupedTable;
pub use options::{Grouped, Materialized};
pub use process::Processed;
pub use process_outputs::{NamedOutput, OutputSet};
pub use process_stores::{OpenStores, StoreRef, StoreSet};
pub use routing::Repartitioned;
pub use row::{IntoRow, JoinKey};
pub use session_windowed::SessionWindowedKStream;
pub use stream::KStream;
pub use stream_joined::StreamJoined;
pub use table::KTable;
pub use table_joined::Joined;
pub use windowed::{GroupingWindows, TimeWindowedKStream};
