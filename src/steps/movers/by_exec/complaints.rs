//! What a tar complains of while it unpacks: what it could not keep, and at which entry.
use super::told::of_a_library;
use crate::transfer::{What, path::TreePath};

/// What a line of a tar says that it could not keep.
pub(super) fn unkept(line: &str) -> Option<What> {
    // The name of a file may say anything.
    let said = line.rsplit(": ").nth(1).unwrap_or_default();
    let has = |text: &str| said.starts_with(text);
    if let Some((_, rest)) = line.split_once(": Cannot set '")
        && let Some((name, _)) = rest.split_once("' extended attribute")
    {
        return Some(What::Xattr(name.as_bytes().to_vec()));
    }
    if has("Cannot change ownership") || has("can't change owner") || has("chown ") {
        Some(What::Owner)
    } else if has("Cannot change mode") || has("can't change mode") {
        Some(What::Mode)
    } else if has("Cannot utime") {
        Some(What::Time)
    } else if has("Cannot mknod") || has("can't create node") {
        Some(What::Device)
    } else {
        None
    }
}

/// The entry that GNU tar complains of: `tar: ./a\nb: Cannot utime: Operation not permitted`. None where that is not
/// known, as with busybox, or for attributes.
pub(super) fn entry_of(line: &str) -> Option<TreePath> {
    let (named, said) = line.strip_prefix("tar: ")?.rsplit_once(": Cannot ")?;
    if said.contains(" extended attribute") {
        return None;
    }
    let name = unquoted(named)?;
    match name.strip_prefix(b"./").unwrap_or(&name) {
        b"." => Some(TreePath::root()),
        name => TreePath::new(name),
    }
}

/// A name as GNU tar writes it in messages: what is not printed is escaped as in C, and so is a colon. None for what no
/// tar writes so.
fn unquoted(text: &str) -> Option<Vec<u8>> {
    // What was not UTF-8 is not known any more.
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return None;
    }
    let mut bytes = text.bytes();
    let mut name = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            name.push(byte);
            continue;
        }
        name.push(match bytes.next()? {
            b'a' => 7,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 11,
            b'f' => 12,
            b'r' => b'\r',
            same @ (b'\\' | b':') => same,
            first @ b'0'..=b'3' => {
                let digit = |byte: u8| (b'0'..=b'7').contains(&byte).then(|| byte - b'0');
                let [second, third] = [bytes.next()?, bytes.next()?];
                (digit(first)? << 6) | (digit(second)? << 3) | digit(third)?
            }
            _ => return None,
        });
    }
    Some(name)
}

/// Whether a line says nothing of what was unpacked.
pub(super) fn says_nothing(line: &str) -> bool {
    let known = [
        "Exiting with failure status due to previous errors",
        "implausibly old time stamp",
        " s in the future",
    ];
    line.trim().is_empty() || of_a_library(line) || known.iter().any(|known| line.contains(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gnu_tar_names_the_entry_as_it_is() {
        // As GNU tar 1.35 says it of such names, in any locale.
        let owner = "Cannot change ownership to uid 1, gid 2: Operation not permitted";
        for (named, name) in [
            ("./d/'q' \"r\"", &b"d/'q' \"r\""[..]),
            (r"./a\nb\: c\\d", b"a\nb: c\\d"),
            (r"./bad\377", b"bad\xff"),
            ("./caf\u{e9}", "caf\u{e9}".as_bytes()),
            ("plain", b"plain"),
        ] {
            let line = format!("tar: {named}: {owner}");
            let entry = entry_of(&line).map(|path| path.as_bytes().to_vec());
            assert_eq!(entry.as_deref(), Some(name), "{line}");
            assert_eq!(unkept(&line), Some(What::Owner));
        }
        let root = entry_of("tar: .: Cannot utime: Operation not permitted");
        assert_eq!(root, Some(TreePath::root()));
    }

    #[test]
    fn what_names_no_entry_for_certain_names_none() {
        for (line, what) in [
            (
                "tar: ./a: can't change owner: Operation not permitted",
                What::Owner,
            ),
            ("tar: chown ./a: Operation not permitted", What::Owner),
            (
                "tar: lsetxattr: Cannot set 'user.x' extended attribute for file './a': Operation not supported",
                What::Xattr(b"user.x".to_vec()),
            ),
            (
                "tar: ./a\u{fffd}: Cannot utime: Operation not permitted",
                What::Time,
            ),
            (
                r"tar: ./a\q: Cannot utime: Operation not permitted",
                What::Time,
            ),
        ] {
            assert_eq!(entry_of(line), None, "{line}");
            assert_eq!(unkept(line), Some(what), "{line}");
        }
    }
}
