//! Keys with their values, and two ordered rows of them side by side.
use std::{cmp::Ordering, iter::Peekable, vec::IntoIter};

use etcd_client::KeyValue;

/// A key with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// Zero: it has none.
    pub lease: i64,
}

impl Entry {
    /// How much it is.
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl From<KeyValue> for Entry {
    fn from(found: KeyValue) -> Self {
        let lease = found.lease();
        let (key, value) = found.into_key_value();
        Self { key, value, lease }
    }
}

/// A key of the schema, and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pairing {
    Source(Entry),
    Target(Entry),
    Both { source: Entry, target: Entry },
}

/// Pairs two rows, each in the order of its keys.
pub(super) struct Pairings {
    source: Peekable<IntoIter<Entry>>,
    target: Peekable<IntoIter<Entry>>,
}

impl Pairings {
    pub(super) fn of(source: Vec<Entry>, target: Vec<Entry>) -> Self {
        Self {
            source: source.into_iter().peekable(),
            target: target.into_iter().peekable(),
        }
    }
}

impl Iterator for Pairings {
    type Item = Pairing;

    fn next(&mut self) -> Option<Pairing> {
        let order = match (self.source.peek(), self.target.peek()) {
            (Some(source), Some(target)) => source.key.cmp(&target.key),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        match order {
            Ordering::Less => self.source.next().map(Pairing::Source),
            Ordering::Greater => self.target.next().map(Pairing::Target),
            Ordering::Equal => Some(Pairing::Both {
                source: self.source.next()?,
                target: self.target.next()?,
            }),
        }
    }
}

/// The first key after this one.
pub(super) fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str) -> Entry {
        Entry {
            key: key.into(),
            value: value.into(),
            lease: 0,
        }
    }

    #[test]
    fn two_rows_meet_at_their_common_keys() {
        let source = vec![entry("a", "1"), entry("c", "2"), entry("d", "3")];
        let target = vec![entry("b", "4"), entry("c", "5"), entry("e", "6")];
        let pairings: Vec<_> = Pairings::of(source, target).collect();
        assert_eq!(
            pairings,
            [
                Pairing::Source(entry("a", "1")),
                Pairing::Target(entry("b", "4")),
                Pairing::Both {
                    source: entry("c", "2"),
                    target: entry("c", "5")
                },
                Pairing::Source(entry("d", "3")),
                Pairing::Target(entry("e", "6")),
            ]
        );
    }

    #[test]
    fn one_row_may_be_empty() {
        let row = || vec![entry("a", "1"), entry("b", "2")];
        assert!(Pairings::of(row(), Vec::new()).all(|at| matches!(at, Pairing::Source(_))));
        assert!(Pairings::of(Vec::new(), row()).all(|at| matches!(at, Pairing::Target(_))));
        assert_eq!(Pairings::of(Vec::new(), Vec::new()).count(), 0);
    }
}
