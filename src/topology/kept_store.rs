//! Is what is kept under a store's name of the kind that the pipeline gives that name now?
//!
//! Two witnesses know what a store was: the state directory, by its stamp, and the changelog, by
//! its cleanup policy, which tells a key-value store from one of windows and no more. Rows of
//! another kind cannot be read; a store that is restored from its changelog forgets local ones.

use super::plan::{StoreKind, StoreSpec};
use crate::error::TopologyError;

const DIRECTORY: &str = "state directory";

/// What is known of what a store's name has stood for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept<'a> {
    /// Its kind, as the state directory has it.
    pub(crate) stamped: Option<&'a str>,
    /// Its changelog, if there is one already.
    pub(crate) changelog: Option<&'a str>,
    /// The changelog's cleanup policy, if it could be read.
    pub(crate) policy: Option<&'a str>,
}

impl StoreKind {
    /// A word for it, by which a state directory remembers it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::KeyValue => "key-value",
            Self::Window { retain_duplicates: false, .. } => "window",
            Self::Window { retain_duplicates: true, .. } => "join-window",
            Self::Session { .. } => "session",
        }
    }
}

/// The problem with a store whose rows were written by a store of another kind, if it is one.
/// `wanted` is the cleanup policy that its changelog is to have.
pub(crate) fn changed_kind(
    store: &StoreSpec,
    wanted: &str,
    kept: Kept<'_>,
) -> Option<TopologyError> {
    let is = store.kind.word();
    let is_key_value = store.kind == StoreKind::KeyValue;
    let changed = kept.stamped.filter(|was| *was != is);
    let problem = |was: String, witness: String, otherwise: String| {
        let store = store.name.to_string();
        Some(TopologyError::StoreKindChanged { store, was, is, witness, otherwise })
    };
    let by_directory =
        |was: &str| problem(format!("a {was} store"), DIRECTORY.into(), String::new());
    let (Some(changelog), Some(policy)) = (kept.changelog, kept.policy) else {
        // From a changelog that is yet to be, nothing can be read wrongly.
        let begins_anew = store.changelog && kept.changelog.is_none();
        return if begins_anew { None } else { by_directory(changed?) };
    };
    if is_keyed(policy) == is_key_value {
        // The changelog is of the right sort. If the directory is not, only local rows go.
        let is_of_sort = |was: &&str| (*was == StoreKind::KeyValue.word()) == is_key_value;
        return by_directory(changed.filter(is_of_sort)?);
    }
    if is_keyed(policy) == is_keyed(wanted) {
        return by_directory(changed?);
    }
    let was = match kept.stamped {
        // It has been of this kind all along: only the setting is another.
        Some(was) if was == is => return None,
        Some(was) => format!("a {was} store"),
        None if is_keyed(policy) => "a key-value store".to_owned(),
        None => "a window or session store".to_owned(),
    };
    let witness = format!("changelog `{changelog}` with `cleanup.policy={policy}`");
    problem(was, witness, format!("; if only that setting was changed, set it to `{wanted}`"))
}

/// Whether rows are kept for as long as their keys, whatever their age.
fn is_keyed(policy: &str) -> bool {
    !policy.split(',').any(|part| part.trim() == "delete")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::topology::sample::Sample;

    const RETENTION: Duration = Duration::from_secs(60);
    const WINDOW: StoreKind = StoreKind::Window { retention: RETENTION, retain_duplicates: false };
    const PAIRS: StoreKind = StoreKind::Window { retention: RETENTION, retain_duplicates: true };
    const SESSION: StoreKind = StoreKind::Session { retention: RETENTION };

    fn wanted(kind: StoreKind) -> &'static str {
        match kind {
            StoreKind::KeyValue => "compact",
            PAIRS => "delete",
            _ => "compact,delete",
        }
    }

    fn spec(kind: StoreKind) -> StoreSpec {
        let mut sample = Sample::default();
        sample.add_store("x", kind, &[]);
        sample.plan.stores()[0].clone()
    }

    fn told(now: StoreKind, kept: Kept<'_>) -> Option<String> {
        changed_kind(&spec(now), wanted(now), kept).map(|problem| problem.to_string())
    }

    #[test]
    fn a_changelog_of_another_kind_is_told_with_and_without_a_directory() {
        for (was, is) in [(StoreKind::KeyValue, WINDOW), (SESSION, StoreKind::KeyValue)] {
            let kept = Kept { changelog: Some("c"), policy: Some(wanted(was)), stamped: None };
            let told_by_changelog = told(is, kept).expect("it is told");
            assert!(told_by_changelog.contains("`x`"), "{told_by_changelog}");
            assert!(told_by_changelog.contains(&format!("is a {} store", is.word())));
            let both = told(is, Kept { stamped: Some(was.word()), ..kept }).expect("it is told");
            assert!(both.contains(&format!("was a {} store", was.word())), "{both}");
            let only_set_anew = Kept { stamped: Some(is.word()), ..kept };
            assert_eq!(told(is, only_set_anew), None);
        }
    }

    #[test]
    fn kinds_that_share_a_policy_are_told_by_the_directory() {
        for (was, is) in [(WINDOW, SESSION), (SESSION, WINDOW), (PAIRS, WINDOW)] {
            let stamped = Some(was.word());
            let same = Kept { stamped, changelog: Some("c"), policy: Some(wanted(is)) };
            assert!(told(is, same).expect("it is told").contains("state directory"));
            assert!(told(is, Kept { policy: None, ..same }).is_some());
            assert_eq!(told(is, Kept { stamped, ..Kept::default() }), None, "it begins anew");
        }
    }

    #[test]
    fn a_directory_alone_is_no_problem_where_the_changelog_is_right() {
        for (was, is) in [(StoreKind::KeyValue, SESSION), (WINDOW, StoreKind::KeyValue)] {
            let (stamped, policy) = (Some(was.word()), Some(wanted(is)));
            assert_eq!(told(is, Kept { stamped, policy, changelog: Some("c") }), None);
        }
    }

    #[test]
    fn a_store_without_a_changelog_would_lose_its_rows() {
        let store = StoreSpec { changelog: false, ..spec(StoreKind::KeyValue) };
        let kept = Kept { stamped: Some("window"), ..Kept::default() };
        assert!(changed_kind(&store, "compact", kept).is_some());
        assert!(changed_kind(&store, "compact", Kept::default()).is_none());
    }

    #[test]
    fn a_policy_of_the_users_own_says_nothing_of_the_kind() {
        let unkeyed = Kept { changelog: Some("c"), policy: Some("compact,delete"), stamped: None };
        assert!(changed_kind(&spec(WINDOW), "compact", unkeyed).is_none());
        let keyed = Kept { policy: Some("compact"), ..unkeyed };
        assert!(changed_kind(&spec(WINDOW), "compact", keyed).is_none());
        assert!(changed_kind(&spec(StoreKind::KeyValue), "compact,delete", unkeyed).is_none());
        let stamped = Kept { stamped: Some("window"), ..unkeyed };
        assert!(changed_kind(&spec(StoreKind::KeyValue), "compact,delete", stamped).is_some());
    }

    #[test]
    fn what_has_always_been_so_is_no_problem() {
        for kind in [StoreKind::KeyValue, WINDOW, PAIRS, SESSION] {
            for stamped in [None, Some(kind.word())] {
                let kept = Kept { stamped, changelog: Some("c"), policy: Some(wanted(kind)) };
                assert_eq!(told(kind, kept), None);
            }
        }
    }
}
