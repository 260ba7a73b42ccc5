//! Reads a tar as GNU tar, busybox and their like write it, and refuses what none of them does: what it names stays
//! inside the volume.
use super::head::{BLOCK, key};
use super::map::Map;
use super::tar::{LONGEST_RECORDS, Member, Tar, each_record, unescaped, until_zero};
use crate::transfer::entry::{Entry, Kind, Metadata, Time, Xattr};
use crate::transfer::fault::Fault;

/// A name or a link that stands before its header has at most so many bytes.
const LONGEST_NAME: u64 = 64 << 10;
/// Digits of a second.
const NANOSECONDS: usize = 9;

/// What pax records and long names say of the next member.
#[derive(Default)]
struct Records {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<Time>,
    /// The length of a sparse file, and where its data begin and how long they are, in turn (`GNU.sparse` 0.0).
    real_size: Option<u64>,
    numbers: Vec<u64>,
    xattrs: Vec<Xattr>,
}

impl Tar<'_> {
    /// The next member of a tar that another program wrote; none at its end, behind which only zeros may come.
    pub(crate) fn next_foreign(&mut self) -> Result<Option<Member>, Fault> {
        let mut records = Records::default();
        let mut begun = false;
        loop {
            let block = self.bytes(BLOCK as u64)?;
            if block.iter().all(|byte| *byte == 0) {
                if begun {
                    return Err(self.damaged("the member that was announced does not come"));
                }
                return self.ends_in_zeros().map(|()| None);
            }
            self.has_its_sum(&block)?;
            let letter = block.get(156).copied().unwrap_or_default();
            if !matches!(letter, b'x' | b'L' | b'K') {
                return self.foreign_member(&block, letter, records).map(Some);
            }
            begun = true;
            let most = if letter == b'x' {
                LONGEST_RECORDS
            } else {
                LONGEST_NAME
            };
            let size = self.unsigned(&block, 124, 12)?;
            if size > most {
                return Err(self.damaged("a header is longer than any"));
            }
            let mut text = self.bytes(size)?;
            self.padding()?;
            let taken = if letter == b'x' {
                each_record(&text, |name, value| records.take(name, value))
            } else {
                text.truncate(until_zero(&text).len());
                let field = if letter == b'L' {
                    &mut records.path
                } else {
                    &mut records.link
                };
                field.replace(text).is_none().then_some(())
            };
            taken.ok_or_else(|| self.damaged("what stands before a header is not understood"))?;
        }
    }

    /// The rest of a tar whose first block of zeros was read: a second one, and what fills the last record.
    fn ends_in_zeros(&mut self) -> Result<(), Fault> {
        let mut rest = 0;
        while let Some(bytes) = self.some(u64::MAX)? {
            let zero = bytes.iter().all(|byte| *byte == 0);
            rest += bytes.len();
            if !zero {
                return Err(self.damaged("something follows its end"));
            }
        }
        if rest < BLOCK || !rest.is_multiple_of(BLOCK) {
            return Err(self.damaged("it is cut off in its end"));
        }
        Ok(())
    }

    fn has_its_sum(&self, block: &[u8]) -> Result<(), Fault> {
        let told = self.unsigned(block, 148, 8)?;
        let bytes = block.iter().enumerate();
        let sum: u64 = bytes
            .map(|(at, byte)| match at {
                148..156 => 32,
                _ => u64::from(*byte),
            })
            .sum();
        if told == sum && block.get(257..262) == Some(b"ustar") {
            Ok(())
        } else {
            Err(self.damaged("a header is none"))
        }
    }

    fn foreign_member(
        &mut self,
        block: &[u8],
        letter: u8,
        records: Records,
    ) -> Result<Member, Fault> {
        let given = |at: usize| until_zero(block.get(at..at + 100).unwrap_or_default()).to_vec();
        let name = records.path.unwrap_or_else(|| {
            // GNU's own format keeps other things in the place of the prefix.
            let prefix = block.get(345..500).filter(|_| block.get(262) == Some(&0));
            match until_zero(prefix.unwrap_or_default()) {
                [] => given(0),
                prefix => [prefix, b"/", &given(0)].concat(),
            }
        });
        let is_file = matches!(letter, b'0' | b'7' | 0);
        if name.is_empty() || (is_file && name.ends_with(b"/")) {
            return Err(self.damaged("a member has no name that it could have"));
        }
        let path = self.path(inside(&name))?;
        let stored = match records.size {
            Some(size) => size,
            None => self.unsigned(block, 124, 12)?,
        };
        let map = match records.real_size {
            None if records.numbers.is_empty() => None,
            Some(size) if is_file => Some(self.map_of(size, &records.numbers, stored)?),
            _ => return Err(self.damaged("a sparse file is of another format")),
        };
        let link = records.link.unwrap_or_else(|| given(157));
        let kind = match letter {
            b'5' => Kind::Directory,
            b'0' | b'7' | 0 => Kind::File {
                size: map.as_ref().map_or(stored, |map| map.size),
                digest: None,
            },
            b'1' => Kind::HardLink {
                to: self.path(inside(&link))?,
            },
            b'2' => Kind::Symlink { to: link },
            b'6' => Kind::Fifo,
            b'3' | b'4' => {
                let part = |at| {
                    u32::try_from(self.unsigned(block, at, 8)?)
                        .map_err(|_| self.damaged("a device has no number"))
                };
                let (major, minor) = (part(329)?, part(337)?);
                match letter {
                    b'3' => Kind::CharacterDevice { major, minor },
                    _ => Kind::BlockDevice { major, minor },
                }
            }
            _ => return Err(self.damaged("a member is of an unknown type")),
        };
        if !is_file && stored != 0 {
            return Err(self.damaged("a member that is no file has contents"));
        }
        let identity = |record: Option<u64>, at| -> Result<u32, Fault> {
            let number = match record {
                Some(number) => number,
                None => self.unsigned(block, at, 8)?,
            };
            u32::try_from(number).map_err(|_| self.damaged("an owner is none"))
        };
        let modified = match records.modified {
            Some(time) => time,
            None => Time {
                seconds: i64::try_from(self.signed(block, 136, 12)?)
                    .map_err(|_| self.damaged("a time is none"))?,
                nanoseconds: 0,
            },
        };
        let mode = u32::try_from(self.unsigned(block, 100, 8)?).unwrap_or(u32::MAX);
        let mut xattrs = records.xattrs;
        xattrs.sort_by(|one, other| one.name.cmp(&other.name));
        let metadata = Metadata {
            mode: mode & 0o7777,
            uid: identity(records.uid, 108)?,
            gid: identity(records.gid, 116)?,
            modified,
            accessed: modified,
            xattrs,
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

    fn map_of(&self, size: u64, numbers: &[u64], stored: u64) -> Result<Map, Fault> {
        let count = (numbers.len() / 2) as u64;
        let mut all = std::iter::once(count).chain(numbers.iter().copied());
        // As many stretches as such a header has room for; GNU tar fills no small holes.
        let map = Map::decode(size, usize::MAX, || all.next());
        map.filter(|map| numbers.len().is_multiple_of(2) && map.stored() == stored)
            .ok_or_else(|| self.damaged("the map of a sparse file is none"))
    }

    fn unsigned(&self, block: &[u8], at: usize, length: usize) -> Result<u64, Fault> {
        let number = self.signed(block, at, length)?;
        u64::try_from(number).map_err(|_| self.damaged("a number in a header is none"))
    }

    /// A number in octal digits, or, where it is too large for them, in the bytes themselves.
    fn signed(&self, block: &[u8], at: usize, length: usize) -> Result<i128, Fault> {
        let field = block.get(at..at + length).unwrap_or_default();
        if let Some((first, rest)) = field.split_first()
            && first & 0x80 != 0
        {
            let begin = if first & 0x40 == 0 { 0 } else { -1 };
            let begin = (begin << 6) | i128::from(first & 0x3f);
            return Ok(rest
                .iter()
                .fold(begin, |number, byte| (number << 8) | i128::from(*byte)));
        }
        let digits = field.trim_ascii_start();
        let digits = until_zero(digits).trim_ascii_end();
        if digits.is_empty() {
            return Ok(0);
        }
        let text = std::str::from_utf8(digits).ok();
        text.filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()))
            .and_then(|text| i128::from_str_radix(text, 8).ok())
            .ok_or_else(|| self.damaged("a number in a header is none"))
    }
}

impl Records {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
        match name {
            key::PATH => self.path = Some(value.to_vec()),
            key::LINK => self.link = Some(value.to_vec()),
            key::SIZE => self.size = Some(number()?),
            key::UID => self.uid = Some(number()?),
            key::GID => self.gid = Some(number()?),
            key::MODIFIED => self.modified = Some(time(value)?),
            b"GNU.sparse.size" => self.real_size = Some(number()?),
            b"GNU.sparse.numblocks" => {
                number()?;
            }
            b"GNU.sparse.offset" if self.numbers.len().is_multiple_of(2) => {
                self.numbers.push(number()?);
            }
            b"GNU.sparse.numbytes" if !self.numbers.len().is_multiple_of(2) => {
                self.numbers.push(number()?);
            }
            // Of people, not of the file; and times that nobody compares.
            b"uname" | b"gname" | b"atime" | b"ctime" | b"comment" => {}
            name => {
                let name = unescaped(name.strip_prefix(key::XATTR)?)?;
                // A label of the node, not of the file: it is left out of listings, too.
                if name != b"security.selinux" {
                    let value = value.to_vec();
                    self.xattrs.push(Xattr { name, value });
                }
            }
        }
        Some(())
    }
}

/// A name as paths have it: `./a/` is `a`, and `.` the root.
fn inside(name: &[u8]) -> Vec<u8> {
    let mut rest = name;
    while let Some(after) = rest.strip_prefix(b"./") {
        rest = after;
    }
    let rest = rest.strip_suffix(b"/").unwrap_or(rest);
    if rest == b"." {
        Vec::new()
    } else {
        rest.to_vec()
    }
}

/// A time as pax has it, with as many digits of a second as there are; of one before 1970 they count away from it.
fn time(value: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(value).ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if !plain(seconds) || !plain(fraction) || fraction.len() > NANOSECONDS {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    let nanoseconds: u32 = format!("{fraction:0<NANOSECONDS$}").parse().ok()?;
    Some(match (digits.len() == text.len(), nanoseconds) {
        (true, _) => Time {
            seconds,
            nanoseconds,
        },
        (false, 0) => Time {
            seconds: -seconds,
            nanoseconds,
        },
        (false, _) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_as_many_digits_as_their_writer_gave() {
        for (text, seconds, nanoseconds) in [
            ("7", 7, 0),
            ("7.5", 7, 500_000_000),
            ("-7", -7, 0),
            ("-0.25", -1, 750_000_000),
            ("-86399.000000001", -86_400, 999_999_999),
        ] {
            let wanted = Time {
                seconds,
                nanoseconds,
            };
            assert_eq!(time(text.as_bytes()), Some(wanted), "{text}");
        }
        for text in ["", "-", ".5", "1.", "1.0000000001", "1e3", "+1", "1.-5"] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn names_are_those_of_a_tree() {
        for (name, wanted) in [
            ("./", ""),
            (".", ""),
            ("./a/b/", "a/b"),
            ("-rf", "-rf"),
            ("././x", "x"),
        ] {
            assert_eq!(inside(name.as_bytes()), wanted.as_bytes());
        }
    }
}
