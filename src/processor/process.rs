//! Hands each record to a processor of the user's, and its timers when they fire.
//!
//! The processor is made with the task, initialised before anything else happens to it, and closed
//! when the task is dropped.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::operator::build::{Build, Initialise, Output, Shared, TaskBuilder};
use crate::operator::punctuation::{Punctuate, Punctuation};
use crate::operator::push::{Cx, Edge, FailureStage, Push};
use crate::processor::{
    FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, Processor, ProcessorContext, Surroundings,
    TaskName, Timers,
};
use crate::record::{Data, Record};
use crate::topology::NodeId;

/// Either kind of processor, as the operator calls it.
pub(crate) trait Drive<K, V, K2, V2>: 'static {
    /// What it may forward.
    type Forwards;

    fn init(&mut self, cx: &mut Context<'_, K, V, K2, V2, Self>) -> Result<(), BoxError>;

    fn process(
        &mut self,
        cx: &mut Context<'_, K, V, K2, V2, Self>,
        record: Record<K, V>,
    ) -> Result<(), BoxError>;

    fn punctuate(
        &mut self,
        cx: &mut Context<'_, K, V, K2, V2, Self>,
        punctuation: Punctuation,
    ) -> Result<(), BoxError>;

    fn close(&mut self);
}

/// The context that a processor of either kind is called with.
type Context<'a, K, V, K2, V2, P> =
    ProcessorContext<'a, K2, V2, <P as Drive<K, V, K2, V2>>::Forwards>;

/// A processor that may change keys.
pub(crate) struct AnyKey<P>(pub(crate) P);

/// A processor that may not.
pub(crate) struct FixedKey<P>(pub(crate) P);

impl<K, V, K2, V2, P: Processor<K, V, K2, V2>> Drive<K, V, K2, V2> for AnyKey<P> {
    type Forwards = Record<K2, V2>;

    fn init(&mut self, cx: &mut ProcessorContext<'_, K2, V2>) -> Result<(), BoxError> {
        self.0.init(cx)
    }

    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, K2, V2>,
        record: Record<K, V>,
    ) -> Result<(), BoxError> {
        self.0.process(cx, record)
    }

    fn punctuate(
        &mut self,
        cx: &mut ProcessorContext<'_, K2, V2>,
        punctuation: Punctuation,
    ) -> Result<(), BoxError> {
        self.0.punctuate(cx, punctuation)
    }

    fn close(&mut self) {
        self.0.close();
    }
}

impl<K, V, V2, P: FixedKeyProcessor<K, V, V2>> Drive<K, V, K, V2> for FixedKey<P> {
    type Forwards = FixedKeyRecord<K, V2>;

    fn init(&mut self, cx: &mut FixedKeyContext<'_, K, V2>) -> Result<(), BoxError> {
        self.0.init(cx)
    }

    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, K, V2>,
        record: Record<K, V>,
    ) -> Result<(), BoxError> {
        self.0.process(cx, FixedKeyRecord::of(record))
    }

    fn punctuate(
        &mut self,
        cx: &mut FixedKeyContext<'_, K, V2>,
        punctuation: Punctuation,
    ) -> Result<(), BoxError> {
        self.0.punctuate(cx, punctuation)
    }

    fn close(&mut self) {
        self.0.close();
    }
}

/// Factory; `make` makes the processor of a task.
pub(crate) struct Process<F, K2, V2> {
    pub(crate) make: F,
    pub(crate) output: Arc<Output<K2, V2>>,
}

struct ProcessOp<K, V, K2, V2, P: Drive<K, V, K2, V2>> {
    node: NodeId,
    processor: P,
    is_initialised: bool,
    next: Edge<K2, V2>,
    timers: Timers,
    task: TaskName,
    takes: std::marker::PhantomData<fn(K, V)>,
}

impl<F, K, V, K2, V2, P> Build<K, V> for Process<F, K2, V2>
where
    F: Fn(&mut TaskBuilder) -> P + Send + Sync,
    K: Data,
    V: Data,
    K2: Data,
    V2: Data,
    P: Drive<K, V, K2, V2>,
{
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        let node = self.output.node();
        let next = self.output.build(task);
        let processor = (self.make)(task);
        let queue = task.punctuations();
        let name = task.task.parse().expect("a task is named by its id");
        let operator = Rc::new_cyclic(|operator: &Weak<RefCell<_>>| {
            let target = Weak::clone(operator) as Weak<RefCell<dyn Punctuate>>;
            RefCell::new(ProcessOp {
                node,
                processor,
                is_initialised: false,
                next,
                timers: Timers { queue, target },
                task: TaskName(name),
                takes: std::marker::PhantomData,
            })
        });
        task.parts.inits.push(Rc::clone(&operator) as Shared<dyn Initialise>);
        Box::new(operator)
    }
}

impl<K, V, K2, V2, P: Drive<K, V, K2, V2>> ProcessOp<K, V, K2, V2, P> {
    /// Calls the processor; the error inside is the processor's, the other one ends the task.
    fn call(
        &mut self,
        cx: &mut Cx<'_>,
        call: impl FnOnce(&mut P, &mut Context<'_, K, V, K2, V2, P>) -> Result<(), BoxError>,
    ) -> Result<Result<(), BoxError>> {
        let Self { processor, next, timers, task, .. } = self;
        let surroundings = Surroundings { next: &mut **next, timers, task: *task };
        let mut context = ProcessorContext::new(cx.reborrow(), surroundings);
        let outcome = call(processor, &mut context);
        match (context.finish(), outcome) {
            (Some(broken), _) => Err(broken),
            (None, Err(error)) => own_or_theirs(error).map(Err),
            (None, Ok(())) => Ok(Ok(())),
        }
    }

    fn call_or_fail(
        &mut self,
        cx: &mut Cx<'_>,
        call: impl FnOnce(&mut P, &mut Context<'_, K, V, K2, V2, P>) -> Result<(), BoxError>,
    ) -> Result<()> {
        if let Err(error) = self.call(cx, call)? {
            cx.fail(self.node, FailureStage::Process, error);
        }
        Ok(())
    }
}

/// The error, if it is the processor's own; one of ours, which it has handed on, is returned as
/// the error that ends the task.
#[cold]
fn own_or_theirs(error: BoxError) -> Result<BoxError> {
    let error = match error.downcast::<Error>() {
        Ok(ours) => return Err(*ours),
        Err(error) => error,
    };
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(ours) = inner.downcast_ref::<Error>() {
            let message = "a processor cannot go on";
            return Err(Error::new(ours.kind(), message).caused_by(error));
        }
        cause = inner.source();
    }
    Ok(error)
}

impl<K, V, K2, V2, P: Drive<K, V, K2, V2>> Initialise for ProcessOp<K, V, K2, V2, P> {
    fn initialise(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        if std::mem::replace(&mut self.is_initialised, true) {
            return Ok(());
        }
        let outcome = self.call(cx, Drive::init)?;
        outcome.map_err(|error| {
            Error::new(ErrorKind::Fatal, "a processor cannot be initialised").caused_by(error)
        })
    }
}

impl<K, V, K2, V2, P: Drive<K, V, K2, V2>> Push<K, V> for ProcessOp<K, V, K2, V2, P> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        // A processor before this one may forward while it is initialised.
        self.initialise(cx)?;
        self.call_or_fail(cx, |processor, context| processor.process(context, record))
    }
}

impl<K, V, K2, V2, P: Drive<K, V, K2, V2>> Punctuate for ProcessOp<K, V, K2, V2, P> {
    fn punctuate(&mut self, cx: &mut Cx<'_>, punctuation: Punctuation) -> Result<()> {
        self.call_or_fail(cx, |processor, context| processor.punctuate(context, punctuation))
    }
}

impl<K, V, K2, V2, P: Drive<K, V, K2, V2>> Drop for ProcessOp<K, V, K2, V2, P> {
    fn drop(&mut self) {
        // Code that has just panicked is not called again.
        if self.is_initialised && !std::thread::panicking() {
            self.processor.close();
        }
    }
}
