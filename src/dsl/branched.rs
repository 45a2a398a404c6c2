//! Splits a stream into named branches.

use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use crate::dsl::attach::{Port, SharedDraft};
use crate::dsl::stream::KStream;
use crate::error::BoxError;
use crate::operator::branch::{Branch, Predicate};
use crate::operator::build::Output;
use crate::record::Data;
use crate::topology::{Node, NodeId};

/// Branches in the making. Made by [`KStream::split`], ended by one of the `default` methods.
#[must_use = "a split does nothing until it ends with `default` or `no_default`"]
pub struct BranchedKStream<K, V> {
    input: Port<K, V>,
    branches: Vec<(Arc<str>, Predicate<K, V>)>,
}

impl<K, V> fmt::Debug for BranchedKStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.branches.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl<K: Data, V: Data> KStream<K, V> {
    /// Splits the stream: each record goes to the first branch that accepts it.
    ///
    /// ```
    /// use millstream::{StreamsBuilder, Topic};
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream(&Topic::<String, i64>::plain("orders"));
    /// let by_size = orders
    ///     .split()
    ///     .branch("big", |_, amount| *amount >= 1000)
    ///     .branch("refunds", |_, amount| *amount < 0)
    ///     .default("rest");
    /// by_size["big"].to(&Topic::plain("big-orders"));
    /// by_size["rest"].to(&Topic::plain("orders-as-usual"));
    /// ```
    pub fn split(&self) -> BranchedKStream<K, V> {
        BranchedKStream { input: self.port.clone(), branches: Vec::new() }
    }
}

impl<K: Data, V: Data> BranchedKStream<K, V> {
    /// A branch for the records that `accept` accepts and no branch before it does.
    pub fn branch(
        self,
        name: impl Into<Arc<str>>,
        accept: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.try_branch(name, move |key, value| Ok::<bool, BoxError>(accept(key, value)))
    }

    /// As [`branch`](Self::branch), with a predicate that can fail.
    pub fn try_branch<E: Into<BoxError>>(
        mut self,
        name: impl Into<Arc<str>>,
        accept: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        let accept = move |key: &K, value: &V| accept(key, value).map_err(Into::into);
        self.branches.push((name.into(), Arc::new(accept)));
        self
    }

    /// Ends the split with a branch for the records that no other accepts.
    #[doc(alias = "defaultBranch")]
    pub fn default(self, name: impl Into<Arc<str>>) -> Branches<K, V> {
        self.attach(Some(name.into()))
    }

    /// Ends the split; records that no branch accepts end here.
    #[doc(alias = "noDefaultBranch")]
    pub fn no_default(self) -> Branches<K, V> {
        self.attach(None)
    }

    fn attach(self, rest: Option<Arc<str>>) -> Branches<K, V> {
        let draft = self.input.draft.clone();
        let input = self.input.output.node();
        let node = draft.with(|draft| draft.plan.add(Node::new("KSTREAM-BRANCH"), &[input]));
        let mut streams = Branches { streams: Vec::new() };
        let branches = self.branches.into_iter();
        let branches = branches.map(|(name, accept)| (accept, streams.add(&draft, node, name)));
        let branches = branches.collect();
        let rest = rest.map(|name| streams.add(&draft, node, name));
        self.input.output.attach(Arc::new(Branch { node, branches, rest }));
        streams
    }
}

/// Named streams: the branches of a split, or the outputs of a processor.
pub struct Branches<K, V> {
    streams: Vec<(Arc<str>, KStream<K, V>)>,
}

impl<K, V> fmt::Debug for Branches<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.streams.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl<K, V> Branches<K, V> {
    /// The stream of this name.
    pub fn get(&self, name: &str) -> Option<&KStream<K, V>> {
        self.iter().find(|(found, _)| *found == name).map(|(_, stream)| stream)
    }

    /// Name and stream of each branch, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &KStream<K, V>)> {
        self.streams.iter().map(|(name, stream)| (&**name, stream))
    }
}

/// `branches["big"]`.
///
/// # Panics
///
/// If there is no branch of this name.
impl<K, V> Index<&str> for Branches<K, V> {
    type Output = KStream<K, V>;

    fn index(&self, name: &str) -> &Self::Output {
        self.get(name).unwrap_or_else(|| panic!("there is no branch `{name}` among {self:?}"))
    }
}

impl<K: Data, V: Data> Branches<K, V> {
    /// Adds a stream behind a node that decides itself what goes there.
    pub(crate) fn add(
        &mut self,
        draft: &SharedDraft,
        parent: NodeId,
        name: Arc<str>,
    ) -> Arc<Output<K, V>> {
        let node = Node::new("KSTREAM-BRANCHCHILD").named(Arc::clone(&name));
        let output = Output::new(draft.with(|draft| draft.plan.add(node, &[parent])));
        let port = Port { draft: draft.clone(), output: Arc::clone(&output) };
        self.streams.push((name, KStream { port }));
        output
    }
}
