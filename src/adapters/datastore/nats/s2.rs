//! What kine compresses its values with: the framed format of S2, an extension of Snappy's.
//!
//! Copies pass values as they are, so it is reading that is needed, and the writing of few bytes. The decoders of Snappy do not know S2's repeated
//! offsets, nor its larger blocks.
use crc::{CRC_32_ISCSI, Crc, Table};

/// Bytes of the largest block that a writer makes.
const LARGEST_BLOCK: usize = 4 << 20;
/// Bytes of a block as this writes it: every reader takes so many.
const UNCOMPRESSED_BLOCK: usize = 64 << 10;
/// Bytes that a value may have: many times what an API server writes.
const LARGEST_VALUE: usize = 64 << 20;
/// The kinds of chunks.
const COMPRESSED: u8 = 0x00;
const UNCOMPRESSED: u8 = 0x01;
const LAST_RESERVED: u8 = 0x7f;
const IDENTIFIER: u8 = 0xff;
/// What an identifier says: that of S2, that of Snappy.
const NAMES: [&[u8]; 2] = [b"S2sTwO", b"sNaPpY"];
/// Bytes of a chunk's kind and length, and of a checksum.
const HEAD: usize = 4;
const CHECKSUM: usize = 4;

static CASTAGNOLI: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// The plain bytes of a value, or what is wrong with it.
pub(super) fn decode(frame: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut plain = Vec::new();
    let mut rest = frame;
    let mut begun = false;
    while let Some((head, after)) = rest.split_first_chunk::<HEAD>() {
        let length = usize::from(head[1]) | usize::from(head[2]) << 8 | usize::from(head[3]) << 16;
        let (chunk, next) = after
            .split_at_checked(length)
            .ok_or("it is cut off in a chunk")?;
        rest = next;
        match head[0] {
            IDENTIFIER if NAMES.contains(&chunk) => begun = true,
            IDENTIFIER => return Err("it is in a format of another name"),
            _ if !begun => return Err("it does not begin as S2 does"),
            kind @ (COMPRESSED | UNCOMPRESSED) => {
                let (sum, data) = chunk
                    .split_first_chunk::<CHECKSUM>()
                    .ok_or("a chunk has no checksum")?;
                let begin = plain.len();
                if kind == COMPRESSED {
                    decode_block(data, &mut plain)?;
                } else {
                    take(data, &mut plain)?;
                }
                if masked(CASTAGNOLI.checksum(&plain[begin..])) != u32::from_le_bytes(*sum) {
                    return Err("a checksum is not that of its bytes");
                }
            }
            ..=LAST_RESERVED => return Err("it has a chunk of an unknown kind"),
            // Padding, an index, and whatever else may be left out.
            _ => {}
        }
    }
    match (rest.is_empty(), begun) {
        (true, true) => Ok(plain),
        (true, false) => Err("it is empty"),
        (false, _) => Err("it is cut off between chunks"),
    }
}

/// Few bytes in the format, as they are.
pub(super) fn encode(plain: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut put = |kind: u8, data: &[u8]| {
        let length = data.len().to_le_bytes();
        frame.push(kind);
        frame.extend_from_slice(&length[..HEAD - 1]);
        frame.extend_from_slice(data);
    };
    put(IDENTIFIER, NAMES[0]);
    for data in plain.chunks(UNCOMPRESSED_BLOCK) {
        let sum = masked(CASTAGNOLI.checksum(data)).to_le_bytes();
        put(UNCOMPRESSED, &[&sum[..], data].concat());
    }
    frame
}

/// A checksum as the format keeps it.
fn masked(sum: u32) -> u32 {
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn take(data: &[u8], plain: &mut Vec<u8>) -> Result<(), &'static str> {
    if data.len() > LARGEST_BLOCK || plain.len() + data.len() > LARGEST_VALUE {
        return Err("it is too large");
    }
    plain.extend_from_slice(data);
    Ok(())
}

/// A block: its length, then literal bytes, and copies of bytes that came before.
fn decode_block(block: &[u8], plain: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut block = Block { bytes: block };
    let length = block.length()?;
    if length > LARGEST_BLOCK || plain.len() + length > LARGEST_VALUE {
        return Err("it is too large");
    }
    let begin = plain.len();
    let end = begin + length;
    plain.reserve(length);
    let mut offset = 0;
    while let Ok(tag) = block.number(1) {
        let high = tag >> 2;
        let length = match tag & 3 {
            0 => {
                let length = match high {
                    60..=63 => block.number(high - 59)?,
                    short => short,
                } + 1;
                let literal = block.slice(length)?;
                if literal.len() > end - plain.len() {
                    return Err(CORRUPT);
                }
                plain.extend_from_slice(literal);
                continue;
            }
            1 => {
                let distance = (tag & 0xe0) << 3 | block.number(1)?;
                let length = high & 7;
                // No distance: the last one again, and lengths that do not fit follow.
                let length = match (distance, length) {
                    (0, 5) => block.number(1)? + 4,
                    (0, 6) => block.number(2)? + (1 << 8),
                    (0, 7) => block.number(3)? + (1 << 16),
                    (_, length) => length,
                };
                if distance != 0 {
                    offset = distance;
                }
                length + 4
            }
            wide => {
                offset = block.number(if wide == 2 { 2 } else { 4 })?;
                high + 1
            }
        };
        if offset == 0 || offset > plain.len() - begin || length > end - plain.len() {
            return Err(CORRUPT);
        }
        // What is copied may reach into what it makes.
        let mut left = length;
        while left > 0 {
            let from = plain.len() - offset;
            let some = left.min(offset);
            plain.extend_from_within(from..from + some);
            left -= some;
        }
    }
    if plain.len() == end {
        Ok(())
    } else {
        Err(CORRUPT)
    }
}

const CORRUPT: &str = "a block is corrupt";

/// What is left of a block.
struct Block<'a> {
    bytes: &'a [u8],
}

impl<'a> Block<'a> {
    fn slice(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (slice, rest) = self.bytes.split_at_checked(length).ok_or(CORRUPT)?;
        self.bytes = rest;
        Ok(slice)
    }

    /// A number of so many bytes, the lowest first.
    fn number(&mut self, bytes: usize) -> Result<usize, &'static str> {
        let slice = self.slice(bytes)?.iter().rev();
        Ok(slice.fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A number in groups of 7 bits, the lowest first.
    fn length(&mut self) -> Result<usize, &'static str> {
        let mut length = 0;
        for shift in (0..=28).step_by(7) {
            let byte = self.number(1)?;
            length |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(length);
            }
        }
        Err(CORRUPT)
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;

    /// Made by the library that kine uses.
    const SHORT: &str = "\
        /wYAAFMyc1R3TwGjAAAlifWleyJLViI6eyJLZXkiOiIvcmVnaXN0cnkvaGVhbHRoIiwiQ3JlYXRlUmV2aXNpb24iOjAsIk1v\
        ZFJldmlzaW9uIjowLCJWYWx1ZSI6ImV5Sm9aV0ZzZEdnaU9pSjBjblZsSW4wPSIsIkxlYXNlIjowfSwiUHJldlJldmlzaW9u\
        IjowLCJDcmVhdGUiOnRydWUsIkRlbGV0ZSI6ZmFsc2V9";
    const EMPTY: &str = "/wYAAFMyc1R3Tw==";
    const ZEROS_300000: &str = "/wYAAFMyc1R3TwAQAADObjTD4KcSAAARAR0A05MD";
    const ZEROS_70: &str = "/wYAAFMyc1R3TwAMAAC4zBs2RgAAEQEVADU=";
    const RANDOM: &str = "\
        /wYAAFMyc1R3TwFeAADyN0QOUv38ByGCZU8WP18PmmIdcpVmx00QA3xNe7sEB9HixkmBhVrYaB0NhtHpHgAWeTnLZpTSxCKs\
        0gigByk5SH9pmeudGKRHhARdh/PGfPInRumVr1olNnlRuqL/";
    /// Blocks of 64 KiB, an index and padding.
    const INDEXED: &str = "\
        /wYAAFMyc1R3TwARAACr8WpvgIAECGFiYxEDGQDx/gARAADM9RFLgIAECGJjYREDGQDx/gARAACu1h8H8JMBCGNhYhEDGQDh\
        SP4VAADi6MdShbS3pBKcRfNW9y3u8lzad5WZGgAAczJpZHgA4KcSAYCACAIAFB4AAAAAeGRpMnM=";
    /// Runs of all lengths between numbers.
    const MIXED: &str = "\
        /wYAAFMyc1R3TwBOBgCiplrzjoUECAAwATIBAAQxAhUAEgQyA5oBAAQzBBUALAQ0BREBFQAxBDUGFQBGBDYHEQEVAEsENwgV\
        AGAEOAkRARUAZQQ5ChUAeggxMAsVAIcIMTEMFQCUCDEyDRUAoQgxMw4VAK4IMTQPFQC7CDE1EBUAyAgxNhEVANUIMTcSFQDi\
        CDE4ExUA7wgxORQVAPwIMjAVGQANAAgyMRYZABoACDIyFxkAJwAIMjMYGQA0AAgyNBkZAEEACDI1GhkATgAIMjYbGQBbAAgy\
        NxwZAGgACDI4HRkAdQAIMjkeGQCCAAgzMB8ZAI8ACDMxIBkAnAAIMzIhGQCpAAgzMyIZALYACDM0IxkAwwAIMzUkGQDQAAgz\
        NiUZAN0ACDM3JhkA6gAIMzgnGQD3AAgzOSgZAAQBCDQwKRkAEQEINDEqGQAeAQg0MisZACsBCDQzLBkAOAEINDQtGQBFAQg0\
        NS4ZAFIBCDQ2LxkAXwEINDcwGQBsAQg0ODEZAHkBCDQ5MhkAhgEINTAzGQCTAQg1MTQZAKABCDUyNRkArgEYMzY2NjU0NxUA\
        Bwg1NTgVABQINTY5FQAhCDU3OhUALgg1ODsVADsINTk8FQBICDYwPRUAVQg2MT4VAGIINjI/FQBvCDYzQBUAfAg2NEEVAIkI\
        NjVCFQCWCDY2QxUAowg2N0QVALAINjhFFQC9CDY5RhUAygg3MEcVANcINzFIFQDkCDcySRUA8Qg3M0oVAP4INzRLGQAPAAg3\
        NUwZABwACDc2TRkAKQAINzdOGQA2AAg3OE8ZAEMACDc5UBkAUAAIODBRGQBdAAg4MVIZAGoACDgyUxkAdwAIODNUGQCEAAg4\
        NFUZAJEACDg1VhkAngAIODZXGQCrAAg4N1gZALgACDg4WRkAxQAIODlaGQDSAAg5MFsZAN8ACDkxXBkA7AAIOTJdGQD5AAg5\
        M14ZAAYBCDk0XxkAEwEIOTVgGQAgAQg5NmEZAC0BCDk3YhkAOgEIOThjGQBHAQg5OWQZAFQBDDEwMGUZAGEBDDEwMWYZAG4B\
        DDEwMmcZAHsBDDEwM2gZAIgBDDEwNGkZAJUBDDEwNWoZAKIBDDEwNmsZAK8BLDEwN2xsbGxsMTA4bRUACQwxMDluFQAWDDEx\
        MG8VACMMMTExcBUAMAwxMTJxFQA9DDExM3IVAEoMMTE0cxUAVwwxMTV0FQBkDDExNnUVAHEMMTE3dhUAfgwxMTh3FQCLDDEx\
        OXgVAJgMMTIweRUApQwxMjF6FQCyDDEyMnsVAL8MMTIzfBUAzAwxMjR9FQDZDDEyNX4VAOYMMTI2fxUA8wwxMjeAGQAEAAwx\
        MjiBGQARAAwxMjmCGQAeAAwxMzCDGQArAAwxMzGEGQA4AAwxMzKFGQBFAAwxMzOGGQBSAAwxMzSHGQBfAAwxMzWIGQBsAAwx\
        MzaJGQB5AAwxMzeKGQCGAAwxMziLGQCTAAwxMzmMGQCgAAwxNDCNGQCtAAwxNDGOGQC6AAwxNDKPGQDHAAwxNDOQGQDUAAwx\
        NDSRGQDhAAwxNDWSGQDuAAwxNDaTGQD7AAwxNDeUGQAIAQwxNDiVGQAVAQwxNDmWGQAiAQwxNTCXGQAvAQwxNTGYGQA8AQwx\
        NTKZGQBJAQwxNTOaGQBWAQwxNTSbGQBjAQwxNTWcGQBwAQwxNTadGQB9AQwxNTeeGQCKAQwxNTifGQCXAQwxNTmgGQCkAQwx\
        NjChGQCxAQwxNjGiCQAMMTYyoxUACwwxNjOkFQAYDDE2NKUVACUMMTY1phUAMgwxNjanFQA/DDE2N6gVAEwMMTY4qRUAWQwx\
        NjmqFQBmDDE3MKsVAHMMMTcxrBUAgAwxNzKtFQCNDDE3M64VAJoMMTc0rxUApwwxNzWwFQC0DDE3NrEVAMEMMTc3shUAzgwx\
        NzizFQDbDDE3ObQVAOgMMTgwtRUA9QwxODG2GQAGAAwxODK3GQATAAwxODO4GQAgAAwxODS5GQAtAAwxODW6GQA6AAwxODa7\
        GQBHAAwxODe8GQBUAAwxODi9GQBhAAwxODm+GQBuAAwxOTC/GQB7AAwxOTHAGQCIAAwxOTLBGQCVAAwxOTPCGQCiAAwxOTTD\
        GQCvAAwxOTXEGQC8AAwxOTbFGQDJAAwxOTfGGQDWAAwxOTjHGQDjAAgxOTk=";

    fn frame(text: &str) -> Vec<u8> {
        BASE64_STANDARD.decode(text).expect("a vector")
    }

    fn mixed() -> Vec<u8> {
        let mut plain = Vec::new();
        for number in 0..200_u8 {
            plain.extend(vec![number; usize::from(number) * 13 % 700 + 1]);
            plain.extend(number.to_string().bytes());
        }
        plain
    }

    #[test]
    fn what_kines_library_writes_is_read() {
        let health = decode(&frame(SHORT)).expect("a value");
        assert!(health.starts_with(b"{\"KV\":{\"Key\":\"/registry/health\""));
        assert_eq!(decode(&frame(EMPTY)), Ok(Vec::new()));
        assert_eq!(decode(&frame(ZEROS_70)), Ok(vec![0; 70]));
        assert_eq!(decode(&frame(ZEROS_300000)), Ok(vec![0; 300_000]));
        assert_eq!(decode(&frame(RANDOM)).map(|plain| plain.len()), Ok(90));
        assert_eq!(decode(&frame(INDEXED)), Ok(b"abc".repeat(50_000)));
        assert_eq!(decode(&frame(MIXED)), Ok(mixed()));
    }

    #[test]
    fn what_is_written_is_what_kines_library_writes() {
        for whole in [EMPTY, RANDOM] {
            let plain = decode(&frame(whole)).expect("a value");
            assert_eq!(encode(&plain), frame(whole));
        }
        let long = mixed().repeat(100);
        assert_eq!(decode(&encode(&long)), Ok(long));
    }

    #[test]
    fn each_byte_that_is_changed_or_cut_off_is_noticed() {
        let whole = frame(MIXED);
        let plain = mixed();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x15;
            assert_ne!(decode(&changed).as_ref(), Ok(&plain), "byte {at} changed");
            // A stream may end behind its identifier, with nothing in it.
            assert_ne!(decode(&whole[..at]).as_ref(), Ok(&plain), "cut off at {at}");
        }
    }

    #[test]
    fn no_value_takes_all_memory() {
        // It says that it is of 4 GiB.
        let mut bomb = frame(EMPTY);
        bomb.extend([0, 10, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        assert_eq!(decode(&bomb), Err("it is too large"));
        // A copy of what is not there.
        let mut hollow = frame(EMPTY);
        hollow.extend([0, 8, 0, 0, 0, 0, 0, 0, 4, 1, 1, 1]);
        assert_eq!(decode(&hollow), Err(CORRUPT));
        assert_eq!(decode(b""), Err("it is empty"));
        assert_eq!(decode(b"{\"KV\":{}}"), Err("it is cut off in a chunk"));
    }
}
