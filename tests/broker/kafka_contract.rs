//! Does the log over librdkafka keep the contract of every log?

use std::sync::Arc;

use millstream::Config;
use millstream::kafka::KafkaLog;
use millstream::log::Log;

use crate::kafka::Broker;

fn shared_cluster() -> (Arc<dyn Log>, fn()) {
    let config = Config::builder("contract", Broker::shared().bootstrap()).build();
    let config = config.expect("the configuration is whole");
    let log = KafkaLog::connect(&config).expect("these properties make a client");
    (Arc::new(log), || ())
}

contract_tests!(shared_cluster);
