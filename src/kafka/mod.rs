//! The log over a real Kafka: the ports of [`crate::log`] on librdkafka.
//!
//! - `sys`: the border to the C library, and the only unsafe code.
//! - `native`: the data plane of a worker, on the wire itself.
//! - `librdkafka`: the same over the C library, for what the other cannot do.
//! - `group`: the membership of a process; `unheard`: what it asks the group for once more.
//! - `admin`: what the control plane asks and orders, over the C library; `native::admin` asks the
//!   rest on the wire.
//! - `places`: the numbers that stand for places in a partition.
//! - `errors`: what follows from which error.

mod admin;
mod calls;
mod errors;
mod group;
mod lease;
mod librdkafka;
mod members;
mod native;
mod places;
mod properties;
mod signal;
mod sys;
mod unheard;

use std::fmt;
use std::sync::Arc;

use self::admin::KafkaAdmin;
use self::group::Member;
use self::librdkafka::Client;
use self::members::Members;
use self::native::{NativeAdmin, Plane};
use self::properties::Properties;
use crate::config::{Config, DataPlane};
use crate::log::{
    Admin, ClientConfig, Log, LogClient, LogError, Membership, MembershipConfig, Partitions,
};

/// A Kafka cluster.
#[derive(Clone)]
pub struct KafkaLog {
    properties: Properties,
    partitions: Partitions,
    members: Members,
    admin: Arc<dyn Admin>,
    /// `None` where librdkafka reads and writes.
    native: Option<Plane>,
}

impl KafkaLog {
    /// The cluster that this configuration names.
    ///
    /// # Errors
    ///
    /// If a client property is unknown or has a value that it cannot have.
    pub fn connect(config: &Config) -> Result<Self, LogError> {
        let properties = Properties::of(config);
        let partitions = Partitions::default();
        let group = &config.application_id;
        let admin = Arc::new(KafkaAdmin::new(group, &properties, &partitions)?);
        let native = native(config, &properties)?;
        let admin: Arc<dyn Admin> = match &native {
            Some(plane) => Arc::new(NativeAdmin::new(plane, group, &partitions, &admin)),
            None => admin,
        };
        Ok(Self { partitions, members: Members::default(), admin, native, properties })
    }
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog").field("properties", &self.properties).finish_non_exhaustive()
    }
}

/// The native data plane, if it is wanted and can do what is asked for.
fn native(config: &Config, properties: &Properties) -> Result<Option<Plane>, LogError> {
    if config.data_plane == DataPlane::Librdkafka {
        return Ok(None);
    }
    match Plane::of(&properties.native()) {
        Ok(plane) => Ok(Some(plane)),
        Err(why) if config.data_plane == DataPlane::Auto && why.is_unsupported => {
            tracing::info!(target: "millstream::kafka", "librdkafka reads and writes: {why}");
            Ok(None)
        }
        Err(why) => Err(LogError::Fatal(why.to_string())),
    }
}

impl Log for KafkaLog {
    fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    fn client(&self, config: ClientConfig) -> Result<Box<dyn LogClient>, LogError> {
        if let Some(native) = &self.native {
            let client = native.client(&config, &self.partitions, &self.members)?;
            return Ok(Box::new(client));
        }
        let client = Client::new(config, &self.properties, &self.partitions, &self.members)?;
        Ok(Box::new(client))
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Arc::clone(&self.admin)
    }

    fn join(&self, config: MembershipConfig) -> Result<Box<dyn Membership>, LogError> {
        let member = Member::join(&config, &self.properties, &self.partitions, &self.members)?;
        Ok(Box::new(member))
    }
}
