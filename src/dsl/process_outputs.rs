//! Named outputs of a processor, beside its main one.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::dsl::attach::{Port, SharedDraft};
use crate::dsl::process_stores::OpenStores;
use crate::dsl::stream::KStream;
use crate::operator::build::Output;
use crate::processor::Outlet;
use crate::record::Data;
use crate::topology::{Node, NodeId};

/// A declared output of a processor: a stream of its own types.
///
/// Given to [`KStream::process_to`].
pub struct NamedOutput<K, V> {
    name: Arc<str>,
    types: PhantomData<fn(K, V)>,
}

impl<K: Data, V: Data> NamedOutput<K, V> {
    /// An output of this name, which is added to the processor's.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), types: PhantomData }
    }
}

impl<K, V> fmt::Debug for NamedOutput<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamedOutput").field(&self.name).finish()
    }
}

/// A processor whose outputs are being added.
pub struct Wiring<'a> {
    draft: &'a SharedDraft,
    processor: NodeId,
}

impl<'a> Wiring<'a> {
    pub(crate) const fn new(draft: &'a SharedDraft, processor: NodeId) -> Self {
        Self { draft, processor }
    }
}

impl fmt::Debug for Wiring<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wiring")
    }
}

/// What a task needs to build an outlet.
pub struct Wired<K, V>(Arc<Output<K, V>>);

impl<K, V> fmt::Debug for Wired<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wired")
    }
}

/// The named outputs of a processor: none, a [`NamedOutput`], or a tuple of them.
pub trait OutputSet: Sized {
    /// What the supplier is handed: an [`Outlet`] for each output.
    type Outlets;
    /// What the caller gets: a [`KStream`] for each output.
    type Streams;
    /// What tasks build outlets from.
    type Wired: Send + Sync + 'static;

    /// Adds the outputs to the pipeline.
    fn wire(self, processor: &mut Wiring<'_>) -> (Self::Streams, Self::Wired);

    /// Builds the outlets in a task.
    fn outlets(wired: &Self::Wired, task: &mut OpenStores<'_>) -> Self::Outlets;
}

impl OutputSet for () {
    type Outlets = ();
    type Streams = ();
    type Wired = ();

    fn wire(self, _: &mut Wiring<'_>) -> ((), ()) {
        ((), ())
    }

    fn outlets((): &(), _: &mut OpenStores<'_>) {}
}

impl<K: Data, V: Data> OutputSet for NamedOutput<K, V> {
    type Outlets = Outlet<K, V>;
    type Streams = KStream<K, V>;
    type Wired = Wired<K, V>;

    fn wire(self, processor: &mut Wiring<'_>) -> (KStream<K, V>, Wired<K, V>) {
        let output = processor.draft.with(|draft| {
            let name = format!("{}-{}", draft.plan.node(processor.processor), self.name);
            let node = Node::new("KSTREAM-PROCESSOR-OUTPUT").named(name);
            Output::new(draft.plan.add(node, &[processor.processor]))
        });
        let port = Port { draft: processor.draft.clone(), output: Arc::clone(&output) };
        (KStream { port }, Wired(output))
    }

    fn outlets(wired: &Wired<K, V>, task: &mut OpenStores<'_>) -> Outlet<K, V> {
        Outlet::new(wired.0.build(task.0))
    }
}

macro_rules! tuples_of_outputs {
    ($(($($output:ident . $index:tt),+))+) => {$(
        impl<$($output: OutputSet),+> OutputSet for ($($output,)+) {
            type Outlets = ($($output::Outlets,)+);
            type Streams = ($($output::Streams,)+);
            type Wired = ($($output::Wired,)+);

            fn wire(self, processor: &mut Wiring<'_>) -> (Self::Streams, Self::Wired) {
                let added = ($(self.$index.wire(processor),)+);
                (($(added.$index.0,)+), ($(added.$index.1,)+))
            }

            fn outlets(wired: &Self::Wired, task: &mut OpenStores<'_>) -> Self::Outlets {
                ($($output::outlets(&wired.$index, task),)+)
            }
        }
    )+};
}

tuples_of_outputs! {
    (A.0, B.1)
    (A.0, B.1, C.2)
    (A.0, B.1, C.2, D.3)
}
