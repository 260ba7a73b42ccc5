//! The headers of a member, as they are written.
use super::map::Map;
use crate::transfer::entry::{Entry, Kind, Metadata, Time};

/// Everything in a tar is a multiple of this.
pub(crate) const BLOCK: usize = 512;
/// Two blocks of zeros end it.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// The longest name that a header without pax can have.
const NAME: usize = 100;
/// The largest numbers of 7 and 11 octal digits.
pub(super) const SHORT: u64 = 0o777_7777;
pub(super) const LONG: u64 = 0o777_7777_7777;

/// The keys of pax records.
pub(super) mod key {
    pub(crate) const PATH: &[u8] = b"path";
    pub(crate) const LINK: &[u8] = b"linkpath";
    pub(crate) const SIZE: &[u8] = b"size";
    pub(crate) const UID: &[u8] = b"uid";
    pub(crate) const GID: &[u8] = b"gid";
    pub(crate) const MODIFIED: &[u8] = b"mtime";
    pub(crate) const MAJOR: &[u8] = b"GNU.sparse.major";
    pub(crate) const MINOR: &[u8] = b"GNU.sparse.minor";
    pub(crate) const SPARSE_NAME: &[u8] = b"GNU.sparse.name";
    pub(crate) const REAL_SIZE: &[u8] = b"GNU.sparse.realsize";
    pub(crate) const XATTR: &[u8] = b"SCHILY.xattr.";
}

/// The headers of an entry, and its map where it has one. Sockets have none: nobody can make them but their servers.
pub(crate) fn head(entry: &Entry, map: Option<&Map>) -> Vec<u8> {
    let path = entry.path.as_bytes();
    let mut fields = Fields::of(&entry.metadata);
    let mut records = Vec::new();
    let mut name = path.to_vec();
    let mut link: &[u8] = &[];
    let encoded = map.map(Map::encode);
    match &entry.kind {
        Kind::Directory if path.is_empty() => (fields.letter, name) = (b'5', b"./".to_vec()),
        Kind::Directory => {
            fields.letter = b'5';
            name.push(b'/');
        }
        Kind::File { size, .. } => {
            let map_size = encoded.as_ref().map_or(0, Vec::len) as u64;
            fields.size = map.map_or(*size, Map::stored) + map_size;
        }
        Kind::HardLink { to } => (fields.letter, link) = (b'1', to.as_bytes()),
        Kind::Symlink { to } => (fields.letter, link) = (b'2', to),
        Kind::Fifo => fields.letter = b'6',
        Kind::CharacterDevice { major, minor } => {
            (fields.letter, fields.device) = (b'3', Some((*major, *minor)));
        }
        Kind::BlockDevice { major, minor } => {
            (fields.letter, fields.device) = (b'4', Some((*major, *minor)));
        }
        Kind::Socket => return Vec::new(),
    }
    if let Some(map) = map {
        record(&mut records, key::MAJOR, b"1");
        record(&mut records, key::MINOR, b"0");
        record(&mut records, key::SPARSE_NAME, &name);
        record(
            &mut records,
            key::REAL_SIZE,
            map.size.to_string().as_bytes(),
        );
        // Who knows no sparse files finds the map before the data, under a name that says so.
        name = [b"GNUSparseFile.0/", entry.path.split().1].concat();
        name.truncate(NAME);
    } else if name.len() > NAME {
        record(&mut records, key::PATH, &name);
    }
    if link.len() > NAME {
        record(&mut records, key::LINK, link);
    }
    // The attributes of a further name are those of the file.
    let xattrs = match entry.kind {
        Kind::HardLink { .. } => &[][..],
        _ => &entry.metadata.xattrs,
    };
    numbers(&mut records, &fields, entry.metadata.modified);
    for xattr in xattrs {
        let key = [key::XATTR, &escaped(&xattr.name)].concat();
        record(&mut records, &key, &xattr.value);
    }
    let mut out = Vec::new();
    if !records.is_empty() {
        pax(&mut out, entry.path.split().1, &records);
    }
    fields.put(&mut out, &name, link);
    out.extend(encoded.unwrap_or_default());
    out
}

/// What the fixed fields have no room for.
fn numbers(records: &mut Vec<u8>, fields: &Fields, modified: Time) {
    let mut number = |key, number: u64, most| {
        if number > most {
            record(records, key, number.to_string().as_bytes());
        }
    };
    number(key::SIZE, fields.size, LONG);
    number(key::UID, fields.uid, SHORT);
    number(key::GID, fields.gid, SHORT);
    if modified.nanoseconds != 0 || fields.modified.is_none() {
        record(records, key::MODIFIED, shown(modified).as_bytes());
    }
}

/// A time as pax writes it: a decimal number, whose fraction of a time before 1970 counts away from it.
fn shown(time: Time) -> String {
    let (seconds, nanoseconds) = (time.seconds, time.nanoseconds);
    if seconds < 0 && nanoseconds > 0 {
        format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds)
    } else if nanoseconds > 0 {
        format!("{seconds}.{nanoseconds:09}")
    } else {
        seconds.to_string()
    }
}

/// `12 key=value` with its line's end: the number is the length of all of it.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend(length.to_string().bytes());
    out.push(b' ');
    out.extend(key);
    out.push(b'=');
    out.extend(value);
    out.push(b'\n');
}

/// A name in a key, in which an equals sign would end it; as GNU tar writes it.
fn escaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'=' => out.extend(b"%3D"),
            b'%' => out.extend(b"%25"),
            byte => out.push(*byte),
        }
    }
    out
}

fn pax(out: &mut Vec<u8>, name: &[u8], records: &[u8]) {
    let fields = Fields {
        letter: b'x',
        mode: 0o644,
        size: records.len() as u64,
        ..Fields::default()
    };
    let mut shown = [b"PaxHeaders/", name].concat();
    shown.truncate(NAME);
    fields.put(out, &shown, &[]);
    out.extend(records);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

#[derive(Default)]
struct Fields {
    letter: u8,
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    /// None where the field has no room for it.
    modified: Option<u64>,
    device: Option<(u32, u32)>,
}

impl Fields {
    fn of(metadata: &Metadata) -> Self {
        let modified = u64::try_from(metadata.modified.seconds).ok();
        Self {
            letter: b'0',
            mode: metadata.mode,
            uid: metadata.uid.into(),
            gid: metadata.gid.into(),
            modified: modified.filter(|seconds| *seconds <= LONG),
            ..Self::default()
        }
    }

    /// The header. What is too large for its field is 0 there, and stands in a record.
    fn put(&self, out: &mut Vec<u8>, name: &[u8], link: &[u8]) {
        let mut block = [0_u8; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        let short = |number: u64| format!("{:07o}", if number > SHORT { 0 } else { number });
        let long = |number: u64| format!("{:011o}", if number > LONG { 0 } else { number });
        put(0, &name[..name.len().min(NAME)]);
        put(100, short(self.mode.into()).as_bytes());
        put(108, short(self.uid).as_bytes());
        put(116, short(self.gid).as_bytes());
        put(124, long(self.size).as_bytes());
        put(136, long(self.modified.unwrap_or(0)).as_bytes());
        // The sum is made as if it were blanks itself.
        put(148, b"        ");
        put(156, &[self.letter]);
        put(157, &link[..link.len().min(NAME)]);
        put(257, b"ustar\x0000");
        if let Some((major, minor)) = self.device {
            put(329, short(major.into()).as_bytes());
            put(337, short(minor.into()).as_bytes());
        }
        let sum: u32 = block.iter().copied().map(u32::from).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        let made = |key: &[u8], value: &[u8]| {
            let mut out = Vec::new();
            record(&mut out, key, value);
            out
        };
        assert_eq!(made(b"a", b"1"), b"6 a=1\n");
        // One more digit makes it longer by one more.
        for length in 1..300 {
            let out = made(b"key", &vec![b'v'; length]);
            let text = String::from_utf8(out.clone()).expect("text");
            let (told, _) = text.split_once(' ').expect("a number");
            assert_eq!(told.parse(), Ok(out.len()));
        }
    }

    #[test]
    fn times_before_1970_count_away_from_it() {
        let time = |seconds, nanoseconds| {
            shown(Time {
                seconds,
                nanoseconds,
            })
        };
        assert_eq!(time(1, 2), "1.000000002");
        assert_eq!(time(-1, 500_000_000), "-0.500000000");
        assert_eq!(time(-86_400, 999_999_999), "-86399.000000001");
        assert_eq!(time(-7, 0), "-7");
    }
}
