//! What the pipeline has said so far: the last word of each topic that it writes.

use std::collections::BTreeMap;

use millstream::log::Log;
use millstream::{BoxError, Timestamp, Windowed};

use crate::events::{self, Alert, Revenue};
use crate::support::Reader;

/// Results as the display shows them and as the check compares them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Results {
    /// By beginning of the minute and category.
    pub(crate) revenue: BTreeMap<(Timestamp, String), Revenue>,
    /// Visits by the stage at which they ended.
    pub(crate) funnel: BTreeMap<String, i64>,
    /// Alerts by beginning of the window and card, and how often each was sent.
    pub(crate) alerts: BTreeMap<(Timestamp, String), usize>,
    /// Events among the dead letters.
    pub(crate) refused: usize,
}

/// Follows the topics that the pipeline writes.
pub(crate) struct Follower {
    pub(crate) results: Results,
    revenue: Reader<Windowed<String>, Revenue>,
    funnel: Reader<String, i64>,
    alerts: Reader<String, Alert>,
    dead_letters: Reader<Vec<u8>, Vec<u8>>,
}

impl Follower {
    pub(crate) fn open(log: &dyn Log) -> Result<Self, BoxError> {
        Ok(Self {
            results: Results::default(),
            revenue: Reader::open(log, &events::revenue())?,
            funnel: Reader::open(log, &events::funnel())?,
            alerts: Reader::open(log, &events::alerts())?,
            dead_letters: Reader::open(log, &events::dead_letters())?,
        })
    }

    /// Takes in what has come.
    pub(crate) fn poll(&mut self) -> Result<(), BoxError> {
        let results = &mut self.results;
        self.revenue.poll(|row| {
            results.revenue.insert((row.key.window.start, row.key.key), row.value);
        })?;
        self.funnel.poll(|row| {
            results.funnel.insert(row.key, row.value);
            results.funnel.retain(|_, visits| *visits > 0);
        })?;
        self.alerts.poll(|alert| {
            let since = Timestamp::from_millis(alert.value.since_ms);
            *results.alerts.entry((since, alert.key)).or_default() += 1;
        })?;
        self.dead_letters.poll(|_| results.refused += 1)
    }

    /// Waits until something may have come.
    pub(crate) fn wait(&mut self, at_most: std::time::Duration) {
        self.revenue.wait(at_most);
    }
}
