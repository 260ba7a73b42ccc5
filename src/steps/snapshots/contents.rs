use anyhow::Result;
use serde::Deserialize;

use super::{Kind, Manifest, VolumesManifest, repository::DATA};
use crate::adapters::s3::Address;

/// The manifest of a snapshot, whatever that is of.
#[derive(Clone, Debug, PartialEq)]
pub enum Contents {
    /// What a Kamaji tenant keeps in its DataStore.
    Tenant(Box<Manifest>),
    /// Volumes.
    Volumes(Box<VolumesManifest>),
}

/// As much as tells which of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Any {
    kind: Kind,
}

impl Contents {
    /// Reads the manifest at this address, strictly.
    pub(super) fn decode(address: &Address, text: &[u8]) -> Result<Self> {
        match serde_json::from_slice(text) {
            Ok(Any {
                kind: Kind::Volumes,
            }) => Ok(Self::Volumes(Box::new(VolumesManifest::decode(
                address, text,
            )?))),
            // It says what is wrong with those that are of no kind, too.
            _ => Ok(Self::Tenant(Box::new(Manifest::decode(address, text)?))),
        }
    }

    /// Its objects beside the manifest, each with its size.
    pub(super) fn objects(&self) -> Vec<(String, u64)> {
        match self {
            Self::Tenant(manifest) => vec![(DATA.to_owned(), manifest.data.size)],
            Self::Volumes(manifest) => manifest
                .objects()
                .map(|(object, size)| (object.to_owned(), size))
                .collect(),
        }
    }

    /// The version of the plugin that wrote it.
    #[must_use]
    pub fn written_by(&self) -> &str {
        match self {
            Self::Tenant(manifest) => &manifest.written_by,
            Self::Volumes(manifest) => &manifest.written_by,
        }
    }

    /// What tells the source's cluster from every other.
    #[must_use]
    pub fn cluster(&self) -> &str {
        match self {
            Self::Tenant(manifest) => &manifest.cluster,
            Self::Volumes(manifest) => &manifest.cluster,
        }
    }
}
