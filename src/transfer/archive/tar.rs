//! Reads a tar as [`super::head`] writes it, and refuses every other: what it names stays inside the volume.
use super::head::{BLOCK, key};
use super::map::{MOST, Map, Stretch};
use crate::transfer::entry::{Digest, Entry, Kind, Metadata, Time, Xattr};
use crate::transfer::fault::Fault;
use crate::transfer::path::TreePath;
use crate::transfer::read::{Piece, hash_zeros};

/// Nothing in a header is longer: names have 4 KiB, and a kernel lists 64 KiB of attributes of up to 64 KiB.
pub(super) const LONGEST_RECORDS: u64 = 16 << 20;
/// Holes are told in such steps, so that a terabyte of nothing can be stopped.
const HOLE: u64 = 64 << 20;
/// Contents are given in pieces of at most so many bytes.
const PIECE: u64 = 1 << 20;

/// Gives the next bytes of a tar; none at its end.
pub(crate) type NextBytes<'a> = dyn FnMut() -> Result<Option<Vec<u8>>, Fault> + 'a;

/// See the module.
pub(crate) struct Tar<'a> {
    /// What it is called in messages.
    object: String,
    next: &'a mut NextBytes<'a>,
    bytes: Vec<u8>,
    at: usize,
    position: u64,
}

/// One member: its entry, without a digest, and what follows in the tar.
pub(crate) struct Member {
    pub(crate) entry: Entry,
    pub(super) map: Option<Map>,
    /// The bytes that follow, without padding.
    pub(super) stored: u64,
}

/// What pax records say.
#[derive(Default)]
struct Records {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<Time>,
    sparse: [Option<u64>; 2],
    sparse_name: Option<Vec<u8>>,
    real_size: Option<u64>,
    xattrs: Vec<Xattr>,
}

impl<'a> Tar<'a> {
    pub(crate) fn new(object: &str, next: &'a mut NextBytes<'a>) -> Self {
        Self {
            object: object.to_owned(),
            next,
            bytes: Vec::new(),
            at: 0,
            position: 0,
        }
    }

    /// The rest of one, from this byte on, at which a member begins.
    pub(crate) fn from(object: &str, position: u64, next: &'a mut NextBytes<'a>) -> Self {
        Self {
            position,
            ..Self::new(object, next)
        }
    }

    pub(super) fn damaged(&self, what: &str) -> Fault {
        Fault::Damaged {
            object: self.object.clone(),
            what: format!("{what}, before byte {} of the tar", self.position),
        }
    }

    /// At most so many of the bytes that are there; none at the end.
    pub(super) fn some(&mut self, most: u64) -> Result<Option<&[u8]>, Fault> {
        while self.at == self.bytes.len() {
            match (self.next)()? {
                Some(bytes) => (self.bytes, self.at) = (bytes, 0),
                None => return Ok(None),
            }
        }
        let left = self.bytes.len() - self.at;
        let count = usize::try_from(most).map_or(left, |most| most.min(left));
        let from = self.at;
        self.at += count;
        self.position += count as u64;
        Ok(self.bytes.get(from..from + count))
    }

    /// Hears of the next so many bytes, piece by piece.
    pub(super) fn each(
        &mut self,
        mut count: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while count > 0 {
            match self.some(count.min(PIECE))? {
                Some(bytes) => {
                    count -= bytes.len() as u64;
                    each(bytes)?;
                }
                None => return Err(self.damaged("it ends in the middle of a member")),
            }
        }
        Ok(())
    }

    pub(super) fn bytes(&mut self, count: u64) -> Result<Vec<u8>, Fault> {
        let mut all = Vec::new();
        self.each(count, |bytes| {
            all.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(all)
    }

    /// Passes over what fills the last block.
    pub(super) fn padding(&mut self) -> Result<(), Fault> {
        let rest = self.position.next_multiple_of(BLOCK as u64) - self.position;
        let mut zero = true;
        self.each(rest, |bytes| {
            zero &= bytes.iter().all(|byte| *byte == 0);
            Ok(())
        })?;
        if zero {
            Ok(())
        } else {
            Err(self.damaged("a block is not filled with zeros"))
        }
    }

    /// The next member; none at the end, behind which nothing may come.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, Fault> {
        let mut block = self.bytes(BLOCK as u64)?;
        let mut records = Records::default();
        if block.iter().all(|byte| *byte == 0) {
            self.each(BLOCK as u64, |_| Ok(()))?;
            return match self.some(1)? {
                None => Ok(None),
                Some(_) => Err(self.damaged("something follows its end")),
            };
        }
        self.check_sum(&block)?;
        if block.get(156) == Some(&b'x') {
            let size = self.number(&block, 124, 12)?;
            if size > LONGEST_RECORDS {
                return Err(self.damaged("a header is longer than any"));
            }
            let text = self.bytes(size)?;
            self.padding()?;
            records = Records::read(&text).ok_or_else(|| self.damaged("a pax record is none"))?;
            block = self.bytes(BLOCK as u64)?;
            self.check_sum(&block)?;
        }
        self.member(&block, records).map(Some)
    }

    fn check_sum(&self, block: &[u8]) -> Result<(), Fault> {
        let told = self.number(block, 148, 7)?;
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                if (148..156).contains(&at) {
                    32
                } else {
                    u64::from(*byte)
                }
            })
            .sum();
        let magic = block.get(257..265) == Some(b"ustar\x0000");
        let prefix = block
            .get(345..500)
            .is_some_and(|name| name.iter().all(|byte| *byte == 0));
        if told == sum && magic && prefix {
            Ok(())
        } else {
            Err(self.damaged("a header is none"))
        }
    }

    /// An octal number, with its end.
    fn number(&self, block: &[u8], at: usize, length: usize) -> Result<u64, Fault> {
        let field = block.get(at..at + length).unwrap_or_default();
        let digits = field.strip_suffix(b"\0").unwrap_or(field);
        let text = std::str::from_utf8(digits).unwrap_or_default();
        u64::from_str_radix(text, 8).map_err(|_| self.damaged("a number in a header is none"))
    }

    fn member(&mut self, block: &[u8], records: Records) -> Result<Member, Fault> {
        let letter = block.get(156).copied().unwrap_or_default();
        let given = |at: usize| until_zero(block.get(at..at + 100).unwrap_or_default()).to_vec();
        let sparse = match (&records.sparse_name, records.real_size, records.sparse) {
            (None, None, [None, None]) => false,
            (Some(_), Some(_), [Some(1), Some(0)]) if letter == b'0' => true,
            _ => return Err(self.damaged("a sparse file is of another format")),
        };
        let name = records.sparse_name.or(records.path);
        let mut name = name.unwrap_or_else(|| given(0));
        if letter == b'5' {
            if name.pop() != Some(b'/') {
                return Err(self.damaged("a directory has no slash at its end"));
            }
            if name == b"." {
                name.clear();
            }
        } else if name.is_empty() {
            return Err(self.damaged("a member has no name"));
        }
        let path = self.path(name)?;
        let size = match records.size {
            Some(size) => size,
            None => self.number(block, 124, 12)?,
        };
        let link = records.link.unwrap_or_else(|| given(157));
        let device = |this: &Self| -> Result<(u32, u32), Fault> {
            let part = |at| {
                let number = this.number(block, at, 8)?;
                u32::try_from(number).map_err(|_| this.damaged("a device has no number"))
            };
            Ok((part(329)?, part(337)?))
        };
        let kind = match letter {
            b'5' => Kind::Directory,
            b'0' => Kind::File {
                size: records.real_size.unwrap_or(size),
                digest: None,
            },
            b'1' => Kind::HardLink {
                to: self.path(link)?,
            },
            b'2' => Kind::Symlink { to: link },
            b'6' => Kind::Fifo,
            b'3' => {
                let (major, minor) = device(self)?;
                Kind::CharacterDevice { major, minor }
            }
            b'4' => {
                let (major, minor) = device(self)?;
                Kind::BlockDevice { major, minor }
            }
            _ => return Err(self.damaged("a member is of an unknown type")),
        };
        if letter != b'0' && size != 0 {
            return Err(self.damaged("a member that is no file has contents"));
        }
        let seconds = self.number(block, 136, 12)?;
        let modified = records.modified.unwrap_or(Time {
            seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
            nanoseconds: 0,
        });
        let identity = |record: Option<u64>, at| -> Result<u32, Fault> {
            let number = match record {
                Some(number) => number,
                None => self.number(block, at, 8)?,
            };
            u32::try_from(number).map_err(|_| self.damaged("an owner is none"))
        };
        let metadata = Metadata {
            mode: u32::try_from(self.number(block, 100, 8)?).unwrap_or(u32::MAX),
            uid: identity(records.uid, 108)?,
            gid: identity(records.gid, 116)?,
            modified,
            accessed: modified,
            xattrs: records.xattrs,
        };
        let (map, stored) = if sparse {
            self.map(records.real_size.unwrap_or(0), size)?
        } else {
            (None, size)
        };
        Ok(Member {
            entry: Entry {
                path,
                kind,
                metadata,
            },
            map,
            stored,
        })
    }

    pub(super) fn path(&self, name: Vec<u8>) -> Result<TreePath, Fault> {
        let shown = crate::transfer::escaped::escape(&name);
        TreePath::new(name)
            .ok_or_else(|| self.damaged(&format!("its member `{shown}` would leave the volume")))
    }

    /// The map before a sparse file's data, and how much data follows.
    fn map(&mut self, real_size: u64, size: u64) -> Result<(Option<Map>, u64), Fault> {
        let begun = self.position;
        let mut failed = None;
        let map = Map::decode(real_size, MOST, || {
            let line = self.line();
            match line {
                Ok(number) => number,
                Err(fault) => {
                    failed = Some(fault);
                    None
                }
            }
        });
        if let Some(fault) = failed {
            return Err(fault);
        }
        self.padding()?;
        let before = self.position - begun;
        match map {
            Some(map) if before + map.stored() == size => {
                let stored = map.stored();
                Ok((Some(map), stored))
            }
            _ => Err(self.damaged("the map of a sparse file is none")),
        }
    }

    fn line(&mut self) -> Result<Option<u64>, Fault> {
        let mut digits = String::new();
        loop {
            match self.some(1)?.and_then(|bytes| bytes.first().copied()) {
                Some(b'\n') => return Ok(digits.parse().ok()),
                Some(byte) if byte.is_ascii_digit() && digits.len() < 20 => {
                    digits.push(char::from(byte));
                }
                _ => return Ok(None),
            }
        }
    }

    /// Hears of the contents of a member that has just come, all of it; their digest.
    pub(crate) fn contents(
        &mut self,
        member: &Member,
        mut each: impl FnMut(Piece<'_>) -> Result<(), Fault>,
    ) -> Result<Digest, Fault> {
        let mut hasher = blake3::Hasher::new();
        let whole = [Stretch {
            start: 0,
            length: member.stored,
        }];
        let (data, size) = match &member.map {
            Some(map) => (&map.data[..], map.size),
            None => (&whole[..], member.stored),
        };
        let mut position = 0;
        let hole = |hasher: &mut blake3::Hasher,
                    position: &mut u64,
                    to: u64,
                    each: &mut dyn FnMut(Piece<'_>) -> Result<(), Fault>|
         -> Result<(), Fault> {
            while *position < to {
                let length = (to - *position).min(HOLE);
                hash_zeros(hasher, length);
                each(Piece::Hole { length })?;
                *position += length;
            }
            Ok(())
        };
        for stretch in data {
            hole(&mut hasher, &mut position, stretch.start, &mut each)?;
            self.each(stretch.length, |bytes| {
                hasher.update(bytes);
                each(Piece::Data {
                    offset: position,
                    bytes,
                })?;
                position += bytes.len() as u64;
                Ok(())
            })?;
        }
        hole(&mut hasher, &mut position, size, &mut each)?;
        self.padding()?;
        Ok(hasher.finalize().into())
    }
}

impl Records {
    fn read(text: &[u8]) -> Option<Self> {
        let mut this = Self::default();
        each_record(text, |name, value| this.take(name, value))?;
        Some(this)
    }

    fn take(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
        match name {
            key::PATH => self.path = Some(value.to_vec()),
            key::LINK => self.link = Some(value.to_vec()),
            key::SIZE => self.size = Some(number()?),
            key::UID => self.uid = Some(number()?),
            key::GID => self.gid = Some(number()?),
            key::MODIFIED => self.modified = Some(time(value)?),
            key::MAJOR => self.sparse[0] = Some(number()?),
            key::MINOR => self.sparse[1] = Some(number()?),
            key::SPARSE_NAME => self.sparse_name = Some(value.to_vec()),
            key::REAL_SIZE => self.real_size = Some(number()?),
            name => self.xattrs.push(Xattr {
                name: unescaped(name.strip_prefix(key::XATTR)?)?,
                value: value.to_vec(),
            }),
        }
        Some(())
    }
}

/// Hears of each pax record, its name and its value.
pub(super) fn each_record(
    mut text: &[u8],
    mut take: impl FnMut(&[u8], &[u8]) -> Option<()>,
) -> Option<()> {
    while !text.is_empty() {
        let blank = text.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&text[..blank]).ok()?.parse().ok()?;
        let (record, rest) = text.split_at_checked(length)?;
        text = rest;
        let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        take(&record[..equals], &record[equals + 1..])?;
    }
    Some(())
}

pub(super) fn until_zero(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

pub(super) fn unescaped(name: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = name;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let (code, after) = rest.split_at_checked(2)?;
        rest = after;
        out.push(match code {
            b"3D" => b'=',
            b"25" => b'%',
            _ => return None,
        });
    }
    Some(out)
}

fn time(value: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(value).ok()?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, "000000000"));
    if fraction.len() != 9 {
        return None;
    }
    let (seconds, nanoseconds): (i64, u32) = (seconds.parse().ok()?, fraction.parse().ok()?);
    Some(if sign < 0 && nanoseconds > 0 {
        Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        }
    } else {
        Time {
            seconds: sign * seconds,
            nanoseconds,
        }
    })
}
