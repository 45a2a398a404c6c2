//! Does a decoder allocate more than its input justifies?

/// Runs a decoder of `input` bytes, which may hold `times` their number and `base` at a time.
#[track_caller]
pub(crate) fn frugal<R>(
    input: usize,
    (times, base): (usize, usize),
    decode: impl FnOnce() -> R,
) -> R {
    let mut result = None;
    let allocated = allocation_counter::measure(|| result = Some(decode()));
    let allowed = (input * times + base) as u64;
    let held = allocated.bytes_max;
    assert!(held <= allowed, "{held} bytes are held for {input}; {allowed} are allowed");
    result.expect("the decoder has run")
}
