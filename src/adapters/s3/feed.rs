//! What a thread writes becomes the parts of an upload.
use std::io::{self, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use md5::{Digest as _, Md5};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The bytes of each part but the last. An upload may have 10 000 parts, so 78 GiB go into one.
pub const PART: usize = 8 << 20;

/// Parts that wait for being sent, besides the one that is written and those that are being sent.
const AHEAD: usize = 1;

/// How large something is, and what it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Its bytes.
    pub size: u64,
    /// BLAKE3 over them, as hexadecimal digits.
    pub blake3: String,
}

/// A part.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) bytes: Bytes,
    /// In base64, as it is sent.
    pub(super) md5: String,
}

#[derive(Debug)]
pub(super) enum Fed {
    Part(Part),
    /// There are no more; this is all of it.
    Last(Part, Sum),
}

/// The parts of an upload, as they come from a [`Feed`].
#[derive(Debug)]
pub struct Parts(pub(super) Receiver<Fed>);

/// What is written here is sent, by [`Bucket::upload`](super::Bucket::upload), once [`Feed::finish`] was called. It
/// blocks: it belongs into a thread of its own.
pub struct Feed {
    parts: Sender<Fed>,
    part: usize,
    buffer: Vec<u8>,
    size: u64,
    digest: blake3::Hasher,
}

/// A feed, and the parts that it makes, of so many bytes each.
#[must_use]
pub fn feed(part: usize) -> (Feed, Parts) {
    let (sender, receiver) = channel(AHEAD);
    let feed = Feed {
        parts: sender,
        part,
        buffer: Vec::new(),
        size: 0,
        digest: blake3::Hasher::new(),
    };
    (feed, Parts(receiver))
}

impl Feed {
    /// Sends the rest: all of it was written. Without this call nothing is made of it.
    ///
    /// # Errors
    ///
    /// Nobody takes it any more.
    pub fn finish(mut self) -> io::Result<()> {
        let part = self.take();
        let sum = Sum {
            size: self.size,
            blake3: self.digest.finalize().to_hex().to_string(),
        };
        self.send(Fed::Last(part, sum))
    }

    fn take(&mut self) -> Part {
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        self.digest.update(&bytes);
        self.size += bytes.len() as u64;
        Part {
            md5: md5(&bytes),
            bytes,
        }
    }

    /// Whoever sends says by himself why he takes no more.
    fn send(&self, fed: Fed) -> io::Result<()> {
        let sent = self.parts.blocking_send(fed);
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only now it is known not to be the last.
        if self.buffer.len() == self.part {
            let part = self.take();
            self.send(Fed::Part(part))?;
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(self.part);
        }
        let taken = bytes.len().min(self.part - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// MD5 in base64, as a request carries it.
pub(super) fn md5(bytes: &[u8]) -> String {
    STANDARD.encode(Md5::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts that come of so many bytes, written in pieces, and the end.
    fn fed(bytes: usize, piece: usize, part: usize) -> (Vec<usize>, Option<Sum>) {
        let (mut feed, mut parts) = feed(part);
        let writing = std::thread::spawn(move || {
            for piece in vec![7; bytes].chunks(piece) {
                feed.write_all(piece)?;
            }
            feed.finish()
        });
        let (mut sizes, mut end) = (Vec::new(), None);
        while let Some(fed) = parts.0.blocking_recv() {
            let part = match fed {
                Fed::Part(part) => part,
                Fed::Last(part, sum) => {
                    end = Some(sum);
                    part
                }
            };
            assert_eq!(part.md5, md5(&part.bytes));
            sizes.push(part.bytes.len());
        }
        writing.join().expect("no panic").expect("written");
        (sizes, end)
    }

    #[test]
    fn what_is_written_comes_in_parts_of_one_size_but_the_last() {
        for (bytes, piece, sizes) in [
            (0, 1, vec![0]),
            (9, 4, vec![9]),
            (10, 10, vec![10]),
            (11, 3, vec![10, 1]),
            (30, 30, vec![10, 10, 10]),
            (31, 7, vec![10, 10, 10, 1]),
        ] {
            let (found, sum) = fed(bytes, piece, 10);
            assert_eq!(found, sizes, "{bytes} in pieces of {piece}");
            let digest = blake3::hash(&vec![7; bytes]).to_hex().to_string();
            let wanted = Sum {
                size: bytes as u64,
                blake3: digest,
            };
            assert_eq!(sum, Some(wanted));
        }
    }

    #[test]
    fn without_its_end_there_is_no_last_part() {
        let (mut feed, mut parts) = feed(10);
        feed.write_all(&[7; 5]).expect("written");
        drop(feed);
        assert!(parts.0.blocking_recv().is_none());
    }

    #[test]
    fn a_writer_ends_when_nobody_takes_what_it_writes() {
        let (mut feed, parts) = feed(10);
        drop(parts);
        let error = feed.write_all(&[7; 50]).expect_err("nobody takes it");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
