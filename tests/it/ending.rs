//! When an application has ended, may its process end, too? Nothing of it is left by then.
//!
//! A process that ends while a thread still has a store open, or a connection, is cut off in the
//! middle of what its C and C++ libraries do: RocksDB aborted it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use millstream::log::memory::MemoryLog;
use millstream::log::{
    Admin, ClientConfig, CommittedOffset, EffectId, End, GroupEvent, Log, LogClient, LogError,
    LogEvent, MemberToken, Membership, MembershipConfig, OpenBatch, PartitionId, Partitions, Waker,
};
use millstream::time::Instant;
use millstream::{App, AppState, Config, ErrorKind, StreamsBuilder, Topic, Topology};

use crate::app::block_on;
use crate::scratch::ScratchDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A log that knows what of it is in use, and whose restorer ends last: its client goes only after
/// the membership, which the control plane holds.
#[derive(Clone)]
struct Counting {
    log: MemoryLog,
    uses: Uses,
    /// How many clients are granted.
    clients_left: Arc<AtomicUsize>,
    broken: Broken,
}

/// What panics when it is polled.
#[derive(Clone, Default)]
struct Broken(Arc<Mutex<Option<Part>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Restorer,
    Membership,
}

impl Broken {
    fn breaks(&self, part: Part) {
        *self.0.lock().expect("no panic while held") = Some(part);
    }

    fn check(&self, part: Part) {
        let broken = *self.0.lock().expect("no panic while held");
        assert!(broken != Some(part), "{part:?} is broken");
    }
}

/// How many clients and memberships there are.
#[derive(Clone, Default)]
struct Uses(Arc<(Mutex<Counts>, Condvar)>);

#[derive(Debug, Default)]
struct Counts {
    clients: usize,
    members: usize,
}

impl Uses {
    fn change(&self, change: impl FnOnce(&mut Counts)) {
        let (counts, changed) = &*self.0;
        change(&mut counts.lock().expect("no panic while held"));
        changed.notify_all();
    }

    fn wait_until_there_is_no_member(&self) {
        let (counts, changed) = &*self.0;
        let counts = counts.lock().expect("no panic while held");
        drop(changed.wait_while(counts, |counts| counts.members > 0));
    }

    fn count(&self) -> usize {
        let counts = self.0.0.lock().expect("no panic while held");
        counts.clients + counts.members
    }
}

impl Counting {
    fn new(clients: usize) -> Self {
        let log = MemoryLog::new();
        log.create_topic("in", 4);
        log.create_topic("out", 1);
        let clients_left = Arc::new(AtomicUsize::new(clients));
        Self { log, uses: Uses::default(), clients_left, broken: Broken::default() }
    }
}

impl Log for Counting {
    fn partitions(&self) -> &Partitions {
        self.log.partitions()
    }

    fn client(&self, config: ClientConfig) -> Result<Box<dyn LogClient>, LogError> {
        let granted = |left: usize| left.checked_sub(1);
        if self.clients_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, granted).is_err() {
            return Err(LogError::Fatal("no more clients".into()));
        }
        let is_last_to_go = config.client_id.ends_with("-restorer");
        let client = self.log.client(config)?;
        self.uses.change(|counts| counts.clients += 1);
        let (uses, broken) = (self.uses.clone(), self.broken.clone());
        Ok(Box::new(Client { client, is_last_to_go, uses, broken }))
    }

    fn admin(&self) -> Arc<dyn Admin> {
        self.log.admin()
    }

    fn join(&self, config: MembershipConfig) -> Result<Box<dyn Membership>, LogError> {
        let member = self.log.join(config)?;
        self.uses.change(|counts| counts.members += 1);
        let (uses, broken) = (self.uses.clone(), self.broken.clone());
        Ok(Box::new(Member { member, uses, broken }))
    }
}

struct Client {
    client: Box<dyn LogClient>,
    /// As the restorer's is.
    is_last_to_go: bool,
    uses: Uses,
    broken: Broken,
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.is_last_to_go && !std::thread::panicking() {
            self.uses.wait_until_there_is_no_member();
        }
        self.uses.change(|counts| counts.clients -= 1);
    }
}

impl LogClient for Client {
    fn read_from(&mut self, partition: PartitionId, offset: i64) {
        self.client.read_from(partition, offset);
    }

    fn stop_reading(&mut self, partition: PartitionId) {
        self.client.stop_reading(partition);
    }

    fn pause(&mut self, partition: PartitionId, paused: bool) {
        self.client.pause(partition, paused);
    }

    fn init_producer(&mut self) -> EffectId {
        self.client.init_producer()
    }

    fn begin_transaction(&mut self) {
        self.client.begin_transaction();
    }

    fn send(&mut self, partition: PartitionId, batch: OpenBatch) -> EffectId {
        self.client.send(partition, batch)
    }

    fn commit_offsets(&mut self, offsets: &[CommittedOffset], member: &MemberToken) -> EffectId {
        self.client.commit_offsets(offsets, member)
    }

    fn end_transaction(&mut self, end: End) -> EffectId {
        self.client.end_transaction(end)
    }

    fn poll(&mut self, now: Instant, events: &mut Vec<LogEvent>) {
        if self.is_last_to_go {
            self.broken.check(Part::Restorer);
        }
        self.client.poll(now, events);
    }

    fn wait(&mut self, at_most: Duration) {
        self.client.wait(at_most);
    }

    fn waker(&self) -> Waker {
        self.client.waker()
    }
}

struct Member {
    member: Box<dyn Membership>,
    uses: Uses,
    broken: Broken,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.uses.change(|counts| counts.members -= 1);
    }
}

impl Membership for Member {
    fn poll(&mut self, now: Instant, events: &mut Vec<GroupEvent>) {
        self.broken.check(Part::Membership);
        self.member.poll(now, events);
    }

    fn give_up(&mut self, partitions: &[PartitionId]) {
        self.member.give_up(partitions);
    }

    fn token(&self) -> MemberToken {
        self.member.token()
    }

    fn lease(&self) -> Instant {
        self.member.lease()
    }

    fn wait(&mut self, at_most: Duration) {
        self.member.wait(at_most);
    }

    fn waker(&self) -> Waker {
        self.member.waker()
    }

    fn leave(&mut self) {
        self.member.leave();
    }
}

fn counting(step: impl Fn(&str) + Send + Sync + 'static) -> Topology {
    let input = Topic::<String, String>::plain("in");
    let output = Topic::<String, i64>::plain("out");
    let builder = StreamsBuilder::new();
    let stream = builder.stream(&input).map_values(move |value: String| {
        step(&value);
        value
    });
    stream.group_by_key().count("counts").to(&output);
    builder.build().expect("a valid pipeline")
}

fn config(scratch: &ScratchDir) -> Config {
    let config = Config::builder("app", "in-process").state_dir(scratch.path()).workers(2);
    config.build().expect("valid settings")
}

/// Starts an application that notes how much of the log is in use when its listener hears of the
/// end.
fn start(
    log: &Counting,
    topology: &Topology,
    scratch: &ScratchDir,
) -> (App, Arc<Mutex<Vec<usize>>>) {
    let in_use = Arc::<Mutex<Vec<usize>>>::default();
    let (noted, uses) = (Arc::clone(&in_use), log.uses.clone());
    let app = App::builder(topology, config(scratch)).log(log.clone());
    let app = app.on_state(move |_, state: AppState| {
        if state.is_terminal() {
            noted.lock().expect("no panic while held").push(uses.count());
        }
    });
    (app.start().expect("it starts"), in_use)
}

#[test]
fn when_it_has_closed_no_store_client_or_membership_is_left() {
    let (log, scratch) = (Counting::new(usize::MAX), ScratchDir::new());
    for _ in 0..2 {
        // The second one finds the directory unlocked.
        let (app, in_use) = start(&log, &counting(|_| {}), &scratch);
        assert!(app.wait_until_running(PATIENCE));
        assert_ne!(log.uses.count(), 0);
        block_on(app.begin_close()).expect("it was closed");
        assert_eq!(*in_use.lock().expect("no panic while held"), [0]);
    }
}

#[test]
fn when_it_has_failed_no_store_client_or_membership_is_left() {
    let (log, scratch) = (Counting::new(usize::MAX), ScratchDir::new());
    let (app, in_use) = start(&log, &counting(|_| panic!("a bug")), &scratch);
    let headers = millstream::Headers::new();
    let at = millstream::Timestamp::ZERO;
    log.log.produce("in", Some(0), at, Some(b"key"), Some(b"value"), &headers);
    block_on(app.ended()).expect_err("the pipeline panics");
    assert_eq!(*in_use.lock().expect("no panic while held"), [0]);
    let (app, _) = start(&log, &counting(|_| {}), &scratch);
    drop(app);
}

#[test]
fn a_handle_that_was_dropped_leaves_the_end_to_be_awaited() {
    let (log, scratch) = (Counting::new(usize::MAX), ScratchDir::new());
    let (app, in_use) = start(&log, &counting(|_| {}), &scratch);
    let ended = app.ended();
    drop(app);
    block_on(ended).expect("it was closed");
    assert_eq!(*in_use.lock().expect("no panic while held"), [0]);
}

#[test]
fn a_start_that_fails_half_way_leaves_nothing_behind() {
    // None at all, the restorer's, and those of the restorer and one of two workers.
    for clients in 0..3 {
        let (log, scratch) = (Counting::new(clients), ScratchDir::new());
        let app = App::builder(&counting(|_| {}), config(&scratch)).log(log.clone());
        let refused = app.start().expect_err("a client is refused").to_string();
        assert!(refused.contains("cannot connect to the log"), "{refused}");
        assert_eq!(log.uses.count(), 0, "after {clients} clients");
    }
}

/// Whoever awaited the end of such an application waited for ever.
#[test]
fn an_application_whose_own_threads_panic_ends_as_failed_and_leaves_nothing_behind() {
    for (part, is_running) in
        [(Part::Restorer, false), (Part::Restorer, true), (Part::Membership, true)]
    {
        let (log, scratch) = (Counting::new(usize::MAX), ScratchDir::new());
        if !is_running {
            log.broken.breaks(part);
        }
        let (app, in_use) = start(&log, &counting(|_| {}), &scratch);
        if is_running {
            assert!(app.wait_until_running(PATIENCE), "{:?}", app.error());
            log.broken.breaks(part);
        }
        let error = block_on(app.ended()).expect_err("it cannot go on");
        assert_eq!(error.kind(), ErrorKind::Bug, "{part:?}: {error}");
        assert_eq!(app.state(), AppState::Failed);
        assert_eq!(*in_use.lock().expect("no panic while held"), [0], "{part:?}");
    }
}
