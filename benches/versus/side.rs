//! Who is compared? A library and where it keeps its state.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    Millstream,
    KafkaStreams,
}

/// One of the compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) library: Library,
    /// `disk` is RocksDB on both sides.
    pub(crate) store: &'static str,
}

impl Side {
    pub(crate) fn is_ours(self) -> bool {
        self.library == Library::Millstream
    }
}

pub(crate) const ALL: [Side; 4] = [
    Side { name: "millstream", library: Library::Millstream, store: "disk" },
    Side { name: "streams-rocksdb", library: Library::KafkaStreams, store: "disk" },
    Side { name: "streams-memory", library: Library::KafkaStreams, store: "memory" },
    Side { name: "millstream-memory", library: Library::Millstream, store: "memory" },
];

/// Those that run unless others are asked for; one of each library where there is no state.
pub(crate) fn usual(is_stateful: bool) -> Vec<Side> {
    ALL[..if is_stateful { 3 } else { 2 }].to_vec()
}
