//! Does any target break a promise on some thousand inputs? Other ones each time.
//!
//! Half of them are random bytes. The rest are seeds in which a few bytes are changed, cut out or
//! doubled: they get past the first checks.

use millstream_fuzz::{TARGETS, Target};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index, u8),
    Double(Index, u8),
    End(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(vec![0, 1, 0x7F, 0x80, 0xFF])];
    prop_oneof![
        (any::<Index>(), byte).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (any::<Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<Index>(), 1..32_u8).prop_map(|(at, length)| Change::Cut(at, length)),
        (any::<Index>(), 1..32_u8).prop_map(|(at, length)| Change::Double(at, length)),
        any::<Index>().prop_map(Change::End),
    ]
}

impl Change {
    fn make(self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let length = bytes.len();
        let to = |at: usize, count: u8| (at + usize::from(count)).min(length);
        match self {
            Self::Set(at, byte) => bytes[at.index(length)] = byte,
            Self::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Self::Insert(at, new) => drop(bytes.splice(at.index(length)..at.index(length), new)),
            Self::Cut(at, count) => {
                drop(bytes.drain(at.index(length)..to(at.index(length), count)))
            }
            Self::Double(at, count) => {
                let at = at.index(length);
                bytes.extend_from_within(at..to(at, count));
            }
            Self::End(at) => bytes.truncate(at.index(length)),
        }
    }
}

fn input(target: &Target) -> impl Strategy<Value = Vec<u8>> + use<> {
    let changed = prop::sample::select((target.seeds)()).prop_flat_map(|seed| {
        vec(change(), 0..6).prop_map(move |changes| {
            let mut bytes = seed.clone();
            changes.into_iter().for_each(|change| change.make(&mut bytes));
            bytes
        })
    });
    prop_oneof![vec(any::<u8>(), 0..400), changed]
}

fn check(name: &str) {
    let target = millstream_fuzz::target(name).expect("the name is one of a target");
    (target.seeds)().iter().for_each(|seed| (target.run)(seed));
    let config = Config { cases: target.cases, failure_persistence: None, ..Config::default() };
    let checked = TestRunner::new(config).run(&input(target), |bytes| {
        (target.run)(&bytes);
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

macro_rules! targets {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )+

        #[test]
        fn every_target_is_tested() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),+]);
        }
    };
}

targets! {
    batch records window key json messagepack bincode written join commit changelog stamp pipeline
}
