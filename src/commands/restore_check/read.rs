//! Levels 1 and 2.
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::{
    super::{bucket::InBucket, object_store::BucketStore},
    Args,
};
use crate::{
    context::Context,
    engine::{Failure, Kind as FailureKind},
    error::Kind,
    steps::{
        kamaji::Origin,
        snapshots::{Contents, Repository, StoredVolume, VolumesManifest},
    },
    transfer::{
        Fault,
        archive::{self, Objects, StoreError, StoreFailure},
    },
    ui::amount::bytes,
};

/// How often it is told how much was read.
const EACH: Duration = Duration::from_secs(5);

/// Levels 1 and 2: what is in the bucket, and nothing else.
pub(super) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let checked = check(cx, &args).await;
    checked.map_err(|error| with_others(cx, &args, error))
}

async fn check(cx: &Context, args: &Args) -> Result<Kind> {
    let repository = args.server.open(cx, &args.snapshot.repository).await?;
    let id = &args.snapshot.id;
    let address = repository.address_of(id);
    let (contents, unsummed) = repository.check_listing(id).await?;
    for object in unsummed {
        cx.ui.say(&format!(
            "level 1: the server tells no sum of {object} that could be compared"
        ));
    }
    if args.level == 1 {
        cx.ui.data(&format!(
            "{address}: level 1: every object is there, with its size and the sum that the server tells"
        ))?;
        return Ok(Kind::Done);
    }
    let read = match contents {
        Contents::Tenant(_) => {
            let stored = repository.stored(id).await?;
            let (_, end) = Origin::Bucket(Box::new(stored))
                .check()
                .await
                .context("restore-check level 2: no")?;
            format!("{} records, {}", end.records, bytes(end.bytes))
        }
        Contents::Volumes(manifest) => volumes(cx, &repository, &args.snapshot, *manifest).await?,
    };
    cx.ui.data(&format!(
        "{address}: level 2: everything was read, and is what was taken: {read}"
    ))?;
    // Whoever may only read has read all the same.
    if let Err(error) = repository.prove(id, 2, Timestamp::now()).await {
        cx.ui.say(&format!(
            "that it is good could not be written down beside the snapshot: {error:#}"
        ));
    }
    Ok(Kind::Done)
}

/// Reads every volume of a snapshot, one after the other.
async fn volumes(
    cx: &Context,
    repository: &Repository,
    snapshot: &InBucket,
    manifest: VolumesManifest,
) -> Result<String> {
    let (mut files, mut total) = (0, 0);
    for volume in manifest.volumes {
        let tree = &volume.archive.tree;
        files += tree.files;
        total += tree.bytes;
        one(cx, repository, snapshot, volume).await?;
    }
    Ok(format!("{files} files, {}", bytes(total)))
}

async fn one(
    cx: &Context,
    repository: &Repository,
    snapshot: &InBucket,
    volume: StoredVolume,
) -> Result<()> {
    let store = BucketStore::of(repository.bucket());
    let objects = Objects {
        data: repository.key_of(&snapshot.id, &volume.data),
        index: repository.key_of(&snapshot.id, &volume.index),
    };
    let (ui, claim) = (cx.ui.clone(), volume.claim.clone());
    let checking = tokio::task::spawn_blocking(move || {
        let (mut read, mut told) = (0, Instant::now());
        let wanted = volume.archive.tree.bytes;
        archive::check(&store, &objects, &volume.archive, |more| {
            read += more;
            if told.elapsed() >= EACH {
                told = Instant::now();
                ui.say(&format!("{claim}: {} of {}", bytes(read), bytes(wanted)));
            }
            Ok(())
        })
    });
    let checked = checking.await?;
    checked.map(drop).map_err(|fault| refused(&fault).into())
}

/// What a reader found, as an answer.
fn refused(fault: &Fault) -> Failure {
    let kind = match fault {
        Fault::Damaged { .. } => FailureKind::Difference,
        Fault::Newer { .. } => FailureKind::Blocked,
        Fault::Store(error) => match error.failure {
            StoreFailure::Damaged => FailureKind::Difference,
            StoreFailure::Refused | StoreFailure::Credentials => FailureKind::Blocked,
            StoreFailure::Passing => FailureKind::Error,
        },
        _ => FailureKind::Error,
    };
    let why = match kind {
        FailureKind::Difference => format!("restore-check level 2: no: {fault}"),
        _ => fault.to_string(),
    };
    let failure = Failure::new(kind, why);
    match fault {
        Fault::Store(StoreError {
            next: Some((command, what)),
            ..
        }) => failure.with_next(command, what),
        _ => failure,
    }
}

/// Where a snapshot is none, another may be.
fn with_others(cx: &Context, args: &Args, error: anyhow::Error) -> anyhow::Error {
    if Kind::of(&error) != Kind::Difference {
        return error;
    }
    let list = format!(
        "snapshot list {}{}",
        args.snapshot.repository,
        args.server.words()
    );
    match error.downcast::<Failure>() {
        Ok(failure) => failure
            .with_next(cx.command(&list), "shows which others there are")
            .into(),
        Err(error) => error,
    }
}
