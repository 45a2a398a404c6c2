//! Who is a member of which group in this process?
//!
//! A commit outside of a transaction must be made by the member itself, so members are found here
//! by what their tokens say.
//!
//! A token ages: the group's generation moves on with every rebalance, also for members that keep
//! all they have, and the broker takes a commit of the present generation only. So a token is
//! renewed at the last moment. That is right as long as the member has lost nothing since the token
//! was made: what it gives up it has committed before. A token from before a loss is never renewed.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::sys::{GroupMetadata, Handle};
use crate::log::{MemberToken, WriteError};

/// The members of groups in this process. Cheap to clone: it is shared.
#[derive(Clone, Debug, Default)]
pub(super) struct Members(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    handle: Weak<Handle>,
    standing: Arc<Standing>,
}

/// What the tokens of a member are worth.
#[derive(Debug)]
pub(super) struct Standing {
    /// The latest generation of any of its tokens.
    latest: AtomicI32,
    /// Tokens up to this generation are from before a loss.
    lost: AtomicI32,
}

impl Default for Standing {
    fn default() -> Self {
        Self { latest: AtomicI32::new(-1), lost: AtomicI32::new(-1) }
    }
}

impl Standing {
    /// The member's token now.
    pub(super) fn token(&self, handle: &Handle) -> Option<MemberToken> {
        let token = GroupMetadata::token(handle)?;
        self.latest.fetch_max(token.generation, Ordering::SeqCst);
        Some(token)
    }

    /// The member has lost what it had. Said before the group hears that the loss is known.
    pub(super) fn lost(&self) {
        self.lost.store(self.latest.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// What this token has become, if it is one of this member's.
    fn renewed(&self, handle: &Handle, token: &MemberToken) -> Option<MemberToken> {
        let now = self.token(handle)?;
        let is_same = now.group == token.group && now.member_id == token.member_id;
        // Looked at after the generation was read: a loss in between refuses the token.
        let is_whole = token.generation > self.lost.load(Ordering::SeqCst);
        (is_same && is_whole).then_some(now)
    }
}

impl Members {
    /// Enters a member; it is forgotten when it ends.
    pub(super) fn enter(&self, member: &Arc<Handle>) -> Arc<Standing> {
        let mut members = self.0.lock().expect("no panic while the members are held");
        members.retain(|member| member.handle.strong_count() > 0);
        let standing = Arc::<Standing>::default();
        let entry = Entry { handle: Arc::downgrade(member), standing: Arc::clone(&standing) };
        members.push(entry);
        standing
    }

    /// The token of the same member now; the token itself if it is not to be renewed.
    pub(super) fn renewed(&self, token: &MemberToken) -> MemberToken {
        self.find(token).map_or_else(|| token.clone(), |(_, renewed)| renewed)
    }

    /// The member whose token this is, if it has lost nothing since.
    pub(super) fn current(&self, token: &MemberToken) -> Result<Arc<Handle>, WriteError> {
        self.find(token).map(|(member, _)| member).ok_or_else(|| {
            WriteError::Fenced("the token is not that of a member of this process".into())
        })
    }

    fn find(&self, token: &MemberToken) -> Option<(Arc<Handle>, MemberToken)> {
        let members = self.0.lock().expect("no panic while the members are held");
        members.iter().find_map(|Entry { handle, standing }| {
            let handle = handle.upgrade()?;
            let renewed = standing.renewed(&handle, token)?;
            Some((handle, renewed))
        })
    }
}
