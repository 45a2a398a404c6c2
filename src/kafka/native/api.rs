//! Which requests are spoken, and in which version?
//!
//! # Invariants
//!
//! - Every version that is spoken has the flexible encoding, but for the first words on a
//!   connection.
//! - The highest version is taken that both sides speak. A broker that shares none of a request is
//!   refused when it says so, not when the request is needed.

use std::ops::RangeInclusive;

use super::wire::{Read, Reader};

/// A kind of request, by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    SaslHandshake = 17,
    /// Kafka's `ApiVersions`.
    Hello = 18,
    DeleteRecords = 21,
    InitProducerId = 22,
    AddPartitionsToTxn = 24,
    AddOffsetsToTxn = 25,
    EndTxn = 26,
    TxnOffsetCommit = 28,
    SaslAuthenticate = 36,
}

/// All but the first word on a connection, whose version cannot be asked for.
const ASKED_FOR: [Api; 15] = [
    Api::Produce,
    Api::Fetch,
    Api::ListOffsets,
    Api::Metadata,
    Api::OffsetCommit,
    Api::OffsetFetch,
    Api::FindCoordinator,
    Api::SaslHandshake,
    Api::DeleteRecords,
    Api::InitProducerId,
    Api::AddPartitionsToTxn,
    Api::AddOffsetsToTxn,
    Api::EndTxn,
    Api::TxnOffsetCommit,
    Api::SaslAuthenticate,
];

/// The last version of each request that a classic transaction may use; later ones are for
/// transactions of version 2.
pub(super) const PRODUCE_CLASSIC: i16 = 11;
pub(super) const TXN_OFFSET_COMMIT_CLASSIC: i16 = 4;
pub(super) const END_TXN_CLASSIC: i16 = 4;

impl Api {
    /// The versions that are spoken: the lowest since Kafka 2.8.
    pub(super) const fn spoken(self) -> RangeInclusive<i16> {
        match self {
            Self::Produce | Self::Metadata => 9..=12,
            Self::Fetch => 12..=12,
            Self::ListOffsets => 6..=6,
            Self::OffsetCommit => 8..=9,
            // Later ones are for several groups at once.
            Self::OffsetFetch => 7..=7,
            // Later ones of the last two are for brokers among themselves.
            Self::FindCoordinator
            | Self::Hello
            | Self::AddPartitionsToTxn
            | Self::AddOffsetsToTxn => 3..=3,
            Self::SaslHandshake => 1..=1,
            Self::InitProducerId | Self::EndTxn | Self::TxnOffsetCommit => 3..=5,
            Self::DeleteRecords | Self::SaslAuthenticate => 2..=2,
        }
    }

    /// Whether the head of a request, and of its answer, ends in tagged fields.
    pub(super) const fn has_tagged_heads(self) -> (bool, bool) {
        match self {
            Self::SaslHandshake => (false, false),
            // Whoever asks may not know yet how an answer looks.
            Self::Hello => (true, false),
            _ => (true, true),
        }
    }
}

/// What a broker speaks.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    /// The highest of each of [`ASKED_FOR`], in that order.
    best: [i16; ASKED_FOR.len()],
    /// Whether transactions bump the epoch at each end (KIP-890).
    has_transactions_v2: bool,
}

/// A broker with which nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker has {api:?} in versions {theirs:?} and millstream in {ours:?}")]
pub(super) struct NoVersion {
    api: Api,
    ours: RangeInclusive<i16>,
    theirs: RangeInclusive<i16>,
}

impl Versions {
    /// What is common with a broker that speaks these.
    pub(super) fn common(
        theirs: &[(i16, RangeInclusive<i16>)],
        has_transactions_v2: bool,
    ) -> Result<Self, NoVersion> {
        let mut best = [0; ASKED_FOR.len()];
        for (best, api) in best.iter_mut().zip(ASKED_FOR) {
            let found = theirs.iter().find(|(key, _)| *key == api as i16);
            // A broker without SASL does not name its requests.
            let Some((_, theirs)) = found else { continue };
            let ours = api.spoken();
            *best = *ours.end().min(theirs.end());
            if *best < *ours.start().max(theirs.start()) {
                return Err(NoVersion { api, ours, theirs: theirs.clone() });
            }
        }
        Ok(Self { best, has_transactions_v2 })
    }

    /// The version in which to ask.
    pub(super) fn best(&self, api: Api) -> i16 {
        let at = ASKED_FOR.iter().position(|known| *known == api);
        at.map_or(*api.spoken().end(), |at| self.best[at])
    }

    /// Whether the cluster has finalised transactions of version 2, and this broker speaks them.
    pub(super) fn has_transactions_v2(&self) -> bool {
        self.has_transactions_v2
            && self.best(Api::Produce) > PRODUCE_CLASSIC
            && self.best(Api::EndTxn) > END_TXN_CLASSIC
            && self.best(Api::TxnOffsetCommit) > TXN_OFFSET_COMMIT_CLASSIC
    }
}

/// The answer to [`Api::Hello`]: an error's code, and what the broker speaks.
pub(super) fn read_versions(reader: &mut Reader<'_>) -> Read<(i16, Result<Versions, NoVersion>)> {
    let code = reader.i16()?;
    let theirs = reader.list(7, |each| {
        let (key, first, last) = (each.i16()?, each.i16()?, each.i16()?);
        each.tags()?;
        Ok((key, first..=last))
    })?;
    reader.i32()?;
    let mut has_transactions_v2 = false;
    reader.tagged(|tag, field| {
        const FINALISED_FEATURES: u32 = 2;
        if tag == FINALISED_FEATURES {
            let features = field.list(6, |each| {
                let (name, highest) = (each.text()?, each.i16()?);
                each.i16()?;
                each.tags()?;
                Ok((name, highest))
            })?;
            has_transactions_v2 =
                features.iter().any(|(n, v)| *n == "transaction.version" && *v >= 2);
        }
        Ok(())
    })?;
    Ok((code, Versions::common(&theirs, has_transactions_v2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_but(api: Api, range: RangeInclusive<i16>) -> Vec<(i16, RangeInclusive<i16>)> {
        let others = ASKED_FOR.into_iter().filter(|other| *other != api);
        let others = others.map(|other| (other as i16, other.spoken()));
        others.chain([(api as i16, range)]).collect()
    }

    #[test]
    fn the_highest_common_version_is_taken() {
        let versions = Versions::common(&all_but(Api::Produce, 0..=10), false).unwrap();
        assert_eq!((versions.best(Api::Produce), versions.best(Api::Metadata)), (10, 12));
        let versions = Versions::common(&all_but(Api::Produce, 3..=99), false).unwrap();
        assert_eq!(versions.best(Api::Produce), 12);
    }

    #[test]
    fn a_broker_that_shares_no_version_is_refused_by_name() {
        let old = Versions::common(&all_but(Api::Fetch, 0..=11), false).unwrap_err();
        assert!(old.to_string().contains("Fetch in versions 0..=11"), "{old}");
        assert!(Versions::common(&all_but(Api::Fetch, 13..=20), false).is_err());
    }

    #[test]
    fn new_transactions_need_the_feature_and_the_requests() {
        let every = all_but(Api::Produce, 3..=12);
        assert!(Versions::common(&every, true).unwrap().has_transactions_v2());
        assert!(!Versions::common(&every, false).unwrap().has_transactions_v2());
        let older = all_but(Api::Produce, 3..=11);
        assert!(!Versions::common(&older, true).unwrap().has_transactions_v2());
    }
}
