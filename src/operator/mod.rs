//! How does one record move? Operators: the mechanism, then one file each.

pub(crate) mod build;
pub(crate) mod fan_out;
pub(crate) mod punctuation;
pub(crate) mod push;
pub(crate) mod sink;
pub(crate) mod source;

pub(crate) mod aggregate;
pub(crate) mod filter;
pub(crate) mod flat_map;
pub(crate) mod lookup;
pub(crate) mod map;
pub(crate) mod table_to_stream;
