//! How a schema is walked through, page by page.
//!
//! For each page etcd visits every key of the range that was asked for, to count those that are left. Asked
//! for the whole rest each time, it visits a million keys some hundred times. So each page is asked for in a
//! range that ends where the keys stop to look like the last ones.

/// Bytes that a page should have.
const PAGE: usize = 4 << 20;
/// Keys of the first page, whose size is not known.
const FIRST: usize = 256;
/// More keys make no page better.
const MOST: usize = 16 << 10;

/// A stretch of keys: from the first, up to and without the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

impl Range {
    /// All keys of a schema, and none of another whose name begins with its own.
    pub(super) fn of_schema(schema: &str) -> Self {
        Self {
            from: format!("/{schema}/").into_bytes(),
            // The byte after the slash.
            to: format!("/{schema}0").into_bytes(),
        }
    }
}

/// Where a walk is.
#[derive(Debug)]
pub(super) struct Walk {
    whole: Range,
    from: Option<Vec<u8>>,
    /// How many bytes the next keys are expected to share with the first of them.
    shared: usize,
    limit: usize,
}

/// What a page had.
pub(super) struct Seen<'a> {
    /// Its number of keys.
    pub keys: usize,
    /// Their and their values' bytes.
    pub bytes: usize,
    /// How it ended before its range did: two of its last keys, the very last one second.
    pub cut: Option<(&'a [u8], &'a [u8])>,
}

impl Walk {
    pub(super) fn through(whole: Range) -> Self {
        Self {
            from: Some(whole.from.clone()),
            shared: 0,
            limit: FIRST,
            whole,
        }
    }

    /// What to read next, and how many keys of it at most; none at the end.
    pub(super) fn next(&self) -> Option<(Range, usize)> {
        let from = self.from.clone()?;
        let to = self.end(&from);
        Some((Range { from, to }, self.limit))
    }

    /// Goes on behind a page.
    pub(super) fn passed(&mut self, range: &Range, seen: &Seen<'_>) {
        match seen.cut {
            Some((earlier, last)) => {
                let same = earlier.iter().zip(last).take_while(|(a, b)| a == b);
                self.shared = same.count();
                self.from = Some([last, &[0]].concat());
            }
            None if range.to >= self.whole.to => self.from = None,
            None => {
                // So few that the keys behind are another family's, of which nothing is known.
                if seen.keys < self.limit / 4 {
                    self.shared = self.shared.saturating_sub(1);
                }
                self.from = Some(range.to.clone());
            }
        }
        if let Some(average) = seen.bytes.checked_div(seen.keys) {
            self.limit = (PAGE / average.max(1)).clamp(1, MOST);
        }
    }

    fn end(&self, from: &[u8]) -> Vec<u8> {
        if self.shared <= self.whole.from.len() {
            return self.whole.to.clone();
        }
        let family = &from[..self.shared.min(from.len())];
        match next_sibling(family) {
            Some(sibling) if sibling < self.whole.to => sibling,
            _ => self.whole.to.clone(),
        }
    }
}

/// The first key that does not begin with this.
fn next_sibling(family: &[u8]) -> Option<Vec<u8>> {
    let at = family.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut sibling = family[..=at].to_vec();
    sibling[at] += 1;
    Some(sibling)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks through these keys as etcd would let us; the keys that came, and how many it visited.
    fn walk(keys: &[Vec<u8>], bytes: usize) -> (Vec<Vec<u8>>, usize, usize) {
        let mut walk = Walk::through(Range::of_schema("t1"));
        let (mut came, mut visited, mut pages) = (Vec::new(), 0, 0);
        while let Some((range, limit)) = walk.next() {
            let from = keys.partition_point(|key| *key < range.from);
            let to = keys.partition_point(|key| *key < range.to);
            visited += to - from;
            pages += 1;
            let page = &keys[from..to.min(from + limit)];
            let cut = (page.len() < to - from)
                .then(|| (&page[page.len() * 3 / 4][..], &page[page.len() - 1][..]));
            came.extend_from_slice(page);
            let seen = Seen {
                keys: page.len(),
                bytes: page.len() * bytes,
                cut,
            };
            walk.passed(&range, &seen);
        }
        (came, visited, pages)
    }

    #[test]
    fn every_key_comes_once_and_in_order() {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for kind in ["configmaps", "events", "pods", "secrets"] {
            for number in 0..3_000 {
                keys.push(format!("/t1/{kind}/shop-{}/{number}", number % 7).into_bytes());
            }
        }
        keys.push(b"/t1/".to_vec());
        keys.push([b"/t1/".as_slice(), &[0xff; 9]].concat());
        keys.sort();
        let (came, _, _) = walk(&keys, 20_000);
        assert_eq!(came, keys);
    }

    #[test]
    fn no_key_comes_from_an_empty_schema() {
        assert_eq!(walk(&[], 0), (Vec::new(), 0, 1));
    }

    #[test]
    fn a_large_schema_is_not_visited_again_for_each_page() {
        let keys: Vec<Vec<u8>> = (0..200_000)
            .map(|number| format!("/t1/configmaps/shop/{number:07}").into_bytes())
            .collect();
        let (came, visited, pages) = walk(&keys, 4_096);
        assert_eq!(came.len(), keys.len());
        assert!(visited < keys.len() * 16, "{visited} in {pages} pages");
        assert!(pages < 400, "{pages}");
    }

    #[test]
    fn neighbours_are_outside() {
        let range = Range::of_schema("t1");
        let inside = |key: &str| *key.as_bytes() >= *range.from && *key.as_bytes() < *range.to;
        assert!(inside("/t1/pods/a") && inside("/t1/\u{10ffff}"));
        assert!(!inside("/t10/pods/a") && !inside("/t1") && !inside("/t0/pods"));
    }

    #[test]
    fn behind_the_largest_byte_comes_the_next_of_its_family() {
        assert_eq!(next_sibling(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(next_sibling(b"\xff"), None);
    }
}
