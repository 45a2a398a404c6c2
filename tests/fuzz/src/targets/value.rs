//! Values of user types in the formats that keep them in topics and stores.

use std::collections::BTreeMap;
use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};
use millstream::Value;
use millstream::serde::{Bincode, Codec, Json, MessagePack};
use serde::{Deserialize, Serialize};

use crate::frugal::frugal;

/// What serde's collections ask for at once, at most, whatever length they are told; here are two
/// of them under way at a time, and each may grow.
const COLLECTIONS_BYTES: usize = 4 << 20;

/// A value with everything that a format treats in its own way.
#[derive(Arbitrary, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sample {
    id: u64,
    delta: i32,
    wide: i128,
    name: String,
    letter: char,
    is_set: bool,
    amount: f64,
    bytes: Vec<u8>,
    unit: (),
    kind: Kind,
    tags: Vec<String>,
    numbers: BTreeMap<String, u16>,
    inner: Option<Box<Sample>>,
}

#[derive(Arbitrary, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Kind {
    #[default]
    Plain,
    One(f32),
    Two(u8, String),
    Named {
        level: i64,
    },
}

/// A value without a bound to its depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

pub(crate) fn json(data: &[u8]) {
    stable::<Sample>(&Json, data);
    stable::<Tree>(&Json, data);
    stable::<Vec<f64>>(&Json, data);
    stable::<Vec<String>>(&Json, data);
}

pub(crate) fn messagepack(data: &[u8]) {
    stable::<Sample>(&MessagePack, data);
    stable::<Tree>(&MessagePack, data);
    stable::<Vec<u64>>(&MessagePack, data);
    stable::<String>(&MessagePack, data);
    stable::<BTreeMap<String, Vec<String>>>(&MessagePack, data);
}

pub(crate) fn bincode(data: &[u8]) {
    stable::<Sample>(&Bincode, data);
    stable::<Vec<u64>>(&Bincode, data);
    stable::<String>(&Bincode, data);
    stable::<BTreeMap<String, Vec<String>>>(&Bincode, data);
}

/// Every value comes back from every format.
pub(crate) fn written(data: &[u8]) {
    let Ok(mut sample) = Sample::arbitrary(&mut Unstructured::new(data)) else { return };
    make_finite(&mut sample);
    comes_back(&Json, &sample);
    comes_back(&MessagePack, &sample);
    comes_back(&Bincode, &sample);
}

/// JSON has no other numbers, and no other number equals itself.
fn make_finite(sample: &mut Sample) {
    if !sample.amount.is_finite() {
        sample.amount = 0.5;
    }
    if let Kind::One(number) = &mut sample.kind
        && !number.is_finite()
    {
        *number = 0.5;
    }
    if let Some(inner) = &mut sample.inner {
        make_finite(inner);
    }
}

fn comes_back<T: Value + Debug + PartialEq>(codec: &dyn Codec<T>, value: &T) {
    let bytes = encoded(codec, value);
    assert_eq!(&codec.decode(&bytes).expect("it was written just now"), value);
}

/// What is read can be written, and then reads as the same.
fn stable<T: Value>(codec: &dyn Codec<T>, data: &[u8]) {
    let decoded = frugal(data.len(), (512, COLLECTIONS_BYTES), || codec.decode(data));
    let Ok(value) = decoded else { return };
    let bytes = encoded(codec, &value);
    let again = codec.decode(&bytes).expect("it was written just now");
    assert_eq!(encoded(codec, &again), bytes);
}

fn encoded<T: 'static>(codec: &dyn Codec<T>, value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec.encode(value, &mut bytes).expect("a value of this type can be written");
    bytes
}

pub(crate) fn json_seeds() -> Vec<Vec<u8>> {
    let mut seeds = samples(&Json);
    seeds.push(vec![b'['; 1_000]);
    seeds.push(b"[0.1, 1e-300, 123456789012345680000.5, 1e999]".to_vec());
    seeds.push(b"[\"\\ud834\\udd1e\", \"\\n\"]".to_vec());
    seeds
}

pub(crate) fn messagepack_seeds() -> Vec<Vec<u8>> {
    let mut seeds = samples(&MessagePack);
    // Trees, each with one below it.
    seeds.push(vec![0x91; 2_000]);
    // Array, text and map that claim 4 Gi elements.
    seeds.extend([0xDD, 0xDB, 0xDF].map(|kind| vec![kind, 0xFF, 0xFF, 0xFF, 0xFF]));
    seeds.push(encoded::<Vec<u64>>(&MessagePack, &vec![1, 300, u64::MAX]));
    seeds
}

pub(crate) fn bincode_seeds() -> Vec<Vec<u8>> {
    let mut seeds = samples(&Bincode);
    // A length of eight bytes.
    seeds.push([&[0xFD], [0xFF; 8].as_slice()].concat());
    seeds.push(encoded::<Vec<u64>>(&Bincode, &vec![1, 300, u64::MAX]));
    seeds.push(encoded::<String>(&Bincode, &"text".to_owned()));
    seeds
}

pub(crate) fn written_seeds() -> Vec<Vec<u8>> {
    vec![(0..=255).collect(), vec![1; 300], vec![0xFF; 200]]
}

fn samples(codec: &dyn Codec<Sample>) -> Vec<Vec<u8>> {
    let full = Sample {
        id: u64::MAX,
        delta: -7,
        wide: i128::MIN,
        name: "name".to_owned(),
        amount: 0.1,
        bytes: vec![1, 2, 3],
        kind: Kind::Two(1, "two".to_owned()),
        tags: vec!["a".to_owned(), String::new()],
        numbers: BTreeMap::from([("one".to_owned(), 1)]),
        inner: Some(Box::new(Sample { kind: Kind::Named { level: -1 }, ..Sample::default() })),
        ..Sample::default()
    };
    let nested = Sample { inner: Some(Box::new(full.clone())), ..Sample::default() };
    [Sample::default(), full, nested].map(|sample| encoded(codec, &sample)).into()
}
