//! Both schemas by content: every key, every byte, and whether it has a lease.
use std::fmt::Write as _;

use super::{
    super::{Comparison, DatastoreError, Difference, Ignored, Meter, Reading},
    EtcdPair,
    class::{CLASSES, class_of},
    entry::{Entry, Pairing, Pairings},
    recheck,
    store::ReadFault,
    stretches::{At, Stopped, Stretches},
};

/// Differences that are told by name.
const TOLD: usize = 100;

/// What is done with a key that differs.
pub(super) enum Found<'a> {
    /// It counts, unless only a lease runs out.
    Counts,
    /// The stores go on: it is kept, to be looked at when they do not. So many at most.
    IsKept(&'a mut Vec<Vec<u8>>, usize),
}

/// Compares both schemas, each as it is now.
pub(super) async fn compare(pair: &EtcdPair, meter: &Meter) -> Result<Comparison, DatastoreError> {
    let source = pair.source.head(&pair.range).await?;
    let target = pair.target.head(&pair.range).await?;
    let revisions = [source.revision, target.revision];
    between(pair, revisions, Found::Counts, meter).await
}

/// Compares the source's schema with the target's, each as it was at its revision.
pub(super) async fn between(
    pair: &EtcdPair,
    [source, target]: [i64; 2],
    mut found: Found<'_>,
    meter: &Meter,
) -> Result<Comparison, DatastoreError> {
    let (_, of) = pair.source.counted(&pair.range).await?;
    let at = |store: &super::Store, revision| At {
        store: store.clone(),
        revision,
    };
    let mut stretches = Stretches::read(
        at(&pair.source, source),
        at(&pair.target, target),
        pair.range.clone(),
    );
    let mut tally = Tally::new(pair.range.from.len());
    let mut reading = Reading {
        of,
        ..Reading::default()
    };
    while let Some(stretch) = stretches.next().await {
        let stretch = match stretch {
            Ok(stretch) => stretch,
            Err(Stopped::Source(fault)) => {
                return Err(failed(pair, &pair.source, source, fault).await);
            }
            Err(Stopped::Target(fault)) => {
                return Err(failed(pair, &pair.target, target, fault).await);
            }
        };
        reading.keys += stretch.source.len() as u64;
        reading.bytes += stretch
            .source
            .iter()
            .map(|entry| entry.bytes() as u64)
            .sum::<u64>();
        let pairings = Pairings::of(stretch.source, stretch.target);
        let different = pairings.filter_map(|pairing| tally.add(&pairing)).collect();
        match &mut found {
            Found::Counts => tally.count(pair, different).await?,
            Found::IsKept(keys, most) => {
                let room = most.saturating_sub(keys.len());
                keys.extend(different.into_iter().map(|found| found.key).take(room));
            }
        }
        meter.show(reading);
    }
    Ok(tally.end())
}

async fn failed(
    pair: &EtcdPair,
    store: &super::Store,
    revision: i64,
    fault: ReadFault,
) -> DatastoreError {
    match fault {
        ReadFault::Other(error) => error,
        ReadFault::Compacted => store.compacted(&pair.range, revision).await,
    }
}

/// A key that differs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Different {
    pub key: Vec<u8>,
    pub how: &'static str,
    /// It may have run out on one side first.
    pub leased: bool,
}

/// What was seen so far.
pub(super) struct Tally {
    prefix: usize,
    hasher: blake3::Hasher,
    keys: u64,
    bytes: u64,
    classes: [(u64, u64); CLASSES.len()],
    different: u64,
    told: Vec<Difference>,
}

impl Tally {
    pub(super) fn new(prefix: usize) -> Self {
        Self {
            prefix,
            hasher: blake3::Hasher::new(),
            keys: 0,
            bytes: 0,
            classes: [(0, 0); CLASSES.len()],
            different: 0,
            told: Vec::new(),
        }
    }

    /// Counts a key; whether it differs, which is not counted yet.
    pub(super) fn add(&mut self, pairing: &Pairing) -> Option<Different> {
        let (entry, leased) = match pairing {
            Pairing::Source(entry) | Pairing::Target(entry) => (entry, entry.lease != 0),
            Pairing::Both { source, target } => (source, source.lease != 0 || target.lease != 0),
        };
        let how = difference(pairing);
        if let Some(class) = class_of(&entry.key[self.prefix..]) {
            let (different, keys) = &mut self.classes[class];
            *keys += 1;
            *different += u64::from(how.is_some());
            return None;
        }
        if !matches!(pairing, Pairing::Target(_)) {
            self.digest(entry);
        }
        how.map(|how| Different {
            key: entry.key.clone(),
            how,
            leased,
        })
    }

    /// Counts keys that differ; where a lease is, after a second look.
    pub(super) async fn count(
        &mut self,
        pair: &EtcdPair,
        different: Vec<Different>,
    ) -> Result<(), DatastoreError> {
        let (doubtful, certain) = different.into_iter().partition(|found| found.leased);
        let certain: Vec<Different> = certain;
        for found in &certain {
            self.differs(found);
        }
        for found in recheck::still_different(pair, doubtful).await? {
            self.differs(&found);
        }
        Ok(())
    }

    fn digest(&mut self, entry: &Entry) {
        self.keys += 1;
        self.bytes += entry.bytes() as u64;
        for part in [&entry.key[self.prefix..], &entry.value] {
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part);
        }
    }

    fn differs(&mut self, found: &Different) {
        self.different += 1;
        if self.told.len() < TOLD {
            self.told.push(Difference {
                key: shown(&found.key[self.prefix..]),
                how: found.how.to_owned(),
            });
        }
    }

    pub(super) fn end(mut self) -> Comparison {
        // Those that were looked at again came late.
        self.told.sort_by(|one, other| one.key.cmp(&other.key));
        let ignored = CLASSES.iter().zip(self.classes);
        let ignored = ignored.filter(|(_, (_, keys))| *keys > 0);
        Comparison {
            keys: self.keys,
            bytes: self.bytes,
            digest: self.hasher.finalize().to_hex().to_string(),
            ignored: ignored
                .map(|((class, _), (different, keys))| Ignored {
                    class: (*class).to_owned(),
                    different,
                    keys,
                })
                .collect(),
            different: self.different,
            differences: self.told,
            earlier: None,
        }
    }
}

/// How a key differs, if it does.
pub(super) fn difference(pairing: &Pairing) -> Option<&'static str> {
    match pairing {
        Pairing::Source(_) => Some("missing at the target"),
        Pairing::Target(_) => Some("only at the target"),
        Pairing::Both { source, target } if source.value != target.value => Some("other value"),
        Pairing::Both { source, target } => match (source.lease, target.lease) {
            (0, 0) => None,
            (_, 0) => Some("without its lease"),
            (0, _) => Some("with a lease that it should not have"),
            _ => None,
        },
    }
}

/// A key for people: bytes that are no text, and what a terminal would obey, are escaped.
fn shown(key: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in key.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            write!(shown, "\\x{byte:02x}").ok();
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str, lease: i64) -> Entry {
        Entry {
            key: format!("/t1/{key}").into_bytes(),
            value: value.into(),
            lease,
        }
    }

    fn tally(pairings: &[Pairing]) -> (Comparison, Vec<Different>) {
        let mut tally = Tally::new(4);
        let found = pairings.iter().filter_map(|at| tally.add(at));
        let (doubtful, certain): (Vec<_>, Vec<_>) = found.partition(|found| found.leased);
        for found in &certain {
            tally.differs(found);
        }
        (tally.end(), doubtful)
    }

    fn both(source: Entry, target: Entry) -> Pairing {
        Pairing::Both { source, target }
    }

    #[test]
    fn each_difference_is_named() {
        let (found, doubtful) = tally(&[
            both(entry("pods/a", "1", 0), entry("pods/a", "1", 0)),
            both(entry("pods/b", "1", 0), entry("pods/b", "2", 0)),
            Pairing::Source(entry("pods/c", "1", 0)),
            Pairing::Target(entry("pods/d", "1", 0)),
        ]);
        let told: Vec<_> = found
            .differences
            .iter()
            .map(|at| (&*at.key, &*at.how))
            .collect();
        assert_eq!(
            told,
            [
                ("pods/b", "other value"),
                ("pods/c", "missing at the target"),
                ("pods/d", "only at the target"),
            ]
        );
        assert_eq!((found.keys, found.different, doubtful.len()), (3, 3, 0));
    }

    #[test]
    fn a_difference_under_a_lease_is_looked_at_again() {
        let (found, doubtful) = tally(&[
            both(entry("pods/a", "1", 7), entry("pods/a", "1", 0)),
            Pairing::Source(entry("pods/b", "1", 7)),
            both(entry("pods/c", "1", 7), entry("pods/c", "1", 9)),
        ]);
        let how: Vec<_> = doubtful.iter().map(|at| at.how).collect();
        assert_eq!(how, ["without its lease", "missing at the target"]);
        assert_eq!(found.different, 0);
    }

    #[test]
    fn a_class_is_counted_and_not_compared() {
        let (found, doubtful) = tally(&[
            both(entry("events/a", "1", 7), entry("events/a", "1", 7)),
            Pairing::Source(entry("events/b", "1", 7)),
            Pairing::Target(entry("ranges/serviceips", "1", 0)),
        ]);
        let ignored: Vec<_> = found
            .ignored
            .iter()
            .map(|at| (&*at.class, at.different, at.keys))
            .collect();
        assert_eq!(
            ignored,
            [("events", 1, 2), ("address and port allocations", 1, 1)]
        );
        assert_eq!((found.keys, found.different, doubtful.len()), (0, 0, 0));
    }

    #[test]
    fn the_digest_tells_where_a_key_ends() {
        let digest =
            |key: &str, value: &str| tally(&[Pairing::Source(entry(key, value, 0))]).0.digest;
        assert_eq!(digest("a", "bc"), digest("a", "bc"));
        assert_ne!(digest("a", "bc"), digest("ab", "c"));
    }

    #[test]
    fn a_key_is_shown_as_text() {
        assert_eq!(shown("pods/ö".as_bytes()), "pods/ö");
        assert_eq!(shown(b"pods/\xff\x1b[0m"), "pods/\\xff\\u{1b}[0m");
    }
}
