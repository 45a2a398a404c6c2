//! A worker and a restorer, turned by hand: what a turn must never do.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::*;
use crate::group::WorkerId;
use crate::log::{
    ClientConfig, CommittedOffset, End, HeadersView, Isolation, Log, LogClient, LogEvent,
    MemberToken, OffsetSpec, OpenBatch, PartitionId, TopicPartition,
};
use crate::runtime::app::parts;
use crate::runtime::command::{Command, OpenedTask, Report};
use crate::runtime::instance::Parts;
use crate::runtime::restorer::{RestoreCommand, Restorer};
use crate::runtime::start::{Ready, prepare};
use crate::runtime::task_setup;
use crate::runtime::worker::Worker;
use crate::task::active::{Allowance, Now, Task};
use crate::task::metadata::CommitMetadata;
use crate::task::outbox::Outbox;
use crate::time::{Clock, ManualClock};
use crate::topology::TaskId;

/// More turns than anything needs that does not wait for time to pass.
const TURNS: usize = 1_000;
/// Whoever waits for the end of an abandoned transaction waits for ever: time stands still.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(3_600);

/// One process whose time stands still.
struct Process {
    clock: Arc<ManualClock>,
    log: MemoryLog,
    parts: Parts,
    worker: Worker,
    restorer: Restorer,
    to_worker: Sender<Command>,
    to_restorer: Sender<RestoreCommand>,
    reports: Receiver<Report>,
    fed: u32,
}

fn task(text: &str) -> TaskId {
    text.parse().unwrap()
}

impl Process {
    fn new() -> Self {
        Self::with(Guarantee::ExactlyOnce)
    }

    fn with(guarantee: Guarantee) -> Self {
        Self::with_interval(guarantee, Duration::ZERO)
    }

    fn with_interval(guarantee: Guarantee, commit_interval: Duration) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
        let log = MemoryLog::with_clock(Arc::clone(&clock) as _);
        log.create_topic("words", 4);
        log.create_topic("counts", 2);
        let config = Config {
            transaction_timeout: TRANSACTION_TIMEOUT,
            commit_interval,
            ..config(guarantee)
        };
        let Ready { directory, .. } = prepare(&word_count(), &config, &*log.admin()).unwrap();
        let shared = Arc::new(log.clone());
        let metrics = crate::metrics::Metrics::new("app", None);
        let same = Arc::clone(&clock) as _;
        let parts = parts(Arc::new(config), word_count(), directory, shared, same, metrics);
        let (sender, reports) = unbounded();
        let report_to =
            |sender: Sender<Report>| Box::new(move |report| sender.send(report).unwrap());
        let (to_worker, commands) = unbounded();
        let worker = parts.worker(WorkerId(0), commands, report_to(sender.clone())).unwrap();
        let (to_restorer, commands) = unbounded();
        let restorer = parts.restorer(commands, report_to(sender)).unwrap();
        Self { clock, log, parts, worker, restorer, to_worker, to_restorer, reports, fed: 0 }
    }

    /// Whom the offsets of task `1_0` name.
    fn owner(&self) -> Option<String> {
        let input = self.partition("app-counts-repartition", 0);
        let committed = self.log.admin().committed("app", &[input]).unwrap();
        let known = committed[0].as_ref().expect("the task has committed");
        CommitMetadata::decode(&known.metadata).writer
    }

    /// Where a partition ends, open transactions included.
    fn end_of(&self, topic: &str, partition: u32) -> i64 {
        let wanted = (self.partition(topic, partition), OffsetSpec::End);
        self.log.admin().offsets(&[wanted]).unwrap()[0]
    }

    fn partition(&self, topic: &str, partition: u32) -> PartitionId {
        self.log.partitions().id(&TopicPartition::new(topic, partition))
    }

    /// Turns worker and restorer until there is a report that `is_wanted`; `between` happens
    /// before every turn.
    fn turn_until<T>(
        &mut self,
        mut between: impl FnMut(&mut Self),
        mut is_wanted: impl FnMut(Report) -> Option<T>,
    ) -> T {
        for _ in 0..TURNS {
            between(self);
            self.worker.turn().unwrap();
            self.restorer.turn();
            while let Ok(report) = self.reports.try_recv() {
                if let Some(wanted) = is_wanted(report) {
                    return wanted;
                }
            }
        }
        panic!("nothing of the kind was reported in {TURNS} turns");
    }

    fn open(&mut self, id: TaskId) -> OpenedTask {
        self.open_while(id, |_| {})
    }

    fn open_while(&mut self, id: TaskId, between: impl FnMut(&mut Self)) -> OpenedTask {
        let owned_since = Some(self.clock.instant());
        let command = RestoreCommand::Open { task: id, backend: None, owned_since };
        self.to_restorer.send(command).unwrap();
        self.turn_until(between, |report| match report {
            Report::Opened(opened) if opened.id == id => Some(*opened),
            _ => None,
        })
    }

    fn start(&mut self, id: TaskId) {
        let opened = self.open(id);
        self.to_worker.send(Command::Start(Box::new(opened))).unwrap();
    }

    /// One more record in this partition of the input.
    fn feed(&mut self, partition: u32) {
        let at = Timestamp::from_millis(i64::from(self.fed));
        self.fed += 1;
        let headers = Headers::new();
        self.log.produce("words", Some(partition), at, Some(b"n"), Some(b"word"), &headers);
    }
}

#[test]
fn a_task_closes_though_its_neighbour_always_has_something_to_commit() {
    let mut process = Process::new();
    for id in ["0_0", "0_1"] {
        process.start(task(id));
    }
    process.feed(0);
    process.turn_until(
        |process| process.feed(1),
        |report| matches!(report, Report::Committed(_)).then_some(()),
    );
    process.to_worker.send(Command::Close(task("0_0"))).unwrap();
    let closed = process.turn_until(
        |process| process.feed(1),
        |report| match report {
            Report::Closed { task, .. } => Some(task),
            _ => None,
        },
    );
    assert_eq!(closed, task("0_0"));
}

#[test]
fn a_refused_commit_leaves_no_transaction_open_for_its_tasks_to_wait_for() {
    let mut process = Process::new();
    process.start(task("1_0"));
    let repartition = TopicPartition::new("app-counts-repartition", 0);
    process.turn_until(|_| {}, |report| matches!(report, Report::Committed(_)).then_some(()));
    let stranger = MemberToken {
        group: "app".into(),
        member_id: "expelled".into(),
        generation: 1,
        instance_id: None,
    };
    process.parts.member.lock().unwrap().token = stranger;
    let (topic, at) = (&*repartition.topic, Timestamp::ZERO);
    let word = rmp_serde::to_vec("word").unwrap();
    process.log.produce(topic, Some(0), at, Some(b"word"), Some(&word), &Headers::new());
    process.turn_until(
        |_| {},
        |report| match report {
            Report::Lost { task, .. } => Some(task),
            _ => None,
        },
    );
    let end = process.end_of("app-counts-changelog", 0);
    assert_ne!(end, 0, "the refused transaction has written to the changelog");
    process.parts.member.lock().unwrap().token = MemberToken::default();
    let command = RestoreCommand::Open { task: task("1_0"), backend: None, owned_since: None };
    process.to_restorer.send(command).unwrap();
    process.turn_until(|_| {}, |report| matches!(report, Report::Opened(_)).then_some(()));
}

/// Without transactions nothing fences a process that was frozen or cut off: what it wrote into a
/// changelog of which another process has become the owner took counts back.
#[test]
fn a_process_without_a_lease_writes_nothing_at_least_once() {
    let mut process = Process::with(Guarantee::AtLeastOnce);
    process.start(task("0_0"));
    let now = process.parts.clock.instant();
    process.parts.member.lock().unwrap().lease = Some(now);
    process.feed(0);
    for _ in 0..TURNS {
        process.worker.turn().unwrap();
    }
    let written = |process: &Process| -> i64 {
        (0..4).map(|partition| process.end_of("app-counts-repartition", partition)).sum()
    };
    assert_eq!(written(&process), 0);
    let soon = now + Duration::from_millis(1);
    process.parts.member.lock().unwrap().lease = Some(soon);
    process.turn_until(|_| {}, |report| matches!(report, Report::Committed(_)).then_some(()));
    assert_eq!(written(&process), 1, "the record was kept back, not lost");
}

fn client_config(client_id: &str, transactional_id: Option<String>) -> ClientConfig {
    ClientConfig {
        client_id: client_id.into(),
        isolation: Isolation::ReadCommitted,
        transactional_id,
        transaction_timeout: TRANSACTION_TIMEOUT,
        group: "app".into(),
        fetch_bytes_max: 1_024,
        batch_bytes_max: 1024 * 1024,
    }
}

/// Task `1_0`, on no worker, with so many records to count, each of another key.
fn counting_task(process: &mut Process, records: usize) -> Task {
    let opened = process.open(task("1_0"));
    let mut counting =
        task_setup::build(&process.parts.topology, &process.parts.environment, opened).unwrap();
    let input = process.partition("app-counts-repartition", 0);
    for number in 0..records {
        let word = rmp_serde::to_vec(&number.to_string()).unwrap();
        let (key, at) = (number.to_string(), Timestamp::ZERO);
        let topic = "app-counts-repartition";
        let headers = Headers::new();
        process.log.produce(topic, Some(0), at, Some(key.as_bytes()), Some(&word), &headers);
    }
    let mut client = process.log.client(client_config("reader", None)).unwrap();
    client.read_from(input, 0);
    let mut events = Vec::new();
    while !events.iter().any(|event| matches!(event, LogEvent::CaughtUp { .. })) {
        client.poll(process.parts.clock.instant(), &mut events);
    }
    for event in events {
        if let LogEvent::Fetched(batch) = event {
            counting.enqueue(batch);
        }
    }
    counting
}

#[test]
fn a_task_that_has_much_uncommitted_waits_for_the_next_commit_to_begin() {
    let mut process = Process::new();
    let mut counting = counting_task(&mut process, 1_000);
    let clock = &process.parts.clock;
    let now = Now { wall_clock: clock.timestamp(), instant: clock.instant() };
    let mut outbox = Outbox::default();
    let mut counted = |task: &mut Task, uncommitted| {
        let allowance = Allowance { records: 500, uncommitted };
        task.process(&mut outbox, now, allowance).unwrap()
    };
    let first = counted(&mut counting, 1);
    assert!((1..=64).contains(&first), "{first} records, and none of them is committed");
    assert_eq!(counted(&mut counting, 1), 0);
    drop(counting.prepare_commit(&mut Outbox::default(), now).unwrap());
    assert_eq!(counting.uncommitted_bytes(), 0);
    assert_eq!(counted(&mut counting, 1), first);
    assert_eq!(counted(&mut counting, usize::MAX), 500);
}

/// A process that has died, or is about to.
struct Other {
    client: Box<dyn LogClient>,
}

impl Other {
    fn new(process: &Process) -> Self {
        let config = client_config("dead", Some("app-dead-0".into()));
        let mut client = process.log.client(config).unwrap();
        client.init_producer();
        Self { client }
    }

    /// Begins a transaction that claims a task of the second sub-topology.
    fn begin_to_claim(&mut self, process: &Process, partition: u32) {
        let writer = Some("app-dead-0".to_owned());
        let metadata = CommitMetadata { writer, ..CommitMetadata::default() }.encode();
        let partition = process.partition("app-counts-repartition", partition);
        let claim = [CommittedOffset { partition, offset: 0, metadata }];
        self.client.begin_transaction();
        self.client.commit_offsets(&claim, &MemberToken::default());
    }

    fn claim(&mut self, process: &Process, partition: u32) {
        self.begin_to_claim(process, partition);
        self.client.end_transaction(End::Commit);
    }

    /// Begins a transaction that writes to the changelog.
    fn begin_to_write(&mut self, process: &Process) {
        self.client.begin_transaction();
        let mut batch = OpenBatch::new();
        let (key, value) = (Some(&b"word"[..]), Some(&[0; 8][..]));
        batch.append(Timestamp::ZERO, key, value, HeadersView::default());
        self.client.send(process.partition("app-counts-changelog", 0), batch);
    }
}

#[test]
fn a_transaction_that_a_dead_owner_has_left_open_is_ended_by_the_next_owner() {
    for leaves_offsets in [false, true] {
        let mut process = Process::new();
        let mut dead = Other::new(&process);
        dead.claim(&process, 0);
        dead.begin_to_write(&process);
        if leaves_offsets {
            dead.begin_to_claim(&process, 0);
        }
        let opened = process.open(task("1_0"));
        assert_eq!(opened.inputs[0].position, 0);
    }
}

/// Its claim of the task was part of the transaction that it left open: nobody could see whose that
/// was, and the task waited for it to time out.
#[test]
fn an_owner_that_dies_while_it_claims_a_task_is_known_by_its_other_tasks() {
    let mut process = Process::new();
    let mut dead = Other::new(&process);
    dead.claim(&process, 1);
    dead.begin_to_claim(&process, 0);
    let pass = |process: &mut Process| process.clock.advance(Duration::from_millis(10));
    let opened = process.open_while(task("1_0"), pass);
    assert_eq!(opened.inputs[0].position, 0);
}

/// It had not claimed the task yet, and left the name of the owner before it: the next owner fenced
/// a process that was alive.
#[test]
fn a_task_that_closes_before_it_is_claimed_names_no_earlier_owner() {
    let mut process = Process::new();
    Other::new(&process).claim(&process, 0);
    process.start(task("1_0"));
    process.to_worker.send(Command::Close(task("1_0"))).unwrap();
    process.turn_until(|_| {}, |report| matches!(report, Report::Closed { .. }).then_some(()));
    assert_eq!(process.owner(), None);
}

#[test]
fn a_task_that_was_given_up_in_order_names_no_owner() {
    let mut process = Process::new();
    process.start(task("1_0"));
    process.turn_until(|_| {}, |report| matches!(report, Report::Committed(_)).then_some(()));
    let taken = process.parts.taken_ids.lock().unwrap().first().cloned();
    assert_eq!(process.owner().as_deref(), taken.as_deref());
    process.to_worker.send(Command::Close(task("1_0"))).unwrap();
    process.turn_until(|_| {}, |report| matches!(report, Report::Closed { .. }).then_some(()));
    assert_eq!(process.owner(), None);
}

/// Changes of rows `numbers` in the changelog of the first task's store.
fn log_changes(process: &Process, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let (key, value) = (number.to_be_bytes(), [0; 16]);
        let at = Timestamp::from_millis(i64::from(number));
        let topic = "app-counts-changelog";
        process.log.produce(topic, Some(0), at, Some(&key), Some(&value), &Headers::new());
    }
}

#[test]
fn a_store_whose_changelog_has_forgotten_what_comes_next_is_restored_whole() {
    let mut process = Process::new();
    let id = task("1_0");
    log_changes(&process, 0..10);
    let rows = |opened: &OpenedTask| opened.backend.size(crate::state::StoreIndex(0)).rows;
    let opened = process.open(id);
    assert_eq!(rows(&opened), 10);
    log_changes(&process, 10..20);
    let changelog = process.partition("app-counts-changelog", 0);
    process.log.admin().delete_records(&[(changelog, 15)]).unwrap();
    let (backend, owned_since) = (Some(opened.backend), Some(process.clock.instant()));
    let command = RestoreCommand::Open { task: id, backend, owned_since };
    process.to_restorer.send(command).unwrap();
    let opened = process.turn_until(
        |_| {},
        |report| match report {
            Report::Opened(opened) => Some(*opened),
            _ => None,
        },
    );
    assert_eq!(rows(&opened), 5, "what the changelog holds, and nothing from before");
}

#[test]
fn commits_go_on_by_their_interval_though_the_wall_clock_was_set_back_an_hour() {
    const INTERVAL: Duration = Duration::from_secs(1);
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let mut process = Process::with_interval(guarantee, INTERVAL);
        process.start(task("0_0"));
        for _ in 0..3 {
            process.feed(0);
            process.clock.set_back(Duration::from_secs(3_600));
            let wanted = i64::from(process.fed);
            let reaches = |offsets: &[(PartitionId, i64)]| offsets.iter().any(|at| at.1 == wanted);
            process.turn_until(
                |process| process.clock.advance(INTERVAL),
                |report| match report {
                    Report::Committed(offsets) if reaches(&offsets) => Some(()),
                    _ => None,
                },
            );
        }
    }
}

#[test]
fn the_restorer_has_settled_once_after_each_time_that_tasks_have_moved() {
    const A_WHILE: Duration = Duration::from_secs(10);
    let mut process = Process::new();
    let settled_later = |process: &mut Process| {
        process.clock.advance(A_WHILE);
        process.restorer.has_settled()
    };
    assert!(!settled_later(&mut process), "nothing has ever moved");
    let opened = process.open(task("1_0"));
    assert!(!process.restorer.has_settled(), "the task has only just come");
    assert!(settled_later(&mut process));
    assert!(!settled_later(&mut process), "nothing has moved since");
    let close = RestoreCommand::Close { task: opened.id, backend: opened.backend };
    process.to_restorer.send(close).unwrap();
    process.restorer.turn();
    assert!(settled_later(&mut process));
}
