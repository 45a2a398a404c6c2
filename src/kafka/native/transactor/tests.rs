use super::*;

const FENCED: Code = 90;
const LOADING: Code = 14;

fn at(seconds: u64) -> Instant {
    Instant::from_origin(Duration::from_secs(seconds))
}

struct Test {
    transactor: Transactor,
    events: Vec<LogEvent>,
    number: u64,
}

impl Test {
    /// With an epoch, and a transaction that the coordinator has heard of.
    fn open(is_v2: bool) -> Self {
        let transactor = Transactor::new(Some("id".into()));
        let mut test = Self { transactor, events: Vec::new(), number: 0 };
        test.transactor.init(EffectId(1), at(1), &mut test.events);
        assert_eq!(test.ask(at(1)), Some(Step::Init));
        test.transactor.initialised(producer(0), is_v2, &mut test.events);
        assert_eq!(test.told(), ["1 done"]);
        test.transactor.begin();
        test.transactor.has_written();
        test
    }

    fn ask(&mut self, now: Instant) -> Option<Step> {
        let step = self.transactor.next(now, true)?;
        self.number = self.transactor.asked(step.clone());
        Some(step)
    }

    fn told(&mut self) -> Vec<String> {
        let told = self.events.drain(..).map(|event| match event {
            LogEvent::Ended { effect, outcome: Outcome::Done { .. } } => {
                format!("{} done", effect.0)
            }
            LogEvent::Ended { effect, outcome: Outcome::Unknown } => {
                format!("{} unknown", effect.0)
            }
            LogEvent::Ended { effect, outcome: Outcome::Failed(error) } => {
                format!("{} {error}", effect.0)
            }
            other => format!("{other:?}"),
        });
        told.collect()
    }
}

fn producer(epoch: i16) -> ProducerId {
    ProducerId { id: 7, epoch }
}

fn partition(index: u32) -> PartitionId {
    let partitions = crate::log::Partitions::default();
    let id = |at| partitions.id(&crate::log::TopicPartition::new("t", at));
    (0..=index).map(id).next_back().unwrap()
}

#[test]
fn a_classic_end_without_an_answer_is_unknown_and_not_asked_again() {
    let mut test = Test::open(false);
    assert!(test.transactor.end(EffectId(2), true, at(2)).is_none());
    assert_eq!(test.ask(at(2)), Some(Step::End(true)));
    test.transactor.unanswered(at(3), &mut test.events);
    assert_eq!(test.told(), ["2 unknown"]);
    assert_eq!(test.ask(at(9)), None);
}

#[test]
fn an_end_of_version_2_is_asked_again_until_it_is_answered() {
    let mut test = Test::open(true);
    test.transactor.end(EffectId(2), true, at(2));
    for second in 2..9 {
        assert_eq!(test.ask(at(second)), Some(Step::End(true)));
        test.transactor.unanswered(at(second), &mut test.events);
        assert!(test.told().is_empty());
    }
    assert_eq!(test.ask(at(9)), Some(Step::End(true)));
    let then = test.transactor.ended(Some(producer(1)), &mut test.events);
    assert!(matches!(then, Then::Renumber { .. }), "{then:?}");
    assert_eq!(
        (test.told(), test.transactor.producer()),
        (vec!["2 done".into()], Some(producer(1)))
    );
}

#[test]
fn the_end_waits_for_what_is_under_way() {
    let mut test = Test::open(true);
    test.transactor.end(EffectId(2), true, at(2));
    assert_eq!(test.transactor.next(at(2), false), None);
    assert_eq!(test.transactor.next(at(2), true), Some(Step::End(true)));
}

#[test]
fn a_classic_partition_is_written_to_once_it_has_been_added() {
    let (mut test, partition) = (Test::open(false), partition(0));
    test.transactor.want([partition].into_iter());
    assert!(!test.transactor.may_write(partition));
    assert_eq!(test.ask(at(2)), Some(Step::AddPartitions(vec![partition])));
    assert!(!test.transactor.may_write(partition));
    test.transactor.answered(LOADING, at(2), &mut test.events);
    assert_eq!(test.ask(at(3)), Some(Step::AddPartitions(vec![partition])));
    test.transactor.answered(0, at(3), &mut test.events);
    assert!(test.transactor.may_write(partition));
}

#[test]
fn with_version_2_nothing_is_added_by_hand() {
    let (mut test, partition) = (Test::open(true), partition(0));
    test.transactor.want([partition].into_iter());
    assert!(test.transactor.may_write(partition));
    assert_eq!(test.ask(at(2)), None);
}

#[test]
fn a_step_that_was_given_up_is_not_in_hand() {
    let mut test = Test::open(true);
    test.transactor.end(EffectId(2), true, at(2));
    test.ask(at(2));
    let before = test.number;
    test.transactor.init(EffectId(3), at(3), &mut test.events);
    assert_eq!(test.told(), ["2 unknown"]);
    assert_eq!(test.ask(at(4)), Some(Step::Init));
    assert_eq!(test.transactor.in_hand(before), None);
    assert_eq!(test.transactor.in_hand(test.number), Some(&Step::Init));
}

#[test]
fn a_broken_transaction_can_only_be_aborted() {
    let mut test = Test::open(true);
    test.transactor.broken();
    let refused = test.transactor.end(EffectId(2), true, at(2));
    assert!(matches!(refused, Some(Outcome::Failed(WriteError::Abort(_)))), "{refused:?}");
    assert!(test.transactor.end(EffectId(3), false, at(2)).is_none());
}

#[test]
fn after_a_broken_classic_transaction_comes_another_epoch() {
    let mut test = Test::open(false);
    test.transactor.broken();
    test.transactor.end(EffectId(2), false, at(2));
    test.ask(at(2));
    test.transactor.ended(None, &mut test.events);
    assert!(test.told().is_empty());
    assert_eq!(test.ask(at(3)), Some(Step::Init));
    test.transactor.initialised(producer(1), false, &mut test.events);
    assert_eq!(test.told(), ["2 done"]);
}

#[test]
fn a_transaction_that_no_broker_knows_ends_without_one() {
    let mut test = Test::open(true);
    test.transactor.begin();
    test.transactor.end(EffectId(2), true, at(2));
    test.transactor.end_unknown_to_brokers(true, &mut test.events);
    assert_eq!(test.told(), ["2 done"]);
}

#[test]
fn who_is_fenced_hears_it_and_who_waits_too_long_hears_that_it_is_unknown() {
    let mut test = Test::open(true);
    test.transactor.end(EffectId(2), true, at(2));
    test.ask(at(2));
    test.transactor.answered(FENCED, at(2), &mut test.events);
    assert_eq!(test.told(), ["2 fenced: committing the transaction: PRODUCER_FENCED"]);
    let mut test = Test::open(true);
    test.transactor.end(EffectId(2), true, at(2));
    test.ask(at(2));
    test.transactor.answered(LOADING, at(3) + PATIENCE, &mut test.events);
    assert_eq!(test.told(), ["2 unknown"]);
}

#[test]
fn what_was_said_before_the_first_poll_is_not_late_at_once() {
    let mut transactor = Transactor::new(Some("id".into()));
    let mut events = Vec::new();
    transactor.init(EffectId(1), Instant::default(), &mut events);
    let up_for_long = Instant::from_origin(PATIENCE * 10);
    let step = transactor.next(up_for_long, true).unwrap();
    transactor.asked(step);
    transactor.unanswered(up_for_long, &mut events);
    assert!(events.is_empty(), "{events:?}");
}
