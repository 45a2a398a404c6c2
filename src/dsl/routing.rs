//! Where records go: through a repartition topic, or to a topic that each record chooses.

use std::fmt;
use std::sync::Arc;

use crate::dsl::stream::KStream;
use crate::operator::sink::Destination;
use crate::record::Data;
use crate::serde::{Canonical, Codec, Key, MessagePack, SharedCodec, Value};
use crate::topology::{Node, RepartitionSpec, SinkSpec};

/// How records travel through a repartition topic.
pub struct Repartitioned<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) partitions: Option<u32>,
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<V>,
}

impl<K: Data, V: Data> Repartitioned<K, V> {
    /// A repartition topic of this name; canonical keys, values as MessagePack.
    #[doc(alias = "as")]
    pub fn named(name: impl Into<Arc<str>>) -> Self
    where
        K: Key,
        V: Value,
    {
        Self::with_codecs(name, Canonical, MessagePack)
    }

    /// A repartition topic of this name with codecs of your own.
    #[doc(alias = "withKeySerde")]
    #[doc(alias = "withValueSerde")]
    pub fn with_codecs(
        name: impl Into<Arc<str>>,
        key: impl Codec<K>,
        value: impl Codec<V>,
    ) -> Self {
        let (key, value) = (Arc::new(key), Arc::new(value));
        Self { name: name.into(), partitions: None, key, value }
    }

    /// How many partitions it has. Default: as many as the topics it is fed from.
    #[must_use]
    #[doc(alias = "withNumberOfPartitions")]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = Some(partitions);
        self
    }
}

impl<K, V> fmt::Debug for Repartitioned<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repartitioned")
            .field("name", &self.name)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

impl<K: Data, V: Data> KStream<K, V> {
    /// Sends the records through an internal topic, so that each comes to the partition of its key.
    ///
    /// The topic is `<application>-<name>-repartition`. Grouping and joining repartition by
    /// themselves; this is for another number of partitions, or for one topic before several
    /// aggregations.
    pub fn repartition(&self, name: impl Into<Arc<str>>) -> Self
    where
        K: Key,
        V: Value,
    {
        self.repartition_with(Repartitioned::named(name))
    }

    /// As [`repartition`](Self::repartition), with a number of partitions or codecs of your own.
    pub fn repartition_with(&self, options: Repartitioned<K, V>) -> Self {
        let Repartitioned { name, partitions, key, value } = options;
        let spec = RepartitionSpec { name, partitions };
        Self { port: self.port.repartition(spec, (key, value)) }
    }

    /// Writes each record to the topic that `choose` names; the topics must exist.
    ///
    /// `key` and `value` are the codecs, the same for every topic.
    #[doc(alias = "to")]
    #[doc(alias = "TopicNameExtractor")]
    pub fn to_chosen(
        &self,
        key: impl Codec<K>,
        value: impl Codec<V>,
        choose: impl Fn(&K, &V) -> Arc<str> + Send + Sync + 'static,
    ) {
        let destination = Destination::Chosen(Arc::new(choose));
        let codecs: (SharedCodec<K>, SharedCodec<V>) = (Arc::new(key), Arc::new(value));
        let mut node = Node::new("KSTREAM-SINK");
        node.sink = Some(SinkSpec::Dynamic);
        self.port.sink(node, destination, codecs);
    }
}
