//! Does an application on a real broker do what its policies say, where only a broker can tell:
//! offsets that expired, records that are too large, topics that vanish?

use std::sync::Arc;
use std::time::Duration;

use millstream::kafka::KafkaLog;
use millstream::log::{CommittedOffset, EffectId, PartitionId};
use millstream::{
    App, Config, ConfigBuilder, Error, ErrorKind, ErrorPolicy, FailureAction, OffsetReset,
    StreamsBuilder, Topic, Topology,
};

use crate::contract::harness::{Deadline, Driver, Subject, outsider, record};
use crate::kafka::Broker;

const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(100);

/// An application with topics of its own.
struct World {
    subject: Subject,
    client: Driver,
    state: std::path::PathBuf,
}

impl World {
    fn new() -> Self {
        let config = Config::builder("policies", Broker::shared().bootstrap()).build();
        let config = config.expect("the configuration is whole");
        let log = KafkaLog::connect(&config).expect("these properties make a client");
        let subject = Subject::new(Arc::new(log), || ());
        let client = subject.plain();
        let state = std::env::temp_dir().join(subject.name("state"));
        Self { subject, client, state }
    }

    fn settings(&self) -> ConfigBuilder {
        Config::builder(self.subject.name("group"), Broker::shared().bootstrap())
            .state_dir(&self.state)
            .workers(1)
    }

    fn start(&self, topology: &Topology, settings: ConfigBuilder) -> App {
        let config = settings.build().expect("valid settings");
        let app = App::builder(topology, config).on_failure(|_| FailureAction::Close);
        app.start().expect("it starts")
    }

    fn topic(&self, what: &str) -> Topic<String, String> {
        Topic::plain(self.subject.name(what))
    }

    fn copying(&self, reset: OffsetReset) -> Topology {
        let builder = StreamsBuilder::new();
        builder.stream(&self.topic("in").offset_reset(reset)).to(&self.topic("out"));
        builder.build().expect("a valid pipeline")
    }

    fn send(&mut self, partition: PartitionId, values: &[String]) {
        let client = &mut self.client.client;
        let send = |value: &String| client.send(partition, record(1_000, Some("k"), Some(value)));
        let sent: Vec<EffectId> = values.iter().map(send).collect();
        for effect in sent {
            self.client.done(effect);
        }
    }

    fn commit(&mut self, partition: PartitionId, offset: i64) {
        let committed = CommittedOffset { partition, offset, metadata: String::new() };
        let token = outsider(&self.subject.name("group"));
        let effect = self.client.client.commit_offsets(&[committed], &token);
        self.client.done(effect);
    }

    /// The values in a partition, once the last of them is this.
    fn values_to(&mut self, partition: PartitionId, last: &str, app: &App) -> Vec<String> {
        let deadline = Deadline::new();
        loop {
            let read = self.subject.read_all(partition);
            let text = |value: &Vec<u8>| String::from_utf8(value.clone()).expect("text");
            let values: Vec<String> = read
                .iter()
                .map(|record| record.value.as_ref().map(text).unwrap_or_default())
                .collect();
            if values.last().is_some_and(|value| value == last) {
                return values;
            }
            assert!(app.error().is_none(), "{:?}", app.error());
            deadline.check("the last value is there");
            self.client.client.wait(STEP);
        }
    }

    /// Why the application has stopped.
    fn error(&mut self, app: &App) -> Arc<Error> {
        let deadline = Deadline::new();
        loop {
            if let Some(error) = app.error() {
                return error;
            }
            deadline.check("the application stops");
            self.client.client.wait(STEP);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What is left behind lies in the directory for temporary files.
        drop(std::fs::remove_dir_all(&self.state));
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn committed_offset_that_is_gone_is_passed_over_as_the_topic_says() {
    for (reset, expected) in
        [(OffsetReset::Earliest, numbers(8..13)), (OffsetReset::Latest, numbers(12..13))]
    {
        let mut world = World::new();
        let (input, out) = (world.subject.topic("in", 1)[0], world.subject.topic("out", 1)[0]);
        world.send(input, &numbers(0..12));
        world.subject.log.admin().delete_records(&[(input, 8)]).expect("the records are there");
        world.commit(input, 5);
        let app = world.start(&world.copying(reset), world.settings());
        assert!(app.wait_until_running(PATIENCE), "{:?}", app.error());
        let deadline = Deadline::new();
        while world.subject.committed(input).is_none_or(|known| known.offset < 8) {
            deadline.check("the new position is committed");
            world.client.client.wait(STEP);
        }
        world.send(input, &numbers(12..13));
        assert_eq!(world.values_to(out, "12", &app), expected);
        assert!(app.close(PATIENCE));
    }
}

#[test]
fn without_a_reset_an_offset_that_is_gone_stops_the_application() {
    let mut world = World::new();
    let input = world.subject.topic("in", 1)[0];
    world.subject.topic("out", 1);
    world.send(input, &numbers(0..12));
    world.subject.log.admin().delete_records(&[(input, 8)]).expect("the records are there");
    world.commit(input, 5);
    let app = world.start(&world.copying(OffsetReset::None), world.settings());
    let text = world.error(&app).to_string();
    let place = format!("offset 5 is committed for `{}-0`", world.subject.name("in"));
    for part in [&*place, "the log holds 8 to 12", "choose another reset"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(app.close(PATIENCE));
}

#[test]
fn results_that_are_too_large_are_skipped_or_dead_lettered_and_small_ones_pass() {
    for is_kept in [false, true] {
        let mut world = World::new();
        let input = world.subject.topic("in", 1)[0];
        let out = world.subject.topic_with("out", 1, &[("max.message.bytes", "2000")])[0];
        let dead = world.subject.topic("dead", 1)[0];
        let mut values: Vec<String> = (0..200).map(|n| format!("{n:0>300}")).collect();
        values.insert(50, "L".repeat(5_000));
        world.send(input, &values);
        let policy = if is_kept {
            ErrorPolicy::dead_letter(world.subject.name("dead"))
        } else {
            ErrorPolicy::Skip
        };
        let settings = world.settings().on_produce_error(policy);
        let app = world.start(&world.copying(OffsetReset::Earliest), settings);
        let large = values.remove(50);
        let copied = world.values_to(out, values.last().expect("there are values"), &app);
        assert_eq!(copied, values);
        let dead_letters = world.subject.read_all(dead);
        let dead_letters: Vec<_> = dead_letters.into_iter().map(|record| record.value).collect();
        let kept = if is_kept { vec![Some(large.into_bytes())] } else { Vec::new() };
        assert_eq!(dead_letters, kept);
        assert!(app.close(PATIENCE));
    }
}

#[test]
fn row_that_its_changelog_does_not_take_stops_the_application() {
    let mut world = World::new();
    let input = world.subject.topic("in", 1)[0];
    world.subject.topic("out", 1);
    let group = world.subject.name("group");
    let changelog =
        ("last-changelog", [("cleanup.policy", "compact"), ("max.message.bytes", "2000")]);
    let changelog_name = format!("{group}-{}", changelog.0);
    Broker::shared().create_topic(&changelog_name, 1, &changelog.1);
    let builder = StreamsBuilder::new();
    let stream = builder.stream(&world.topic("in"));
    let last = stream.group_by_key().aggregate("last", String::new, |_, value, last| *last = value);
    last.to_stream().map_values(|_| "changed".to_owned()).to(&world.topic("out"));
    let topology = builder.build().expect("a valid pipeline");
    world.send(input, &["L".repeat(5_000)]);
    let app = world.start(&topology, world.settings().on_error(ErrorPolicy::Skip));
    let error = world.error(&app);
    assert_eq!(error.kind(), ErrorKind::Fatal);
    let text = error.to_string();
    for part in ["store `last`", "takes 2000", &*changelog_name, "max.message.bytes"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(app.close(PATIENCE));
    assert!(world.subject.committed(input).is_none_or(|known| known.offset == 0));
}

#[test]
fn compressed_batch_that_is_refused_names_topic_and_fix() {
    let mut world = World::new();
    let input = world.subject.topic("in", 1)[0];
    let out = world.subject.topic_with("out", 1, &[("max.message.bytes", "2000")])[0];
    // Compressed it is small enough, and the broker alone can tell.
    let small = "s".repeat(5_000);
    world.send(input, std::slice::from_ref(&small));
    let settings = world.settings().client_property("compression.type", "zstd");
    let app = world.start(&world.copying(OffsetReset::Earliest), settings);
    assert_eq!(world.values_to(out, &small, &app), [small]);
    let mut state = 1_u64;
    let mut letter = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + ((state >> 33) % 90) as u8)
    };
    let large: String = (0..8_000).map(|_| letter()).collect();
    world.send(input, &[large]);
    let error = world.error(&app);
    assert_eq!(error.kind(), ErrorKind::Fatal);
    let text = error.to_string();
    let place = format!("records for `{}-0` are refused", world.subject.name("out"));
    for part in [&*place, "max.message.bytes"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(app.close(PATIENCE));
    assert_eq!(world.subject.read_all(out).len(), 1, "nothing of the failed transaction is seen");
}

#[test]
fn topic_that_vanishes_while_it_is_read_stops_the_application_by_name() {
    let mut world = World::new();
    let input = world.subject.topic("in", 1)[0];
    let out = world.subject.topic("out", 1)[0];
    world.send(input, &numbers(0..1));
    let app = world.start(&world.copying(OffsetReset::Earliest), world.settings());
    world.values_to(out, "0", &app);
    let name = world.subject.name("in");
    Broker::shared().delete_topic(&name);
    let text = world.error(&app).to_string();
    assert!(text.contains(&name) && text.contains("create the topic again"), "{text}");
    assert!(app.close(PATIENCE));
}

/// The member of the group is not the thread that the user's code holds up.
#[test]
fn a_worker_that_is_held_up_beyond_its_session_keeps_its_task() {
    const SESSION: Duration = Duration::from_secs(1);
    let mut world = World::new();
    let (input, out) = (world.subject.topic("in", 1)[0], world.subject.topic("out", 1)[0]);
    let (entered, has_entered) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let builder = StreamsBuilder::new();
    let step = move |value: String| {
        if value == "held up" {
            entered.send(()).expect("the test waits for it");
            released.lock().expect("one worker holds it").recv().expect("the test releases it");
        }
        value
    };
    builder.stream(&world.topic("in")).map_values(step).to(&world.topic("out"));
    let topology = builder.build().expect("a valid pipeline");
    let settings = |world: &World, process: &str| {
        let settings = world.settings().state_dir(world.state.join(process));
        settings.session_timeout(SESSION).heartbeat_interval(SESSION / 5)
    };
    let first = world.start(&topology, settings(&world, "1"));
    world.send(input, &["held up".to_owned(), "behind".to_owned()]);
    has_entered.recv_timeout(PATIENCE).expect("the worker comes to the record");
    // It gets nothing while the first has the one task there is.
    let second = world.start(&topology, settings(&world, "2"));
    let is_taken = crate::wait_until(3 * SESSION, || has_entered.try_recv().is_ok());
    assert!(!is_taken, "nobody else has come to the record");
    release.send(()).expect("the worker waits");
    assert_eq!(world.values_to(out, "behind", &first), ["held up", "behind"]);
    assert!(first.close(PATIENCE) && second.close(PATIENCE));
    assert_eq!(world.subject.read_all(out).len(), 2, "nothing came twice");
}

/// The group that they watch is new, so that the first look at it often meets a broker that does
/// not coordinate it yet; librdkafka once crashed there.
#[test]
fn one_process_closes_all_of_the_application() {
    let mut world = World::new();
    let inputs = world.subject.topic("in", 2);
    let builder = StreamsBuilder::new();
    builder.stream(&world.topic("in")).for_each(|_, value| assert!(value != "poison", "a bug"));
    let topology = builder.build().expect("a valid pipeline");
    let start = |process: &str| {
        let settings = world.settings().state_dir(world.state.join(process));
        let config = settings.build().expect("valid settings");
        let app = App::builder(&topology, config).on_failure(|_| FailureAction::CloseAll);
        app.start().expect("it starts")
    };
    let both = [start("1"), start("2")];
    assert!(both.iter().all(|app| app.wait_until_running(PATIENCE)));
    world.send(inputs[0], &["poison".to_owned()]);
    let kinds = both.each_ref().map(|app| world.error(app).kind());
    assert!(kinds.contains(&ErrorKind::Panic), "{kinds:?}");
    assert!(both.iter().all(|app| app.close(PATIENCE)));
}
