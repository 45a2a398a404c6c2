//! Where does a partition begin and end, and what is given up of it?

use super::{Code, topics};
use crate::kafka::native::wire::{Read, Reader, Writer};
use crate::log::TopicPartition;

/// A partition of a request, and what is said of it.
pub(in crate::kafka::native) type Part<'a> = (&'a TopicPartition, i64);

/// What a broker answers of a partition: an error's code, or an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka::native) struct PartAnswer<'a> {
    pub(in crate::kafka::native) topic: &'a str,
    pub(in crate::kafka::native) partition: u32,
    pub(in crate::kafka::native) answer: Result<i64, Code>,
}

/// Asks for the first offset whose record is not older than a timestamp, or for what
/// [`EARLIEST`](crate::kafka::places::EARLIEST) and its like stand for; each partition once.
pub(in crate::kafka::native) fn ask_offsets(out: &mut Writer, parts: &[Part<'_>]) {
    out.i32(-1);
    // The end counts open transactions, too: it is what the log holds.
    out.i8(0);
    write_parts(out, parts, |out, partition, timestamp| {
        out.i32(partition as i32);
        out.i32(-1);
        out.i64(timestamp);
    });
    out.no_tags();
}

/// An offset of -1 says that there is no such record.
pub(in crate::kafka::native) fn read_offsets<'a>(
    reader: &mut Reader<'a>,
) -> Read<Vec<PartAnswer<'a>>> {
    reader.i32()?;
    read_parts(reader, 27, |each| {
        let (partition, code) = (each.index()?, each.i16()?);
        each.i64()?;
        let offset = each.i64()?;
        each.i32()?;
        Ok((partition, code, offset))
    })
}

/// Gives up the records before these offsets; each partition once.
pub(in crate::kafka::native) fn delete_records(
    out: &mut Writer,
    parts: &[Part<'_>],
    timeout_ms: i32,
) {
    write_parts(out, parts, |out, partition, before| {
        out.i32(partition as i32);
        out.i64(before);
    });
    out.i32(timeout_ms);
    out.no_tags();
}

/// The offset of the oldest record that is left.
pub(in crate::kafka::native) fn read_deleted<'a>(
    reader: &mut Reader<'a>,
) -> Read<Vec<PartAnswer<'a>>> {
    reader.i32()?;
    read_parts(reader, 15, |each| {
        let (partition, offset, code) = (each.index()?, each.i64()?, each.i16()?);
        Ok((partition, code, offset))
    })
}

/// In an order in which each topic stands once.
fn write_parts(out: &mut Writer, parts: &[Part<'_>], mut each: impl FnMut(&mut Writer, u32, i64)) {
    let mut sorted = parts.to_vec();
    sorted.sort_by_key(|(name, _)| *name);
    topics::write(
        out,
        &sorted,
        |(name, _)| name,
        |out, (name, value)| {
            each(out, name.partition, *value);
            out.no_tags();
        },
    );
}

fn read_parts<'a>(
    reader: &mut Reader<'a>,
    least: usize,
    mut read: impl FnMut(&mut Reader<'a>) -> Read<(u32, Code, i64)>,
) -> Read<Vec<PartAnswer<'a>>> {
    let parts = topics::read(reader, least, |each, topic| {
        let (partition, code, offset) = read(each)?;
        each.tags()?;
        let answer = if code == 0 { Ok(offset) } else { Err(code) };
        Ok(PartAnswer { topic, partition, answer })
    })?;
    reader.tags()?;
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::places::{EARLIEST, END};

    fn name(topic: &str, partition: u32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }

    #[test]
    fn each_topic_stands_once_in_a_request() {
        let (first, second, other) = (name("a", 0), name("a", 1), name("b", 0));
        let mut out = Writer::default();
        ask_offsets(&mut out, &[(&second, END), (&other, 7), (&first, EARLIEST)]);
        let mut reader = Reader::new(&out.bytes);
        reader.i32().unwrap();
        reader.bool().unwrap();
        let topics = reader.list(1, |topics| {
            let topic = topics.text()?.to_owned();
            let parts = topics.list(1, |each| {
                let partition = each.i32()?;
                each.i32()?;
                let timestamp = each.i64()?;
                each.tags()?;
                Ok((partition, timestamp))
            })?;
            topics.tags()?;
            Ok((topic, parts))
        });
        let expected = [("a".into(), vec![(0, EARLIEST), (1, END)]), ("b".into(), vec![(0, 7)])];
        assert_eq!(topics.unwrap(), expected);
        reader.tags().unwrap();
        assert_eq!(reader.position(), out.bytes.len());
    }

    #[test]
    fn an_answer_tells_an_offset_or_an_error_of_each_partition() {
        let mut out = Writer::default();
        out.i32(0);
        out.list(["a"].into_iter(), |out, topic| {
            out.text(topic);
            out.list([(0, 0, 9), (1, 6, -1)].into_iter(), |out, (partition, code, offset)| {
                out.i32(partition);
                out.i64(offset);
                out.i16(code);
                out.no_tags();
            });
            out.no_tags();
        });
        out.no_tags();
        let answers = read_deleted(&mut Reader::new(&out.bytes)).unwrap();
        let part = |partition, answer| PartAnswer { topic: "a", partition, answer };
        assert_eq!(answers, [part(0, Ok(9)), part(1, Err(6))]);
        for end in 0..out.bytes.len() {
            assert!(read_deleted(&mut Reader::new(&out.bytes[..end])).is_err(), "{end}");
        }
    }
}
