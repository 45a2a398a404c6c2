//! Does the in-process log keep the contract of every log?

use std::sync::Arc;

use millstream::log::Log;
use millstream::log::memory::MemoryLog;

fn in_process() -> (Arc<dyn Log>, impl Fn()) {
    let log = MemoryLog::new();
    let shared: Arc<dyn Log> = Arc::new(log.clone());
    (shared, move || {
        log.clean();
        log.compact();
    })
}

contract_tests!(in_process);
assignment_tests!(in_process);
