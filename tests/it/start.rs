//! Is every problem of a start told at once, by name and with the way out, and nothing created?

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millstream::log::memory::MemoryLog;
use millstream::log::{
    Admin, ClientConfig, CommittedOffset, Log, LogClient, LogError, Membership, MembershipConfig,
    NewTopic, OffsetSpec, PartitionId, Partitions, TopicInfo, TopicRights,
};
use millstream::{
    App, Config, ConfigBuilder, ErrorPolicy, Headers, Orphans, SessionWindows, StartError,
    StreamsBuilder, TimeWindows, Timestamp, Topic, Topology,
};

use crate::scratch::ScratchDir;

const PATIENCE: Duration = Duration::from_secs(30);

fn settings(scratch: &ScratchDir) -> ConfigBuilder {
    Config::builder("app", "broker-1:9092").state_dir(scratch.path()).workers(1)
}

fn counting() -> Topology {
    let words = Topic::<String, String>::plain("words");
    let counts = Topic::<String, i64>::plain("counts");
    let builder = StreamsBuilder::new();
    builder.stream(&words).group_by(|_, word| word.clone()).count("totals").to(&counts);
    builder.build().expect("a valid pipeline")
}

fn log() -> MemoryLog {
    let log = MemoryLog::new();
    log.create_topic("words", 2);
    log.create_topic("counts", 1);
    log
}

fn start(topology: &Topology, log: impl Log, settings: ConfigBuilder) -> Result<App, StartError> {
    App::builder(topology, settings.build().expect("valid settings")).log(log).start()
}

/// Each problem of a start that must fail.
fn problems(topology: &Topology, log: impl Log, settings: ConfigBuilder) -> Vec<String> {
    let refused = start(topology, log, settings).map(|_| ()).expect_err("it must be refused");
    refused.problems().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_told(problems: &[String], wanted: &[&[&str]]) {
    assert_eq!(problems.len(), wanted.len(), "{problems:#?}");
    for (problem, wanted) in problems.iter().zip(wanted) {
        let holds = wanted.iter().all(|part| problem.contains(part));
        assert!(holds, "`{problem}` should hold {wanted:?}");
    }
}

fn create(log: &MemoryLog, name: &str, partitions: u32, configs: &[(&str, &str)]) {
    let configs = configs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let topic = NewTopic { name: name.into(), partitions, replication: None, configs };
    log.admin().create_topics(&[topic]).expect("the log is there");
}

fn names(log: &MemoryLog) -> Vec<String> {
    log.topics().into_iter().map(|topic| topic.name).collect()
}

#[test]
fn problems_of_every_kind_are_told_at_once_and_nothing_is_created() {
    let (scratch, log) = (ScratchDir::new(), MemoryLog::new());
    log.create_topic("words", 2);
    create(&log, "app-totals-changelog", 3, &[("cleanup.policy", "compact")]);
    create(&log, "app-sums-changelog", 2, &[("cleanup.policy", "compact")]);
    let before = names(&log);
    let holder = settings(&scratch).build().expect("valid settings");
    let elsewhere = self::log();
    let running = App::builder(&counting(), holder).log(elsewhere).start().expect("it starts");
    let settings = settings(&scratch).on_error(ErrorPolicy::dead_letter("dead"));
    let told = problems(&counting(), log.clone(), settings);
    assert_told(
        &told,
        &[
            &["`counts` does not exist", "create it"],
            &["`dead` does not exist", "create it"],
            &["`app-totals-changelog` has 3 partitions where 2 are needed", "reset"],
            &["changelog topic `app-sums-changelog`", "old name back", "Orphans::Keep"],
            &["in use by another process", "`state_dir` of its own"],
        ],
    );
    assert_eq!(names(&log), before);
    assert!(running.close(PATIENCE));
}

#[test]
fn inputs_that_meet_by_key_must_have_equally_many_partitions() {
    let (scratch, log) = (ScratchDir::new(), MemoryLog::new());
    log.create_topic("clicks", 3);
    log.create_topic("users", 2);
    log.create_topic("out", 1);
    let builder = StreamsBuilder::new();
    let users = builder.table(&Topic::<String, String>::plain("users"), "users-by-id");
    let clicks = builder.stream(&Topic::<String, String>::plain("clicks"));
    let joined = clicks.join_table(&users, |click, user| format!("{click} {user}"));
    joined.to(&Topic::plain("out"));
    let told = problems(&builder.build().expect("valid"), log, settings(&scratch));
    assert_told(&told, &[&["`clicks` has 3", "`users` has 2", "repartition one of them"]]);
}

#[test]
fn names_of_the_pipeline_are_checked_together_when_it_is_built() {
    let builder = StreamsBuilder::new();
    let words = builder.stream(&Topic::<String, String>::plain("words"));
    let counted = |name: &str| drop(words.group_by(|_, word| word.clone()).count(name));
    counted("twice");
    counted("twice");
    counted("no/name");
    let refused = builder.build().map(|_| ()).expect_err("it must be refused").to_string();
    assert!(refused.contains("`twice` is used by two stores"), "{refused}");
    assert!(refused.contains("`no/name` is no valid store name"), "{refused}");
}

#[test]
fn settings_are_checked_together() {
    let built = Config::builder("no/id", "")
        .workers(0)
        .records_per_turn(0)
        .commit_interval(Duration::from_secs(60))
        .heartbeat_interval(Duration::from_secs(60))
        .on_process_error(ErrorPolicy::dead_letter("no topic"))
        .client_property("group.id", "other")
        .client_property("enable.auto.commit", "true")
        .build();
    let told: Vec<String> =
        built.map(drop).expect_err("refused").0.iter().map(ToString::to_string).collect();
    assert_told(
        &told,
        &[
            &["`application_id` is `no/id`", "letters"],
            &["`brokers` is empty", "localhost:9092"],
            &["`on_process_error` is `no topic`", "topic's name"],
            &["`workers` is 0", "at least 1"],
            &["`records_per_turn` is 0", "at least 1"],
            &["`transaction_timeout` is 10s", "longer than `commit_interval`"],
            &["`heartbeat_interval` is 60s", "shorter than `session_timeout`"],
            &["`enable.auto.commit`", "`commit_interval`"],
            &["`group.id`", "application's id"],
        ],
    );
}

#[cfg(feature = "kafka")]
#[test]
fn properties_that_the_client_does_not_know_are_refused_by_name_and_never_by_value() {
    let scratch = ScratchDir::new();
    let config = settings(&scratch)
        .client_property("no.such.property", "hunter2")
        .client_property("security.protocol", "hunter3")
        .build();
    let refused = App::builder(&counting(), config.expect("no setting of ours")).start();
    let told = refused.map(drop).expect_err("refused").to_string();
    assert!(told.contains("`no.such.property`"), "{told}");
    assert!(told.contains("`security.protocol` has a value it cannot have"), "{told}");
    assert!(!told.contains("hunter"), "{told}");
}

#[test]
fn a_dead_letter_topic_that_is_read_is_refused() {
    let scratch = ScratchDir::new();
    let settings = settings(&scratch).on_error(ErrorPolicy::dead_letter("words"));
    let told = problems(&counting(), log(), settings);
    assert_told(&told, &[&["`words` is read by the pipeline", "elsewhere"]]);
}

#[test]
fn state_under_a_name_that_has_gone_is_refused_until_it_is_accepted() {
    let (scratch, log) = (ScratchDir::new(), log());
    let app = start(&counting(), log.clone(), settings(&scratch)).expect("it starts");
    assert!(app.wait_until_running(PATIENCE) && app.close(PATIENCE));

    let words = Topic::<String, String>::plain("words");
    let builder = StreamsBuilder::new();
    let renamed = builder.stream(&words).group_by(|_, word| word.clone()).count("sums");
    renamed.to(&Topic::<String, i64>::plain("counts"));
    let renamed = builder.build().expect("a valid pipeline");
    let told = problems(&renamed, log.clone(), settings(&scratch));
    let mut wanted: Vec<&[&str]> = vec![
        &["changelog topic `app-totals-changelog`", "old name back"],
        &["repartition topic `app-totals-repartition`", "old name back"],
    ];
    if cfg!(feature = "rocksdb") {
        wanted.push(&["local store `totals`", "old name back"]);
    }
    assert_told(&told, &wanted);
    assert!(!names(&log).contains(&"app-sums-changelog".to_owned()));

    let accepting = settings(&scratch).orphans(Orphans::Keep);
    let app = start(&renamed, log.clone(), accepting).expect("it was accepted");
    assert!(app.wait_until_running(PATIENCE) && app.close(PATIENCE));
    assert!(names(&log).contains(&"app-totals-changelog".to_owned()));
}

#[test]
fn topics_of_an_application_whose_id_begins_alike_are_its_own() {
    let (scratch, log) = (ScratchDir::new(), log());
    let other = Config::builder("app-v2", "broker-1:9092").state_dir(scratch.path());
    let other = start(&counting(), log.clone(), other).expect("it starts");
    assert!(other.wait_until_running(PATIENCE));
    let app = start(&counting(), log.clone(), settings(&scratch)).expect("it is not accused");
    assert!(app.close(PATIENCE) && other.close(PATIENCE));
}

#[test]
fn topics_of_an_application_that_has_no_group_yet_keep_no_other_from_starting() {
    let (scratch, log) = (ScratchDir::new(), log());
    create(&log, "app-v2-totals-changelog", 2, &[("cleanup.policy", "compact")]);
    create(&log, "app-v2-totals-repartition", 2, &[("cleanup.policy", "delete")]);
    let app = start(&counting(), log.clone(), settings(&scratch)).expect("it is not accused");
    assert!(app.wait_until_running(PATIENCE) && app.close(PATIENCE));
}

#[test]
fn settings_of_internal_topics_that_would_lose_records_are_refused() {
    let (scratch, log) = (ScratchDir::new(), log());
    create(&log, "app-totals-changelog", 2, &[("cleanup.policy", "compact,delete")]);
    let short = [("cleanup.policy", "delete"), ("retention.ms", "1000")];
    create(&log, "app-totals-repartition", 2, &short);
    let told = problems(&counting(), log.clone(), settings(&scratch));
    assert_told(
        &told,
        &[
            &["`totals`", "`app-totals-changelog`", "`cleanup.policy=compact,delete`", "`compact`"],
            &["`app-totals-repartition`", "`retention.ms=1000`", "`-1`"],
        ],
    );
}

#[test]
fn a_policy_that_was_changed_under_a_known_store_is_told_as_a_setting() {
    let (scratch, log) = (ScratchDir::new(), log());
    run_and_close(&counting_by("key-value"), &self::log(), &scratch, 1);
    create(&log, "app-totals-changelog", 2, &[("cleanup.policy", "compact,delete")]);
    let told = problems(&counting_by("key-value"), log, settings(&scratch));
    let setting = "`cleanup.policy=compact,delete` where `compact` is needed";
    assert_told(&told, &[&["internal topic `app-totals-changelog`", setting, "change"]]);
}

/// Counts words by the name `totals`: all of them, by the minute, or by visit.
fn counting_by(kind: &str) -> Topology {
    let words = Topic::<String, String>::plain("words");
    let builder = StreamsBuilder::new();
    let grouped = builder.stream(&words).group_by(|_, word| word.clone());
    let minute = Duration::from_secs(60);
    match kind {
        "key-value" => drop(grouped.count("totals")),
        "window" => drop(grouped.windowed_by(TimeWindows::tumbling(minute)).count("totals")),
        "session" => drop(grouped.windowed_by(SessionWindows::gap(minute)).count("totals")),
        other => panic!("no kind is called `{other}`"),
    }
    builder.build().expect("a valid pipeline")
}

/// Everything that lies in a directory and may not change, by path.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let content = std::fs::read(&path).expect("it can be read");
            found.insert(path, content);
        }
    }
    found
}

fn run_and_close(topology: &Topology, log: &MemoryLog, scratch: &ScratchDir, words: usize) {
    let app = start(topology, log.clone(), settings(scratch)).expect("it starts");
    let before = log.read("app-totals-changelog").len();
    for _ in 0..words {
        let (key, word) = (Some(&b"k"[..]), Some(&b"word"[..]));
        log.produce("words", Some(0), Timestamp::from_millis(5), key, word, &Headers::new());
    }
    let is_there = || log.read("app-totals-changelog").len() > before;
    assert!(words == 0 || log.wait_until(PATIENCE, is_there), "{:?}", app.error());
    assert!(app.wait_until_running(PATIENCE) && app.close(PATIENCE), "{:?}", app.error());
}

#[test]
fn a_store_of_another_kind_under_a_kept_name_is_refused_and_nothing_is_touched() {
    let kinds = ["key-value", "window", "session"];
    for (was, is) in kinds.iter().flat_map(|was| kinds.map(|is| (*was, is))) {
        if was == is {
            continue;
        }
        let (scratch, log) = (ScratchDir::new(), log());
        run_and_close(&counting_by(was), &log, &scratch, 3);
        let kept = || {
            let topics = names(&log).into_iter().map(|name| (name.clone(), log.read(&name)));
            (topics.collect::<BTreeMap<_, _>>(), files(scratch.path()))
        };
        let before = kept();
        let told = problems(&counting_by(is), log.clone(), settings(&scratch));
        let (was_told, is_told) = (format!("was a {was} store"), format!("is a {is} store now"));
        let way_out = ["another name", "reset the application"];
        assert_told(&told, &[&["`totals`", &was_told, &is_told, way_out[0], way_out[1]]]);
        assert!(kept() == before, "a refused start from {was} to {is} has changed something");
        // What was there before goes on where it was.
        run_and_close(&counting_by(was), &log, &scratch, 1);
        let last = log.read("app-totals-changelog").pop().expect("it was counted");
        assert_eq!(last.value.as_deref(), Some(&4_i64.to_be_bytes()[..]), "{was}");
    }
}

#[test]
fn a_changelog_of_another_kind_is_known_by_its_policy_where_no_directory_is_left() {
    for (was, is, word) in [
        ("key-value", "window", "key-value"),
        ("key-value", "session", "key-value"),
        ("window", "key-value", "window or session"),
        ("session", "key-value", "window or session"),
    ] {
        let log = log();
        run_and_close(&counting_by(was), &log, &ScratchDir::new(), 1);
        let told = problems(&counting_by(is), log, settings(&ScratchDir::new()));
        let (was_told, is_told) = (format!("was a {word} store"), format!("is a {is} store now"));
        let topic = "changelog `app-totals-changelog` with `cleanup.policy=";
        assert_told(&told, &[&["`totals`", &was_told, &is_told, topic, "another name"]]);
    }
}

#[test]
fn a_store_of_another_kind_is_told_among_the_other_problems() {
    let (scratch, log) = (ScratchDir::new(), log());
    run_and_close(&counting_by("window"), &log, &scratch, 1);
    create(&log, "app-sums-changelog", 2, &[("cleanup.policy", "compact")]);
    let settings = settings(&scratch).on_error(ErrorPolicy::dead_letter("dead"));
    let told = problems(&counting_by("session"), log, settings);
    assert_told(
        &told,
        &[
            &["`dead` does not exist"],
            &["changelog topic `app-sums-changelog`"],
            &["`totals` was a window store", "state directory", "is a session store now"],
        ],
    );
}

#[test]
fn a_directory_of_another_kind_is_no_problem_where_the_changelog_is_right_or_gone() {
    let scratch = ScratchDir::new();
    run_and_close(&counting_by("window"), &log(), &scratch, 1);
    // A log of its own: the changelog is yet to be created.
    let log = log();
    run_and_close(&counting_by("key-value"), &log, &scratch, 2);
    let elsewhere = ScratchDir::new();
    run_and_close(&counting_by("window"), &self::log(), &elsewhere, 1);
    run_and_close(&counting_by("key-value"), &log, &elsewhere, 1);
    let counts: Vec<_> =
        log.read("app-totals-changelog").into_iter().filter_map(|row| row.value).collect();
    assert_eq!(counts.last().expect("it was counted"), &3_i64.to_be_bytes(), "it was restored");
}

/// A log whose administration fails where it is told to.
#[derive(Clone)]
struct Refusing {
    log: MemoryLog,
    refuse: fn(Call<'_>) -> Option<LogError>,
}

/// What is about to be asked of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call<'a> {
    Describe(&'a str),
    /// Refused, it answers that nothing may be done with the topic.
    Rights(&'a str),
    Create,
    Join,
    Other,
}

impl Log for Refusing {
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
        (self.refuse)(Call::Join).map_or_else(|| self.log.join(config), Err)
    }
}

impl Refusing {
    fn allow(&self, call: Call<'_>) -> Result<Arc<dyn Admin>, LogError> {
        (self.refuse)(call).map_or_else(|| Ok(self.log.admin()), Err)
    }
}

impl Admin for Refusing {
    fn cluster_id(&self) -> Result<String, LogError> {
        self.allow(Call::Other)?.cluster_id()
    }

    fn topics(&self, names: &[String]) -> Result<Vec<Option<TopicInfo>>, LogError> {
        let describe = |name: &String| {
            let admin = self.allow(Call::Describe(name))?;
            Ok(admin.topics(std::slice::from_ref(name))?.into_iter().next().flatten())
        };
        names.iter().map(describe).collect()
    }

    fn topic_rights(&self, names: &[String]) -> Result<Vec<Option<TopicRights>>, LogError> {
        let all = TopicRights { read: true, write: true, delete: true };
        let is_refused = |name: &String| (self.refuse)(Call::Rights(name)).is_some();
        let rights = |name| if is_refused(name) { TopicRights::default() } else { all };
        Ok(names.iter().map(|name| Some(rights(name))).collect())
    }

    fn topic_names(&self) -> Result<Vec<String>, LogError> {
        self.allow(Call::Other)?.topic_names()
    }

    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.allow(Call::Create)?.create_topics(topics)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        self.allow(Call::Other)?.committed(group, partitions)
    }

    fn committed_so_far(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        self.allow(Call::Other)?.committed_so_far(group, partitions)
    }

    fn commit(&self, group: &str, offsets: &[CommittedOffset]) -> Result<(), LogError> {
        self.allow(Call::Other)?.commit(group, offsets)
    }

    fn offsets(&self, wanted: &[(PartitionId, OffsetSpec)]) -> Result<Vec<i64>, LogError> {
        self.allow(Call::Other)?.offsets(wanted)
    }

    fn delete_records(&self, before: &[(PartitionId, i64)]) -> Result<(), LogError> {
        self.allow(Call::Other)?.delete_records(before)
    }

    fn fence(&self, transactional_ids: &[String]) -> Vec<Result<(), LogError>> {
        let fence = |id| {
            let fenced = self.allow(Call::Other)?.fence(std::slice::from_ref(id));
            fenced.into_iter().collect()
        };
        transactional_ids.iter().map(fence).collect()
    }
}

fn denied() -> Option<LogError> {
    Some(LogError::NotAuthorised("no ACL".into()))
}

#[test]
fn a_log_that_does_not_answer_is_one_problem_with_its_address() {
    let scratch = ScratchDir::new();
    let refuse = |_: Call<'_>| Some(LogError::Unavailable("connection refused".into()));
    let told = problems(&counting(), Refusing { log: log(), refuse }, settings(&scratch));
    assert_told(&told, &[&["`broker-1:9092` does not answer", "check", "connection refused"]]);
}

#[test]
fn what_the_principal_may_not_do_is_told_by_topic() {
    let scratch = ScratchDir::new();
    let refuse = |call: Call<'_>| match call {
        Call::Describe("words" | "counts") => denied(),
        _ => None,
    };
    let told = problems(&counting(), Refusing { log: log(), refuse }, settings(&scratch));
    assert_told(
        &told,
        &[
            &["describe topic `words`; grant `--operation Read --topic words`", "no ACL"],
            &["describe topic `counts`; grant `--operation Write --topic counts`", "no ACL"],
        ],
    );
}

#[test]
fn rights_that_the_log_does_not_list_are_told_before_anything_runs() {
    let (scratch, log) = (ScratchDir::new(), log());
    let refuse = |call: Call<'_>| match call {
        Call::Rights("words" | "counts") => denied(),
        _ => None,
    };
    let before = names(&log);
    let refusing = Refusing { log: log.clone(), refuse };
    let told = problems(&counting(), refusing, settings(&scratch));
    assert_told(
        &told,
        &[
            &["write records of topic `counts`", "grant `--operation Write --topic counts`"],
            &["read records of topic `words`", "grant `--operation Read --topic words`"],
        ],
    );
    assert_eq!(names(&log), before);

    // Of a topic that is yet to be created, rights are known only afterwards.
    let refuse = |call: Call<'_>| match call {
        Call::Rights("app-totals-repartition") => denied(),
        _ => None,
    };
    let told = problems(&counting(), Refusing { log, refuse }, settings(&scratch));
    let rights = ["Read", "Write", "Delete"];
    let grants = rights.map(|right| format!("--operation {right} --topic app-totals-repartition"));
    assert_told(&told, &[&[&grants[0]], &[&grants[1]], &[&grants[2]]]);
}

#[test]
fn a_principal_that_may_not_create_topics_or_join_is_told_so() {
    let scratch = ScratchDir::new();
    let refuse = |call: Call<'_>| if call == Call::Create { denied() } else { None };
    let told = problems(&counting(), Refusing { log: log(), refuse }, settings(&scratch));
    let topics = "`app-totals-repartition`, `app-totals-changelog`";
    assert_told(&told, &[&["not authorised to create the internal topics", topics]]);

    let refuse = |call: Call<'_>| if call == Call::Join { denied() } else { None };
    let told = problems(&counting(), Refusing { log: log(), refuse }, settings(&scratch));
    assert_told(&told, &[&["not authorised to join group `app`", "no ACL"]]);
    // What was opened for that start has been given back.
    let app = start(&counting(), log(), settings(&scratch)).expect("it starts");
    assert!(app.close(PATIENCE));
}

#[test]
fn secrets_are_shown_nowhere() {
    let scratch = ScratchDir::new();
    let secrets = [
        "sasl.password",
        "sasl.username",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "ssl.certificate.pem",
    ];
    let mut settings = settings(&scratch);
    for property in secrets {
        settings = settings.client_property(property, "hunter2");
    }
    settings = settings.client_property("client.rack", "shown");
    let built = settings.clone().build().expect("valid settings");
    let app = App::builder(&counting(), built.clone());
    for text in [format!("{settings:?}"), format!("{built:?}"), format!("{app:?}")] {
        assert!(!text.contains("hunter2") && text.contains("shown"), "{text}");
    }
}
