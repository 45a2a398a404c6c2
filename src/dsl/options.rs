//! What may be said beside a name: how an operator keeps and hands on its results.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::record::Data;
use crate::serde::{Canonical, Codec, Key, MessagePack, SharedCodec, Value};
use crate::topology::{StoreKind, StoreSpec};
use crate::window::Emit;

/// How the result of a stateful operator is kept.
///
/// ```
/// use millstream::Materialized;
///
/// let totals = Materialized::<String, u64>::named("totals").in_memory();
/// # let _ = totals;
/// ```
pub struct Materialized<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<V>,
    pub(crate) emit: Emit,
    pub(crate) retention: Option<Duration>,
    changelog: bool,
    changelog_configs: Vec<(String, String)>,
    in_memory: bool,
}

impl<K: Data, V: Data> Materialized<K, V> {
    /// A store of this name; canonical keys, values as MessagePack.
    #[doc(alias = "as")]
    pub fn named(name: impl Into<Arc<str>>) -> Self
    where
        K: Key,
        V: Value,
    {
        Self::with_codecs(name, Canonical, MessagePack)
    }

    /// A store of this name with codecs of your own.
    #[doc(alias = "withKeySerde")]
    #[doc(alias = "withValueSerde")]
    pub fn with_codecs(
        name: impl Into<Arc<str>>,
        key: impl Codec<K>,
        value: impl Codec<V>,
    ) -> Self {
        Self::shared(name.into(), Arc::new(key), Arc::new(value))
    }

    pub(crate) fn shared(name: Arc<str>, key: SharedCodec<K>, value: SharedCodec<V>) -> Self {
        Self {
            name,
            key,
            value,
            emit: Emit::default(),
            retention: None,
            changelog: true,
            changelog_configs: Vec::new(),
            in_memory: false,
        }
    }

    /// When downstream sees a result. Default: at each update.
    #[must_use]
    pub fn emit(mut self, emit: Emit) -> Self {
        self.emit = emit;
        self
    }

    /// How long windows and sessions are kept behind stream time.
    /// Default: their size (or gap) and grace.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Keeps the store in memory, restored from its changelog at each start.
    #[must_use]
    #[doc(alias = "withStoreType")]
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Keeps no changelog: the store is lost with the directory it lies in.
    #[must_use]
    #[doc(alias = "withLoggingDisabled")]
    pub fn without_changelog(mut self) -> Self {
        self.changelog = false;
        self
    }

    /// A setting of the changelog topic.
    #[must_use]
    #[doc(alias = "withLoggingEnabled")]
    pub fn changelog_config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.changelog_configs.push((name.into(), value.into()));
        self
    }

    pub(crate) fn spec(&self, kind: StoreKind) -> StoreSpec {
        StoreSpec {
            name: Arc::clone(&self.name),
            kind,
            changelog: self.changelog,
            changelog_configs: self.changelog_configs.clone(),
            changelog_retention: None,
            in_memory: self.in_memory,
        }
    }
}

impl<K, V> fmt::Debug for Materialized<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Materialized").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How records travel to the operator that groups them, if they must change partitions.
pub struct Grouped<K, V> {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<V>,
}

impl<K: Data, V: Data> Grouped<K, V> {
    /// Codecs of the repartition topic, named after the first store behind it.
    pub fn with_codecs(key: impl Codec<K>, value: impl Codec<V>) -> Self {
        Self { name: None, key: Arc::new(key), value: Arc::new(value) }
    }

    /// A repartition topic of this name; canonical keys, values as MessagePack.
    #[doc(alias = "as")]
    pub fn named(name: impl Into<Arc<str>>) -> Self
    where
        K: Key,
        V: Value,
    {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// These options under a name for the repartition topic.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl<K, V> Clone for Grouped<K, V> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), key: Arc::clone(&self.key), value: Arc::clone(&self.value) }
    }
}

impl<K: Key, V: Value> Default for Grouped<K, V> {
    fn default() -> Self {
        Self::with_codecs(Canonical, MessagePack)
    }
}

impl<K, V> fmt::Debug for Grouped<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grouped").field("name", &self.name).finish_non_exhaustive()
    }
}
