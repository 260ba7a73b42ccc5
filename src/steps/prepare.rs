//! What the target needs before the first byte: its claims, and the objects that its pods refer to.
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use futures::future::try_join_all;
use k8s_openapi::api::{
    core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde::{Deserialize, Serialize};

use super::{
    Place, Users,
    inventory::{Inventory, Reference, references},
    target_capacity, target_objects,
};
use crate::{
    adapters::kube::{
        Created, KubeError, Selector, Wait, create_owned, delete_and_wait, get_opt, list_all,
    },
    engine::{Check, Cx, Key, Outcome, Step, UndoPlan, Undone},
    marks::Belongs,
    plan::Objects,
};

/// Makes the target's claims, and copies what its pods refer to.
#[derive(Clone, Debug)]
pub struct Prepare {
    /// The migration.
    pub belongs: Belongs,
    /// Where the source is.
    pub source: Place,
    /// Where the target is.
    pub target: Place,
    /// What is moved.
    pub inventory: Inventory,
    /// Whether what pods refer to is copied or must be there.
    pub objects: Objects,
    /// What the source is.
    pub from: From,
}

/// What the source of what is prepared is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Something that runs there.
    Running,
    /// A snapshot: what its pods need and nobody has keeps them from starting.
    Snapshot,
    /// The same, into a namespace that an earlier step makes: nothing is there before.
    SnapshotIntoScratch,
}

/// What preparing leaves in the journal.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Prepared {
    /// Claims that were made.
    pub made: Vec<String>,
    /// Claims that were there already; rollback keeps them.
    pub found: Vec<String>,
    /// Objects that were copied, as `secrets/password`.
    pub copied: Vec<String>,
}

/// What preparing leaves in the journal.
pub const PREPARED: Key<Prepared> = Key::new("prepare");

/// A claim is gone when no pod uses it any more, which was waited for before.
const GONE: Duration = Duration::from_mins(2);

/// The annotation of the class that claims get which name none.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

impl Prepare {
    fn claims(&self) -> Api<PersistentVolumeClaim> {
        self.target.api()
    }

    fn wanted_claims(&self) -> Result<Vec<PersistentVolumeClaim>> {
        let labels = self.belongs.marks("volume");
        self.inventory
            .volumes
            .iter()
            .map(|volume| {
                let claim = target_objects::claim(volume, &self.target.namespace, &labels);
                Ok(serde_json::from_value(claim)?)
            })
            .collect()
    }

    /// What the pods refer to and the target lacks, with the object as the source has it.
    async fn missing(&self) -> Result<Vec<(Reference, Option<DynamicObject>)>> {
        if self.inventory.workload.is_null() {
            return Ok(Vec::new());
        }
        let looks = references(&self.inventory.workload)
            .into_iter()
            .map(|reference| async move {
                let there =
                    get_opt(&dynamic(&self.target, reference.resource), &reference.name).await?;
                if there.is_some() {
                    return Ok::<_, KubeError>(None);
                }
                let here =
                    get_opt(&dynamic(&self.source, reference.resource), &reference.name).await?;
                Ok(Some((reference, here)))
            });
        Ok(try_join_all(looks).await?.into_iter().flatten().collect())
    }

    fn copied(&self, object: &DynamicObject) -> Result<DynamicObject> {
        let mut value = serde_json::to_value(object)?;
        if self.from != From::Running {
            target_objects::keep_to_itself(&mut value, self.from == From::SnapshotIntoScratch);
        }
        let value =
            target_objects::copied(&value, &self.target.namespace, self.belongs.marks("copy"));
        Ok(serde_json::from_value(value)?)
    }

    async fn check_objects(&self) -> Result<Vec<Check>> {
        let mut checks = Vec::new();
        for (reference, here) in self.missing().await? {
            let object = self
                .target
                .object(singular(reference.resource), &reference.name);
            let check = match (&here, self.objects, reference.optional) {
                (Some(_), Objects::Copy, _) => Check::pass(
                    "referenced objects",
                    object,
                    "is missing there, and will be copied",
                ),
                (_, _, true) => continue,
                (Some(_), Objects::Require, false) => Check::block(
                    "referenced objects",
                    object,
                    "the pods need it, and it is missing there",
                    "make it there, or set spec.objects: copy",
                ),
                (None, _, false)
                    if self.from != From::Running && reference.resource != "services" =>
                {
                    Check::block(
                        "referenced objects",
                        object,
                        format!(
                            "the pods do not start without it, and {} does not have it either",
                            self.source.itself()
                        ),
                        match self.from {
                            From::SnapshotIntoScratch => {
                                "make it in the namespace that the snapshot was taken in"
                            }
                            _ => "make it there, or leave the workload out (--volumes-only)",
                        },
                    )
                }
                (None, _, false) => Check::warn(
                    "referenced objects",
                    object,
                    "the pods refer to it, and it is missing on both sides",
                    "make it there if the pods need it to start",
                ),
            };
            checks.push(check);
        }
        if checks.is_empty() && !self.inventory.workload.is_null() {
            let count = references(&self.inventory.workload).len();
            let namespace = self.target.itself();
            checks.push(Check::pass(
                "referenced objects",
                namespace,
                format!("all {count} are there"),
            ));
        }
        Ok(checks)
    }

    async fn check_classes(&self) -> Result<Vec<Check>> {
        let classes = list_all(
            &self.target.cluster.cluster_scoped::<StorageClass>(),
            &Selector::all(),
        )
        .await?;
        let named = |name: &str| {
            classes
                .iter()
                .any(|class| class.metadata.name.as_deref() == Some(name))
        };
        let default = classes.iter().any(|class| {
            let annotations = class.metadata.annotations.as_ref();
            annotations
                .is_some_and(|all| all.get(DEFAULT_CLASS).is_some_and(|value| value == "true"))
        });
        let known: Vec<_> = classes
            .iter()
            .filter_map(|class| class.metadata.name.as_deref())
            .collect();
        let cluster = self.target.cluster.context();
        let mut wanted: Vec<_> = self
            .inventory
            .volumes
            .iter()
            .map(|volume| volume.class.clone())
            .collect();
        wanted.sort();
        wanted.dedup();
        Ok(wanted
            .into_iter()
            .map(|class| match class {
                Some(class) if class.is_empty() || named(&class) => {
                    Check::pass("storage class", format!("storageclass {class}"), "is there")
                }
                Some(class) => Check::block(
                    "storage class",
                    format!("storageclass {class}"),
                    format!("cluster {cluster} does not have it"),
                    format!("name one that it has: {}", known.join(", ")),
                ),
                None if default => Check::pass("storage class", "the default", "is there"),
                None => Check::block(
                    "storage class",
                    "the default",
                    format!("cluster {cluster} has no default storage class"),
                    format!("set spec.target.storageClass: {}", known.join(", ")),
                ),
            })
            .collect())
    }

    /// A volume that lies there for anybody's claim would be taken by one that goes again soon, and go with it.
    async fn check_lying_volumes(&self) -> Result<Vec<Check>> {
        let volumes = self.target.cluster.cluster_scoped::<PersistentVolume>();
        let mut checks = Vec::new();
        for volume in list_all(&volumes, &Selector::all()).await? {
            let spec = volume.spec.unwrap_or_default();
            let class = spec.storage_class_name.unwrap_or_default();
            let mut wanted = self.inventory.volumes.iter();
            let fits = |of: &Option<String>| of.as_ref().is_none_or(|of| *of == class);
            if spec.claim_ref.is_none() && wanted.any(|volume| fits(&volume.class)) {
                checks.push(Check::block(
                    "storage class",
                    format!(
                        "persistentvolume {}",
                        volume.metadata.name.unwrap_or_default()
                    ),
                    "is free, so that a claim of the check could get it, and take it along when it goes",
                    "name another class (--storage-class)",
                ));
            }
        }
        Ok(checks)
    }

    async fn check_claims(&self) -> Result<Vec<Check>> {
        let mut checks = Vec::new();
        let users = Users::now(&self.target, &self.belongs).await?;
        for volume in &self.inventory.volumes {
            checks.extend(users.check(&volume.target));
            let source = self.source.object("persistentvolumeclaim", &volume.source);
            if volume.phase != "Bound" {
                checks.push(Check::block(
                    "source volume",
                    source.clone(),
                    format!("is {}, so that there is nothing to read", volume.phase),
                    format!(
                        "see `kubectl describe pvc -n {} {}`",
                        self.source.namespace, volume.source
                    ),
                ));
            }
            if target_capacity(volume) < volume.capacity {
                checks.push(Check::warn(
                    "target size",
                    self.target.object("persistentvolumeclaim", &volume.target),
                    format!(
                        "{} is less than the source's {} bytes",
                        volume.size, volume.capacity
                    ),
                    "it is refused before the first byte if the data does not fit",
                ));
            }
            let object = self.target.object("persistentvolumeclaim", &volume.target);
            checks.push(match get_opt(&self.claims(), &volume.target).await? {
                None => Check::pass("target volume", object, "does not exist yet"),
                Some(claim) if self.belongs.made(&claim.metadata) => {
                    Check::pass("target volume", object, "was made by this migration")
                }
                Some(claim) => {
                    let given = claim.spec.and_then(|spec| spec.volume_mode);
                    if given.as_deref().unwrap_or("Filesystem") == volume.mode.name() {
                        Check::warn(
                            "target volume",
                            object,
                            "exists already",
                            "it must be empty; that is looked at before the first byte",
                        )
                    } else {
                        Check::block(
                            "target volume",
                            object,
                            format!(
                                "exists, and its mode is not the source's {}",
                                volume.mode.name()
                            ),
                            "let the plan name another target",
                        )
                    }
                }
            });
        }
        for claim in &self.inventory.left_out {
            checks.push(Check::warn(
                "claims of no pod",
                self.source.object("persistentvolumeclaim", claim),
                "belongs to a pod that the StatefulSet does not have at its present size: it is not copied",
                "scale up first if its data is needed",
            ));
        }
        Ok(checks)
    }
}

fn dynamic(place: &Place, resource: &str) -> Api<DynamicObject> {
    let (kind, plural) = match resource {
        "configmaps" => ("ConfigMap", "configmaps"),
        "secrets" => ("Secret", "secrets"),
        "serviceaccounts" => ("ServiceAccount", "serviceaccounts"),
        _ => ("Service", "services"),
    };
    let resource = ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    Api::namespaced_with(place.cluster.client(), &place.namespace, &resource)
}

fn singular(resource: &str) -> &str {
    resource.strip_suffix('s').unwrap_or(resource)
}

#[async_trait]
impl Step for Prepare {
    fn id(&self) -> &'static str {
        "prepare"
    }

    fn title(&self) -> String {
        let count = self.inventory.volumes.len();
        let objects = match self.objects {
            Objects::Copy => ", copy what the pods refer to",
            Objects::Require => "",
        };
        format!(
            "make {count} {} in {}{objects}",
            if count == 1 { "claim" } else { "claims" },
            self.target
        )
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("delete what it made".to_owned())
    }

    async fn preflight(&self, _: &Cx) -> Result<Vec<Check>> {
        let namespaces = self.target.cluster.cluster_scoped::<Namespace>();
        let namespace = &self.target.namespace;
        let made_later = self.from == From::SnapshotIntoScratch;
        if !made_later && get_opt(&namespaces, namespace).await?.is_none() {
            return Ok(vec![Check::block(
                "target namespace",
                self.target.itself(),
                "does not exist",
                format!(
                    "kubectl create namespace {namespace} --context {}",
                    self.target.cluster.context()
                ),
            )]);
        }
        let mut checks = self.check_claims().await?;
        checks.extend(self.check_classes().await?);
        if made_later {
            checks.extend(self.check_lying_volumes().await?);
        }
        checks.extend(self.check_objects().await?);
        Ok(checks)
    }

    async fn rehearse(&self, _: &Cx) -> Result<Vec<String>> {
        let mut said = Vec::new();
        if self.from == From::SnapshotIntoScratch {
            // The server refuses whatever is made in a namespace that is not there.
            return Ok(said);
        }
        let dry = Place {
            cluster: self.target.cluster.dry_run(),
            ..self.target.clone()
        };
        for claim in self.wanted_claims()? {
            let name = claim.metadata.name.clone().unwrap_or_default();
            if get_opt(&self.claims(), &name).await?.is_none() {
                let created = dry
                    .api::<PersistentVolumeClaim>()
                    .create(&PostParams::default(), &claim)
                    .await;
                created.map_err(KubeError::from)?;
                said.push(format!(
                    "{} created (server dry run)",
                    dry.object("persistentvolumeclaim", &name)
                ));
            }
        }
        if self.objects == Objects::Copy {
            for (reference, here) in self.missing().await? {
                let Some(here) = here else { continue };
                let object = self.copied(&here)?;
                let api = dynamic(&dry, reference.resource);
                api.create(&PostParams::default(), &object)
                    .await
                    .map_err(KubeError::from)?;
                let name = dry.object(singular(reference.resource), &reference.name);
                said.push(format!("{name} created (server dry run)"));
            }
        }
        Ok(said)
    }

    async fn apply(&self, _: &Cx) -> Result<Outcome> {
        let mut prepared = Prepared::default();
        for claim in self.wanted_claims()? {
            let name = claim.metadata.name.clone().unwrap_or_default();
            match create_owned(&self.claims(), &claim).await {
                Ok(Created::New(_) | Created::Ours(_)) => prepared.made.push(name),
                // Whether it is empty is looked at by its mover, before the first byte.
                Err(KubeError::AlreadyExists { .. }) => prepared.found.push(name),
                Err(error) => return Err(error.into()),
            }
        }
        if self.objects == Objects::Copy {
            for reference in references(&self.inventory.workload) {
                let api = dynamic(&self.target, reference.resource);
                let name = format!("{}/{}", reference.resource, reference.name);
                if let Some(there) = get_opt(&api, &reference.name).await? {
                    // By an earlier try of this step, whose end was not written down.
                    if self.belongs.made(&there.metadata) {
                        prepared.copied.push(name);
                    }
                    continue;
                }
                let here =
                    get_opt(&dynamic(&self.source, reference.resource), &reference.name).await?;
                let Some(here) = here else { continue };
                create_owned(&api, &self.copied(&here)?)
                    .await
                    .with_context(|| format!("cannot copy {name}"))?;
                prepared.copied.push(name);
            }
        }
        Ok(Outcome::Done(serde_json::to_value(prepared)?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        let users = Users::now(&self.target, &self.belongs).await?;
        // By the mark on the object, not by the journal: the step may have been cut off half way.
        for volume in &self.inventory.volumes {
            let object = self.target.object("persistentvolumeclaim", &volume.target);
            let Some(claim) = get_opt(&self.claims(), &volume.target).await? else {
                continue;
            };
            if !self.belongs.made(&claim.metadata) {
                continue;
            }
            // A claim that is being deleted cannot be taken back, though a pod still writes to it.
            users.refuse(std::iter::once(volume.target.as_str()))?;
            let what = format!("{object} to be gone");
            let uid = claim.metadata.uid.as_deref();
            delete_and_wait(&self.claims(), &volume.target, uid, &Wait::new(&what, GONE)).await?;
        }
        if self.objects == Objects::Copy {
            for reference in references(&self.inventory.workload) {
                let api = dynamic(&self.target, reference.resource);
                let Some(there) = get_opt(&api, &reference.name).await? else {
                    continue;
                };
                if self.belongs.made(&there.metadata) {
                    let what = format!("{}/{} to be gone", reference.resource, reference.name);
                    let uid = there.metadata.uid.as_deref();
                    delete_and_wait(&api, &reference.name, uid, &Wait::new(&what, GONE)).await?;
                }
            }
        }
        Ok(Undone::Restored)
    }
}
