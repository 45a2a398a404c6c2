//! Where does one answer end and the next begin?
//!
//! # Invariants
//!
//! - An answer that claims to be larger than what is allowed ends the connection before room is
//!   made for it.

use std::io::{self, Read};

use bytes::Bytes;

/// Puts answers together from what a socket has.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; 4],
    head_read: usize,
    body: Vec<u8>,
    length: usize,
}

impl Frames {
    /// The next whole answer, without the length before it; `None` if it is not there yet.
    ///
    /// # Errors
    ///
    /// If the connection has ended, or the answer has more bytes than `most`.
    pub(super) fn read(&mut self, from: &mut impl Read, most: usize) -> io::Result<Option<Bytes>> {
        if self.head_read < self.head.len() && !self.read_head(from, most)? {
            return Ok(None);
        }
        let missing = self.length - self.body.len();
        match from.by_ref().take(missing as u64).read_to_end(&mut self.body) {
            Ok(_) if self.body.len() == self.length => {
                self.head_read = 0;
                Ok(Some(Bytes::from(std::mem::take(&mut self.body))))
            }
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            // What has been read is kept.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the length of the answer is known now.
    fn read_head(&mut self, from: &mut impl Read, most: usize) -> io::Result<bool> {
        while self.head_read < self.head.len() {
            match from.read(&mut self.head[self.head_read..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.head_read += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let length = usize::try_from(i32::from_be_bytes(self.head)).ok();
        self.length = length
            .filter(|length| *length <= most)
            .ok_or_else(|| io::Error::other(format!("an answer is larger than {most} bytes")))?;
        self.body = Vec::with_capacity(self.length);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time, and nothing in between.
    struct Trickle(Vec<u8>, bool);

    impl Read for Trickle {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 || self.0.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = into.len().min(3).min(self.0.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    fn framed(bodies: &[&[u8]]) -> Vec<u8> {
        let framed = |body: &&[u8]| [&(body.len() as i32).to_be_bytes(), *body].concat();
        bodies.iter().flat_map(framed).collect()
    }

    #[test]
    fn answers_are_whole_however_they_come() {
        let bodies: [&[u8]; 3] = [b"first answer", b"", b"the third"];
        let mut from = Trickle(framed(&bodies), false);
        let mut frames = Frames::default();
        let mut read = Vec::new();
        while read.len() < bodies.len() {
            read.extend(frames.read(&mut from, 100).unwrap());
        }
        assert_eq!(read, bodies);
    }

    #[test]
    fn one_that_is_too_large_is_refused_before_room_is_made_for_it() {
        let mut from = &[0x7f, 0xff, 0xff, 0xff][..];
        let error = Frames::default().read(&mut from, 1_000).unwrap_err();
        assert!(error.to_string().contains("larger than 1000 bytes"), "{error}");
        let mut from = &[0xff; 4][..];
        assert!(Frames::default().read(&mut from, 1_000).is_err());
    }

    #[test]
    fn an_end_in_the_midst_of_an_answer_is_an_error() {
        let bytes = framed(&[b"whole", b"cut"]);
        let mut from = &bytes[..bytes.len() - 1];
        let mut frames = Frames::default();
        assert_eq!(frames.read(&mut from, 100).unwrap().unwrap(), &b"whole"[..]);
        let error = frames.read(&mut from, 100).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
