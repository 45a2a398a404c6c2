//! How are windows and sessions kept: in stores, in topics, and over crashes?

use std::sync::Arc;
use std::time::Duration;

use millstream::serde::Canonical;
use millstream::testing::TopologyTestDriver;
use millstream::window::key::TimeWindowedCodec;
use millstream::{
    Emit, Materialized, SessionWindows, StreamsBuilder, TimeWindows, Topic, Windowed,
};

use crate::shorthand::{
    GUARANTEES, at, drain, driver, emit_windowed, ms, pass, send, text, topology, uncommitted,
};
use crate::windows::{by_key, hopping, sessions, tumbling};

fn windows_of(driver: &mut TopologyTestDriver) -> Vec<(i64, i64)> {
    let rows = driver.window_store::<String, i64>("counts").unwrap();
    rows.into_iter().map(|(_, start, count, _)| (start.as_millis(), count)).collect()
}

// --- stores and topics ---------------------------------------------------------------------------

#[test]
fn windows_are_kept_for_size_and_grace_unless_told_longer() {
    let of = |store: fn(Materialized<String, i64>) -> Materialized<String, i64>| {
        let mut driver = driver(|b| {
            let windows = TimeWindows::tumbling(ms(10)).grace(ms(5));
            let store = store(Materialized::with_codecs("counts", Canonical, Canonical));
            let _ = by_key(b).windowed_by(windows).count_with(store);
        });
        send(&mut driver, "in", "a=x@1 a=x@10 a=x@29");
        let kept = windows_of(&mut driver);
        send(&mut driver, "in", "a=x@30");
        (kept, windows_of(&mut driver))
    };
    // Of the latest window, 20 or 30, less than 15 behind.
    assert_eq!(of(|store| store), (vec![(10, 1), (20, 1)], vec![(20, 1), (30, 1)]));
    let all = vec![(0, 1), (10, 1), (20, 1)];
    let longer = of(|store| store.retention(Duration::from_secs(1)));
    assert_eq!(longer, (all.clone(), [all, vec![(30, 1)]].concat()));
}

#[test]
fn windows_that_make_no_sense_are_all_reported_when_the_topology_is_built() {
    let b = StreamsBuilder::new();
    let grouped = by_key(&b);
    let _ = grouped.windowed_by(TimeWindows::tumbling(ms(0))).count("nothing");
    let _ = grouped.windowed_by(TimeWindows::hopping(ms(5), ms(6))).count("holes");
    let _ = grouped.windowed_by(SessionWindows::gap(ms(0))).count("silence");
    let short = Materialized::with_codecs("short", Canonical, Canonical).retention(ms(14));
    let windows = TimeWindows::tumbling(ms(10)).grace(ms(5));
    let _ = grouped.windowed_by(windows).count_with(short);
    let problems = b.build().unwrap_err().to_string();
    let of = |name: &str| problems.lines().filter(|line| line.contains(name)).count();
    assert_eq!(
        ["nothing", "holes", "silence", "short"].map(|name| of(&format!("`{name}`"))),
        [1; 4]
    );
}

#[test]
fn the_changelog_of_windows_has_the_keys_of_kafka_streams() {
    let mut driver = driver(|b| drop(tumbling(b, 0, Emit::EachUpdate)));
    send(&mut driver, "in", "a=x@257");
    let rows = driver.log().read("test-counts-changelog");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].key.as_deref(), Some(&b"a\0\0\0\0\0\0\0\xfa\0\0\0\0"[..]));
    assert_eq!(rows[0].value.as_deref(), Some(&b"\0\0\0\0\0\0\0\x01"[..]));
    assert_eq!(rows[0].timestamp, at(257));
}

#[test]
fn the_changelog_of_sessions_holds_tombstones_of_what_was_merged() {
    let mut driver = driver(|b| drop(sessions(b, 0, Emit::EachUpdate)));
    send(&mut driver, "in", "a=p@1 a=q@2");
    let rows = driver.log().read("test-sessions-changelog");
    let of = |end: u8, start: u8| {
        let number = |last: u8| [0, 0, 0, 0, 0, 0, 0, last];
        [&b"a"[..], &number(end), &number(start)].concat()
    };
    let rows: Vec<_> = rows.into_iter().map(|row| (row.key, row.value.is_some())).collect();
    let first = (Some(of(1, 1)), true);
    assert_eq!(rows, [first, (Some(of(1, 1)), false), (Some(of(2, 1)), true)]);
}

#[test]
fn windowed_results_go_to_the_partition_of_their_key() {
    let codec = || TimeWindowedCodec::new(ms(10), Arc::new(Canonical));
    let out = || Topic::<Windowed<String>, i64>::new("out", codec(), Canonical);
    let topology = topology(|b| tumbling(b, 0, Emit::EachUpdate).to(&out()));
    let mut driver = TopologyTestDriver::new(&topology).partitions(4);
    send(&mut driver, "in", "a=x@1 b=x@1 c=x@1 d=x@1 a=x@11 b=x@11 c=x@11 d=x@11");
    assert_eq!(driver.output(&out()).drain().unwrap().len(), 8);
    let place = |topic: &str| {
        let records = driver.log().read(topic);
        let place = |key: Vec<u8>, partition| (key[0], partition);
        let mut places: Vec<_> =
            records.into_iter().map(|r| place(r.key.unwrap(), r.partition)).collect();
        places.sort_unstable();
        places
    };
    assert_eq!(place("in"), place("out"));
}

#[test]
fn windows_behind_a_new_key_stand_behind_one_repartition() {
    let topology = topology(|b| {
        let words = b.stream(&text("in")).group_by(|_, word| word.clone());
        emit_windowed(&words.windowed_by(TimeWindows::tumbling(ms(10))).count("by-window"));
        let _ = words.windowed_by(SessionWindows::gap(ms(5))).count("by-session");
    });
    let described = topology.describe();
    assert_eq!(described.matches("Sink: ").count(), 2, "{described}");
    assert!(described.contains("(topic: by-window-repartition)"), "{described}");
    let mut driver = TopologyTestDriver::new(&topology).partitions(3);
    assert_eq!(pass(&mut driver, "1=a@1 2=a@2"), "[a@0/10]=1@1 [a@0/10]=2@2");
}

// --- crashes -------------------------------------------------------------------------------------

/// What is done to a process between two records.
type Blow = fn(&mut TopologyTestDriver);

const BLOWS: [Blow; 2] =
    [|driver| driver.crash().unwrap(), |driver| driver.crash_and_lose_state().unwrap()];

#[test]
fn windows_go_on_after_a_crash() {
    for guarantee in GUARANTEES {
        for blow in BLOWS {
            let mut driver = uncommitted(guarantee, |b| {
                emit_windowed(&hopping(b, 9, Emit::EachUpdate));
            });
            assert_eq!(pass(&mut driver, "a=x@1 a=x@6"), "[a@0/10]=1@1 [a@0/10]=2@6 [a@5/15]=1@6");
            blow(&mut driver);
            assert_eq!(pass(&mut driver, "a=x@7"), "[a@0/10]=3@7 [a@5/15]=2@7");
        }
    }
}

#[test]
fn an_update_that_was_not_committed_is_made_again_and_counts_once() {
    for guarantee in GUARANTEES {
        for blow in BLOWS {
            let mut driver = uncommitted(guarantee, |b| {
                emit_windowed(&tumbling(b, 0, Emit::OnCommit));
            });
            assert_eq!(pass(&mut driver, "a=x@1"), "[a@0/10]=1@1");
            send(&mut driver, "in", "a=x@2 a=x@3");
            blow(&mut driver);
            assert_eq!(drain(&mut driver, "out"), "[a@0/10]=3@3");
        }
    }
}

#[test]
fn sessions_go_on_after_a_crash() {
    for guarantee in GUARANTEES {
        for blow in BLOWS {
            let mut driver = uncommitted(guarantee, |b| {
                emit_windowed(&sessions(b, 0, Emit::EachUpdate));
            });
            send(&mut driver, "in", "a=p@0 a=q@4");
            drain(&mut driver, "out");
            blow(&mut driver);
            assert_eq!(pass(&mut driver, "a=r@8"), "[a@0/4]=~@4 [a@0/8]=pqr@8");
        }
    }
}

#[test]
fn what_was_late_before_a_crash_is_late_after_it() {
    for guarantee in GUARANTEES {
        for blow in BLOWS {
            let mut driver = uncommitted(guarantee, |b| {
                emit_windowed(&tumbling(b, 0, Emit::EachUpdate));
            });
            assert_eq!(pass(&mut driver, "b=x@99"), "[b@90/100]=1@99");
            blow(&mut driver);
            assert_eq!(pass(&mut driver, "a=x@1 a=x@90"), "[a@90/100]=1@90");
        }
    }
}

#[test]
fn on_close_windows_that_were_open_in_a_crash_come_out_once() {
    for guarantee in GUARANTEES {
        for blow in BLOWS {
            let mut driver = uncommitted(guarantee, |b| {
                emit_windowed(&tumbling(b, 5, Emit::OnWindowClose));
            });
            assert_eq!(pass(&mut driver, "a=x@1 a=x@11 a=x@15"), "[a@0/10]=1@1");
            blow(&mut driver);
            assert_eq!(pass(&mut driver, "a=x@12 b=x@99"), "[a@10/20]=3@15");
            blow(&mut driver);
            assert_eq!(pass(&mut driver, "c=x@999"), "[b@90/100]=1@99");
        }
    }
}

#[test]
fn on_close_sessions_that_were_open_in_a_crash_come_out_once() {
    for guarantee in GUARANTEES {
        for blow in BLOWS {
            let mut driver = uncommitted(guarantee, |b| {
                emit_windowed(&sessions(b, 0, Emit::OnWindowClose));
            });
            assert_eq!(pass(&mut driver, "a=p@0 b=q@6 c=s@7"), "[a@0/0]=p@0");
            blow(&mut driver);
            assert_eq!(pass(&mut driver, "b=r@9 d=x@99"), "[c@7/7]=s@7 [b@6/9]=qr@9");
        }
    }
}

#[test]
fn windows_behind_the_retention_are_not_there_after_a_crash_either() {
    for blow in BLOWS {
        let mut driver = driver(|b| emit_windowed(&tumbling(b, 0, Emit::EachUpdate)));
        send(&mut driver, "in", "a=x@1 a=x@11 a=x@21");
        assert_eq!(windows_of(&mut driver), [(20, 1)]);
        blow(&mut driver);
        send(&mut driver, "in", "b=x@22");
        assert_eq!(windows_of(&mut driver), [(20, 1), (20, 1)]);
    }
}
