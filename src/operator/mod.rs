//! How does one record move? Operators: the mechanism, then one file each.

pub(crate) mod build;
pub(crate) mod fan_out;
pub(crate) mod punctuation;
pub(crate) mod push;
pub(crate) mod sink;
pub(crate) mod source;

pub(crate) mod aggregate;
pub(crate) mod branch;
pub(crate) mod change_codec;
pub(crate) mod filter;
pub(crate) mod flat_map;
pub(crate) mod flatten;
pub(crate) mod headers;
pub(crate) mod lookup;
pub(crate) mod map;
pub(crate) mod merge;
pub(crate) mod session_aggregate;
mod sliding_aggregate;
pub(crate) mod stream_join;
pub(crate) mod stream_table_join;
pub(crate) mod table_filter;
pub(crate) mod table_group;
pub(crate) mod table_join;
pub(crate) mod table_map;
pub(crate) mod table_store;
pub(crate) mod table_to_stream;
mod time_aggregate;
pub(crate) mod window_aggregate;
pub(crate) mod window_lookup;
pub(crate) mod windowed_results;
