//! Do the logs over a real Kafka keep the contract of every log?

use std::sync::Arc;

use millstream::kafka::KafkaLog;
use millstream::log::Log;
use millstream::{Config, DataPlane};

use crate::kafka::Broker;

fn cluster(broker: &Broker, data_plane: DataPlane) -> (Arc<dyn Log>, fn()) {
    let config = Config::builder("contract", broker.bootstrap()).data_plane(data_plane);
    let config = config.build().expect("the configuration is whole");
    let log = KafkaLog::connect(&config).expect("these properties make a client");
    (Arc::new(log), || ())
}

mod librdkafka {
    contract_tests!(|| super::cluster(super::Broker::shared(), super::DataPlane::Librdkafka));
    assignment_tests!(|| super::cluster(super::Broker::shared(), super::DataPlane::Librdkafka));
}

mod native {
    contract_tests!(|| super::cluster(super::Broker::shared(), super::DataPlane::Native));
    assignment_tests!(|| super::cluster(super::Broker::shared(), super::DataPlane::Native));
}

/// Classic transactions, and the first version of each request that is spoken.
mod native_on_the_oldest_broker {
    contract_tests!(|| super::cluster(super::Broker::shared_oldest(), super::DataPlane::Native));
}
