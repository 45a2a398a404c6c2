//! Are the rights that millstream lists enough, and is each of them needed?
//!
//! One application per right, each with a principal of its own that has all rights but that one;
//! and one that has them all. They run side by side on one broker.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use millstream::kafka::KafkaLog;
use millstream::log::{CommittedOffset, Log, TopicPartition};
use millstream::topology::{Acl, AclOperation};
use millstream::{App, Config, Guarantee, StreamsBuilder, Topic, Topology};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::{Broker, PASSWORD, kafka_jars};
use crate::{client, send, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);
const WORDS: i64 = 20;
/// The user whose application runs at least once.
const AT_LEAST_ONCE: &str = "unfenced";
/// Applications that run at a time.
const AT_A_TIME: usize = 3;

/// Counts all words under the application's name.
fn counting(name: &str) -> Topology {
    let words = Topic::<String, String>::plain("words");
    let builder = StreamsBuilder::new();
    let key = name.to_owned();
    let counts = builder.stream(&words).group_by(move |_, _| key.clone()).count("totals");
    counts.to(&Topic::<String, i64>::plain("counts"));
    builder.build().expect("a valid pipeline")
}

fn config(broker: &Broker, name: &str, state: &Path) -> Config {
    let config = Config::builder(name, broker.guarded())
        .state_dir(state)
        .workers(1)
        .guarantee(if name == AT_LEAST_ONCE {
            Guarantee::AtLeastOnce
        } else {
            Guarantee::ExactlyOnce
        })
        .client_property("security.protocol", "sasl_plaintext")
        .client_property("sasl.mechanism", "PLAIN")
        .client_property("sasl.username", name)
        .client_property("sasl.password", PASSWORD);
    config.build().expect("valid settings")
}

/// Makes these calls of Kafka's own tool.
fn kafka_acls(broker: &Broker, calls: impl Iterator<Item = String>) {
    let jars = kafka_jars();
    let source = Path::new("tests/broker/java/Acls.java");
    let mut tool = Command::new("java")
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .args(["-cp", &format!("{}/*", jars.display())])
        .arg(source)
        .arg(broker.bootstrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("`java` starts");
    let mut input = tool.stdin.take().expect("it was piped");
    calls.for_each(|call| writeln!(input, "{call}").expect("the tool reads"));
    drop(input);
    assert!(tool.wait().expect("it ends").success(), "the tool takes what is printed");
}

fn grant(user: &str, right: &Acl) -> String {
    format!("--add --allow-principal User:{user} {right}")
}

fn withdraw(user: &str, right: &Acl) -> String {
    format!("--remove --force --allow-principal User:{user} {right}")
}

struct World {
    broker: Broker,
    state: PathBuf,
}

impl World {
    fn rights(&self, name: &str) -> Vec<Acl> {
        counting(name).required_acls(&config(&self.broker, name, &self.state))
    }

    fn start(&self, name: &str, life: &str) -> Result<App, String> {
        let state = self.state.join(name).join(life);
        let app = App::builder(&counting(name), config(&self.broker, name, &state)).start();
        app.map_err(|refused| refused.to_string())
    }

    /// What kept the application from running to its end, and from running again with its state
    /// gone.
    fn run(&self, name: &str) -> Result<(), String> {
        for life in ["first", "second"] {
            let app = self.start(name, life)?;
            let ran = wait_until(PATIENCE, || app.error().is_some() || self.is_done(&app, name));
            let closed = app.close(PATIENCE);
            match app.error() {
                Some(error) => return Err(error.to_string()),
                None if ran && closed => {}
                None => return Err(format!("stuck in its {life} life, {:?}", app.state())),
            }
        }
        Ok(())
    }

    /// Whether every word was counted once, and its repartition record is gone.
    fn is_done(&self, app: &App, name: &str) -> bool {
        let watcher: BaseConsumer =
            client(&self.broker).set("group.id", "watcher").create().expect("valid settings");
        let repartition = format!("{name}-totals-repartition");
        let first = watcher.fetch_watermarks(&repartition, 0, PATIENCE).map(|(first, _)| first);
        first.is_ok_and(|first| first >= WORDS)
            && self.counted(name) == Some(WORDS)
            && app.wait_until_running(Duration::ZERO)
    }

    /// The last count under this name that was committed.
    fn counted(&self, name: &str) -> Option<i64> {
        let mut settings = client(&self.broker);
        settings.set("group.id", "watcher").set("isolation.level", "read_committed");
        settings.set("enable.partition.eof", "true");
        let consumer: BaseConsumer = settings.create().expect("valid settings");
        let mut from = TopicPartitionList::new();
        from.add_partition_offset("counts", 0, Offset::Beginning).expect("a valid offset");
        consumer.assign(&from).expect("an assignment by hand needs no group");
        let mut last = None;
        // The end of the partition is an error.
        while let Some(Ok(record)) = consumer.poll(PATIENCE) {
            if record.key() == Some(name.as_bytes()) {
                let count = record.payload().expect("a count is no deletion");
                last = Some(i64::from_be_bytes(count.try_into().expect("a count has 8 bytes")));
            }
        }
        last
    }

    fn send_words(&self) {
        for _ in 0..WORDS {
            send(&self.broker, "words", 0, "key", "word");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.state));
    }
}

#[test]
fn the_listed_rights_are_enough_and_each_of_them_is_needed() {
    let any = Config::builder("any", "any").build().expect("valid settings");
    let count = counting("any").required_acls(&any).len();
    let mut users: Vec<String> = (0..=count).map(|number| format!("acl{number}")).collect();
    users.push(AT_LEAST_ONCE.to_owned());
    let world = World {
        broker: Broker::start_guarded(users.clone()),
        state: std::env::temp_dir().join(format!("millstream-acls-{}", std::process::id())),
    };
    world.broker.create_topic("words", 1, &[]);
    world.broker.create_topic("counts", 1, &[]);
    world.send_words();
    // Each user lacks the right of the same number; the last two have them all.
    let lacking = |number: usize| world.rights(&users[number]).into_iter().nth(number);
    let numbers = 0..users.len();
    let granted = numbers.clone().flat_map(|number| {
        let (user, lacking) = (&users[number], lacking(number));
        let rights = world.rights(user).into_iter();
        let granted = rights.filter(move |right| Some(right) != lacking.as_ref());
        granted.map(move |right| grant(user, &right))
    });
    kafka_acls(&world.broker, granted);
    let waiting = Mutex::new(numbers.collect::<Vec<usize>>());
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(number) = next(&waiting) {
                    let outcome = world.run(&users[number]);
                    let problem = problem_of(lacking(number).as_ref(), outcome);
                    wrong.lock().unwrap().extend(problem);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_optional_rights_open_what_they_are_for(&world, &users[count]);
    assert_a_right_that_is_withdrawn_is_missed(&world, &users[count]);
}

fn next(waiting: &Mutex<Vec<usize>>) -> Option<usize> {
    waiting.lock().unwrap().pop()
}

/// What is wrong with the outcome of an application that lacked a right, or none.
fn problem_of(lacking: Option<&Acl>, outcome: Result<(), String>) -> Option<String> {
    match (lacking, outcome) {
        (None, Ok(())) => None,
        (None, Err(error)) => Some(format!("with every right: {error}")),
        (Some(right), Ok(())) => Some(format!("`{right}` is not needed")),
        (Some(right), Err(error)) => {
            let is_named = error.contains(&format!("`{right}`"));
            (!is_named).then(|| format!("without `{right}`: {error}"))
        }
    }
}

/// The application has run without them.
fn assert_optional_rights_open_what_they_are_for(world: &World, user: &str) {
    let config = config(&world.broker, user, &world.state);
    let optional = counting(user).optional_acls(&config);
    let log = KafkaLog::connect(&config).expect("valid settings");
    let words = log.partitions().id(&TopicPartition::new("words", 0));
    let is_open = |right: &Acl| match right.operation {
        AclOperation::DescribeConfigs => {
            log.admin().topic_configs(std::slice::from_ref(&right.name)).is_ok()
        }
        AclOperation::Read => {
            let offset = CommittedOffset { partition: words, offset: 1, metadata: String::new() };
            log.admin().commit(&right.name, &[offset]).is_ok()
                && log.admin().committed_so_far(&right.name, &[words]).is_ok()
        }
        other => panic!("{other:?} is not one that is optional"),
    };
    assert_eq!(optional.len(), 4);
    let closed: Vec<&Acl> = optional.iter().filter(|right| !is_open(right)).collect();
    assert_eq!(closed.len(), optional.len(), "not needed, but for {closed:?}");
    kafka_acls(&world.broker, optional.iter().map(|right| grant(user, right)));
    let closed: Vec<&Acl> = optional.iter().filter(|right| !is_open(right)).collect();
    assert!(closed.is_empty(), "not enough: {closed:?}");
}

/// Records are then given up without being sent, and librdkafka says no more of them than that.
fn assert_a_right_that_is_withdrawn_is_missed(world: &World, user: &str) {
    let is_wanted = |right: &Acl| {
        right.operation == AclOperation::Write && right.name.ends_with("-repartition")
    };
    let right = world.rights(user).into_iter().find(is_wanted).expect("it is listed");
    let app = world.start(user, "third").expect("it starts");
    assert!(wait_until(PATIENCE, || world.is_done(&app, user)), "{:?}", app.error());
    kafka_acls(&world.broker, std::iter::once(withdraw(user, &right)));
    world.send_words();
    assert!(
        wait_until(PATIENCE, || app.error().is_some()),
        "the application goes on without `{right}`"
    );
    let error = app.error().expect("it was just seen").to_string();
    assert!(error.contains(&format!("`{right}`")), "{error}");
    assert!(app.close(PATIENCE));
}
