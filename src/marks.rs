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
/// The [`ROLE`] of a claim that was there before us and that we write to.
pub const ADOPTED: &str = "adopted-volume";
/// On a claim that we write to: how far that is, [`BEGUN`], [`WRITTEN`] or [`RELEASED`]. A block device has no room
/// for a mark of ours, so that the claim has to tell whose data it holds.
pub const DATA: &str = "kubectl-migrate/data";
/// The [`DATA`] of a claim that was empty when we took it.
pub const BEGUN: &str = "begun";
/// The [`DATA`] of a device that was empty just before a round to it began: what it holds is ours.
pub const WRITTEN: &str = "written";
/// The [`DATA`] of a claim that was given to its pods: what it holds may be theirs.
pub const RELEASED: &str = "released";
/// On a frozen workload: what it was before, so that it can be put back even if the journal is lost.
pub const ORIGINAL: &str = "kubectl-migrate/original";

/// On a StatefulSet that was made again in place, with other claim templates: the journal's id.
pub const IN_PLACE: &str = "kubectl-migrate/in-place";

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

/// The name of a migration's journal and of its lock.
#[must_use]
pub fn object_name(migration: &str) -> String {
    format!("migrate-{migration}")
}

impl Belongs {
    /// The labels of an object that is ours alone, with this role.
    #[must_use]
    pub fn labels(&self, role: &str) -> BTreeMap<String, String> {
        let mut labels = self.marks(role);
        labels.insert(MANAGED_BY.to_owned(), PROGRAM.to_owned());
        labels
    }

    /// The labels of an object that is the user's after the migration: who manages it is not ours to say.
    #[must_use]
    pub fn marks(&self, role: &str) -> BTreeMap<String, String> {
        [
            (MIGRATION, self.migration.as_str()),
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
        format!("{MIGRATION}={},{HOME}={}", self.migration, self.home)
    }

    /// Whether the object carries the marks of this very run.
    #[must_use]
    pub fn owns(&self, object: &ObjectMeta) -> bool {
        let labels = object.labels.as_ref();
        labels.is_some_and(|labels| labels.get(RUN) == Some(&self.run))
    }

    /// How far the writing of this very run to a claim is; none where it was not begun.
    #[must_use]
    pub fn data<'claim>(&self, claim: &'claim ObjectMeta) -> Option<&'claim str> {
        let data = claim.labels.as_ref()?.get(DATA)?;
        self.owns(claim).then_some(data.as_str())
    }

    /// Whether the object is a mover of this migration, of this run or of an earlier one.
    #[must_use]
    pub fn is_mover(&self, object: &ObjectMeta) -> bool {
        let label = |key: &str| object.labels.as_ref().and_then(|labels| labels.get(key));
        label(MIGRATION) == Some(&self.migration)
            && label(HOME) == Some(&self.home)
            && label(ROLE).is_some_and(|role| role.starts_with("mover-"))
    }

    /// Whether the object was made by this very run, and not only taken for its use.
    #[must_use]
    pub fn made(&self, object: &ObjectMeta) -> bool {
        let role = object.labels.as_ref().and_then(|labels| labels.get(ROLE));
        self.owns(object) && role.is_none_or(|role| role != ADOPTED)
    }
}
