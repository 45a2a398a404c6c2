//! Who commits? The metadata of a group's member.

use std::ptr;

use rdkafka_sys as rd;

use super::{c_string, text_of};
use crate::log::MemberToken;

use super::Handle;

/// The metadata of a group's member.
#[derive(Debug)]
pub(in crate::kafka) struct GroupMetadata {
    metadata: *mut rd::rd_kafka_consumer_group_metadata_t,
}

// SAFETY: the metadata is plain memory with one owner.
unsafe impl Send for GroupMetadata {}

impl GroupMetadata {
    /// The metadata that this token stands for.
    pub(in crate::kafka) fn of(token: &MemberToken) -> Self {
        let (group, member) = (c_string(&token.group), c_string(&token.member_id));
        let instance = token.instance_id.as_deref().map(c_string);
        let instance = instance.as_ref().map_or(ptr::null(), |instance| instance.as_ptr());
        // SAFETY: the strings end in zero, outlive the call and are copied.
        let metadata = unsafe {
            rd::rd_kafka_consumer_group_metadata_new_with_genid(
                group.as_ptr(),
                token.generation,
                member.as_ptr(),
                instance,
            )
        };
        Self { metadata }
    }

    /// The metadata itself, valid as long as this owner.
    pub(super) const fn ptr(&self) -> *const rd::rd_kafka_consumer_group_metadata_t {
        self.metadata
    }

    /// What a member says of itself now. `None` without a group.
    pub(in crate::kafka) fn token(handle: &Handle) -> Option<MemberToken> {
        // SAFETY: the instance lives; the metadata is ours.
        let metadata = unsafe { rd::rd_kafka_consumer_group_metadata(handle.ptr()) };
        if metadata.is_null() {
            return None;
        }
        let owned = Self { metadata };
        // SAFETY: the metadata lives, and its strings with it.
        let token = unsafe {
            let instance =
                text_of(rd::rd_kafka_consumer_group_metadata_group_instance_id(metadata));
            MemberToken {
                group: text_of(rd::rd_kafka_consumer_group_metadata_group_id(metadata)),
                member_id: text_of(rd::rd_kafka_consumer_group_metadata_member_id(metadata)),
                generation: rd::rd_kafka_consumer_group_metadata_generation_id(metadata),
                instance_id: (!instance.is_empty()).then_some(instance),
            }
        };
        drop(owned);
        Some(token)
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: the metadata is ours.
        unsafe { rd::rd_kafka_consumer_group_metadata_destroy(self.metadata) };
    }
}
