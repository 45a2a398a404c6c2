//! Does the system get back what was freed?
//!
//! A task that moves takes memory for a while: what its restore sorts, what its backlog changes,
//! what RocksDB reads to compact. Afterwards all of it is free, but glibc keeps it in the heap of
//! whichever thread asked for it, below the few bytes that stay in use, and takes fresh memory for
//! the next thread. A process whose tasks come and go would grow by that, without leaking a byte.
//! Allocators that decay by themselves need none of this.

/// Hands memory that is not in use back to the operating system, where the allocator does not do so
/// by itself. Takes milliseconds for each hundred megabytes that are free.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_back() {
    // How much is kept on top of each heap: nothing.
    glibc::malloc_trim(0);
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back() {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no crate declares this function of the C library")]
mod glibc {
    // SAFETY: the signature is that of malloc.h. The function takes no pointer, may be called from
    // any thread at any time, and touches no memory that is in use.
    unsafe extern "C" {
        pub(super) safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    const PIECE_BYTES: usize = 64 * 1024;
    const PIECES: usize = 1_024;

    fn resident_bytes() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux says it");
        let pages: usize =
            statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        pages * 4_096
    }

    /// The last piece stays in use, above all others.
    #[test]
    fn what_was_freed_below_something_in_use_is_given_back() {
        let mut pieces: Vec<Vec<u8>> = (0..PIECES).map(|_| vec![1; PIECE_BYTES]).collect();
        let last = pieces.pop();
        drop(pieces);
        let before = resident_bytes();
        give_back();
        let freed = before.saturating_sub(resident_bytes());
        assert!(freed > PIECES * PIECE_BYTES / 2, "{freed} of {before} bytes were given back");
        drop(last);
    }
}
