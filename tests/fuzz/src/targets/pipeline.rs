//! A whole program over hostile topics: inputs, restored changelogs, times up to both ends of what
//! an `i64` holds. It may stop with an error, and may not panic; what it refuses is dead-lettered.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use millstream::log::memory::ReadRecord;
use millstream::testing::TopologyTestDriver;
use millstream::{
    Config, Emit, ErrorPolicy, Headers, JoinWindows, KTable, Result, SessionWindows,
    SlidingWindows, StreamsBuilder, TimeWindows, Timestamp, Topic, Topology, Windowed,
};

/// Steps of one run, at most: more say nothing new and take long.
const STEPS_MAX: usize = 24;
const STORES: [&str; 7] = [
    "hops",
    "slides",
    "sessions",
    "rows",
    "pairs-outer-this-join-store",
    "pairs-outer-other-join-store",
    "pairs-outer-shared-join-store",
];

#[derive(Arbitrary, Debug)]
enum Step {
    Send {
        is_left: bool,
        key: Option<Word>,
        value: Option<Word>,
        time: Time,
        header: Option<Word>,
    },
    Advance {
        millis: u16,
    },
    Commit,
    Crash,
    /// A row that another program has written.
    Foreign {
        store: u8,
        key: Word,
        place: Option<(Time, u32)>,
        value: Option<Word>,
    },
    Lose,
}

#[derive(Arbitrary, Debug)]
enum Word {
    A,
    B,
    Bytes(Vec<u8>),
}

impl Word {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::A => b"a",
            Self::B => b"b",
            Self::Bytes(bytes) => bytes,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Time {
    Early(u8),
    Late(u8),
    Any(i64),
}

impl Time {
    fn timestamp(self) -> Timestamp {
        Timestamp::from_millis(match self {
            Self::Early(millis) => i64::from(millis),
            Self::Late(before) => i64::MAX - i64::from(before),
            Self::Any(millis) => millis,
        })
    }
}

pub(crate) fn run(data: &[u8]) {
    let Ok(steps) = Vec::<Step>::arbitrary(&mut Unstructured::new(data)) else { return };
    let config = Config::builder("test", "in-process").on_error(ErrorPolicy::dead_letter("dead"));
    let config = config.build().expect("these settings are valid");
    let mut driver = TopologyTestDriver::with_config(&topology(), config);
    driver.commit().expect("an empty program starts");
    for step in steps.iter().take(STEPS_MAX) {
        // What it answers is its own affair, but nothing runs behind an error.
        if perform(&mut driver, step).is_err() {
            break;
        }
    }
    driver.log().read("dead").iter().for_each(check_dead_letter);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let ramp: Vec<u8> = (0..=255).collect();
    vec![ramp.clone(), ramp.repeat(3), vec![1; 400], vec![0; 400], vec![0x81; 400]]
}

fn perform(driver: &mut TopologyTestDriver, step: &Step) -> Result<()> {
    match step {
        Step::Send { is_left, key, value, time, header } => {
            let mut headers = Headers::new();
            if let Some(header) = header {
                headers.push("trace", header.bytes());
            }
            let (key, value) = (key.as_ref().map(Word::bytes), value.as_ref().map(Word::bytes));
            let topic = if *is_left { "left" } else { "right" };
            driver.log().produce(topic, None, time.timestamp(), key, value, &headers);
            driver.advance(Duration::ZERO)
        }
        Step::Advance { millis } => driver.advance(Duration::from_millis(u64::from(*millis))),
        Step::Commit => driver.commit(),
        Step::Crash => driver.crash(),
        Step::Foreign { store, key, place, value } => {
            let mut key = key.bytes().to_vec();
            if let Some((time, second)) = place {
                key.extend(time.timestamp().as_millis().to_be_bytes());
                key.extend(second.to_be_bytes());
            }
            let value = value.as_ref().map(Word::bytes);
            let store = STORES[usize::from(*store) % STORES.len()];
            let topic = format!("test-{store}-changelog");
            let (key, headers) = (Some(key.as_slice()), Headers::new());
            driver.log().produce(&topic, None, Timestamp::ZERO, key, value, &headers);
            Ok(())
        }
        Step::Lose => driver.crash_and_lose_state(),
    }
}

/// It says why it is there, behind its own headers.
fn check_dead_letter(record: &ReadRecord) {
    let names = ["exception", "stacktrace", "message", "topic", "partition", "offset"];
    let names = names.map(|name| format!("__streams.errors.{name}"));
    let found: Vec<_> = record.headers.iter().map(|(name, _)| name).collect();
    assert!(found.ends_with(&names.each_ref().map(String::as_str)));
    assert!(found[..found.len() - names.len()].iter().all(|name| *name == "trace"));
}

fn text(name: &str) -> Topic<String, String> {
    Topic::plain(name)
}

/// Every operator that has a changelog with a format of its own.
fn topology() -> Topology {
    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
    let builder = StreamsBuilder::new();
    let (left, right) = (builder.stream(&text("left")), builder.stream(&text("right")));
    let by_key = left.group_by_key();
    let hops = TimeWindows::hopping(ms(10), ms(5)).grace(ms(5));
    emit(&by_key.windowed_by(hops).emit(Emit::OnWindowClose).count("hops"));
    emit(&by_key.windowed_by(SlidingWindows::of(ms(10)).grace(ms(5))).count("slides"));
    let sessions = by_key.windowed_by(SessionWindows::gap(ms(5)).grace(ms(5)));
    emit(&sessions.reduce("sessions", |all, value| all.push_str(&value)));
    let rows = right.group_by(|_, value| value.clone()).count("rows");
    let pairs = JoinWindows::within(ms(5)).grace(ms(5));
    left.outer_join(&right, pairs, "pairs", |left, right| format!("{left:?} {right:?}"))
        .to(&text("out"));
    left.left_join_table(&rows, |value, count| format!("{value} {count:?}")).to(&text("out"));
    builder.build().expect("a valid pipeline")
}

fn emit<V: Clone + ToString + 'static>(table: &KTable<Windowed<String>, V>) {
    let printed = table
        .to_stream()
        .map(|windowed, value| (windowed.to_string(), value.map(|value| value.to_string())));
    printed.to(&text("out").nullable_values());
}
