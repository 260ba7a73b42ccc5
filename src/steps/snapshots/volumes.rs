use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{FORMAT, Kind, first::First};
use crate::{
    adapters::s3::Address,
    plan::Workload,
    steps::{
        checks::Measured,
        inventory::{Mode, references},
        target_objects,
    },
    transfer::archive::Archive,
};

/// The version that is written of a manifest of volumes; [`FORMAT`] is read, too.
pub const VOLUMES_FORMAT: u32 = 2;

/// What makes a snapshot of volumes whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumesManifest {
    /// [`VOLUMES_FORMAT`], or an earlier one that was read.
    pub kubectl_migrate_snapshot: u32,
    /// [`Kind::Volumes`].
    pub kind: Kind,
    /// The version of the plugin that wrote it.
    pub written_by: String,
    /// What tells the cluster from every other: the uid of its namespace `kube-system`.
    pub cluster: String,
    /// What it is of: `statefulset shop/db`.
    pub source: String,
    /// Whether nobody could write while it was taken.
    pub frozen: bool,
    /// Its volumes.
    pub volumes: Vec<StoredVolume>,
    /// The workload as it was, without what the server added; null for a single volume.
    pub workload: Value,
    /// What its pods refer to, by name: the contents are not here.
    pub references: Vec<Referenced>,
    /// What the user's checks gave while it ran, just before.
    pub checks: Vec<Measured>,
}

/// An object that a workload's pods refer to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Referenced {
    /// Plural resource of the core group: `configmaps`, `secrets`, `serviceaccounts`, `services`.
    pub resource: String,
    /// Its name.
    pub name: String,
    /// Whether the pods start without it.
    pub optional: bool,
}

/// What a workload's pods refer to.
#[must_use]
pub fn referenced(workload: &Value) -> Vec<Referenced> {
    let found = references(workload).into_iter();
    found
        .map(|reference| Referenced {
            resource: reference.resource.to_owned(),
            name: reference.name,
            optional: reference.optional,
        })
        .collect()
}

/// A workload as a manifest keeps it.
#[must_use]
pub fn kept(workload: &Value) -> Value {
    target_objects::kept(workload)
}

/// As much as every version has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyVersion {
    kubectl_migrate_snapshot: u32,
    #[serde(default)]
    written_by: String,
}

/// One volume of a snapshot, and the claim that it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoredVolume {
    /// The claim's name.
    pub claim: String,
    /// The archive, below the snapshot's name.
    pub data: String,
    /// Its index, below the snapshot's name.
    pub index: String,
    /// What the claim asked for, as a Kubernetes quantity.
    pub size: String,
    /// The volume's capacity in bytes.
    pub capacity: u64,
    /// The claim's storage class.
    pub class: Option<String>,
    /// Its access modes.
    pub access: Vec<String>,
    /// Whether it is a file system or a device.
    #[serde(default, skip_serializing_if = "is_file_system")]
    pub mode: Mode,
    /// What is in it.
    pub archive: Archive,
}

/// The mode of most, of which nothing is said.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_file_system(mode: &Mode) -> bool {
    *mode == Mode::Filesystem
}

impl VolumesManifest {
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
    pub(super) fn decode(address: &Address, text: &[u8]) -> Result<Self> {
        let none = || format!("{address} is no manifest of a snapshot");
        let any: AnyVersion = serde_json::from_slice(text).with_context(none)?;
        let manifest: Self = match any.kubectl_migrate_snapshot {
            VOLUMES_FORMAT => strictly(text).with_context(none)?,
            FORMAT => strictly::<First>(text).with_context(none)?.into(),
            format => {
                let by = match any.written_by.as_str() {
                    "" => "the version that wrote it",
                    by => by,
                };
                bail!(
                    "{address} has format {format}, and this version reads {FORMAT} and {VOLUMES_FORMAT}: use {by}"
                );
            }
        };
        for (object, _) in manifest.objects() {
            ensure!(
                is_object(object),
                "{address} names the object `{object}`, and a snapshot's volumes are in POD/VOLUME.tar.zst, with an index beside them"
            );
        }
        Ok(manifest)
    }

    /// The workload that it is of; none where it is of a single volume.
    #[must_use]
    pub fn of_workload(&self) -> Option<Workload> {
        let (kind, rest) = self.source.split_once(' ')?;
        let (_, name) = rest.split_once('/')?;
        let workload = format!("{kind}/{name}").parse().ok();
        workload.filter(|_| self.workload.is_object())
    }

    /// The namespace that it was taken in.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        let (_, rest) = self.source.split_once(' ')?;
        rest.split_once('/').map(|(namespace, _)| namespace)
    }

    /// Its objects beside the manifest, each with its size.
    pub fn objects(&self) -> impl Iterator<Item = (&str, u64)> {
        self.volumes.iter().flat_map(|volume| {
            [
                (volume.data.as_str(), volume.archive.size),
                (volume.index.as_str(), volume.archive.index_size),
            ]
        })
    }
}

fn strictly<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let found = serde_path_to_error::deserialize(&mut reader)?;
    reader.end()?;
    Ok(found)
}

/// Whether an object below a snapshot's name can be one of a volume: nothing in it leads anywhere else.
pub(super) fn is_object(name: &str) -> bool {
    let plain = |part: &str| {
        let letter = |letter: char| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '.')
        };
        !part.is_empty() && !part.contains("..") && part.chars().all(letter)
    };
    let ours = name.ends_with(".tar.zst") || name.ends_with(".index.zst");
    ours && name
        .split_once('/')
        .is_some_and(|(pod, volume)| plain(pod) && plain(volume))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest() -> VolumesManifest {
        VolumesManifest {
            kubectl_migrate_snapshot: VOLUMES_FORMAT,
            kind: Kind::Volumes,
            written_by: "0.1.0".to_owned(),
            cluster: "a-cluster".to_owned(),
            source: "statefulset shop/db".to_owned(),
            frozen: true,
            volumes: Vec::new(),
            workload: json!({"spec": {"template": {"spec": {"serviceAccountName": "db"}}}}),
            references: Vec::new(),
            checks: Vec::new(),
        }
    }

    fn decode(value: &Value) -> Result<VolumesManifest, String> {
        let address = "s3://backups/db/20261128T041500Z/manifest.json";
        let address = address.parse().expect("an address");
        VolumesManifest::decode(&address, value.to_string().as_bytes())
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_was_written_is_read_and_the_first_format_too() {
        let written = serde_json::to_value(manifest()).expect("JSON");
        assert_eq!(decode(&written), Ok(manifest()));
        let mut first = written.clone();
        first["kubectlMigrateSnapshot"] = json!(1);
        let refused = decode(&first).expect_err("the first had no references");
        assert!(refused.contains("unknown field"), "{refused}");
        for field in ["references", "checks"] {
            first.as_object_mut().expect("an object").remove(field);
        }
        let read = decode(&first).expect("the first format");
        assert_eq!(read.references[0].name, "db");
        assert_eq!(read.namespace(), Some("shop"));
        let workload = Workload::StatefulSet("db".to_owned());
        assert_eq!(read.of_workload(), Some(workload));
        let mut lacking = written.clone();
        lacking.as_object_mut().expect("an object").remove("checks");
        let refused = decode(&lacking).expect_err("a field is missing");
        assert!(refused.contains("checks"), "{refused}");
        let mut newer = written;
        newer["kubectlMigrateSnapshot"] = json!(3);
        assert_eq!(
            decode(&newer).expect_err("another version"),
            "s3://backups/db/20261128T041500Z/manifest.json has format 3, and this version reads 1 and 2: use 0.1.0"
        );
    }

    #[test]
    fn only_what_is_beside_the_manifest_can_be_an_object_of_it() {
        for name in ["db-0/data.tar.zst", "pvc/a.b.index.zst"] {
            assert!(is_object(name), "{name}");
        }
        for name in [
            "data.tar.zst",
            "db-0/data.tar",
            "../db-0/data.tar.zst",
            "../data.tar.zst",
            "db-0/../data.tar.zst",
            "a/b/data.tar.zst",
            "/data.tar.zst",
            "db-0/Data.tar.zst",
        ] {
            assert!(!is_object(name), "{name}");
        }
    }
}
