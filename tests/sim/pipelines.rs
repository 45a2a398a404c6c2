//! Pipelines of every kind, under every kind of fault.

use millstream::testing::{Faults, Input, Simulation, SimulationFailure};
use millstream::{StreamsBuilder, Timestamp, Topic, Topology};

use crate::seeds;

fn words() -> Topic<String, String> {
    Topic::plain("words")
}

fn counts() -> Topic<String, i64> {
    Topic::plain("counts")
}

/// Each record has a key of its own, so that words travel over all partitions.
fn some_words(count: i64) -> Input {
    let record = |n: i64| (n.to_string(), format!("w{}", n % 7), Timestamp::from_millis(n * 10));
    Input::new().records(&words(), (0..count).map(record)).expect("text can be encoded")
}

fn built(builder: StreamsBuilder) -> Topology {
    builder.build().expect("a valid pipeline")
}

fn simulation(topology: &Topology) -> Simulation {
    Simulation::new(topology).processes(3).partitions(6).faults(Faults::all()).seeds(seeds())
}

fn report(outcome: Result<(), SimulationFailure>) {
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

fn word_count() -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(&words()).group_by(|_, word| word.clone()).count("counts").to(&counts());
    built(builder)
}

#[test]
fn a_count_behind_a_repartition() {
    let simulation = simulation(&word_count());
    report(simulation.verify(&some_words(300), |run| run.exactly_once(&counts())));
}

#[test]
fn a_stateless_transformation() {
    let out = || Topic::<String, String>::plain("out");
    let builder = StreamsBuilder::new();
    builder
        .stream(&words())
        .filter(|_, word| word != "w3")
        .flat_map_values(|word| [word.clone(), word.to_uppercase()])
        .to(&out());
    let simulation = simulation(&built(builder));
    report(simulation.verify(&some_words(300), |run| run.exactly_once(&out())));
}

#[test]
fn two_runs_of_one_seed_are_the_same_run() {
    let topology = word_count();
    for seed in [1, 2, 3] {
        let hash = || simulation(&topology).seed(seed).trace_hash(&some_words(100));
        let (first, second) = (hash().expect("it survives"), hash().expect("it survives"));
        assert_eq!(first, second, "seed {seed}");
    }
}
