//! The headers of a member for a `tar` that knows nothing of pax, such as busybox's: GNU's old format.
use super::head::{BLOCK, LONG, SHORT};
use crate::transfer::entry::{Entry, Kind};

/// A longer name or link stands before its header.
const NAME: usize = 99;

/// The headers of an entry, which is to have this mode; none of a socket. There is no room for what is finer than a
/// second, for extended attributes and for holes.
pub(super) fn head(entry: &Entry, mode: u32) -> Vec<u8> {
    let mut name = entry.path.as_bytes().to_vec();
    let (letter, link, device) = match &entry.kind {
        Kind::Directory => {
            if name.is_empty() {
                name.push(b'.');
            }
            name.push(b'/');
            (b'5', &[][..], None)
        }
        Kind::File { .. } => (b'0', &[][..], None),
        Kind::HardLink { to } => (b'1', to.as_bytes(), None),
        Kind::Symlink { to } => (b'2', &to[..], None),
        Kind::Fifo => (b'6', &[][..], None),
        Kind::CharacterDevice { major, minor } => (b'3', &[][..], Some((*major, *minor))),
        Kind::BlockDevice { major, minor } => (b'4', &[][..], Some((*major, *minor))),
        Kind::Socket => return Vec::new(),
    };
    let mut out = Vec::new();
    for (letter, text) in [(b'K', link), (b'L', &name[..])] {
        if text.len() > NAME {
            let length = text.len() as u64 + 1;
            out.extend(block(b"././@LongLink", &[], letter, &[0, 0, 0, length], 0));
            out.extend(text);
            out.push(0);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
    }
    let metadata = &entry.metadata;
    let size = match entry.kind {
        Kind::File { size, .. } => size,
        _ => 0,
    };
    let numbers = [mode, metadata.uid, metadata.gid].map(u64::from);
    let [mode, uid, gid] = numbers;
    let numbers = [mode, uid, gid, size];
    let mut header = block(&name, link, letter, &numbers, metadata.modified.seconds);
    if let Some((major, minor)) = device {
        put(&mut header, 329, &number(i128::from(major), 8));
        put(&mut header, 337, &number(i128::from(minor), 8));
        sum(&mut header);
    }
    out.extend(header);
    out
}

/// A header with these numbers: mode, uid, gid and size.
fn block(name: &[u8], link: &[u8], letter: u8, numbers: &[u64; 4], seconds: i64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    put(&mut header, 0, &name[..name.len().min(NAME + 1)]);
    for (number_at, value, length) in [
        (100, numbers[0], 8),
        (108, numbers[1], 8),
        (116, numbers[2], 8),
        (124, numbers[3], 12),
    ] {
        put(&mut header, number_at, &number(i128::from(value), length));
    }
    put(&mut header, 136, &number(i128::from(seconds), 12));
    put(&mut header, 156, &[letter]);
    put(&mut header, 157, &link[..link.len().min(NAME + 1)]);
    put(&mut header, 257, b"ustar  \0");
    sum(&mut header);
    header
}

fn put(header: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    header[at..at + bytes.len()].copy_from_slice(bytes);
}

/// In octal digits, or where there is no room for them in the bytes themselves.
fn number(value: i128, length: usize) -> Vec<u8> {
    let most = if length == 8 { SHORT } else { LONG };
    if (0..=i128::from(most)).contains(&value) {
        let digits = length - 1;
        let mut field = format!("{value:0digits$o}").into_bytes();
        field.push(0);
        return field;
    }
    let bytes = value.to_be_bytes();
    let mut field = bytes[bytes.len() - length..].to_vec();
    if let Some(first) = field.first_mut() {
        *first |= 0x80;
    }
    field
}

fn sum(header: &mut [u8; BLOCK]) {
    put(header, 148, b"        ");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    put(header, 148, format!("{sum:06o}\0 ").as_bytes());
}
