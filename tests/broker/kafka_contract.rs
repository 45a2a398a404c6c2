//! Does the log over librdkafka keep the contract of every log?

use std::sync::Arc;

use millstream::Config;
use millstream::kafka::KafkaLog;
use millstream::log::Log;

use crate::kafka::Broker;

fn shared_cluster() -> Arc<dyn Log> {
    let config = Config::builder("contract", Broker::shared().bootstrap()).build();
    let config = config.expect("the configuration is whole");
    Arc::new(KafkaLog::connect(&config).expect("these properties make a client"))
}

contract_tests!(shared_cluster);
