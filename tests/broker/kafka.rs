//! Where does a test get its broker?
//!
//! [`Broker`] is Apache Kafka itself: one process in `KRaft` mode, broker and controller, on two
//! free ports of 127.0.0.1, with a directory of its own. Its jars are those that `tests/run.sh
//! setup` puts into the cache; without them a test fails, it is never skipped.
//!
//! # Lifecycle
//!
//! `start` formats the directory, starts the JVM and returns once a client sees the broker in its
//! metadata. [`Broker::kill_9`] and [`Broker::restart`] keep ports and directory. Dropping it kills
//! the JVM and removes the directory; a guard process does the same when the test process itself
//! dies, however it dies, so nothing outlives a test run.

#![expect(clippy::disallowed_methods, reason = "a process of its own is waited for in real time")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// What the tests run on.
const KAFKA: &str = "kafka-4.3.1";
/// The oldest release that starts without `ZooKeeper` for more than a trial: no transactions of
/// version 2, no topic ids in requests for records, no assignment by the broker.
const OLDEST: &str = "kafka-3.3.2";
/// A JVM needs about 7 seconds on an idle machine; a loaded one is given much longer.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Two ports can be taken between choosing and listening; then others are chosen.
const START_ATTEMPTS: u32 = 3;
const LOG_LINES_SHOWN: usize = 40;

/// Distinguishes the brokers of one test process.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// A running Kafka broker, killed and cleaned up when dropped.
#[derive(Debug)]
pub(crate) struct Broker {
    directory: PathBuf,
    /// Its jars.
    lib: PathBuf,
    cluster_id: String,
    node: Node,
    /// The others of its cluster.
    companions: Vec<Broker>,
    ports: Ports,
    doors: Doors,
    /// Of the doors.
    ports_of_doors: Vec<u16>,
    /// `None` after [`Broker::kill_9`].
    java: Option<Child>,
    guard: Guard,
}

/// Which of a cluster's brokers one is.
#[derive(Debug, Clone)]
struct Node {
    id: u32,
    /// Where all of them vote, in Kafka's own form.
    voters: String,
    /// How many there are.
    count: u32,
}

/// Below the range from which Linux takes the ports of outgoing connections, so that a broker that
/// is down for a moment finds its own port free again.
#[derive(Debug, Clone, Copy)]
struct Ports {
    client: u16,
    controller: u16,
}

/// Listeners beside the open one.
#[derive(Debug, Clone)]
enum Doors {
    None,
    /// One with SASL/PLAIN, at which these users may do what they are granted.
    Guarded(Vec<String>),
    /// One for each of [`TLS_DOORS`], with the key stores of this directory.
    Tls(PathBuf),
    /// One whose clients are sent to this port of 127.0.0.1, where a proxy listens.
    Proxied(u16),
}

/// The listeners with TLS, each with a key store of its name: the first asks for a name and a
/// password as well.
pub(crate) const TLS_DOORS: [&str; 3] = ["trusted", "expired", "elsewhere"];

/// The user of the TLS listener that asks for one.
pub(crate) const USER: &str = "millstream";

/// The password of every user of a guarded listener, and of every key store.
pub(crate) const PASSWORD: &str = "hunter2";

impl Broker {
    /// Starts a broker for one test.
    pub(crate) fn start() -> Self {
        Self::start_with(&Doors::None)
    }

    /// As [`Self::shared`], of the oldest release.
    pub(crate) fn shared_oldest() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| Self::start_from(&jars_of(OLDEST), &Doors::None))
    }

    /// Starts a broker that grants its users nothing by itself. Who comes by [`Self::bootstrap`]
    /// may do everything; users come by [`Self::guarded`] with [`PASSWORD`].
    pub(crate) fn start_guarded(users: Vec<String>) -> Self {
        Self::start_with(&Doors::Guarded(users))
    }

    /// Starts a broker with the listeners [`TLS_DOORS`], whose key stores are in a directory.
    pub(crate) fn start_tls(stores: &Path) -> Self {
        Self::start_with(&Doors::Tls(stores.to_owned()))
    }

    /// Starts a broker with a listener that is reached through a proxy at a port of 127.0.0.1: what
    /// comes in there goes to [`Self::behind_proxy`].
    pub(crate) fn start_proxied(port: u16) -> Self {
        Self::start_with(&Doors::Proxied(port))
    }

    /// The port of the listener that only the proxy knows.
    pub(crate) fn behind_proxy(&self) -> u16 {
        self.ports_of_doors[0]
    }

    /// What a client of one of [`TLS_DOORS`] is given as `bootstrap.servers`.
    pub(crate) fn tls(&self, door: &str) -> String {
        let at = TLS_DOORS.iter().position(|name| *name == door).expect("it is one of them");
        format!("127.0.0.1:{}", self.ports_of_doors[at])
    }

    /// What a user's client is given as `bootstrap.servers`.
    pub(crate) fn guarded(&self) -> String {
        format!("127.0.0.1:{}", self.ports_of_doors[0])
    }

    /// Starts three brokers that are one cluster: every record is on each of them, and two suffice.
    pub(crate) fn start_three() -> Self {
        let lib = kafka_jars();
        let mut all: Vec<Self> = (1..=3).map(|_| Self::prepared(&lib, &Doors::None)).collect();
        let place =
            |(at, each): (usize, &Self)| format!("{}@127.0.0.1:{}", at + 1, each.ports.controller);
        let voters: Vec<String> = all.iter().enumerate().map(place).collect();
        let cluster_id = all[0].cluster_id.clone();
        for (id, broker) in (1..).zip(&mut all) {
            broker.node = Node { id, voters: voters.join(","), count: 3 };
            broker.cluster_id.clone_from(&cluster_id);
            broker.format().unwrap_or_else(|said| panic!("{said}"));
            broker.launch();
        }
        for broker in &mut all {
            broker.await_ready().unwrap_or_else(|log| panic!("Kafka did not start:\n{log}"));
        }
        let mut first = all.remove(0);
        first.companions = all;
        first
    }

    /// A broker of the cluster; 0 is the one that was started.
    pub(crate) fn of_cluster(&mut self, number: usize) -> &mut Self {
        match number {
            0 => self,
            other => &mut self.companions[other - 1],
        }
    }

    fn start_with(doors: &Doors) -> Self {
        Self::start_from(&kafka_jars(), doors)
    }

    fn start_from(lib: &Path, doors: &Doors) -> Self {
        let mut problem = String::new();
        for _ in 0..START_ATTEMPTS {
            match Self::try_start(lib, doors) {
                Ok(broker) => return broker,
                Err(log) => problem = log,
            }
        }
        panic!("Kafka did not start in {START_ATTEMPTS} attempts; the last one said:\n{problem}");
    }

    /// The broker that the tests of one binary share, for tests that do not stop it.
    ///
    /// Topics and groups need names of their own in such a test.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// What a client is given as `bootstrap.servers`.
    pub(crate) fn bootstrap(&self) -> String {
        let all = [self].into_iter().chain(&self.companions);
        all.map(Self::address).collect::<Vec<_>>().join(",")
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.client)
    }

    /// Creates a topic that only this test uses; `settings` are Kafka's topic settings.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .create()
            .expect("these settings make a client");
        let copies = i32::try_from(self.node.count).expect("a few");
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(copies));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let results =
            block_on(admin.create_topics([&topic], &options)).expect("the broker answers");
        for result in results {
            result.unwrap_or_else(|(topic, code)| panic!("topic `{topic}`: {code}"));
        }
        for broker in [self].into_iter().chain(&self.companions) {
            broker.await_topic(name, partitions);
        }
    }

    /// The controller has made the topic; this broker hears of it a moment later.
    fn await_topic(&self, name: &str, partitions: i32) {
        let deadline = Instant::now() + START_TIMEOUT;
        while self.partitions_led(name) != Some(partitions) {
            assert!(Instant::now() < deadline, "topic `{name}` does not appear");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// How many partitions this broker knows the topic to have, if it knows who leads each of them.
    fn partitions_led(&self, name: &str) -> Option<i32> {
        // A client that has heard of other brokers would ask any of them.
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.address())
            .create()
            .expect("these settings make a client");
        let metadata = client.fetch_metadata(Some(name), Duration::from_secs(5)).ok()?;
        let partitions = metadata.topics().first()?.partitions();
        let is_led = partitions.iter().all(|partition| partition.leader() >= 0);
        i32::try_from(partitions.len()).ok().filter(|_| is_led)
    }

    /// Deletes a topic.
    pub(crate) fn delete_topic(&self, name: &str) {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .create()
            .expect("these settings make a client");
        let deleted = block_on(admin.delete_topics(&[name], &AdminOptions::new()));
        for result in deleted.expect("the broker answers") {
            result.unwrap_or_else(|(topic, code)| panic!("topic `{topic}`: {code}"));
        }
    }

    /// Kills the broker as a power cut would: nothing is flushed, no connection is closed in order.
    pub(crate) fn kill_9(&mut self) {
        if let Some(mut java) = self.java.take() {
            // The guard must not kill a stranger that gets the same process id later.
            let _ = fs::remove_file(self.directory.join("pid"));
            java.kill().expect("a child that was not waited for can be killed");
            java.wait().expect("a killed child ends");
        }
    }

    /// Kills the broker if it runs, and starts it again on the same ports with the same data.
    pub(crate) fn restart(&mut self) {
        self.kill_9();
        self.launch();
        self.await_ready().unwrap_or_else(|log| panic!("Kafka did not come back:\n{log}"));
    }

    fn try_start(lib: &Path, doors: &Doors) -> Result<Self, String> {
        let mut broker = Self::prepared(lib, doors);
        broker.format()?;
        broker.launch();
        broker.await_ready()?;
        Ok(broker)
    }

    /// A broker with a directory and ports of its own, which does not run.
    fn prepared(lib: &Path, doors: &Doors) -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let directory = std::env::temp_dir().join(format!("millstream-broker-{process}-{number}"));
        fs::create_dir_all(&directory).expect("the directory for temporary files is writable");
        let ports = Ports::free(number);
        let voters = format!("1@127.0.0.1:{}", ports.controller);
        Self {
            // 22 characters of base64 that decode to 16 bytes, which is what Kafka asks for.
            cluster_id: format!("ms{process:012}{number:07}A"),
            node: Node { id: 1, voters, count: 1 },
            companions: Vec::new(),
            ports,
            doors: doors.clone(),
            ports_of_doors: (1..=doors.count())
                .map(|door| Ports::free(number + 600 * door).client)
                .collect(),
            java: None,
            guard: Guard::over(&directory),
            lib: lib.to_owned(),
            directory,
        }
    }

    /// Writes the properties and makes the data directory one that Kafka accepts.
    fn format(&self) -> Result<(), String> {
        let mut properties = server_properties(&self.node, &self.directory.join("data"));
        properties.push_str(&self.properties_of_doors());
        fs::write(self.properties(), properties).expect("the broker's directory is writable");
        let output = java(&self.lib, "128m")
            .args(["kafka.tools.StorageTool", "format", "--cluster-id", &self.cluster_id])
            .arg("--config")
            .arg(self.properties())
            .args(self.doors.format_arguments())
            .output()
            .expect("`java` is on the path (`tests/run.sh setup` installs it)");
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(format!("formatting: {}", String::from_utf8_lossy(&said)))
    }

    /// A later line takes the place of an earlier one of the same name.
    fn properties_of_doors(&self) -> String {
        let Ports { client, controller } = self.ports;
        let doors = self.doors.listeners();
        let (mut addresses, mut advertised) = (String::new(), String::new());
        let mut protocols = String::new();
        for ((name, protocol), port) in doors.iter().zip(&self.ports_of_doors) {
            let seen = self.doors.advertised(*port);
            addresses.extend([",", name, "://127.0.0.1:", &port.to_string()]);
            advertised.extend([",", name, "://127.0.0.1:", &seen.to_string()]);
            protocols.extend([",", name, ":", protocol]);
        }
        format!(
            "listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}{addresses}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
"
        ) + &self.doors.settings()
    }

    fn launch(&mut self) {
        let log = File::options().create(true).append(true).open(self.log());
        let log = log.expect("the broker's directory is writable");
        let errors = log.try_clone().expect("an open file can be shared");
        let java = java(&self.lib, "512m")
            .arg("kafka.Kafka")
            .arg(self.properties())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("`java` is on the path (`tests/run.sh setup` installs it)");
        fs::write(self.directory.join("pid"), java.id().to_string())
            .expect("the broker's directory is writable");
        self.java = Some(java);
    }

    /// Waits until a client sees this very broker, or gives what the broker logged instead.
    fn await_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set("reconnect.backoff.max.ms", "200")
            .set("log_level", "0")
            .create()
            .expect("these settings make a client");
        while Instant::now() < deadline {
            let java = self.java.as_mut().expect("it was launched just before");
            if let Some(status) = java.try_wait().expect("a child can be asked for its end") {
                return Err(format!("it ended with {status}:\n{}", self.log_tail()));
            }
            if self.is_seen_by(&client) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Err(format!("not ready after {START_TIMEOUT:?}:\n{}", self.log_tail()))
    }

    /// Whether metadata names this cluster, not another one that took the port, and its one broker,
    /// which it does from when the controller has admitted the broker.
    fn is_seen_by(&self, client: &BaseConsumer) -> bool {
        let patience = Duration::from_secs(1);
        let Ok(metadata) = client.fetch_metadata(None, patience) else { return false };
        metadata.brokers().len() == self.node.count as usize
            && client.client().fetch_cluster_id(patience).as_ref() == Some(&self.cluster_id)
    }

    fn properties(&self) -> PathBuf {
        self.directory.join("server.properties")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("broker.log")
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill_9();
        self.guard.finish();
    }
}

impl Ports {
    fn free(number: u32) -> Self {
        let first = 20_000 + (std::process::id() * 8 + number * 2) % 12_000;
        (0..12_000)
            .map(|step| 20_000 + (first - 20_000 + step * 2) % 12_000)
            .map(|port| u16::try_from(port).expect("a port below 32 000"))
            .find(|&port| is_free(port) && is_free(port + 1))
            .map(|client| Self { client, controller: client + 1 })
            .expect("two neighbouring ports of 12 000 are free")
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// A shell that waits for the end of the test process, then kills the broker and removes its files.
///
/// It notices by the end of its input, which the kernel closes for a process that dies in any way.
#[derive(Debug)]
struct Guard {
    shell: Child,
    /// Open as long as the broker is wanted.
    input: Option<ChildStdin>,
}

impl Guard {
    fn over(directory: &Path) -> Self {
        let script = r#"trap "" INT TERM HUP
            read -r _
            [ ! -e "$1/pid" ] || kill -9 "$(cat "$1/pid")"
            rm -rf "$1""#;
        let mut shell = Command::new("sh")
            .args(["-c", script, "guard"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("every machine that runs these tests has a shell");
        let input = shell.stdin.take();
        Self { shell, input }
    }

    fn finish(&mut self) {
        self.input.take();
        let _ = self.shell.wait();
    }
}

/// Wakes the thread that waits in [`block_on`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The admin client's answers are futures that its own thread completes: waiting is all they need.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

fn java(lib: &Path, heap: &str) -> Command {
    let mut command = Command::new("java");
    command
        .arg(format!("-Xmx{heap}"))
        // A broker that lives for a minute gains more from a short start than from the last
        // percent of speed.
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .arg("-cp")
        .arg(lib.join("*"));
    command
}

/// The folder of jars that `tests/run.sh setup` fills; the rule for its place is the same there.
pub(crate) fn kafka_jars() -> PathBuf {
    jars_of(KAFKA)
}

fn jars_of(release: &str) -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = variable("MILLSTREAM_CACHE")
        .map(PathBuf::from)
        .or_else(|| variable("XDG_CACHE_HOME").map(|path| Path::new(&path).join("millstream")))
        .or_else(|| variable("HOME").map(|path| Path::new(&path).join(".cache/millstream")))
        .expect("MILLSTREAM_CACHE, XDG_CACHE_HOME or HOME is set");
    let lib = cache.join(release).join("lib");
    assert!(lib.is_dir(), "no Kafka in {}; run `tests/run.sh setup` once", lib.display());
    lib
}

fn server_properties(node: &Node, data: &Path) -> String {
    let Node { id, voters, count } = node;
    let enough = count / 2 + 1;
    let data = data.display();
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
# Every broker carries every partition, and small internal topics load quickly.
default.replication.factor={count}
min.insync.replicas={enough}
offsets.topic.replication.factor={count}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={count}
transaction.state.log.min.isr={enough}
transaction.state.log.num.partitions=4
# A dead broker is noticed in four seconds, and a dead member in one.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=300
group.consumer.session.timeout.ms=2000
group.consumer.heartbeat.interval.ms=400
group.streams.min.session.timeout.ms=1000
group.streams.min.heartbeat.interval.ms=300
# Compaction, expiry and the end of abandoned transactions happen within a test.
log.cleaner.backoff.ms=200
log.retention.check.interval.ms=300
log.initial.task.delay.ms=100
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
"
    )
}

impl Doors {
    fn count(&self) -> u32 {
        match self {
            Self::None => 0,
            Self::Guarded(_) | Self::Proxied(_) => 1,
            Self::Tls(_) => TLS_DOORS.len() as u32,
        }
    }

    /// The port that clients are told for a listener at this port.
    fn advertised(&self, port: u16) -> u16 {
        if let Self::Proxied(proxy) = self { *proxy } else { port }
    }

    /// Name and protocol of each listener.
    fn listeners(&self) -> Vec<(String, &'static str)> {
        match self {
            Self::None => Vec::new(),
            Self::Guarded(_) => vec![("GUARDED".to_owned(), "SASL_PLAINTEXT")],
            Self::Proxied(_) => vec![("PROXIED".to_owned(), "PLAINTEXT")],
            Self::Tls(_) => {
                let protocols = ["SASL_SSL", "SSL", "SSL"];
                TLS_DOORS.map(str::to_uppercase).into_iter().zip(protocols).collect()
            }
        }
    }

    /// What only they need.
    fn settings(&self) -> String {
        match self {
            Self::None | Self::Proxied(_) => String::new(),
            Self::Guarded(users) => {
                let users: Vec<_> =
                    users.iter().map(|user| format!("user_{user}={PASSWORD}")).collect();
                let users = users.join(" ");
                format!(
                    "sasl.enabled.mechanisms=PLAIN
listener.name.guarded.plain.sasl.jaas.config=\
         org.apache.kafka.common.security.plain.PlainLoginModule required {users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
# Who needs not say who they are: the broker itself, and the tests.
super.users=User:ANONYMOUS
"
                )
            }
            Self::Tls(stores) => {
                let mut settings = "sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.trusted.scram-sha-512.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;
"
                .to_owned();
                settings.extend(TLS_DOORS.map(|door| {
                    let store = stores.join(format!("{door}.p12"));
                    let store = store.display();
                    format!(
                        "listener.name.{door}.ssl.keystore.type=PKCS12
listener.name.{door}.ssl.keystore.location={store}
listener.name.{door}.ssl.keystore.password={PASSWORD}
listener.name.{door}.ssl.key.password={PASSWORD}
"
                    )
                }));
                settings
            }
        }
    }

    /// What the data directory must hold from the first.
    fn format_arguments(&self) -> Vec<String> {
        match self {
            Self::Tls(_) => {
                let user = format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]");
                vec!["--add-scram".to_owned(), user]
            }
            Self::None | Self::Guarded(_) | Self::Proxied(_) => Vec::new(),
        }
    }
}
