use std::fmt;

/// What the headers of a Linux executable tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// The machine that it is for, as nodes name theirs in `kubernetes.io/arch`.
    pub architecture: &'static str,
    /// The loader that it needs, where it is not static.
    pub loader: Option<String>,
}

/// What a file is that is no Linux executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotElf {
    /// Its first bytes are no executable's.
    Other,
    /// A script.
    Script,
    /// One for macOS.
    MacOs,
    /// One for Windows.
    Windows,
    /// It ends within its headers.
    Cut,
    /// One for a machine that no node has.
    Machine(u16),
    /// A library or an object file.
    NoProgram(u16),
}

impl fmt::Display for NotElf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => formatter.write_str("something else"),
            Self::Script => formatter.write_str("a script"),
            Self::MacOs => formatter.write_str("one for macOS"),
            Self::Windows => formatter.write_str("one for Windows"),
            Self::Cut => formatter.write_str("it ends within its headers"),
            Self::Machine(number) => write!(formatter, "machine number {number} is not known"),
            Self::NoProgram(number) => write!(formatter, "its type is {number}, not a program's"),
        }
    }
}

/// The entry of the program's headers that names the loader.
const LOADER: u64 = 3;

/// Where in a header the fields are, which differs with the width of addresses.
struct Layout {
    headers_at: usize,
    header_size: usize,
    header_count: usize,
    file_offset: usize,
    file_size: usize,
    address: usize,
}

const WIDE: Layout = Layout {
    headers_at: 32,
    header_size: 54,
    header_count: 56,
    file_offset: 8,
    file_size: 32,
    address: 8,
};
const NARROW: Layout = Layout {
    headers_at: 28,
    header_size: 42,
    header_count: 44,
    file_offset: 4,
    file_size: 16,
    address: 4,
};

/// A file's beginning, read as its second byte of identity says.
struct Head<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl Head<'_> {
    fn number(&self, at: usize, width: usize) -> Result<u64, NotElf> {
        let end = at.checked_add(width).ok_or(NotElf::Cut)?;
        let bytes = self.bytes.get(at..end).ok_or(NotElf::Cut)?;
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Ok(if self.little {
            bytes.iter().rev().fold(0, add)
        } else {
            bytes.iter().fold(0, add)
        })
    }

    fn place(&self, at: usize, width: usize) -> Result<usize, NotElf> {
        usize::try_from(self.number(at, width)?).map_err(|_| NotElf::Cut)
    }

    fn short(&self, at: usize) -> Result<u16, NotElf> {
        u16::try_from(self.number(at, 2)?).map_err(|_| NotElf::Cut)
    }
}

impl Elf {
    /// Reads a file's beginning.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, NotElf> {
        match bytes {
            [0x7f, b'E', b'L', b'F', ..] => {}
            [b'#', b'!', ..] => return Err(NotElf::Script),
            [b'M', b'Z', ..] => return Err(NotElf::Windows),
            // One machine's, little-endian, or several machines' in one file.
            [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => {
                return Err(NotElf::MacOs);
            }
            _ => return Err(NotElf::Other),
        }
        let identity = |at: usize| bytes.get(at).copied().ok_or(NotElf::Cut);
        let little = identity(5)? == 1;
        let layout = if identity(4)? == 2 { WIDE } else { NARROW };
        let head = Head { bytes, little };
        // 2 is a program at a fixed address, 3 one at any.
        let kind = head.short(16)?;
        if !matches!(kind, 2 | 3) {
            return Err(NotElf::NoProgram(kind));
        }
        let architecture = match (head.short(18)?, little) {
            (3, _) => "386",
            (21, true) => "ppc64le",
            (22, _) => "s390x",
            (40, _) => "arm",
            (62, _) => "amd64",
            (183, _) => "arm64",
            (243, _) => "riscv64",
            (258, _) => "loong64",
            (other, _) => return Err(NotElf::Machine(other)),
        };
        Ok(Self {
            architecture,
            loader: head.loader(&layout)?,
        })
    }
}

impl Head<'_> {
    fn loader(&self, layout: &Layout) -> Result<Option<String>, NotElf> {
        let first = self.place(layout.headers_at, layout.address)?;
        let size = usize::from(self.short(layout.header_size)?);
        for number in 0..usize::from(self.short(layout.header_count)?) {
            let header = number
                .checked_mul(size)
                .and_then(|offset| first.checked_add(offset))
                .ok_or(NotElf::Cut)?;
            if self.number(header, 4)? == LOADER {
                let at = self.place(header + layout.file_offset, layout.address)?;
                let length = self.place(header + layout.file_size, layout.address)?;
                let end = at.checked_add(length).ok_or(NotElf::Cut)?;
                let name = self.bytes.get(at..end).ok_or(NotElf::Cut)?;
                let name = String::from_utf8_lossy(name);
                return Ok(Some(name.trim_end_matches('\0').to_owned()));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(path: &str) -> Vec<u8> {
        let mut bytes = std::fs::read(path).expect("it can be read");
        bytes.truncate(64 << 10);
        bytes
    }

    #[test]
    fn this_program_is_static_and_a_shell_names_its_loader() {
        let own = Elf::of(&head("/proc/self/exe")).expect("a program");
        assert_eq!(own.loader, None);
        let shell = Elf::of(&head("/bin/sh")).expect("a program");
        let loader = shell.loader.expect("Debian's shell is dynamic");
        assert!(loader.starts_with("/lib"), "{loader}");
        assert_eq!(own.architecture, shell.architecture);
    }

    #[test]
    fn a_head_that_is_cut_anywhere_is_refused_or_tells_the_same() {
        let whole = head("/bin/sh");
        let told = Elf::of(&whole).expect("a program");
        for length in 0..2048.min(whole.len()) {
            match Elf::of(&whole[..length]) {
                Ok(elf) => assert_eq!(elf, told, "{length}"),
                Err(why) => assert!(
                    matches!(why, NotElf::Cut | NotElf::Other),
                    "{length}: {why}"
                ),
            }
        }
    }

    #[test]
    fn other_systems_files_are_told_as_what_they_are() {
        for (bytes, why) in [
            (&b"#!/bin/sh\n"[..], NotElf::Script),
            (b"MZ\x90\0", NotElf::Windows),
            (b"\xcf\xfa\xed\xfe\x07\0\0\x01", NotElf::MacOs),
            (b"\xca\xfe\xba\xbe\0\0\0\x02", NotElf::MacOs),
            (b"", NotElf::Other),
            (b"version https://git-lfs.github.com", NotElf::Other),
        ] {
            assert_eq!(Elf::of(bytes), Err(why));
        }
        let mut other = head("/bin/sh");
        other[18] = 0xff;
        assert_eq!(Elf::of(&other), Err(NotElf::Machine(255)));
        other[16] = 1;
        assert_eq!(Elf::of(&other), Err(NotElf::NoProgram(1)));
    }
}
