//! The application of `java/Takeover.java`, on millstream: the same names, the same bytes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream::serde::Canonical;
use millstream::window::key::{SessionWindowedCodec, TimeWindowedCodec};
use millstream::{
    App, AppState, Config, Emit, Grouped, JoinWindows, Joined, KGroupedStream, KStream, KTable,
    Materialized, Repartitioned, SessionWindows, SlidingWindows, StreamJoined, StreamsBuilder,
    TimeWindows, Topic, Topology, Windowed,
};

use super::Setup;

const MINUTE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(3600);
/// As there, where windows would be dropped otherwise before their results have left.
const KEPT: Duration = Duration::from_secs(7200);
const PATIENCE: Duration = Duration::from_secs(90);

/// A running application; panics when it is stopped if it has failed.
pub(super) struct Twin {
    app: App,
}

impl Twin {
    pub(super) fn start(brokers: &str, app: &str, setup: Setup, state: &Path) -> Self {
        let config = Config::builder(app, brokers)
            .guarantee(setup.guarantee)
            .group_protocol(setup.protocol)
            .commit_interval(Duration::from_millis(100))
            .state_dir(state)
            .workers(2)
            .build()
            .expect("a valid configuration");
        let app = App::builder(&topology(app), config).start().expect("it starts");
        Self { app }
    }

    /// The error that has ended it, if it has ended.
    pub(super) fn failure(&self) -> Option<String> {
        let error = self.app.error().map(|error| format!("{error:?}"));
        error.or_else(|| (self.app.state() == AppState::Failed).then(|| "it failed".to_owned()))
    }

    pub(super) fn stop(self) {
        assert!(self.app.close(PATIENCE), "it stops in time");
        assert!(self.failure().is_none(), "{:?}", self.failure());
    }
}

fn topology(app: &str) -> Topology {
    let twin = Builder { builder: StreamsBuilder::new(), app };
    twin.build();
    twin.builder.build().expect("the topology is sound")
}

struct Builder<'a> {
    builder: StreamsBuilder,
    app: &'a str,
}

impl Builder<'_> {
    fn topic<V: millstream::Key>(&self, name: &str) -> Topic<String, V> {
        Topic::plain(format!("{}-{name}", self.app))
    }

    fn build(&self) {
        let input = self.builder.stream(&self.topic::<String>("in"));
        let rows = self.topic::<String>("rows");
        let names = self.builder.table::<_, _, String>(&rows, "names");
        self.by_word(&input);
        self.by_letter(&input);
        self.by_key(&input.group_by_key());
        self.pair(&input, &self.builder.stream(&self.topic("clicks")));
        input.to_table_with::<String>(text_rows("latest")).to(&self.topic("latest"));
        let joined = Joined::with_codecs(Canonical, Canonical);
        let join = |word: String, name: String| format!("{word}/{name}");
        input.join_table_with(&names, join, joined).to(&self.topic("joined"));
        let by_name = Grouped::with_codecs(Canonical, Canonical).with_name("by-name");
        names
            .group_by_with(|key, name: String| (name, key.clone()), by_name)
            .count("holders")
            .to(&self.topic("holders"));
    }

    fn pair(&self, left: &KStream<String, String>, right: &KStream<String, String>) {
        let near = JoinWindows::within(Duration::from_secs(3)).grace(Duration::from_secs(30));
        let text = |one: Option<String>| one.unwrap_or_else(|| "null".to_owned());
        let named = |name| StreamJoined::with_codecs(name, Canonical, Canonical, Canonical);
        left.join_with(right, near, named("pairs"), |one, other| format!("{one}+{other}"))
            .to(&self.topic("pairs"));
        left.left_join_with(right, near, named("perhaps"), move |one, other| {
            format!("{one}+{}", text(other))
        })
        .to(&self.topic("perhaps"));
        left.outer_join_with(right, near, named("either"), move |one, other| {
            format!("{}+{}", text(one), text(other))
        })
        .to(&self.topic("either"));
    }

    fn by_word(&self, input: &KStream<String, String>) {
        let by_word = Grouped::with_codecs(Canonical, Canonical).with_name("by-word");
        let words = input.select_key(|_, word| word.clone()).group_by_key_with(by_word);
        words.count("words").to(&self.topic("words"));
    }

    fn by_letter(&self, input: &KStream<String, String>) {
        let by_letter = Repartitioned::with_codecs("by-letter", Canonical, Canonical);
        input
            .select_key(|_, word| word.chars().take(1).collect::<String>())
            .repartition_with(by_letter.partitions(2))
            .group_by_key()
            .aggregate_with(
                Materialized::with_codecs("lengths", Canonical, Canonical),
                || 0_i64,
                |_, word, total| *total += i64::try_from(word.len()).expect("a short word"),
            )
            .to(&self.topic("lengths"));
    }

    fn by_key(&self, input: &KGroupedStream<String, String>) {
        let minutes = TimeWindows::tumbling(MINUTE).grace(GRACE);
        self.write(&input.windowed_by(minutes).count("minutes"), "minutes");
        let hops = TimeWindows::hopping(MINUTE, Duration::from_secs(20)).grace(GRACE);
        self.write(&input.windowed_by(hops).count("hops"), "hops");
        let slides = SlidingWindows::of(Duration::from_secs(10)).grace(GRACE);
        self.write(&input.windowed_by(slides).count("slides"), "slides");
        let closing = TimeWindows::tumbling(MINUTE).grace(Duration::from_secs(30));
        let closed = input.windowed_by(closing).emit(Emit::OnWindowClose);
        self.write(&closed.count_with(counts("closed").retention(KEPT)), "closed");
        let gap = Duration::from_secs(5);
        let visits = SessionWindows::gap(gap).grace(GRACE);
        self.write_sessions(&input.windowed_by(visits).count("visits"), "visits");
        let ending = SessionWindows::gap(gap).grace(Duration::from_secs(30));
        let ended = input.windowed_by(ending).emit(Emit::OnWindowClose);
        self.write_sessions(&ended.count_with(counts("ended").retention(KEPT)), "ended");
    }

    fn write_sessions(&self, table: &KTable<Windowed<String>, i64>, topic: &str) {
        let key = SessionWindowedCodec::new(Arc::new(Canonical));
        table.to(&Topic::new(format!("{}-{topic}", self.app), key, Canonical));
    }

    fn write(&self, table: &KTable<Windowed<String>, i64>, topic: &str) {
        let key = TimeWindowedCodec::new(MINUTE, Arc::new(Canonical));
        table.to(&Topic::new(format!("{}-{topic}", self.app), key, Canonical));
    }
}

fn counts(name: &str) -> Materialized<String, i64> {
    Materialized::with_codecs(name, Canonical, Canonical)
}

fn text_rows(name: &str) -> Materialized<String, String> {
    Materialized::with_codecs(name, Canonical, Canonical)
}
