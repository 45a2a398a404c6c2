//! Does the in-process log keep the contract of every log?

use std::sync::Arc;

use millstream::log::Log;
use millstream::log::memory::MemoryLog;

contract_tests!(|| -> Arc<dyn Log> { Arc::new(MemoryLog::new()) });
