//! What if no operator of the language fits? A processor: a struct of yours that is handed one
//! record after the other, keeps state in stores, sets timers, and forwards what it likes.
//!
//! A processor is made once for each task by a supplier and lives on the task's thread, so it needs
//! neither locks nor `Send`. Stores are declared on the [`StreamsBuilder`], named outputs as
//! [`NamedOutput`]; the supplier is handed both, ready for use and with their types.
//!
//! ```
//! use millstream::processor::{KeyValueStore, Processor, ProcessorContext, Punctuation};
//! use millstream::testing::TopologyTestDriver;
//! use millstream::{
//!     BoxError, Materialized, Processed, PunctuationType, Record, StreamsBuilder, Timestamp,
//!     Topic,
//! };
//! use std::time::Duration;
//!
//! /// Adds up the amounts of each account and reports all sums every ten seconds of stream time.
//! struct Sums {
//!     sums: KeyValueStore<String, i64>,
//! }
//!
//! impl Processor<String, i64, String, i64> for Sums {
//!     fn init(&mut self, cx: &mut ProcessorContext<'_, String, i64>) -> Result<(), BoxError> {
//!         cx.schedule(Duration::from_secs(10), PunctuationType::StreamTime);
//!         Ok(())
//!     }
//!
//!     fn process(
//!         &mut self,
//!         _: &mut ProcessorContext<'_, String, i64>,
//!         record: Record<String, i64>,
//!     ) -> Result<(), BoxError> {
//!         let Record { key, value, timestamp } = record;
//!         self.sums.update(&key, timestamp, |sum| *sum.get_or_insert(0) += value)?;
//!         Ok(())
//!     }
//!
//!     fn punctuate(
//!         &mut self,
//!         cx: &mut ProcessorContext<'_, String, i64>,
//!         punctuation: Punctuation,
//!     ) -> Result<(), BoxError> {
//!         for (account, sum, _) in self.sums.all()? {
//!             cx.forward(Record::new(account, sum, punctuation.time));
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let (payments, reports) = (Topic::plain("payments"), Topic::plain("reports"));
//! let builder = StreamsBuilder::new();
//! let sums = builder.add_store(Materialized::named("sums"));
//! let stream = builder.stream(&payments);
//! stream.process_with(Processed::new().stores(sums), |sums| Sums { sums }).to(&reports);
//!
//! let mut driver = TopologyTestDriver::new(&builder.build()?);
//! driver.input(&payments).send("ann".to_owned(), 5, Timestamp::from_millis(1_000))?;
//! driver.input(&payments).send("ann".to_owned(), 7, Timestamp::from_millis(12_000))?;
//! let reported = driver.output(&reports).drain()?;
//! let sums: Vec<i64> = reported.into_iter().map(|report| report.value).collect();
//! assert_eq!(sums, [5, 12]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Errors
//!
//! An error that a processor returns goes to the processing error policy: the application stops,
//! or the record is skipped or dead-lettered; what was forwarded and stored before stays. An error
//! of a store, or of what is downstream, is no matter of policy: it ends the task, whether the
//! processor hands it on or not. An error of `init` stops the application.
//!
//! # Punctuation
//!
//! - Stream time: a timer fires on a grid of multiples of its interval; first right after the first
//!   record, then once whenever stream time has reached the next multiple, however many it jumped
//!   over. It never fires without a record.
//! - Wall clock: a timer fires first after a full interval and then on the grid that the first
//!   schedule began; what was missed is not made up for.
//! - Timers are not kept: they end with the task, and `init` sets them again.
//!
//! [`StreamsBuilder`]: crate::StreamsBuilder
//! [`NamedOutput`]: crate::NamedOutput

mod context;
pub(crate) mod process;
mod stores;

use crate::error::BoxError;
use crate::record::Record;

pub use crate::operator::punctuation::{Cancellable, Punctuation, PunctuationType, TimerId};
pub use context::{FixedKeyContext, FixedKeyRecord, Outlet, ProcessorContext, RecordMetadata};
pub(crate) use context::{Surroundings, TaskName, Timers};
pub use stores::{KeyValueStore, Row, SessionStore, TableRows, WindowStore};

/// Turns records of `K` and `V` into records of `K2` and `V2`, with state and timers of its own.
///
/// Given to [`KStream::process`](crate::KStream::process).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not process records of `{K}` and `{V}` into `{K2}` and `{V2}`",
    note = "implement `Processor` with the key and value types of the stream it reads"
)]
pub trait Processor<K, V, K2, V2>: 'static {
    /// Called once before the first record: the place to set timers.
    ///
    /// # Errors
    ///
    /// An error stops the application.
    fn init(&mut self, cx: &mut ProcessorContext<'_, K2, V2>) -> Result<(), BoxError> {
        let _ = cx;
        Ok(())
    }

    /// Called with each record.
    ///
    /// # Errors
    ///
    /// An error goes to the processing error policy.
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, K2, V2>,
        record: Record<K, V>,
    ) -> Result<(), BoxError>;

    /// Called when a timer that this processor has set fires.
    ///
    /// # Errors
    ///
    /// The application stops where the processing error policy is to fail, and goes on otherwise:
    /// there is no record to set aside.
    fn punctuate(
        &mut self,
        cx: &mut ProcessorContext<'_, K2, V2>,
        punctuation: Punctuation,
    ) -> Result<(), BoxError> {
        let _ = (cx, punctuation);
        Ok(())
    }

    /// Called when the task ends, before the processor is dropped. What was not committed is gone
    /// by then.
    fn close(&mut self) {}
}

/// One of several processors, chosen by the supplier.
impl<K, V, K2, V2, P> Processor<K, V, K2, V2> for Box<P>
where
    P: Processor<K, V, K2, V2> + ?Sized,
{
    fn init(&mut self, cx: &mut ProcessorContext<'_, K2, V2>) -> Result<(), BoxError> {
        P::init(self, cx)
    }

    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, K2, V2>,
        record: Record<K, V>,
    ) -> Result<(), BoxError> {
        P::process(self, cx, record)
    }

    fn punctuate(
        &mut self,
        cx: &mut ProcessorContext<'_, K2, V2>,
        punctuation: Punctuation,
    ) -> Result<(), BoxError> {
        P::punctuate(self, cx, punctuation)
    }

    fn close(&mut self) {
        P::close(self);
    }
}

/// As [`Processor`], but unable to change keys, so that nothing behind it repartitions.
///
/// Given to [`KStream::process_values`](crate::KStream::process_values).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not process records of `{K}` and `{V}` into values of `{V2}`",
    note = "implement `FixedKeyProcessor` with the key and value types of the stream it reads"
)]
pub trait FixedKeyProcessor<K, V, V2>: 'static {
    /// Called once before the first record: the place to set timers.
    ///
    /// # Errors
    ///
    /// An error stops the application.
    fn init(&mut self, cx: &mut FixedKeyContext<'_, K, V2>) -> Result<(), BoxError> {
        let _ = cx;
        Ok(())
    }

    /// Called with each record.
    ///
    /// # Errors
    ///
    /// An error goes to the processing error policy.
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, K, V2>,
        record: FixedKeyRecord<K, V>,
    ) -> Result<(), BoxError>;

    /// Called when a timer that this processor has set fires. A record to forward must be made of
    /// one that came in.
    ///
    /// # Errors
    ///
    /// As for [`Processor::punctuate`].
    fn punctuate(
        &mut self,
        cx: &mut FixedKeyContext<'_, K, V2>,
        punctuation: Punctuation,
    ) -> Result<(), BoxError> {
        let _ = (cx, punctuation);
        Ok(())
    }

    /// Called when the task ends, before the processor is dropped.
    fn close(&mut self) {}
}
