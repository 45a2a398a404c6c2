//! Hands a stream to a processor of the user's.

use std::fmt;
use std::sync::Arc;

use crate::dsl::process_outputs::{OutputSet, Wiring};
use crate::dsl::process_stores::{OpenStores, StoreSet};
use crate::dsl::stream::KStream;
use crate::operator::build::TaskBuilder;
use crate::processor::process::{AnyKey, FixedKey, Process};
use crate::processor::{FixedKeyProcessor, Processor};
use crate::record::Data;
use crate::topology::Node;

/// A processor's name and the stores it is connected to.
///
/// ```
/// use millstream::{Materialized, Processed, StreamsBuilder};
///
/// let builder = StreamsBuilder::new();
/// let seen = builder.add_store(Materialized::<String, bool>::named("seen"));
/// let options = Processed::new().named("dedup").stores(seen);
/// # let _ = options;
/// ```
#[derive(Clone, Default)]
pub struct Processed<S = ()> {
    name: Option<Arc<str>>,
    stores: S,
}

impl Processed {
    /// Without a name and without stores.
    pub fn new() -> Self {
        Self::default()
    }

    /// The processor is connected to these stores: one [`StoreRef`](crate::StoreRef), or a tuple
    /// or a `Vec` of them. Its supplier is handed the opened stores in the same form.
    pub fn stores<S: StoreSet>(self, stores: S) -> Processed<S> {
        Processed { name: self.name, stores }
    }
}

impl<S> Processed<S> {
    /// A name for `describe` and for error messages; no other processor may have it.
    #[must_use]
    #[doc(alias = "as")]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl<S: StoreSet> Processed<S> {
    fn node(&self, kind: &'static str) -> Node {
        let mut node = Node::new(kind);
        node.name.clone_from(&self.name);
        self.stores.each_name(&mut |name| {
            if !node.stores.contains(name) {
                node.stores.push(Arc::clone(name));
            }
        });
        node
    }
}

impl<S> fmt::Debug for Processed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processed").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<K: Data, V: Data> KStream<K, V> {
    /// Hands each record to a processor; what it forwards is the returned stream.
    ///
    /// `supplier` makes one processor for each task. A grouping or join behind it repartitions,
    /// since a processor may change keys; [`process_values`](Self::process_values) cannot. See
    /// [`processor`](crate::processor).
    pub fn process<K2: Data, V2: Data, P: Processor<K, V, K2, V2>>(
        &self,
        supplier: impl Fn() -> P + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        self.process_with(Processed::new(), move |()| supplier())
    }

    /// As [`process`](Self::process), with stores, which the supplier is handed, or a name.
    pub fn process_with<K2, V2, P, S>(
        &self,
        options: Processed<S>,
        supplier: impl Fn(S::Opened) -> P + Send + Sync + 'static,
    ) -> KStream<K2, V2>
    where
        K2: Data,
        V2: Data,
        P: Processor<K, V, K2, V2>,
        S: StoreSet,
    {
        self.process_to((), options, move |(), stores| supplier(stores)).0
    }

    /// As [`process_with`](Self::process_with), with named outputs beside the main one.
    ///
    /// The supplier is handed the outlets that lead there, in the same form as the outputs are
    /// given: one [`NamedOutput`](crate::NamedOutput), or a tuple of them.
    ///
    /// ```
    /// use millstream::processor::{Outlet, Processor, ProcessorContext};
    /// use millstream::{BoxError, NamedOutput, Processed, Record, StreamsBuilder, Topic};
    ///
    /// struct Parse {
    ///     refused: Outlet<String, String>,
    /// }
    ///
    /// impl Processor<String, String, String, i64> for Parse {
    ///     fn process(
    ///         &mut self,
    ///         cx: &mut ProcessorContext<'_, String, i64>,
    ///         record: Record<String, String>,
    ///     ) -> Result<(), BoxError> {
    ///         match record.value.parse() {
    ///             Ok(number) => cx.forward(record.with_value(number)),
    ///             Err(_) => cx.forward_to(&mut self.refused, record),
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// let lines = builder.stream(&Topic::<String, String>::plain("lines"));
    /// let (output, options) = (NamedOutput::new("refused"), Processed::new().named("parse"));
    /// let (numbers, refused) = lines.process_to(output, options, |refused, ()| Parse { refused });
    /// numbers.to(&Topic::plain("numbers"));
    /// refused.to(&Topic::plain("refused"));
    /// ```
    pub fn process_to<K2, V2, P, O, S>(
        &self,
        outputs: O,
        options: Processed<S>,
        supplier: impl Fn(O::Outlets, S::Opened) -> P + Send + Sync + 'static,
    ) -> (KStream<K2, V2>, O::Streams)
    where
        K2: Data,
        V2: Data,
        P: Processor<K, V, K2, V2>,
        O: OutputSet,
        S: StoreSet,
    {
        let node = options.node("KSTREAM-PROCESSOR").changing_key();
        let stores = options.stores;
        let mut streams = None;
        let port = self.port.attach(node, |output| {
            let (added, wired) = outputs.wire(&mut Wiring::new(&self.port.draft, output.node()));
            streams = Some(added);
            let make = move |task: &mut TaskBuilder| {
                let outlets = O::outlets(&wired, &mut OpenStores(task));
                AnyKey(supplier(outlets, stores.open(&mut OpenStores(task))))
            };
            Process { make, output }
        });
        (KStream { port }, streams.expect("the outputs were wired a few lines above"))
    }

    /// Hands each record to a processor that cannot change keys.
    #[doc(alias = "processValues")]
    pub fn process_values<V2: Data, P: FixedKeyProcessor<K, V, V2>>(
        &self,
        supplier: impl Fn() -> P + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.process_values_with(Processed::new(), move |()| supplier())
    }

    /// As [`process_values`](Self::process_values), with stores, which the supplier is handed, or a
    /// name.
    #[doc(alias = "processValues")]
    pub fn process_values_with<V2, P, S>(
        &self,
        options: Processed<S>,
        supplier: impl Fn(S::Opened) -> P + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        V2: Data,
        P: FixedKeyProcessor<K, V, V2>,
        S: StoreSet,
    {
        let node = options.node("KSTREAM-PROCESSVALUES");
        let stores = options.stores;
        let make =
            move |task: &mut TaskBuilder| FixedKey(supplier(stores.open(&mut OpenStores(task))));
        KStream { port: self.port.attach(node, |output| Process { make, output }) }
    }
}
