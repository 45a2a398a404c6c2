//! Where can a pipeline run without a broker? In the in-process log.
//!
//! It has what a pipeline can tell a broker by: partitions, keys, timestamps, headers, groups with
//! cooperative hand-over, transactions, fencing, read-committed isolation, compaction and purging.
//! It serves examples, tests and the simulator, and passes the same contract tests as real brokers.
//!
//! # Invariants
//!
//! - Every call acts at once, under one lock. Driven from one thread, a run is a function of its
//!   calls and of the clock.
//! - Time comes from the log's clock: transactions and sessions end when it says so, found out at
//!   the next call to the log. Nothing is forgotten by itself: see [`MemoryLog::clean`] and
//!   [`MemoryLog::compact`].

mod admin;
mod cleaner;
mod client;
mod group;
mod membership;
mod partition;
mod records;
mod settings;
mod state;
mod transaction;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

pub use records::ReadRecord;

use crate::log::{
    Admin, ClientConfig, Isolation, Log, LogClient, LogError, Membership, MembershipConfig,
    Partitions, TopicInfo, TopicPartition, Waker,
};
use crate::time::{Clock, SystemClock};
use state::State;

/// An in-process log. Cheap to clone: all clones are one log.
///
/// ```
/// use millstream::log::memory::MemoryLog;
/// use millstream::{Headers, Timestamp};
///
/// let log = MemoryLog::new();
/// log.create_topic("words", 2);
/// let none = Headers::new();
/// log.produce("words", None, Timestamp::ZERO, Some(b"a"), Some(b"apple"), &none);
/// assert_eq!(log.read("words")[0].value.as_deref(), Some(b"apple".as_slice()));
/// ```
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

impl MemoryLog {
    /// An empty log on the clocks of the operating system.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::default()))
    }

    /// An empty log on this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let names = Partitions::default();
        let state = Mutex::new(State::new(clock, names.clone()));
        Self { shared: Arc::new(Shared { names, state, changed: Condvar::new() }) }
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<TopicInfo> {
        let info = |(name, topic): (&String, &state::Topic)| TopicInfo {
            name: name.clone(),
            partitions: topic.partitions.len() as u32,
        };
        self.shared.read(|state| state.topics.iter().map(info).collect())
    }

    /// The settings that a topic was created with, by name; `None` if there is no such topic.
    pub fn topic_configs(&self, topic: &str) -> Option<Vec<(String, String)>> {
        self.shared.read(|state| {
            let configs = &state.topics.get(topic)?.configs;
            Some(configs.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
        })
    }

    /// The offset before which everything in a partition is decided; its end, where no transaction
    /// is open on it.
    pub(crate) fn stable_end(&self, partition: &TopicPartition) -> i64 {
        let id = self.shared.names.id(partition);
        let limit = |state: &State| state.log(id).map(|log| log.limit(Isolation::ReadCommitted));
        self.shared.read(limit).unwrap_or(0)
    }

    /// Drops what is older than `retention.ms`, in topics whose `cleanup.policy` deletes.
    pub fn clean(&self) {
        self.shared.change(State::clean);
    }

    /// Compacts the topics whose `cleanup.policy` says so: of each key its last record stays.
    ///
    /// Tombstones stay too, unless the topic's `delete.retention.ms` is 0.
    pub fn compact(&self) {
        self.shared.change(State::compact);
    }

    /// Expels a member as a broker does that has not heard of it, and says whether there was one.
    ///
    /// The id is that of [`crate::log::MemberToken`].
    pub fn expel(&self, group: &str, member_id: &str) -> bool {
        self.shared.change(|state| {
            let number = state.member_number(group, member_id);
            number.map(|number| state.expel(group, number)).is_some()
        })
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").field("topics", &self.topics()).finish_non_exhaustive()
    }
}

impl Log for MemoryLog {
    fn partitions(&self) -> &Partitions {
        &self.shared.names
    }

    fn client(&self, config: ClientConfig) -> Result<Box<dyn LogClient>, LogError> {
        Ok(Box::new(client::MemoryClient::new(Arc::clone(&self.shared), config)))
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Arc::new(admin::MemoryAdmin { shared: Arc::clone(&self.shared) })
    }

    fn join(&self, config: MembershipConfig) -> Result<Box<dyn Membership>, LogError> {
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(membership::MemoryMembership::join(shared, config)))
    }
}

/// What all handles of one log share.
struct Shared {
    names: Partitions,
    state: Mutex<State>,
    /// Notified after every change and by every waker.
    changed: Condvar,
}

/// Set by a waker, cleared by the wait that it ends.
#[derive(Default)]
struct Alarm(AtomicBool);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().expect("no panic while the log is held");
        state.expire();
        state
    }

    /// Looks at the log, after what is over has been ended.
    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Sleeps until the next change, but at most that long; false if there was none.
    fn wait_for_change(&self, at_most: Duration) -> bool {
        let waited = self.changed.wait_timeout(self.lock(), at_most);
        !waited.expect("no panic while the log is held").1.timed_out()
    }

    /// Changes the log and wakes whoever waits for it.
    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let result = act(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Sleeps until there is news or the alarm is set, but at most that long.
    fn wait(&self, alarm: &Alarm, at_most: Duration, has_news: impl Fn(&State) -> bool) {
        let state = self.lock();
        let is_quiet = |state: &mut State| !alarm.0.load(Ordering::SeqCst) && !has_news(state);
        let waited = self.changed.wait_timeout_while(state, at_most, is_quiet);
        drop(waited.expect("no panic while the log is held"));
        alarm.0.store(false, Ordering::SeqCst);
    }

    fn waker(self: &Arc<Self>, alarm: &Arc<Alarm>) -> Waker {
        let (shared, alarm) = (Arc::clone(self), Arc::clone(alarm));
        Waker::new(move || {
            // Under the lock, so that no wait has looked at the alarm and not yet begun to sleep.
            let state = shared.lock();
            alarm.0.store(true, Ordering::SeqCst);
            drop(state);
            shared.changed.notify_all();
        })
    }
}
