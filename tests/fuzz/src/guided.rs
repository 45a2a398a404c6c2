//! Runs one target under libFuzzer: `MILLSTREAM_FUZZ_TARGET` names it.

#![no_main]

use std::sync::LazyLock;

use millstream_fuzz::{Target, target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("MILLSTREAM_FUZZ_TARGET").expect("a target is named");
    target(&name).expect("the name is one of a target")
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
