//! Who is a member of which group in this process?
//!
//! A commit outside of a transaction must be made by the member itself, so members are found here
//! by what their tokens say.

use std::sync::{Arc, Mutex, Weak};

use super::sys::{GroupMetadata, Handle};
use crate::log::{MemberToken, WriteError};

/// The members of groups in this process. Cheap to clone: it is shared.
#[derive(Clone, Debug, Default)]
pub(super) struct Members(Arc<Mutex<Vec<Weak<Handle>>>>);

impl Members {
    /// Enters a member; it is forgotten when it ends.
    pub(super) fn enter(&self, member: &Arc<Handle>) {
        let mut members = self.0.lock().expect("no panic while the members are held");
        members.retain(|member| member.strong_count() > 0);
        members.push(Arc::downgrade(member));
    }

    /// The member whose token this is, if it still is.
    pub(super) fn current(&self, token: &MemberToken) -> Result<Arc<Handle>, WriteError> {
        let members = self.0.lock().expect("no panic while the members are held");
        let is_same =
            |member: &Arc<Handle>| GroupMetadata::token(member).is_some_and(|now| now == *token);
        members.iter().filter_map(Weak::upgrade).find(is_same).ok_or_else(|| {
            WriteError::Fenced("the token is not that of a member of this process".into())
        })
    }
}
