//! The volumes of a snapshot and the workload that uses them, out of a bucket: the verb `restore`.
use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{MoverLook, Parts, Playbook, Sides, movers};
use crate::{
    engine::{Failure, Kind, Step},
    plan::{BucketPlace, Objects, Plan, Workload},
    steps::{
        About, Place,
        archives::Remote,
        inventory::{Inventory, Volume, replicas},
        prepare::{From, Prepare},
        restores::{Compare, Fill, Hand, Restoring, StartWorkload},
        rights,
        snapshots::{SnapshotId, VolumesManifest},
    },
    transfer::Side,
};

/// A snapshot, and what it becomes.
pub(super) struct Opened {
    /// The bucket, as the plan names it.
    pub bucket: Box<BucketPlace>,
    /// Where it is for people.
    pub address: String,
    /// What the steps of a restore work with.
    pub restoring: Restoring,
    /// What it becomes.
    pub inventory: Inventory,
    /// The workload that comes along; none where volumes come alone.
    pub workload: Option<Workload>,
    /// The namespace that it was taken in, where that is in one of the clusters at hand.
    pub origin: Option<Place>,
}

/// Opens the snapshot of a plan.
pub(super) async fn open(
    plan: &Plan,
    sides: &Sides,
    recorded: Option<Inventory>,
    kept: Option<VolumesManifest>,
) -> Result<Opened> {
    let bucket = plan.spec.source.bucket.as_ref();
    let bucket = bucket.context("the plan names no snapshot")?;
    let repository = Remote::new(bucket, &sides.source)?;
    let id: SnapshotId = plan
        .spec
        .source
        .snapshot
        .as_deref()
        .unwrap_or_default()
        .parse()
        .map_err(|why: String| Failure::new(Kind::Blocked, why))?;
    let manifest = match kept {
        // The snapshot, or the credentials for it, may be gone: what is here can be taken back all the same.
        Some(manifest) => manifest,
        None => repository.open().await?.volumes(&id).await?,
    };
    let inventory = match recorded {
        Some(inventory) => inventory,
        None => inventory(plan, &manifest)?,
    };
    let volumes = inventory.volumes.iter().map(|volume| &volume.source);
    if !volumes.eq(manifest.volumes.iter().map(|volume| &volume.claim)) {
        let why = format!(
            "{} has other volumes than when this restore began",
            repository.address_of(&id)
        );
        return Err(Failure::new(Kind::Blocked, why).into());
    }
    let mut movers = movers::of_plan(plan, sides, &inventory).await?;
    // Where root is forbidden they run as the workload's pods did.
    movers.workload = manifest.workload.clone();
    Ok(Opened {
        bucket: bucket.clone(),
        address: repository.address_of(&id).to_string(),
        workload: manifest
            .of_workload()
            .filter(|_| inventory.workload.is_object()),
        origin: origin(&manifest, sides).await?,
        restoring: Restoring {
            movers,
            repository,
            id,
            manifest,
        },
        inventory,
    })
}

/// The namespace that a snapshot was taken in, if it was in one of these clusters.
async fn origin(manifest: &VolumesManifest, sides: &Sides) -> Result<Option<Place>> {
    let Some(namespace) = manifest.namespace() else {
        return Ok(None);
    };
    for place in [&sides.source, &sides.target] {
        if place.cluster.identity().await? == manifest.cluster {
            return Ok(Some(Place {
                namespace: namespace.to_owned(),
                ..place.clone()
            }));
        }
    }
    Ok(None)
}

pub(super) async fn build(
    plan: &Plan,
    sides: &Sides,
    recorded: Option<Inventory>,
    kept: Option<VolumesManifest>,
) -> Result<Playbook> {
    let Opened {
        bucket,
        address,
        restoring,
        inventory,
        workload,
        origin,
    } = open(plan, sides, recorded, kept).await?;
    let manifest = restoring.manifest.clone();
    let movers = restoring.movers.clone();
    let from = origin.unwrap_or_else(|| sides.target.clone());
    let objects = match &workload {
        Some(_) => Objects::Copy,
        None => Objects::Require,
    };
    let mut steps: Vec<Arc<dyn Step>> = vec![
        Arc::new(Prepare {
            belongs: sides.belongs.clone(),
            source: from.clone(),
            target: sides.target.clone(),
            inventory: inventory.clone(),
            objects,
            from: From::Snapshot,
        }),
        Arc::new(Fill(restoring.clone())),
        Arc::new(Compare(restoring.clone())),
        Arc::new(Hand(restoring)),
    ];
    let to = &sides.target.namespace;
    let mut starts = Vec::new();
    if let Some(workload) = &workload {
        steps.push(Arc::new(StartWorkload {
            plan: plan.clone(),
            belongs: sides.belongs.clone(),
            target: sides.target.clone(),
            workload: workload.clone(),
            inventory: inventory.clone(),
            within: StartWorkload::within(plan),
        }));
        starts = rights::for_workload(&inventory, to, workload);
    }
    let (here, there) = rights::for_objects(&inventory, objects, &from.namespace, to);
    let count = inventory.volumes.len();
    let volumes = if count == 1 { "volume" } else { "volumes" };
    let with = workload.map_or_else(String::new, |workload| format!("{workload}, "));
    let parts = Parts {
        steps,
        source_rules: [
            rights::for_identity(),
            rights::for_journal(&sides.belongs),
            rights::for_keys(&movers),
            rights::for_secret(&sides.source.namespace, bucket.secret.as_ref()),
            here,
        ]
        .concat(),
        target_rules: [
            rights::for_identity(),
            rights::for_movers(&movers, Side::Target),
            rights::for_target_checks(),
            rights::for_namespace(to),
            rights::for_target_claims(&inventory, to),
            there,
            starts,
        ]
        .concat(),
        looks: vec![Arc::new(MoverLook(movers))],
        summary: format!("{address} → {}, {with}{count} {volumes}", sides.target),
        allowed_freeze: None,
        ending: None,
        about: About::of_snapshot(inventory, manifest),
    };
    Ok(parts.with_preflight(sides))
}

/// The claims that a snapshot's volumes become: as they were, but for what the plan says.
fn inventory(plan: &Plan, manifest: &VolumesManifest) -> Result<Inventory> {
    let target = &plan.spec.target;
    if let Some(claim) = &target.pvc
        && manifest.volumes.len() != 1
    {
        let count = manifest.volumes.len();
        let why =
            format!("the snapshot has {count} volumes, which do not go into one claim, {claim}");
        return Err(Failure::new(Kind::Blocked, why).into());
    }
    let mut names = BTreeMap::new();
    let mut volumes = Vec::new();
    for volume in &manifest.volumes {
        let name = target.pvc.as_ref().unwrap_or(&volume.claim).clone();
        if let Some(other) = names.insert(name.clone(), &volume.data) {
            let why = format!(
                "claim {name} is in the snapshot twice, as {other} and {}",
                volume.data
            );
            return Err(Failure::new(Kind::Difference, why).into());
        }
        let size = target.size.as_ref().map(ToString::to_string);
        volumes.push(Volume {
            source: volume.claim.clone(),
            uid: String::new(),
            volume: String::new(),
            target: name,
            mode: volume.mode,
            access: volume.access.clone(),
            capacity: volume.archive.tree.bytes,
            size: size.unwrap_or_else(|| volume.size.clone()),
            class: target
                .storage_class
                .clone()
                .or_else(|| volume.class.clone()),
            used: Vec::new(),
            phase: "Bound".to_owned(),
        });
    }
    let alone = target.pvc.is_some() || target.volumes_only || manifest.of_workload().is_none();
    let (workload, replicas) = if alone {
        (Value::Null, 0)
    } else {
        (manifest.workload.clone(), replicas(&manifest.workload))
    };
    Ok(Inventory {
        workload,
        replicas,
        volumes,
        left_out: Vec::new(),
    })
}
