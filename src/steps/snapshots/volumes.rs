use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Kind;
use crate::{adapters::s3::Address, steps::inventory::Mode, transfer::archive::Archive};

/// What makes a snapshot of volumes whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumesManifest {
    /// [`FORMAT`](super::FORMAT).
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
    /// The workload as the server had it; null for a single volume.
    pub workload: Value,
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

    /// Reads the manifest at this address, strictly; its format is known to be ours.
    pub(super) fn decode(address: &Address, text: &[u8]) -> Result<Self> {
        let none = || format!("{address} is no manifest of a snapshot");
        let mut reader = serde_json::Deserializer::from_slice(text);
        let manifest: Self = serde_path_to_error::deserialize(&mut reader).with_context(none)?;
        reader.end().with_context(none)?;
        for (object, _) in manifest.objects() {
            ensure!(
                is_object(object),
                "{address} names the object `{object}`, and a snapshot's volumes are in POD/VOLUME.tar.zst, with an index beside them"
            );
        }
        Ok(manifest)
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
    use super::*;

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
