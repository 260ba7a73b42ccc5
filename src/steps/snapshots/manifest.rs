use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::adapters::{
    datastore::archive::{self, End, Head},
    s3::{Address, Sum},
};

/// The version that is written, and the only one that is read.
pub const FORMAT: u32 = 1;

/// What makes a snapshot whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub kubectl_migrate_snapshot: u32,
    /// What it is of.
    pub kind: Kind,
    /// The version of the plugin that wrote it.
    pub written_by: String,
    /// What tells the cluster from every other: the uid of its namespace `kube-system`.
    pub cluster: String,
    /// The data's first line.
    pub head: Head,
    /// The data's last line.
    pub end: End,
    /// The object that holds the data.
    pub data: Data,
}

/// What a snapshot is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// What a Kamaji tenant keeps in its DataStore.
    Tenant,
    /// Volumes.
    Volumes,
}

/// An object beside the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Data {
    /// Its name.
    pub object: String,
    /// Its bytes.
    pub size: u64,
    /// BLAKE3 over them, as hexadecimal digits.
    pub blake3: String,
}

impl Data {
    /// The data object of a snapshot.
    #[must_use]
    pub fn of(sum: Sum) -> Self {
        Self {
            object: super::repository::DATA.to_owned(),
            size: sum.size,
            blake3: sum.blake3,
        }
    }

    /// What the object has to be.
    #[must_use]
    pub fn sum(&self) -> Sum {
        Sum {
            size: self.size,
            blake3: self.blake3.clone(),
        }
    }
}

/// As much as every version has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyVersion {
    kubectl_migrate_snapshot: u32,
    #[serde(default)]
    written_by: String,
}

impl Manifest {
    /// As it is written.
    ///
    /// # Errors
    ///
    /// It cannot be made into JSON.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads the manifest at this address, strictly.
    ///
    /// # Errors
    ///
    /// It is none, or one of another version, or names an object that is not beside it.
    pub fn decode(address: &Address, text: &[u8]) -> Result<Self> {
        let none = || format!("{address} is no manifest of a snapshot");
        let any: AnyVersion = serde_json::from_slice(text).with_context(none)?;
        let format = any.kubectl_migrate_snapshot;
        if format != FORMAT {
            let by = match any.written_by.as_str() {
                "" => "the version that wrote it",
                by => by,
            };
            bail!("{address} has format {format}, and this version reads {FORMAT}: use {by}");
        }
        let mut reader = serde_json::Deserializer::from_slice(text);
        let manifest: Self = serde_path_to_error::deserialize(&mut reader).with_context(none)?;
        reader.end().with_context(none)?;
        ensure!(manifest.kind == Kind::Tenant, "{}", none());
        let object = manifest.data.object.as_str();
        ensure!(
            object == super::repository::DATA,
            "{address} names the object `{object}`, and a snapshot's data is in {}",
            super::repository::DATA
        );
        let data = manifest.head.kubectl_migrate_tenant_snapshot;
        ensure!(
            data == archive::FORMAT,
            "{address} is of data in format {data}, and this version reads {}: use {}",
            archive::FORMAT,
            manifest.written_by
        );
        Ok(manifest)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::adapters::datastore::Driver;

    /// A manifest of data with this sum.
    pub fn manifest(sum: Sum) -> Manifest {
        Manifest {
            kubectl_migrate_snapshot: FORMAT,
            kind: Kind::Tenant,
            written_by: "0.1.0".to_owned(),
            cluster: "a-cluster".to_owned(),
            head: Head {
                kubectl_migrate_tenant_snapshot: archive::FORMAT,
                written_by: "0.1.0".to_owned(),
                taken: "2026-11-28T04:15:00Z".to_owned(),
                tenant: "tenants/t1".to_owned(),
                kubernetes: "v1.36.0".to_owned(),
                data_store: "silver".to_owned(),
                driver: Driver::Etcd,
                server: "3.6.4".to_owned(),
                schema: "t1".to_owned(),
                layout: Value::Null,
            },
            end: End {
                records: 3,
                bytes: 300,
                revision: 17,
                digest: "00".to_owned(),
            },
            data: Data::of(sum),
        }
    }

    fn some() -> Manifest {
        manifest(Sum {
            size: 14,
            blake3: "ab".to_owned(),
        })
    }

    fn decode(text: &[u8]) -> Result<Manifest, String> {
        let address = "s3://backups/t1/20261128T041500Z/manifest.json"
            .parse()
            .expect("an address");
        Manifest::decode(&address, text).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_was_written_is_read() {
        let written = some().encode().expect("written");
        assert_eq!(decode(&written), Ok(some()));
    }

    #[test]
    fn what_is_not_ours_or_not_whole_is_refused_by_name() {
        let changed = |change: fn(&mut Value)| {
            let mut value = serde_json::to_value(some()).expect("JSON");
            change(&mut value);
            value.to_string()
        };
        for (text, said) in [
            (String::new(), "is no manifest"),
            ("{}".to_owned(), "is no manifest"),
            (
                changed(|value| value["kubectlMigrateSnapshot"] = json!(2)),
                "has format 2, and this version reads 1: use 0.1.0",
            ),
            (
                changed(|value| value["more"] = json!(1)),
                "unknown field `more`",
            ),
            (
                changed(|value| value["kind"] = json!("volume")),
                "unknown variant `volume`",
            ),
            (
                changed(|value| value["data"]["size"] = json!("14")),
                "data.size",
            ),
            (
                changed(|value| value["data"]["object"] = json!("../other")),
                "names the object `../other`",
            ),
            (changed(|value| value["head"] = Value::Null), "head"),
            (
                changed(|value| value["head"]["kubectlMigrateTenantSnapshot"] = json!(7)),
                "data in format 7",
            ),
            (
                some()
                    .encode()
                    .map(|text| String::from_utf8_lossy(&text).repeat(2))
                    .expect("JSON"),
                "is no manifest",
            ),
        ] {
            let told = decode(text.as_bytes()).expect_err("it is refused");
            assert!(
                told.starts_with("s3://backups/t1/20261128T041500Z/manifest.json"),
                "{told}"
            );
            assert!(told.contains(said), "{told}");
        }
        let whole = some().encode().expect("written");
        // The line's end behind the last brace says nothing.
        for cut in 0..whole.len() - 2 {
            assert!(decode(&whole[..cut]).is_err(), "cut off at {cut}");
        }
    }
}
