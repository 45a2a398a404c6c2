//! What does the control plane want to know, and what has been replied?
//!
//! # Invariants
//!
//! - Each question gets one reply, at its deadline at the latest.
//! - What was asked and not answered is asked again: a question may be asked any number of times
//!   without doing more than once what it says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::connection::Broken;
use super::errors::{self, Verdict, verdict};
use super::messages::Code;
use super::messages::metadata::{Coordinated, Coordinates};
use super::messages::offsets::NamedOffset;
use crate::log::{LogError, TopicPartition};
use crate::time::Instant;

/// Before something is asked again.
const PAUSE: Duration = Duration::from_millis(50);

const UNSTABLE_OFFSET_COMMIT: Code = 88;
/// Who comes may not do what it asks for, or is not believed.
const NOT_AUTHORISED: [Code; 5] = [29, 30, 31, 53, 58];

/// What is asked of whoever leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum OfLeader {
    /// The offset of the first record that is not older; see
    /// [`positions`](super::messages::positions).
    OffsetAt,
    /// To give up the records before this offset.
    DeleteBefore,
}

/// What is asked of whoever coordinates.
#[derive(Clone, Debug)]
pub(super) enum OfCoordinator {
    /// What a group has committed.
    Committed { names: Arc<[TopicPartition]>, only_stable: bool },
    /// To commit offsets of a group without members.
    Commit(Arc<[NamedOffset]>),
    /// The next epoch of a transactional id.
    Fence,
}

#[derive(Clone, Debug)]
pub(super) enum Question {
    Leader { ask: OfLeader, name: TopicPartition, value: i64 },
    Coordinator { ask: OfCoordinator, whom: Coordinated },
}

impl Question {
    pub(super) const fn of_group(ask: OfCoordinator, group: Arc<str>) -> Self {
        let whom = Coordinated { of: Coordinates::Group, id: group };
        Self::Coordinator { ask, whom }
    }

    pub(super) const fn of_transactions(ask: OfCoordinator, id: Arc<str>) -> Self {
        let whom = Coordinated { of: Coordinates::Transaction, id };
        Self::Coordinator { ask, whom }
    }

    /// What it is about, for whoever reads why it failed.
    fn subject(&self) -> String {
        match self {
            Self::Leader { name, .. } => name.to_string(),
            Self::Coordinator { whom, .. } => match whom.of {
                Coordinates::Group => format!("group `{}`", whom.id),
                Coordinates::Transaction => format!("transactional id `{}`", whom.id),
            },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Done,
    Offset(i64),
    /// Offset and metadata of each partition, in the order of the question.
    Committed(Vec<Option<(i64, String)>>),
}

#[derive(Debug)]
struct Pending {
    question: Question,
    deadline: Instant,
    not_before: Instant,
    is_asked: bool,
    /// Why it was not answered at the last attempt.
    hindrance: Option<String>,
}

/// Questions that have not been replied to, and replies that have not been taken.
#[derive(Debug, Default)]
pub(super) struct Questions {
    pending: BTreeMap<u64, Pending>,
    replies: BTreeMap<u64, Result<Reply, LogError>>,
    last: u64,
}

impl Questions {
    pub(super) fn put(&mut self, question: Question, deadline: Instant) -> u64 {
        self.last += 1;
        let (not_before, is_asked, hindrance) = (Instant::default(), false, None);
        let pending = Pending { question, deadline, not_before, is_asked, hindrance };
        self.pending.insert(self.last, pending);
        self.last
    }

    pub(super) fn take_reply(&mut self, number: u64) -> Option<Result<Reply, LogError>> {
        self.replies.remove(&number)
    }

    /// What can be asked now, by number.
    pub(super) fn due(&self, now: Instant) -> Vec<(u64, Question)> {
        let due = self.pending.iter().filter(|(_, each)| !each.is_asked && now >= each.not_before);
        due.map(|(number, each)| (*number, each.question.clone())).collect()
    }

    /// Whether there is nothing to be asked, and nothing to be waited for.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    fn numbers(&self, is_wanted: impl Fn(&Pending) -> bool) -> Vec<u64> {
        let wanted = self.pending.iter().filter(|(_, each)| is_wanted(each));
        wanted.map(|(number, _)| *number).collect()
    }

    /// A question that has no reply yet.
    pub(super) fn get(&self, number: u64) -> Option<&Question> {
        self.pending.get(&number).map(|each| &each.question)
    }

    pub(super) fn asked(&mut self, numbers: &[u64]) {
        for number in numbers {
            if let Some(each) = self.pending.get_mut(number) {
                assert!(!each.is_asked, "a question is under way once at a time");
                each.is_asked = true;
            }
        }
    }

    /// What was asked has to be asked again.
    pub(super) fn unanswered(&mut self, numbers: &[u64], now: Instant) {
        for each in numbers {
            if let Some(each) = self.pending.get_mut(each) {
                each.is_asked = false;
                each.not_before = now + PAUSE;
            }
        }
    }

    pub(super) fn reply(&mut self, number: u64, reply: Result<Reply, LogError>) {
        if self.pending.remove(&number).is_some() {
            self.replies.insert(number, reply);
        }
    }

    /// A broker answered with an error: it is asked again, or its error is the reply.
    pub(super) fn refused(&mut self, number: u64, code: Code, now: Instant) {
        let Some(each) = self.pending.get_mut(&number) else { return };
        let why = errors::name(code);
        let text = format!("{}: {why}", each.question.subject());
        if let Some(error) = error_of(code, text) {
            return self.reply(number, Err(error));
        }
        each.hindrance = Some(why);
        self.unanswered(&[number], now);
    }

    /// There is no coordinator, or the broker does not say who it is.
    pub(super) fn not_found(&mut self, whom: &Coordinated, code: Code, now: Instant) {
        let is_of = |question: &Question| match question {
            Question::Coordinator { whom: asked, .. } => asked == whom,
            Question::Leader { .. } => false,
        };
        for number in self.numbers(|each| is_of(&each.question)) {
            self.refused(number, code, now);
        }
    }

    /// A broker cannot be reached, or will not listen.
    pub(super) fn hinder(&mut self, why: &Broken) {
        for each in self.pending.values_mut() {
            each.hindrance = Some(why.to_string());
        }
        if why.is_permanent() {
            for number in self.numbers(|_| true) {
                let text = why.to_string();
                let is_disbelieved = matches!(why, Broken::Unauthenticated(_));
                let error = if is_disbelieved {
                    LogError::NotAuthorised(text)
                } else {
                    LogError::Fatal(text)
                };
                self.reply(number, Err(error));
            }
        }
    }

    /// Gives up what has waited for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        for number in self.numbers(|each| now >= each.deadline) {
            let each = &self.pending[&number];
            let why = each.hindrance.as_deref().unwrap_or("no broker has answered in time");
            let text = format!("{}: {why}", each.question.subject());
            self.reply(number, Err(LogError::Unavailable(text)));
        }
    }

    /// When something is to be asked, or given up.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let pending = self.pending.values();
        let next = |each: &Pending| {
            let again = Some(each.not_before).filter(|at| !each.is_asked && *at > now);
            again.map_or(each.deadline, |again| again.min(each.deadline))
        };
        pending.map(next).min()
    }
}

/// The error that a code is; none if asking again may help.
fn error_of(code: Code, text: String) -> Option<LogError> {
    match verdict(code) {
        _ if code == UNSTABLE_OFFSET_COMMIT => Some(LogError::Unstable),
        _ if NOT_AUTHORISED.contains(&code) => Some(LogError::NotAuthorised(text)),
        Verdict::Fatal | Verdict::OutOfRange => Some(LogError::Fatal(text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_origin(Duration::from_millis(millis))
    }

    fn fence() -> Question {
        Question::of_transactions(OfCoordinator::Fence, "app-1".into())
    }

    #[test]
    fn what_was_not_answered_is_asked_again_after_a_pause() {
        let mut questions = Questions::default();
        let number = questions.put(fence(), at(1_000));
        assert_eq!(questions.due(at(0)).len(), 1);
        questions.asked(&[number]);
        assert!(questions.due(at(0)).is_empty());
        questions.unanswered(&[number], at(10));
        assert!(questions.due(at(59)).is_empty());
        assert_eq!(questions.deadline(at(59)), Some(at(60)));
        assert_eq!(questions.due(at(60)).len(), 1);
    }

    #[test]
    fn a_question_ends_at_its_deadline_and_says_what_stood_in_its_way() {
        const CONCURRENT_TRANSACTIONS: Code = 51;
        let mut questions = Questions::default();
        let number = questions.put(fence(), at(1_000));
        questions.asked(&[number]);
        questions.refused(number, CONCURRENT_TRANSACTIONS, at(900));
        questions.expire(at(999));
        assert!(questions.take_reply(number).is_none());
        questions.expire(at(1_000));
        let Some(Err(LogError::Unavailable(text))) = questions.take_reply(number) else {
            panic!("it has ended");
        };
        assert_eq!(text, "transactional id `app-1`: CONCURRENT_TRANSACTIONS");
        // What is answered after that is of no interest.
        questions.reply(number, Ok(Reply::Done));
        assert!(questions.take_reply(number).is_none());
    }

    #[test]
    fn errors_that_stay_are_told_at_once() {
        let kinds = [(29, "not authorised"), (88, "still open"), (12, "OFFSET_METADATA_TOO_LARGE")];
        for (code, text) in kinds {
            let mut questions = Questions::default();
            let number = questions.put(fence(), at(1_000));
            questions.refused(number, code, at(0));
            let error = questions.take_reply(number).expect("it has ended").unwrap_err();
            assert!(error.to_string().contains(text), "{code}: {error}");
        }
    }
}
