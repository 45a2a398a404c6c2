//! How often is the log asked before tasks run?

use crossbeam_channel::unbounded;

use super::*;
use crate::log::{
    Admin, ClientConfig, CommittedOffset, Log, LogClient, LogError, Membership, MembershipConfig,
    NewTopic, OffsetSpec, PartitionId, Partitions, TopicInfo,
};
use crate::runtime::app::parts;
use crate::runtime::command::Report;
use crate::runtime::restorer::RestoreCommand;
use crate::runtime::start::{Ready, prepare};
use crate::time::SystemClock;

/// A log that counts what its administration is asked about offsets.
#[derive(Clone)]
struct Counting {
    log: MemoryLog,
    asked: Arc<AtomicU32>,
}

impl Counting {
    fn ask(&self) -> Arc<dyn Admin> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.log.admin()
    }
}

impl Log for Counting {
    fn partitions(&self) -> &Partitions {
        self.log.partitions()
    }

    fn client(&self, config: ClientConfig) -> Result<Box<dyn LogClient>, LogError> {
        self.log.client(config)
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Arc::new(self.clone())
    }

    fn join(&self, config: MembershipConfig) -> Result<Box<dyn Membership>, LogError> {
        self.log.join(config)
    }
}

impl Admin for Counting {
    fn cluster_id(&self) -> Result<String, LogError> {
        self.log.admin().cluster_id()
    }

    fn topics(&self, names: &[String]) -> Result<Vec<Option<TopicInfo>>, LogError> {
        self.log.admin().topics(names)
    }

    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.log.admin().create_topics(topics)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        self.ask().committed(group, partitions)
    }

    fn committed_so_far(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        self.ask().committed_so_far(group, partitions)
    }

    fn offsets(&self, wanted: &[(PartitionId, OffsetSpec)]) -> Result<Vec<i64>, LogError> {
        self.ask().offsets(wanted)
    }

    fn delete_records(&self, before: &[(PartitionId, i64)]) -> Result<(), LogError> {
        self.log.admin().delete_records(before)
    }

    fn fence(&self, transactional_ids: &[String]) -> Vec<Result<(), LogError>> {
        self.log.admin().fence(transactional_ids)
    }
}

/// Opens every task of a count whose topic has so many partitions; how often the log was asked.
fn asked_to_open(partitions: u32, guarantee: Guarantee) -> u32 {
    let log = MemoryLog::new();
    log.create_topic("words", partitions);
    log.create_topic("counts", 1);
    let config = config(guarantee);
    let Ready { directory, .. } = prepare(&word_count(), &config, &*log.admin()).unwrap();
    let counting = Counting { log, asked: Arc::default() };
    let asked = Arc::clone(&counting.asked);
    let (clock, metrics) = (SystemClock::default(), crate::metrics::Metrics::new("app", None));
    let shared = Arc::new(counting);
    let parts = parts(Arc::new(config), word_count(), directory, shared, Arc::new(clock), metrics);
    let (sender, reports) = unbounded();
    let (to_restorer, commands) = unbounded();
    let report_to = Box::new(move |report| sender.send(report).unwrap());
    let mut restorer = parts.restorer(commands, report_to).unwrap();
    let mut tasks = parts.environment.tasks().unwrap().len();
    assert_eq!(tasks, 2 * partitions as usize);
    for task in parts.environment.tasks().unwrap() {
        let owned_since = Some(parts.clock.instant());
        to_restorer.send(RestoreCommand::Open { task, backend: None, owned_since }).unwrap();
    }
    asked.store(0, Ordering::SeqCst);
    while tasks > 0 {
        restorer.turn();
        tasks -= reports.try_iter().filter(|report| matches!(report, Report::Opened(_))).count();
    }
    asked.load(Ordering::SeqCst)
}

#[test]
fn many_tasks_are_opened_with_no_more_questions_than_a_few() {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        assert_eq!(asked_to_open(40, guarantee), asked_to_open(2, guarantee), "{guarantee:?}");
    }
}
