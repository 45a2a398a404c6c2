//! One file for each kind of bytes.

pub(crate) mod batch;
pub(crate) mod changelog;
pub(crate) mod commit;
pub(crate) mod join;
pub(crate) mod key;
pub(crate) mod pipeline;
pub(crate) mod records;
pub(crate) mod stamp;
pub(crate) mod value;
pub(crate) mod window;
