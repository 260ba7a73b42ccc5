//! The first format of a manifest of volumes: it held the workload, and neither what its pods refer to nor checks.
use serde::Deserialize;
use serde_json::Value;

use super::{Kind, StoredVolume, VolumesManifest, volumes::referenced};

/// As it was written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct First {
    kubectl_migrate_snapshot: u32,
    kind: Kind,
    written_by: String,
    cluster: String,
    source: String,
    frozen: bool,
    volumes: Vec<StoredVolume>,
    workload: Value,
}

impl From<First> for VolumesManifest {
    fn from(first: First) -> Self {
        Self {
            kubectl_migrate_snapshot: first.kubectl_migrate_snapshot,
            kind: first.kind,
            written_by: first.written_by,
            cluster: first.cluster,
            source: first.source,
            frozen: first.frozen,
            volumes: first.volumes,
            // The template tells them as well.
            references: referenced(&first.workload),
            checks: Vec::new(),
            workload: first.workload,
        }
    }
}
