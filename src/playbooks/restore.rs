//! The volumes of a snapshot, out of a bucket: the verb `restore`.
use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{MoverLook, Parts, Playbook, Sides, movers};
use crate::{
    engine::{Failure, Kind, Step},
    plan::{Objects, Plan},
    steps::{
        About, OfSnapshot,
        archives::Remote,
        inventory::{Inventory, Volume},
        prepare::Prepare,
        restores::{Compare, Fill, Hand, Restoring},
        rights,
        snapshots::{SnapshotId, VolumesManifest},
    },
    transfer::Side,
};

pub(super) async fn build(
    plan: &Plan,
    sides: &Sides,
    recorded: Option<Inventory>,
    kept: Option<VolumesManifest>,
) -> Result<Playbook> {
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
    let address = repository.address_of(&id);
    let restoring = Restoring {
        movers: movers.clone(),
        repository,
        id,
        manifest: manifest.clone(),
    };
    let steps: Vec<Arc<dyn Step>> = vec![
        Arc::new(Prepare {
            belongs: sides.belongs.clone(),
            source: sides.target.clone(),
            target: sides.target.clone(),
            inventory: inventory.clone(),
            objects: Objects::Require,
        }),
        Arc::new(Fill(restoring.clone())),
        Arc::new(Compare(restoring.clone())),
        Arc::new(Hand(restoring)),
    ];
    let to = &sides.target.namespace;
    let count = inventory.volumes.len();
    let volumes = if count == 1 { "volume" } else { "volumes" };
    let parts = Parts {
        steps,
        source_rules: [
            rights::for_identity(),
            rights::for_journal(&sides.belongs),
            rights::for_keys(&movers),
            rights::for_secret(&sides.source.namespace, bucket.secret.as_ref()),
        ]
        .concat(),
        target_rules: [
            rights::for_identity(),
            rights::for_movers(&movers, Side::Target),
            rights::for_target_checks(),
            rights::for_namespace(to),
            rights::for_target_claims(&inventory, to),
        ]
        .concat(),
        looks: vec![Arc::new(MoverLook(movers))],
        summary: format!("{address} → {}, {count} {volumes}", sides.target),
        allowed_freeze: None,
        ending: None,
        about: About::Snapshot(Box::new(OfSnapshot {
            inventory,
            manifest,
        })),
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
    Ok(Inventory {
        workload: Value::Null,
        replicas: 0,
        volumes,
        left_out: Vec::new(),
    })
}
