use std::time::Duration;

use super::*;
use crate::kafka::native::api::Api;
use crate::kafka::native::messages::Node;
use crate::kafka::native::messages::metadata::Coordinates;
use crate::kafka::native::questions::OfLeader;
use crate::kafka::native::simulated::terms_of;
use crate::kafka::native::wire::Writer as Out;
use crate::kafka::places::END;
use crate::log::Isolation;

const NOW: Instant = Instant::from_origin(Duration::from_secs(1));

/// A client that has not connected to anything.
fn core() -> Core {
    let config = ClientConfig {
        client_id: "test".into(),
        isolation: Isolation::ReadUncommitted,
        transactional_id: None,
        transaction_timeout: Duration::from_secs(60),
        group: "group".into(),
        fetch_bytes_max: 1 << 20,
        batch_bytes_max: 1 << 20,
    };
    Core::new(terms_of(&config, 1), &config)
}

/// Hands over the answer to the request of this number on a lane.
fn answer(core: &mut Core, lane: Lane, number: i32, has_tags: bool, body: impl FnOnce(&mut Out)) {
    let mut out = Out::default();
    out.i32(number);
    if has_tags {
        out.no_tags();
    }
    body(&mut out);
    core.received(lane, Bytes::from(out.bytes), NOW);
}

/// Makes the connections that are wanted.
fn connect(core: &mut Core) {
    for order in core.take_orders() {
        if let Order::Connect(lane, _) = order {
            greet(core, lane);
        }
    }
}

/// Connects, and answers the first words.
fn greet(core: &mut Core, lane: Lane) {
    core.connected(lane, NOW);
    answer(core, lane, 1, false, |out| {
        out.i16(0);
        out.list([Api::Metadata, Api::ListOffsets].into_iter(), |out, api| {
            out.i16(api as i16);
            out.i16(*api.spoken().start());
            out.i16(*api.spoken().end());
            out.no_tags();
        });
        out.i32(0);
        out.no_tags();
    });
}

/// Tells of one broker, and of no topic.
fn tell_of_broker(core: &mut Core, lane: Lane, number: i32) {
    answer(core, lane, number, true, |out| {
        out.i32(0);
        out.list([1].into_iter(), |out, node| {
            out.i32(node);
            out.text("broker");
            out.i32(9092);
            out.text_or_null(None);
            out.no_tags();
        });
        out.text_or_null(None);
        out.i32(1);
        out.list([].into_iter(), |_: &mut Out, (): ()| {});
        out.no_tags();
    });
}

/// A client that knows of one broker, and what time it is by then.
fn core_with_broker() -> (Core, Instant) {
    let mut core = core();
    core.turn(NOW);
    connect(&mut core);
    core.turn(NOW);
    tell_of_broker(&mut core, Lane::Bootstrap, 2);
    let later = NOW + Duration::from_millis(200);
    (core, later)
}

/// How many requests have not been answered.
fn asked(core: &mut Core) -> usize {
    let lanes = [Lane::Bootstrap, Lane::Calls(Node(1))];
    lanes.map(|lane| core.connection(lane).map_or(0, |up| up.in_flight())).iter().sum()
}

#[test]
fn who_leads_is_asked_in_the_turn_in_which_a_question_misses_it() {
    let (mut core, later) = core_with_broker();
    let name = TopicPartition::new("t", 0);
    let question = Question::Leader { ask: OfLeader::OffsetAt, name, value: END };
    core.ask(question, later + Duration::from_secs(5));
    assert_eq!(asked(&mut core), 0);
    core.turn(later);
    assert_eq!(asked(&mut core), 1, "nothing else would wake the client before long");
}

#[test]
fn who_leads_is_asked_in_the_turn_in_which_a_reader_misses_it() {
    let (mut core, later) = core_with_broker();
    let name = TopicPartition::new("t", 0);
    let partition = crate::log::Partitions::default().id(&name);
    core.read_from(partition, name, 0);
    core.turn(later);
    assert_eq!(asked(&mut core), 1, "nothing else would wake the client before long");
}

/// Whether a client still believes in its coordinator once the connection to it is lost, which was
/// there or could not be made.
fn keeps_coordinator(was_there: bool, why: &Broken) -> bool {
    let (mut core, later) = core_with_broker();
    let lane = Lane::Calls(Node(1));
    let whom = Coordinated { of: Coordinates::Group, id: "group".into() };
    let address = core.cluster.address(Node(1)).expect("it was told of").clone();
    core.cluster.set_coordinator(whom.clone(), (Node(1), address));
    core.ready(lane, later);
    if was_there {
        connect(&mut core);
    }
    core.lost(lane, why, later);
    core.cluster.coordinator(&whom).is_some()
}

#[test]
fn a_coordinator_is_looked_for_anew_only_when_it_may_be_gone() {
    let cut = Broken::Lost("cut".into());
    assert!(keeps_coordinator(true, &cut), "it may answer on the next connection");
    assert!(!keeps_coordinator(false, &cut));
    assert!(!keeps_coordinator(true, &Broken::Late(Api::Metadata)));
}
