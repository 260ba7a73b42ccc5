//! The labels and annotations by which our objects, and our changes to others', are found again.
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Who made the object; the value is [`PROGRAM`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Our name in [`MANAGED_BY`].
pub const PROGRAM: &str = "kubectl-migrate";
/// The migration's name.
pub const MIGRATION: &str = "kubectl-migrate/migration";
/// The namespace that holds the migration's journal: the target's objects live in another.
pub const HOME: &str = "kubectl-migrate/home";
/// The journal's own id: tells a migration from an earlier one of the same name.
pub const RUN: &str = "kubectl-migrate/run";
/// What an object is for: `mover-source`, `mover-target`, `volume`, `copy`, `journal`.
pub const ROLE: &str = "kubectl-migrate/role";
/// On a frozen workload: what it was before, so that it can be put back even if the journal is lost.
pub const ORIGINAL: &str = "kubectl-migrate/original";

/// Which migration something belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belongs {
    /// The migration's name.
    pub migration: String,
    /// The namespace of its journal.
    pub home: String,
    /// The journal's id.
    pub run: String,
}

impl Belongs {
    /// The labels of an object with this role.
    #[must_use]
    pub fn labels(&self, role: &str) -> BTreeMap<String, String> {
        [
            (MANAGED_BY, PROGRAM),
            (MIGRATION, &self.migration),
            (HOME, &self.home),
            (RUN, &self.run),
            (ROLE, role),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// Selects every object of this migration, of this and of earlier runs.
    #[must_use]
    pub fn selector(&self) -> String {
        format!(
            "{MANAGED_BY}={PROGRAM},{MIGRATION}={},{HOME}={}",
            self.migration, self.home
        )
    }

    /// Whether the object was made by this very run.
    #[must_use]
    pub fn owns(&self, object: &ObjectMeta) -> bool {
        let labels = object.labels.as_ref();
        labels.is_some_and(|labels| {
            labels.get(RUN) == Some(&self.run)
                && labels.get(MANAGED_BY).is_some_and(|by| by == PROGRAM)
        })
    }
}
