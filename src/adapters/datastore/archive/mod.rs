//! A tenant's schema in a file, or in an object of a bucket.
//!
//! A zstd stream of JSON lines, so that `zstd -dc FILE | jq` reads it without us: the head, a line for each record,
//! and the end with their number and digest. A file without its end was cut off.
mod line;
mod read;
mod write;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Driver;
pub use read::{Reader, check, open};
pub use write::{FileSink, Piece, Sink, create, write};

/// The format that is written, and the only one that is read.
pub const FORMAT: u32 = 1;

/// What a file is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Head {
    /// [`FORMAT`].
    pub kubectl_migrate_tenant_snapshot: u32,
    /// The version of the plugin that wrote it.
    pub written_by: String,
    /// When it was begun, as RFC 3339 has it.
    pub taken: String,
    /// The control plane, `namespace/name`.
    pub tenant: String,
    /// The version of its Kubernetes.
    pub kubernetes: String,
    /// The DataStore that it was in.
    pub data_store: String,
    /// What that is.
    pub driver: Driver,
    /// Its server's version.
    pub server: String,
    /// Its key prefix, database or bucket.
    pub schema: String,
    /// What the records are kept in, in the driver's own terms: a table's definition, a bucket's settings.
    pub layout: Value,
}

/// What a driver keeps of a key or a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// With kine the revision; with NATS the part of the bucket's own snapshot; with etcd nothing.
    pub number: u64,
    /// The key, without the schema's prefix; empty with NATS.
    pub key: Vec<u8>,
    /// The value; with kine the row's other columns.
    pub fields: Vec<Option<Bytes>>,
    /// etcd's lease.
    pub lease: Option<Lease>,
}

/// A lease of etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Its number, which keys of one lease share.
    pub id: i64,
    /// What it had left when it was read.
    pub seconds: i64,
}

impl Record {
    /// Its key's and fields' bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let fields = self.fields.iter().flatten().map(|field| field.len() as u64);
        self.key.len() as u64 + fields.sum::<u64>()
    }

    /// Adds it to a digest. The seconds of its lease pass, and do not count.
    fn hash(&self, digest: &mut blake3::Hasher) {
        let mut part = |bytes: &[u8]| {
            digest.update(&(bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        part(&self.number.to_le_bytes());
        part(&self.key);
        part(&(self.fields.len() as u64).to_le_bytes());
        for field in &self.fields {
            match field {
                Some(field) => part(field),
                // No field is as long.
                None => part(&[0; 9]),
            }
        }
        part(&self.lease.map_or(0, |lease| lease.id).to_le_bytes());
    }
}

/// What a file ends with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct End {
    /// How many records there are.
    pub records: u64,
    /// Their keys' and fields' bytes.
    pub bytes: u64,
    /// The store's revision that they are of.
    pub revision: u64,
    /// BLAKE3 over all of them, as hexadecimal digits.
    pub digest: String,
}

/// Counts records.
#[derive(Default)]
struct Tally {
    records: u64,
    bytes: u64,
    digest: blake3::Hasher,
}

impl Tally {
    fn add(&mut self, record: &Record) {
        self.records += 1;
        self.bytes += record.bytes();
        record.hash(&mut self.digest);
    }

    fn end(&self, revision: u64) -> End {
        End {
            records: self.records,
            bytes: self.bytes,
            revision,
            digest: self.digest.finalize().to_hex().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(records: &[Record]) -> String {
        let mut tally = Tally::default();
        for record in records {
            tally.add(record);
        }
        tally.end(0).digest
    }

    #[test]
    fn whatever_differs_has_another_digest() {
        let record = Record {
            number: 7,
            key: b"pods/a".to_vec(),
            fields: vec![Some(Bytes::from_static(b"value")), None],
            lease: Some(Lease { id: 9, seconds: 30 }),
        };
        let with = |change: fn(&mut Record)| {
            let mut other = record.clone();
            change(&mut other);
            digest(&[other])
        };
        let same = digest(std::slice::from_ref(&record));
        assert_eq!(
            with(|other| other.lease = Some(Lease { id: 9, seconds: 1 })),
            same
        );
        for other in [
            with(|other| other.number = 8),
            with(|other| other.key = b"pods/b".to_vec()),
            with(|other| other.fields[1] = Some(Bytes::new())),
            with(|other| other.fields[0] = None),
            with(|other| other.fields.truncate(1)),
            with(|other| other.lease = None),
        ] {
            assert_ne!(other, same);
        }
        // Nothing passes from one part to the next.
        let two = |key: &str, value: &'static str| Record {
            key: key.into(),
            fields: vec![Some(Bytes::from_static(value.as_bytes()))],
            ..Record::default()
        };
        assert_ne!(digest(&[two("ab", "c")]), digest(&[two("a", "bc")]));
    }
}
