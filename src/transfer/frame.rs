//! Frames: how messages are cut out of a stream, and the greeting that comes before the first.
//!
//! A frame is a length of 32 bits, little-endian, and that many bytes: a message in postcard's encoding. With the
//! highest bit of the length set it is file content instead, as it is.
//!
//! The greeting is the one thing that never changes, so that every version can tell its own to every other:
//! the 16 bytes of [`MAGIC`], the protocol version (32 bits), the length of the executable's version (16 bits), its text.
use serde::Serialize;

/// The first bytes of the greeting.
pub(crate) const MAGIC: [u8; 16] = *b"kubectl-migrate\n";
/// The version of everything that goes over the wire. Both ends must have the same.
pub const PROTOCOL: u32 = 4;
/// The version of this executable.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// No message is longer: the largest is one entry with all the extended attributes that a kernel lists (64 KiB of
/// names, each with up to 64 KiB), in sane trees a few hundred bytes.
pub(crate) const MAX_MESSAGE: usize = 16 << 20;
/// No piece of file content is longer.
pub(crate) const MAX_CONTENT: usize = 1 << 20;
/// Marks file content.
pub(crate) const CONTENT: u32 = 1 << 31;

/// Bytes that are not a frame or a message.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other end is not a mover or client of ours.
    #[error("the other end does not speak this protocol")]
    NotOurs,
    /// The other end is of another version.
    #[error(
        "the other end has version {theirs} (protocol {their_protocol}), this one {VERSION} (protocol {PROTOCOL}); use the same on both"
    )]
    Version {
        /// The other end's version.
        theirs: String,
        /// The other end's protocol version.
        their_protocol: u32,
    },
    /// A length beyond all bounds.
    #[error("a frame of {0} bytes is longer than any that is ever sent")]
    TooLong(usize),
    /// A message that cannot be read or written.
    #[error("a message cannot be read: {0}")]
    Message(postcard::Error),
    /// Content where a message belongs, or the reverse.
    #[error("a frame of the wrong sort came")]
    Sort,
}

/// Our greeting.
pub(crate) fn greeting() -> Vec<u8> {
    greeting_of(PROTOCOL, VERSION)
}

pub(crate) fn greeting_of(protocol: u32, version: &str) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(protocol.to_le_bytes());
    bytes.extend(
        u16::try_from(version.len())
            .unwrap_or(u16::MAX)
            .to_le_bytes(),
    );
    bytes.extend(version.as_bytes());
    bytes
}

/// The length of a greeting's fixed part.
pub(crate) const GREETING: usize = MAGIC.len() + 6;

/// The protocol version in a greeting's fixed part, and the length of the text that follows.
pub(crate) fn read_greeting(bytes: &[u8; GREETING]) -> Result<(u32, usize), FrameError> {
    if bytes[..16] != MAGIC {
        return Err(FrameError::NotOurs);
    }
    let protocol = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
    Ok((
        protocol,
        usize::from(u16::from_le_bytes([bytes[20], bytes[21]])),
    ))
}

/// Accepts the same protocol only.
pub(crate) fn check_greeting(protocol: u32, version: &[u8]) -> Result<String, FrameError> {
    let theirs = super::escaped::escape(version);
    if protocol == PROTOCOL {
        Ok(theirs)
    } else {
        Err(FrameError::Version {
            theirs,
            their_protocol: protocol,
        })
    }
}

/// Appends a message with its length.
pub(crate) fn put<T: Serialize>(out: &mut Vec<u8>, message: &T) -> Result<(), FrameError> {
    let start = out.len();
    out.extend([0; 4]);
    let mut whole =
        postcard::to_extend(message, std::mem::take(out)).map_err(FrameError::Message)?;
    let length = whole.len() - start - 4;
    if length > MAX_MESSAGE {
        return Err(FrameError::TooLong(length));
    }
    let length = u32::try_from(length).map_err(|_| FrameError::TooLong(length))?;
    whole[start..start + 4].copy_from_slice(&length.to_le_bytes());
    *out = whole;
    Ok(())
}

/// What a frame holds, by its first four bytes.
pub(crate) enum Sort {
    Message(usize),
    Content(usize),
}

/// Reads the first four bytes of a frame.
pub(crate) fn sort(header: [u8; 4]) -> Result<Sort, FrameError> {
    let word = u32::from_le_bytes(header);
    let length = (word & !CONTENT) as usize;
    let (sort, limit) = if word & CONTENT == 0 {
        (Sort::Message(length), MAX_MESSAGE)
    } else {
        (Sort::Content(length), MAX_CONTENT)
    };
    if length > limit {
        Err(FrameError::TooLong(length))
    } else {
        Ok(sort)
    }
}
