//! How does a plan become a running task? Factories build operators, once per task.
//!
//! # Invariants
//!
//! - A factory is shared by every task and therefore `Send + Sync`; what it builds belongs to one
//!   task on one thread.
//! - A node with two inputs is built once per task and shared through [`TaskBuilder::once`]: the
//!   only `Any` in the crate, once per such node per task.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::Result;
use crate::operator::fan_out::FanOut;
use crate::operator::punctuation::PunctuationQueue;
use crate::operator::push::{Cx, Edge, SinkTarget};
use crate::operator::source::Source;
use crate::record::Data;
use crate::serde::SharedCodec;
use crate::state::{KeyValueStore, Store, StoreHandle, StoreIndex};
use crate::time::Timestamp;
use crate::topology::{NodeId, TopicRef};

/// Builds the consumer of an edge: once per task, on the worker that will run the task.
pub(crate) trait Build<K, V>: Send + Sync {
    /// The operator, with everything downstream of it.
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V>;

    /// Whether the operator, or one that it hands changes on to, reads [`Change::old`].
    ///
    /// [`Change::old`]: crate::record::Change
    fn wants_old(&self) -> bool {
        false
    }
}

/// Builds the receiving end of a topic.
pub(crate) trait BuildSource: Send + Sync {
    /// The source, with everything downstream of it.
    fn build(&self, task: &mut TaskBuilder) -> Box<dyn Source>;
}

/// What a node feeds: its place in the plan and the consumers attached to it so far.
pub(crate) struct Output<K, V> {
    node: NodeId,
    consumers: Mutex<Vec<Arc<dyn Build<K, V>>>>,
}

impl<K: Data, V: Data> Output<K, V> {
    pub(crate) fn new(node: NodeId) -> Arc<Self> {
        Arc::new(Self { node, consumers: Mutex::default() })
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn attach(&self, consumer: Arc<dyn Build<K, V>>) {
        self.consumers.lock().expect("no panic while held").push(consumer);
    }

    /// The edge to all consumers. The last one gets each record by move.
    pub(crate) fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        let mut edges: Vec<_> =
            self.consumers().iter().map(|consumer| consumer.build(task)).collect();
        if edges.len() == 1 { edges.remove(0) } else { Box::new(FanOut::new(edges)) }
    }

    /// Whether any consumer reads the old value of a change.
    pub(crate) fn wants_old(&self) -> bool {
        self.consumers().iter().any(|consumer| consumer.wants_old())
    }

    /// Whether nothing consumes this output, so that results need not be made.
    pub(crate) fn is_unused(&self) -> bool {
        self.consumers().is_empty()
    }

    /// A copy: building runs code of users, which may panic, and no lock is held then.
    fn consumers(&self) -> Vec<Arc<dyn Build<K, V>>> {
        self.consumers.lock().expect("no panic while held").clone()
    }
}

/// An operator that keeps results back and hands them on when the task commits.
pub(crate) trait FlushResults {
    /// Pushes what was kept back.
    fn flush_results(&mut self, cx: &mut Cx<'_>) -> Result<()>;
}

/// An operator that has something to do before the first record.
pub(crate) trait Initialise {
    /// Does it; called again, does nothing.
    fn initialise(&mut self, cx: &mut Cx<'_>) -> Result<()>;
}

/// A store as its operators share it.
pub(crate) type Shared<S> = Rc<RefCell<S>>;

/// Collects what one task's operators need, while they are built.
pub(crate) struct TaskBuilder {
    /// The task's name, printed `0_3`.
    pub(crate) task: Arc<str>,
    handles: HashMap<Arc<str>, StoreHandle>,
    shared: HashMap<NodeId, Box<dyn Any>>,
    saved_times: SavedTimes,
    pub(crate) parts: TaskParts,
}

/// What the last commit knew of the times of nodes.
#[derive(Debug, Default)]
pub(crate) struct SavedTimes {
    /// The stream time that a node had observed.
    pub(crate) observed: HashMap<NodeId, Timestamp>,
    /// Until when windows were closed of which the final results had left.
    pub(crate) closed: HashMap<NodeId, Timestamp>,
}

/// A node that sends the final results of windows.
pub(crate) struct FinalResults {
    node: NodeId,
    observed: Rc<Cell<Timestamp>>,
    /// How far results are behind the observed time.
    lag: Duration,
}

impl FinalResults {
    /// Until when windows are closed of which the results have left, if any can be.
    pub(crate) fn closed(&self) -> Option<(NodeId, Timestamp)> {
        let closed = self.observed.get() - self.lag;
        (closed >= Timestamp::ZERO).then_some((self.node, closed))
    }
}

/// What a task drives beside its sources.
#[derive(Default)]
pub(crate) struct TaskParts {
    /// The topics that sinks write, by [`SinkTarget`].
    pub(crate) targets: Vec<TopicRef>,
    /// The stores in the order in which they were opened.
    pub(crate) stores: Vec<(StoreIndex, Shared<dyn Store>)>,
    /// The same stores by name, as `Shared` of their types: for operators that share a store, and
    /// for tests and queries that look into it.
    pub(crate) typed_stores: HashMap<Arc<str>, Box<dyn Any>>,
    /// Operators that keep results back, with their nodes; flushed in ascending order of node.
    pub(crate) flushes: Vec<(NodeId, Shared<dyn FlushResults>)>,
    /// Operators that are initialised before the first record, those upstream last.
    pub(crate) inits: Vec<Shared<dyn Initialise>>,
    /// Timers.
    pub(crate) punctuations: Shared<PunctuationQueue>,
    /// The stream time that windowed operators have observed; survives in the committed metadata.
    pub(crate) times: Vec<(NodeId, Rc<Cell<Timestamp>>)>,
    /// How far final results have left; survives in the committed metadata.
    pub(crate) finals: Vec<FinalResults>,
}

impl TaskParts {
    /// A store that was opened with this type.
    pub(crate) fn store<S: 'static>(&self, name: &str) -> Option<Shared<S>> {
        self.typed_stores.get(name)?.downcast_ref::<Shared<S>>().map(Rc::clone)
    }
}

impl TaskBuilder {
    /// Begins a task. `handles` are its stores, restored; `saved_times` what was committed of
    /// its operators' times.
    pub(crate) fn new(
        task: Arc<str>,
        handles: HashMap<Arc<str>, StoreHandle>,
        saved_times: SavedTimes,
    ) -> Self {
        Self { task, handles, shared: HashMap::new(), saved_times, parts: TaskParts::default() }
    }

    /// What this node was built as, building it on the first call: for nodes with several inputs.
    pub(crate) fn once<T: Clone + 'static>(
        &mut self,
        node: NodeId,
        build: impl FnOnce(&mut Self) -> T,
    ) -> T {
        if let Some(built) = self.shared.get(&node) {
            return built.downcast_ref::<T>().expect("a node is built as one type").clone();
        }
        let built = build(self);
        self.shared.insert(node, Box::new(built.clone()));
        built
    }

    /// The index under which records for this topic leave.
    pub(crate) fn target(&mut self, topic: &TopicRef) -> SinkTarget {
        let targets = &mut self.parts.targets;
        let index = targets.iter().position(|t| t == topic).unwrap_or_else(|| {
            targets.push(topic.clone());
            targets.len() - 1
        });
        SinkTarget(index as u32)
    }

    /// A key-value store, opened on the first call.
    pub(crate) fn key_value_store<K: Data + Eq + std::hash::Hash, V: Data>(
        &mut self,
        name: &Arc<str>,
        key: &SharedCodec<K>,
        value: &SharedCodec<V>,
    ) -> Shared<KeyValueStore<K, V>> {
        self.open_store(name, |handle| {
            KeyValueStore::new(handle, Arc::clone(key), Arc::clone(value))
        })
    }

    /// A store of any kind, opened by `open` on the first call and shared after it.
    pub(crate) fn open_store<S: Store + 'static>(
        &mut self,
        name: &Arc<str>,
        open: impl FnOnce(StoreHandle) -> S,
    ) -> Shared<S> {
        if let Some(store) = self.parts.typed_stores.get(name) {
            let store = store.downcast_ref::<Shared<S>>();
            return Rc::clone(store.expect("a store is opened with one type"));
        }
        let handle = self.handles.get(name).expect("the task opened every store of its plan");
        let index = handle.index;
        let store = Rc::new(RefCell::new(open(handle.clone())));
        self.parts.typed_stores.insert(Arc::clone(name), Box::new(Rc::clone(&store)));
        self.parts.stores.push((index, Rc::clone(&store) as Shared<dyn Store>));
        store
    }

    /// The stream time that a node has observed, where the last commit left it.
    pub(crate) fn observed_time(&mut self, node: NodeId) -> Rc<Cell<Timestamp>> {
        let saved = self.saved_times.observed.get(&node).copied().unwrap_or(Timestamp::UNKNOWN);
        let time = Rc::new(Cell::new(saved));
        self.parts.times.push((node, Rc::clone(&time)));
        time
    }

    /// Registers a node that sends the final results of windows as soon as they are closed, which
    /// is `lag` behind the time that it has observed.
    ///
    /// Where Kafka Streams has sent results up to a time, that time has been observed.
    pub(crate) fn sends_final_results(
        &mut self,
        node: NodeId,
        observed: &Rc<Cell<Timestamp>>,
        lag: Duration,
    ) {
        if let Some(closed) = self.saved_times.closed.get(&node) {
            observed.set(Timestamp::max(observed.get(), *closed + lag));
        }
        let observed = Rc::clone(observed);
        self.parts.finals.push(FinalResults { node, observed, lag });
    }

    /// Registers an operator that keeps results back until the commit.
    pub(crate) fn flush_at_commit(&mut self, node: NodeId, operator: Shared<dyn FlushResults>) {
        self.parts.flushes.push((node, operator));
    }

    /// The task's timers.
    pub(crate) fn punctuations(&self) -> Shared<PunctuationQueue> {
        Rc::clone(&self.parts.punctuations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Node, Plan};

    const LAG: Duration = Duration::from_millis(30);

    fn a_node() -> NodeId {
        Plan::default().add(Node::new("KSTREAM-AGGREGATE"), &[])
    }

    fn task(node: NodeId, observed: Option<i64>, closed: Option<i64>) -> TaskBuilder {
        let saved = |time: Option<i64>| {
            time.map(|time| (node, Timestamp::from_millis(time))).into_iter().collect()
        };
        let times = SavedTimes { observed: saved(observed), closed: saved(closed) };
        TaskBuilder::new("0_0".into(), HashMap::new(), times)
    }

    /// The observed time and how far results have left, after what was saved and a record at 45.
    fn times(observed: Option<i64>, closed: Option<i64>) -> (i64, Option<i64>) {
        let node = a_node();
        let mut task = task(node, observed, closed);
        let time = task.observed_time(node);
        task.sends_final_results(node, &time, LAG);
        let begun = time.get().as_millis();
        time.set(Timestamp::max(time.get(), Timestamp::from_millis(45)));
        let closed = task.parts.finals[0].closed().map(|(_, closed)| closed.as_millis());
        (begun, closed)
    }

    #[test]
    fn final_results_go_on_where_they_have_left_off() {
        assert_eq!(times(None, None), (-1, Some(15)));
        assert_eq!(times(Some(40), Some(10)), (40, Some(15)));
        assert_eq!(times(Some(40), None), (40, Some(15)));
    }

    #[test]
    fn what_kafka_streams_has_sent_since_is_not_sent_again() {
        assert_eq!(times(None, Some(50)), (80, Some(50)));
        assert_eq!(times(Some(40), Some(50)), (80, Some(50)));
    }

    #[test]
    fn nothing_is_noted_before_a_window_can_be_closed() {
        let node = a_node();
        let mut task = task(node, Some(29), None);
        let time = task.observed_time(node);
        task.sends_final_results(node, &time, LAG);
        assert_eq!(task.parts.finals[0].closed(), None);
    }
}
