//! How do partitions stand in a message? Each topic once, with its partitions behind it.

use crate::kafka::native::wire::{Read, Reader, Writer};
use crate::log::TopicPartition;

/// Writes parts whose topics stand beside each other; `each` writes one without its topic.
pub(super) fn write<T>(
    out: &mut Writer,
    parts: &[T],
    name: impl Fn(&T) -> &TopicPartition,
    mut each: impl FnMut(&mut Writer, &T),
) {
    let topics: Vec<_> = parts.chunk_by(|a, b| name(a).topic == name(b).topic).collect();
    out.list(topics.into_iter(), |out, parts| {
        out.text(&name(&parts[0]).topic);
        out.list(parts.iter(), |out, part| each(out, part));
        out.no_tags();
    });
}

/// Writes partitions of which nothing more is said.
pub(super) fn write_names(out: &mut Writer, names: &[TopicPartition]) {
    write(out, names, |name| name, |out, name| out.i32(name.partition as i32));
}

/// Reads parts that take at least `least` bytes; `each` reads one, of this topic.
pub(super) fn read<'a, T>(
    reader: &mut Reader<'a>,
    least: usize,
    mut each: impl FnMut(&mut Reader<'a>, &'a str) -> Read<T>,
) -> Read<Vec<T>> {
    let topics = reader.list(3, |topics| {
        let topic = topics.text()?;
        let parts = topics.list(least, |part| each(part, topic))?;
        topics.tags()?;
        Ok(parts)
    })?;
    Ok(topics.into_iter().flatten().collect())
}
