//! Who is asked what the control plane wants to know, and what is understood of it?

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::asks::whole;
use super::{Core, Purpose};
use crate::kafka::native::api::Api;
use crate::kafka::native::cluster::Led;
use crate::kafka::native::connection::Broken;
use crate::kafka::native::errors::{Verdict, verdict};
use crate::kafka::native::link::Lane;
use crate::kafka::native::messages::metadata::Coordinated;
use crate::kafka::native::messages::positions::{self, PartAnswer};
use crate::kafka::native::messages::transaction::{self, ProducerId};
use crate::kafka::native::messages::{Code, Node, offsets};
use crate::kafka::native::questions::{OfCoordinator, OfLeader, Question, Reply};
use crate::kafka::native::wire::Reader;
use crate::log::{LogError, MemberToken, TopicPartition};
use crate::time::{Instant, millis};

/// What one broker is asked in one request: no partition can stand in it twice.
type Request = (Node, OfLeader, usize);

impl Core {
    /// Asks what the control plane wants to know, of whoever leads or coordinates.
    pub(super) fn ask_questions(&mut self, now: Instant) {
        // A worker has none.
        if self.questions.is_empty() {
            return;
        }
        self.questions.expire(now);
        let mut requests: BTreeMap<Request, Vec<(u64, TopicPartition, i64)>> = BTreeMap::new();
        let mut counts: HashMap<(OfLeader, TopicPartition), usize> = HashMap::new();
        for (number, question) in self.questions.due(now) {
            match question {
                Question::Coordinator { ask, whom } => {
                    self.ask_coordinator(number, &ask, &whom, now);
                }
                Question::Leader { ask, name, value } => {
                    if let Some(node) = self.leader_for(number, &name, now) {
                        let count = counts.entry((ask, name.clone())).or_default();
                        requests
                            .entry((node, ask, *count))
                            .or_default()
                            .push((number, name, value));
                        *count += 1;
                    }
                }
            }
        }
        for ((node, ask, _), parts) in requests {
            self.ask_leader(node, ask, &parts, now);
        }
    }

    /// Who leads this partition; a question about one that nobody ever will is replied to.
    fn leader_for(&mut self, number: u64, name: &TopicPartition, now: Instant) -> Option<Node> {
        match self.cluster.led(name, now) {
            Led::By(leader) => return Some(leader.node),
            Led::NotYet => {}
            Led::Missing => {
                let text = format!("partition {name} does not exist");
                self.questions.reply(number, Err(LogError::Fatal(text)));
            }
            Led::Refused(code) => self.questions.refused(number, code, now),
        }
        None
    }

    fn ask_leader(
        &mut self,
        node: Node,
        ask: OfLeader,
        parts: &[(u64, TopicPartition, i64)],
        now: Instant,
    ) {
        let numbers: Vec<u64> = parts.iter().map(|(number, ..)| *number).collect();
        let parts: Vec<_> = parts.iter().map(|(_, name, value)| (name, *value)).collect();
        let timeout_ms = millis(self.terms.request_timeout) as i32;
        let deadline = now + self.terms.request_timeout;
        let Some(connection) = self.ready(Lane::Calls(node), now) else { return };
        let api = match ask {
            OfLeader::OffsetAt => Api::ListOffsets,
            OfLeader::DeleteBefore => Api::DeleteRecords,
        };
        let purpose = Purpose::Questions(numbers.clone());
        connection.ask(api, None, purpose, deadline, |mut out, _| {
            match ask {
                OfLeader::OffsetAt => positions::ask_offsets(&mut out, &parts),
                OfLeader::DeleteBefore => positions::delete_records(&mut out, &parts, timeout_ms),
            }
            whole(out)
        });
        self.questions.asked(&numbers);
    }

    fn ask_coordinator(
        &mut self,
        number: u64,
        ask: &OfCoordinator,
        whom: &Coordinated,
        now: Instant,
    ) {
        let Some(lane) = self.coordinator(whom, now) else { return };
        let timeout_ms = millis(self.terms.transaction_timeout) as i32;
        let deadline = now + self.terms.request_timeout;
        let Some(connection) = self.ready(lane, now) else { return };
        let api = match ask {
            OfCoordinator::Committed { .. } => Api::OffsetFetch,
            OfCoordinator::Commit(_) => Api::OffsetCommit,
            OfCoordinator::Fence => Api::InitProducerId,
        };
        let id = &whom.id;
        let purpose = Purpose::Questions(vec![number]);
        connection.ask(api, None, purpose, deadline, |mut out, _| {
            match ask {
                OfCoordinator::Committed { names, only_stable } => {
                    offsets::ask_committed(&mut out, id, names, *only_stable);
                }
                OfCoordinator::Commit(committed) => {
                    let nobody =
                        MemberToken { group: id.to_string(), generation: -1, ..Default::default() };
                    offsets::commit_outside(&mut out, &nobody, committed);
                }
                OfCoordinator::Fence => {
                    transaction::ask_producer(&mut out, Some(id), timeout_ms, ProducerId::NONE);
                }
            }
            whole(out)
        });
        self.questions.asked(&[number]);
    }

    /// Takes the answer to questions that were asked in one request.
    pub(super) fn questions_answered(
        &mut self,
        numbers: &[u64],
        reader: &mut Reader<'_>,
        now: Instant,
    ) -> Result<(), Broken> {
        let known = numbers.iter().find_map(|number| self.questions.get(*number));
        match known.cloned() {
            // All of them have had their reply.
            None => {}
            Some(Question::Leader { ask: OfLeader::OffsetAt, .. }) => {
                self.leader_answered(numbers, &positions::read_offsets(reader)?, now);
            }
            Some(Question::Leader { ask: OfLeader::DeleteBefore, .. }) => {
                self.leader_answered(numbers, &positions::read_deleted(reader)?, now);
            }
            Some(Question::Coordinator { ask, whom }) => {
                let answer = read_coordinators(&ask, reader)?;
                self.coordinator_answered(numbers[0], &whom, answer, now);
            }
        }
        Ok(())
    }

    fn leader_answered(&mut self, numbers: &[u64], answers: &[PartAnswer<'_>], now: Instant) {
        const NOT_LEADER_OR_FOLLOWER: Code = 6;
        let by_name = answers.iter().map(|part| ((part.topic, part.partition), &part.answer));
        let by_name: HashMap<_, _> = by_name.collect();
        for number in numbers {
            let Some(Question::Leader { name, .. }) = self.questions.get(*number) else { continue };
            let name = name.clone();
            match by_name.get(&(&*name.topic, name.partition)) {
                Some(Ok(offset)) => self.questions.reply(*number, Ok(Reply::Offset(*offset))),
                answer => {
                    let code = answer.and_then(|answer| answer.err());
                    let code = code.unwrap_or(NOT_LEADER_OR_FOLLOWER);
                    if verdict(code) == Verdict::AskLeader {
                        self.cluster.forget(&name);
                    }
                    self.questions.refused(*number, code, now);
                }
            }
        }
    }

    fn coordinator_answered(
        &mut self,
        number: u64,
        whom: &Coordinated,
        answer: Result<Reply, Code>,
        now: Instant,
    ) {
        match answer {
            Ok(reply) => self.questions.reply(number, Ok(reply)),
            Err(code) => {
                if verdict(code) == Verdict::AskCoordinator {
                    self.cluster.forget_coordinator(whom);
                }
                self.questions.refused(number, code, now);
            }
        }
    }
}

fn read_coordinators(
    ask: &OfCoordinator,
    reader: &mut Reader<'_>,
) -> Result<Result<Reply, Code>, Broken> {
    Ok(match ask {
        OfCoordinator::Committed { names, .. } => {
            offsets::read_committed(reader)?.map(|committed| in_order(names, &committed))
        }
        OfCoordinator::Commit(_) => match transaction::read_codes_by_partition(reader)? {
            0 => Ok(Reply::Done),
            code => Err(code),
        },
        OfCoordinator::Fence => transaction::read_producer(reader)?.map(|_| Reply::Done),
    })
}

/// What is committed, in the order of the question.
fn in_order(names: &Arc<[TopicPartition]>, committed: &[offsets::Committed<'_>]) -> Reply {
    let known = committed.iter().filter(|each| each.offset >= 0);
    let known: HashMap<_, _> = known.map(|each| ((each.topic, each.partition), each)).collect();
    let place = |name: &TopicPartition| {
        let each = known.get(&(&*name.topic, name.partition))?;
        Some((each.offset, each.metadata.to_owned()))
    };
    Reply::Committed(names.iter().map(place).collect())
}
