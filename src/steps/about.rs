use serde::{Deserialize, Serialize};

use super::{inventory::Inventory, kamaji::Tenant};

/// What a migration is about, as it was when it began; preflight leaves it in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum About {
    /// A workload's volumes, or a single one.
    Volumes(Inventory),
    /// A Kamaji tenant's control plane.
    Tenant(Tenant),
}

impl About {
    /// The inventory of volumes; none where the migration has no volumes.
    #[must_use]
    pub fn volumes(&self) -> Option<&Inventory> {
        match self {
            Self::Volumes(inventory) => Some(inventory),
            Self::Tenant(_) => None,
        }
    }

    /// The same, taken.
    #[must_use]
    pub fn into_volumes(self) -> Option<Inventory> {
        match self {
            Self::Volumes(inventory) => Some(inventory),
            Self::Tenant(_) => None,
        }
    }

    /// The tenant; none where the migration is of volumes.
    #[must_use]
    pub fn into_tenant(self) -> Option<Tenant> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            Self::Volumes(_) => None,
        }
    }
}
