//! Keys as kine writes them into subjects: each part in base58, with dots between.

/// What newer versions put before the parts of a key without a slash at its beginning.
const ROOTLESS: &str = "meta";
/// An empty part of a key: no part can be a slash.
const EMPTY: &[u8] = b"/";

/// A subject's key, from what follows the bucket's name. A subject that is none of kine's stands for itself.
///
/// A key of one part is told without its slash, as kine's tables have it: older versions do not tell them apart.
pub(super) fn key_of(tail: &str) -> Vec<u8> {
    decode(tail).unwrap_or_else(|| tail.as_bytes().to_vec())
}

fn decode(tail: &str) -> Option<Vec<u8>> {
    let (rooted, parts) = match tail.split_once('.') {
        Some((ROOTLESS, parts)) => (false, parts),
        Some(_) => (true, tail),
        None => (false, tail),
    };
    let mut key = Vec::new();
    for (number, part) in parts.split('.').enumerate() {
        if rooted || number > 0 {
            key.push(b'/');
        }
        let part = bs58::decode(part).into_vec().ok()?;
        if part != EMPTY {
            key.extend(part);
        }
    }
    Some(key)
}

/// The end of the subject of a key of one part.
pub(super) fn single(key: &str) -> String {
    bs58::encode(key).into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(parts: &[&[u8]]) -> String {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| bs58::encode(part).into_string())
            .collect();
        parts.join(".")
    }

    #[test]
    fn keys_are_those_of_kine() {
        // Of kine's own tests.
        assert_eq!(key_of("2g.2g.2g"), b"/a/a/a");
        assert_eq!(key_of("2g.j.2g"), b"/a/*/a");
        assert_eq!(key_of("2g"), b"a");
        let health = encode(&[b"registry", b"health"]);
        assert_eq!(key_of(&health), b"/registry/health");
        let compact = format!("meta.{}", single("compact_rev_key_apiserver"));
        assert_eq!(key_of(&compact), b"compact_rev_key_apiserver");
        assert_eq!(
            key_of(&single("compact_rev_key_apiserver")),
            b"compact_rev_key_apiserver"
        );
        assert_eq!(key_of(&encode(&[b"registry", b"/", b"a"])), b"/registry//a");
    }

    #[test]
    fn odd_bytes_come_back_as_they_were() {
        let part: &[u8] = b"\0\0 \xff\xfe.*>";
        let key = key_of(&encode(&[b"registry", part]));
        assert_eq!(key, [b"/registry/", part].concat());
    }

    #[test]
    fn another_programs_subject_stands_for_itself() {
        assert_eq!(key_of("orders.0OIl"), b"orders.0OIl");
    }
}
