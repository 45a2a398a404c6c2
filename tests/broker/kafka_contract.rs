//! Do the logs over a real Kafka keep the contract of every log?

use std::sync::Arc;

use millstream::kafka::KafkaLog;
use millstream::log::Log;
use millstream::{Config, DataPlane};

use crate::kafka::Broker;

fn shared_cluster(data_plane: DataPlane) -> (Arc<dyn Log>, fn()) {
    let config = Config::builder("contract", Broker::shared().bootstrap()).data_plane(data_plane);
    let config = config.build().expect("the configuration is whole");
    let log = KafkaLog::connect(&config).expect("these properties make a client");
    (Arc::new(log), || ())
}

mod librdkafka {
    contract_tests!(|| super::shared_cluster(millstream::DataPlane::Librdkafka));
}

mod native {
    contract_tests!(|| super::shared_cluster(millstream::DataPlane::Native));
}
