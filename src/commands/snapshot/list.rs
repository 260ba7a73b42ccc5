use anyhow::Result;

use super::super::bucket::BucketFlags;
use crate::{
    adapters::s3::Address,
    context::Context,
    error::Kind,
    steps::{
        checks::Measured,
        snapshots::{Contents, Found, Proof, State, StoredVolume},
    },
    ui::{Format, SnapshotCheck, SnapshotChecked, SnapshotRow, SnapshotState, SnapshotVolume},
};

/// Show the snapshots of a bucket
#[derive(clap::Args, Debug)]
#[command(after_help = super::super::examples::SNAPSHOT_LIST)]
pub(crate) struct Args {
    /// Where they are
    #[arg(value_name = "s3://BUCKET/PREFIX")]
    repository: Address,
    /// Output format
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "table", value_parser = Format::parser(&Format::COMMON))]
    output: Format,
    #[command(flatten)]
    server: BucketFlags,
}

/// Runs the verb.
pub(super) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let repository = args.server.open(cx, &args.repository).await?;
    let found = repository.list().await?;
    if found.is_empty() && matches!(args.output, Format::Table | Format::Wide) {
        cx.ui
            .say(&format!("no snapshots found in {}", args.repository));
        return Ok(Kind::Done);
    }
    let rows: Vec<_> = found
        .iter()
        .map(|found| row(&args.repository, found))
        .collect();
    cx.ui.snapshots(args.output, &rows)?;
    Ok(Kind::Done)
}

/// A snapshot as it is shown.
pub(super) fn row(repository: &Address, found: &Found) -> SnapshotRow {
    let (state, why) = match &found.state {
        State::Whole => (SnapshotState::Whole, ""),
        State::Unfinished => (
            SnapshotState::Unfinished,
            "it has no manifest, which is written last",
        ),
        State::HalfDeleted => (
            SnapshotState::HalfDeleted,
            "its deletion was begun: `snapshot prune` ends it",
        ),
        State::Damaged(why) => (SnapshotState::Damaged, why.as_str()),
        State::Unreadable(why) => (SnapshotState::Unreadable, why.as_str()),
    };
    let manifest = found.manifest.as_ref();
    let (tenant, volumes) = match manifest {
        Some(Contents::Tenant(manifest)) => (Some(manifest), None),
        Some(Contents::Volumes(manifest)) => (None, Some(manifest)),
        None => (None, None),
    };
    let (head, end) = (
        tenant.map(|manifest| &manifest.head),
        tenant.map(|manifest| &manifest.end),
    );
    let source = manifest.map(Contents::source);
    let stored = volumes.map_or(&[][..], |manifest| &manifest.volumes);
    SnapshotRow {
        name: found.id.to_string(),
        address: repository.join(&found.id.to_string()).to_string(),
        state,
        why: why.to_owned(),
        source,
        cluster: manifest.map(|manifest| manifest.cluster().to_owned()),
        driver: head.map(|head| head.driver.to_string()),
        data_store: head.map(|head| head.data_store.clone()),
        schema: head.map(|head| head.schema.clone()),
        kubernetes: head.map(|head| head.kubernetes.clone()),
        server: head.map(|head| head.server.clone()),
        records: end.map(|end| end.records),
        bytes: end
            .map(|end| end.bytes)
            .or_else(|| volumes.map(|_| stored.iter().map(bytes).sum())),
        revision: end.map(|end| end.revision),
        digest: end.map(|end| end.digest.clone()),
        blake3: tenant.map(|manifest| manifest.data.blake3.clone()),
        frozen: volumes.map(|manifest| manifest.frozen),
        checked: found.proofs.good.iter().map(checked).collect(),
        checks: volumes.map_or_else(Vec::new, |manifest| {
            manifest.checks.iter().map(measured).collect()
        }),
        volumes: stored.iter().map(volume).collect(),
        stored_bytes: found.stored,
        written_by: manifest.map(|manifest| manifest.written_by().to_owned()),
        taken: found.id.at(),
    }
}

fn checked(proof: &Proof) -> SnapshotChecked {
    SnapshotChecked {
        level: proof.level,
        at: proof.at,
    }
}

fn measured(check: &Measured) -> SnapshotCheck {
    SnapshotCheck {
        name: check.name.clone(),
        exit_code: check.exit_code,
        output: check.output.clone(),
        bytes: check.bytes,
        digest: check.digest.clone(),
    }
}

fn bytes(volume: &StoredVolume) -> u64 {
    volume.archive.tree.bytes
}

fn volume(volume: &StoredVolume) -> SnapshotVolume {
    let archive = &volume.archive;
    SnapshotVolume {
        claim: volume.claim.clone(),
        object: volume.data.clone(),
        files: archive.tree.files,
        bytes: archive.tree.bytes,
        digest: archive.tree.digest.to_string(),
        changed: archive.changed,
        stored_bytes: archive.size + archive.index_size,
    }
}
