//! What may be written to, and what may be emptied: a target that is nobody's but ours.
use std::sync::Arc;

use anyhow::Result;

use crate::{
    engine::{Check, Cx, Failure, Kind},
    steps::{
        Users,
        inventory::{Mode, Volume},
        movers::{Adopted, LoneWork, Meter, Movers, Work},
        target_capacity,
    },
    transfer::{Inspection, Ownership, Side},
};

/// Refuses to go on while another pod uses a target: a round deletes what the source does not have.
pub(in crate::steps) async fn is_unused(movers: &Movers) -> Result<()> {
    let users = Users::now(&movers.target, &movers.belongs).await?;
    let claims = movers.volumes.iter().map(|volume| volume.target.as_str());
    Ok(users.refuse(claims)?)
}

/// Refuses a target that somebody uses, that holds something else, or that is too small for what the source
/// holds now. `begun` says of each volume whether this run has written to its target before.
pub(in crate::steps) async fn look(
    movers: &Movers,
    cx: &Cx,
    meter: &Meter,
    begun: &[bool],
) -> Result<Option<Vec<Check>>> {
    let users = Users::now(&movers.target, &movers.belongs).await?;
    let volumes = movers.volumes.iter();
    let mut checks: Vec<_> = volumes
        .filter_map(|volume| users.check(&volume.target))
        .collect();
    if !checks.is_empty() {
        return Ok(Some(checks));
    }
    // Where the workload's pod has the source for itself, only the target can be looked at.
    let (alone, both): (Vec<_>, Vec<_>) =
        (0..movers.volumes.len()).partition(|index| movers.waits_for(&movers.volumes[*index]));
    let targets = movers.lone(&alone, cx, meter, &inspect()).await?;
    for (index, target) in alone.iter().zip(targets) {
        checks.extend(foreign(
            movers,
            &movers.volumes[*index],
            &target,
            begun[*index],
        ));
    }
    let inspected = movers.some(&both, cx, meter, &[], &inspect_both()).await?;
    for (index, (source, target)) in both.iter().zip(inspected) {
        let volume = &movers.volumes[*index];
        checks.extend(foreign(movers, volume, &target, begun[*index]));
        checks.extend(too_small(movers, volume, &source));
    }
    Ok((!checks.is_empty()).then_some(checks))
}

fn object(movers: &Movers, volume: &Volume) -> String {
    movers
        .target
        .object("persistentvolumeclaim", &volume.target)
}

fn foreign(movers: &Movers, volume: &Volume, target: &Inspection, begun: bool) -> Option<Check> {
    let ours = match target.ownership {
        Ownership::Empty | Ownership::Ours => true,
        // A device has no room for a mark: its claim tells that it was empty when we began to write.
        Ownership::Foreign => volume.mode == Mode::Block && begun,
        Ownership::OtherRun(_) => false,
    };
    if ours {
        return None;
    }
    let evidence = match volume.mode {
        Mode::Block => "it is not empty".to_owned(),
        Mode::Filesystem => {
            let examples: Vec<_> = target.examples.iter().map(ToString::to_string).collect();
            let count = target.entries;
            format!("it holds {count} entries, such as {}", examples.join(", "))
        }
    };
    Some(Check::block(
        "target is empty",
        object(movers, volume),
        evidence,
        "empty it, or let the plan name another target",
    ))
}

/// Refuses to begin to write to a device that holds something: it was empty when it was taken, and somebody may have
/// used it since. `begun` says of each volume whether this run has written to it before.
pub(in crate::steps) async fn devices_are_empty(
    movers: &Movers,
    cx: &Cx,
    meter: &Meter,
    begun: &[bool],
) -> Result<()> {
    let fresh: Vec<_> = (0..movers.volumes.len())
        .filter(|index| movers.volumes[*index].mode == Mode::Block && !begun[*index])
        .collect();
    if fresh.is_empty() {
        return Ok(());
    }
    let found = movers.lone(&fresh, cx, meter, &inspect()).await?;
    for (index, found) in fresh.iter().zip(found) {
        if let Some(check) = foreign(movers, &movers.volumes[*index], &found, false) {
            let why = format!("{}: {}; {}", check.object, check.evidence, check.cure);
            return Err(Failure::new(Kind::Blocked, why).into());
        }
    }
    movers.write_to(fresh).await
}

fn too_small(movers: &Movers, volume: &Volume, source: &Inspection) -> Option<Check> {
    let capacity = target_capacity(volume);
    (source.bytes > capacity).then(|| {
        Check::block(
            "data fits",
            object(movers, volume),
            format!(
                "it has {capacity} bytes, and the source holds {}",
                source.bytes
            ),
            "give the target a larger size",
        )
    })
}

/// What both sides hold.
fn inspect_both() -> Work<(Inspection, Inspection)> {
    Arc::new(|pair| {
        Box::pin(async move {
            let source = pair.inspect(Side::Source).await?;
            let target = pair.inspect(Side::Target).await?;
            Ok((source, target))
        })
    })
}

/// What the target holds.
fn inspect() -> LoneWork<Inspection> {
    Arc::new(|lone| Box::pin(async move { lone.inspect().await }))
}

/// Empties the claims that were there before us of what this run wrote. What cannot be told apart from
/// what others wrote stays, and is told.
pub(in crate::steps) async fn empty(
    movers: &Movers,
    cx: &Cx,
    meter: &Meter,
    adopted: &[Adopted],
) -> Result<()> {
    let users = Users::now(&movers.target, &movers.belongs).await?;
    let (ours, mut kept): (Vec<&Adopted>, Vec<&Adopted>) = adopted.iter().partition(|adopted| {
        let volume = &movers.volumes[adopted.index];
        let used = users.first(&volume.target).is_some();
        !adopted.released || (volume.mode == Mode::Filesystem && !used)
    });
    let mut ours: Vec<_> = ours.iter().map(|adopted| adopted.index).collect();
    let claims = ours
        .iter()
        .map(|index| movers.volumes[*index].target.as_str());
    users.refuse(claims)?;
    let begun = movers.begun().await?;
    let inspected = movers.lone(&ours, cx, meter, &inspect()).await?;
    let mut found = inspected.into_iter();
    ours.retain(|index| {
        let own = found.next().is_some_and(|found| {
            // Looked at by the same rule as before the first byte: the mark is on the volume, or on its claim.
            foreign(movers, &movers.volumes[*index], &found, begun[*index]).is_none()
        });
        if !own {
            kept.extend(adopted.iter().filter(|adopted| adopted.index == *index));
        }
        own
    });
    let wipe: LoneWork<u64> = Arc::new(|lone| Box::pin(async move { lone.wipe().await }));
    movers.lone(&ours, cx, meter, &wipe).await?;
    for adopted in kept {
        let volume = &movers.volumes[adopted.index];
        cx.sink.notice(format!(
            "the data on {} stays: the claim was there before this migration, and what it holds can no longer be told apart from what others wrote; if nobody needs it, delete its files, or the claim (`kubectl delete pvc -n {} {}`)",
            object(movers, volume),
            movers.target.namespace,
            volume.target
        ));
    }
    Ok(())
}
