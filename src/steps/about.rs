use serde::{Deserialize, Serialize};

use super::{inventory::Inventory, kamaji::Tenant, snapshots::VolumesManifest};

/// What a migration is about, as it was when it began; preflight leaves it in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum About {
    /// A workload's volumes, or a single one.
    Volumes(Inventory),
    /// The volumes of a snapshot.
    Snapshot(Box<OfSnapshot>),
    /// A Kamaji tenant's control plane.
    Tenant(Tenant),
}

/// A snapshot that is restored. Its manifest is kept: what was made of it can be taken back when the snapshot is gone.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct OfSnapshot {
    /// The claims that its volumes become.
    pub inventory: Inventory,
    /// What is in it.
    pub manifest: VolumesManifest,
}

impl About {
    /// What a restore brings back, and into what.
    #[must_use]
    pub fn of_snapshot(inventory: Inventory, manifest: VolumesManifest) -> Self {
        Self::Snapshot(Box::new(OfSnapshot {
            inventory,
            manifest,
        }))
    }

    /// The inventory of volumes; none where the migration has no volumes.
    #[must_use]
    pub fn volumes(&self) -> Option<&Inventory> {
        match self {
            Self::Volumes(inventory) => Some(inventory),
            Self::Snapshot(snapshot) => Some(&snapshot.inventory),
            Self::Tenant(_) => None,
        }
    }

    /// The same, taken.
    #[must_use]
    pub fn into_volumes(self) -> Option<Inventory> {
        match self {
            Self::Volumes(inventory) => Some(inventory),
            Self::Snapshot(snapshot) => Some(snapshot.inventory),
            Self::Tenant(_) => None,
        }
    }

    /// The tenant; none where the migration is of volumes.
    #[must_use]
    pub fn into_tenant(self) -> Option<Tenant> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            Self::Volumes(_) | Self::Snapshot(_) => None,
        }
    }
}
