//! What does a scan see? The backend's rows under the changes that are not in it yet.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use crate::error::Result;

use super::{Backend, ByteRange, Direction, StoreIndex};

/// One row of a merged scan.
pub(super) enum Merged<'a, T> {
    /// A row that memory knows better, or alone; it may be a deletion.
    Memory(&'a [u8], T),
    /// A row of the backend that no change hides.
    Backend(&'a [u8], &'a [u8]),
}

/// Shows the rows of a range, memory before backend where both know a key.
///
/// `memory` holds the changes of the same range in the same direction. A visitor that breaks with
/// an error ends the scan with it.
pub(super) fn merged_scan<'m, T>(
    (backend, store): (&dyn Backend, StoreIndex),
    range: ByteRange<'_>,
    direction: Direction,
    memory: impl Iterator<Item = (&'m [u8], T)>,
    mut visit: impl FnMut(Merged<'_, T>) -> ControlFlow<Result<()>>,
) -> Result<()> {
    let mut memory = memory.peekable();
    let mut end = ControlFlow::Continue(());
    backend.scan(store, range, direction, &mut |key, row| {
        end = one_row(&mut memory, direction, key, row, &mut visit);
        if end.is_break() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if end.is_continue() {
        end = memory.try_for_each(|(key, item)| visit(Merged::Memory(key, item)));
    }
    end.break_value().unwrap_or(Ok(()))
}

fn one_row<'m, T, I: Iterator<Item = (&'m [u8], T)>>(
    memory: &mut std::iter::Peekable<I>,
    direction: Direction,
    key: &[u8],
    row: &[u8],
    visit: &mut impl FnMut(Merged<'_, T>) -> ControlFlow<Result<()>>,
) -> ControlFlow<Result<()>> {
    let order = |changed: &[u8]| match direction {
        Direction::Ascending => changed.cmp(key),
        Direction::Descending => key.cmp(changed),
    };
    while let Some((changed, item)) = memory.next_if(|(changed, _)| order(changed).is_le()) {
        let hides = order(changed) == Ordering::Equal;
        visit(Merged::Memory(changed, item))?;
        if hides {
            return ControlFlow::Continue(());
        }
    }
    visit(Merged::Backend(key, row))
}
