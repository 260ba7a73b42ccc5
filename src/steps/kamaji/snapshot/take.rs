//! A tenant's schema goes into a file or a bucket.
use std::{
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use tokio::{
    sync::mpsc::{Receiver, channel},
    task::spawn_blocking,
};

use super::{
    super::{Stores, Switch, Tenant, stores::Ends},
    AHEAD, Origin, ended,
};
use crate::{
    adapters::{
        datastore::{
            DatastoreError, Meter, Pair,
            archive::{self, End, FORMAT, FileSink, Head, Piece, Sink},
        },
        s3::{Draft, Feed, PART, Sum, feed},
    },
    engine::{Failure, Kind},
    steps::{
        Place,
        snapshots::{self, Data, Manifest, Repository, SnapshotId},
    },
};

/// How often the source may be compacted under one snapshot.
const TRIES: usize = 5;

/// Where a snapshot goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// A file, which must not exist.
    File(PathBuf),
    /// A bucket, where it gets a name of its own.
    Bucket(Repository),
}

/// What was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// Where it is.
    pub place: String,
    /// What it is of.
    pub head: Head,
    /// What it ends with.
    pub end: End,
}

/// Takes a tenant's schema out of its DataStore, and reads what was made of it again.
///
/// # Errors
///
/// There is such a snapshot already, its place does not take it, or the store cannot be read. Then there is no new one.
pub async fn snapshot(place: &Place, name: &str, target: &Target, meter: &Meter) -> Result<Taken> {
    take(place, Tenant::as_it_is(place, name).await?, target, meter).await
}

impl Switch {
    /// Takes what the tenant has left in its old DataStore into a new file.
    ///
    /// # Errors
    ///
    /// As [`snapshot`]'s.
    pub async fn back_up_old_data(&self, path: &Path, meter: &Meter) -> Result<End> {
        let target = Target::File(path.to_owned());
        let taken = take(&self.place, self.tenant.clone(), &target, meter).await;
        Ok(taken?.end)
    }
}

/// Takes what a tenant has in its source.
async fn take(place: &Place, tenant: Tenant, target: &Target, meter: &Meter) -> Result<Taken> {
    let ends = Ends::within(tenant.driver, &tenant.source, &tenant.schema);
    let stores = Stores::between(place.cluster.clone(), ends);
    let pair = stores.pair().await?;
    let now = Timestamp::now();
    let name = tenant.name.clone();
    let head = Head {
        kubectl_migrate_tenant_snapshot: FORMAT,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        taken: now.to_string(),
        tenant: format!("{}/{}", place.namespace, tenant.name),
        kubernetes: tenant.version,
        data_store: tenant.source,
        driver: tenant.driver,
        server: pair.look().await?.source.version,
        schema: tenant.schema,
        layout: pair.layout().await?,
    };
    match target {
        Target::File(path) => into_file(pair, path, &head, meter).await,
        Target::Bucket(repository) => {
            let id = SnapshotId::new(&name, now);
            let cluster = place.cluster.identity().await?;
            let taken = into_bucket(pair, (repository, &id), &head, cluster, meter).await;
            if taken.is_err() {
                repository.bucket().tidied().await;
            }
            taken
        }
    }
}

async fn into_file(pair: &dyn Pair, path: &Path, head: &Head, meter: &Meter) -> Result<Taken> {
    let file = Arc::new(create(path)?);
    let write = || async {
        let (file, path) = (Arc::clone(&file), path.to_owned());
        dump(pair, head, meter, move |head, pieces| {
            let shown = path.display().to_string();
            let sink = FileSink::new(&file, &path).with_context(|| shown.clone())?;
            archive::write(sink, &shown, &head, pieces)
        })
        .await
    };
    // From here on the file is ours, and what is not whole is of no use to anybody.
    let origin = Origin::File(path.to_owned());
    let whole = match until_not_compacted(write).await {
        Ok(_) => origin.check().await,
        Err(error) => Err(error),
    };
    let (head, end) = whole.inspect_err(|_| {
        std::fs::remove_file(path).ok();
    })?;
    Ok(Taken {
        place: origin.to_string(),
        head,
        end,
    })
}

/// Makes the file; one that is there is nobody's to remove.
fn create(path: &Path) -> Result<File> {
    let shown = path.display();
    archive::create(path).map_err(|error| {
        let cause = error.downcast_ref::<io::Error>();
        if cause.is_none_or(|cause| cause.kind() != io::ErrorKind::AlreadyExists) {
            return error;
        }
        let failure = Failure::new(Kind::Blocked, format!("{shown} is kept as it is"));
        let next = format!("zstd -dc {shown} | head -n 1");
        error.context(failure.with_next(next, "tells whose snapshot it is; else name another file"))
    })
}

/// The data first, then it is read back, and the manifest last: whatever stops it, there is no snapshot that is not
/// whole, and what was sent is taken away.
async fn into_bucket(
    pair: &dyn Pair,
    (repository, id): (&Repository, &SnapshotId),
    head: &Head,
    cluster: &str,
    meter: &Meter,
) -> Result<Taken> {
    let send = || send(pair, (repository, id), head, meter);
    let (draft, sum, end) = until_not_compacted(send).await?;
    let manifest = Manifest {
        kubectl_migrate_snapshot: snapshots::FORMAT,
        kind: snapshots::Kind::Tenant,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: cluster.to_owned(),
        head: head.clone(),
        end: end.clone(),
        data: Data::of(sum),
    };
    let stored = repository.draft(id, &manifest).await?;
    Origin::Bucket(Box::new(stored)).check().await?;
    repository.seal(id, &manifest, draft).await?;
    Ok(Taken {
        place: repository.address_of(id).to_string(),
        head: manifest.head,
        end,
    })
}

/// Sends the data.
async fn send(
    pair: &dyn Pair,
    (repository, id): (&Repository, &SnapshotId),
    head: &Head,
    meter: &Meter,
) -> Result<(Draft, Sum, End)> {
    let key = repository.data_key(id);
    let shown = repository.bucket().address(&key).to_string();
    let (feed, parts) = feed(PART);
    let dumping = dump(pair, head, meter, move |head, pieces| {
        archive::write(feed, &shown, &head, pieces)
    });
    let uploading = repository.bucket().upload(&key, parts);
    let (end, sent) = tokio::join!(dumping, uploading);
    // Where both have failed, a store that could not be read is why nothing more came, and a bucket that takes no
    // more is why nobody took it.
    match (end, sent) {
        (Ok(end), Ok(Some((draft, sum)))) => Ok((draft, sum, end)),
        (_, Err(sent)) => Err(sent.into()),
        (Err(end), Ok(_)) => Err(end),
        (Ok(_), Ok(None)) => Err(anyhow::anyhow!("the snapshot has no end")),
    }
}

impl Sink for Feed {
    fn finish(self) -> io::Result<()> {
        Feed::finish(self)
    }
}

/// Writes it, anew where the store is compacted meanwhile.
async fn until_not_compacted<T, F>(write: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    for _ in 1..TRIES {
        match write().await {
            Err(error) if is_compacted(&error) => {}
            written => return written,
        }
    }
    write().await
}

/// Lets a thread write what the store has.
async fn dump(
    pair: &dyn Pair,
    head: &Head,
    meter: &Meter,
    write: impl FnOnce(Head, Receiver<Piece>) -> Result<Option<End>> + Send + 'static,
) -> Result<End> {
    let (sender, pieces) = channel(AHEAD);
    let head = head.clone();
    let writing = spawn_blocking(move || write(head, pieces));
    let dumped = pair.dump(&sender, meter).await;
    if let Ok(revision) = dumped {
        // Who writes says by itself why it takes no more.
        sender.send(Piece::End(revision)).await.ok();
    }
    drop(sender);
    let written = writing.await.map_err(ended)?;
    dumped?;
    written?.context("the snapshot has no end")
}

fn is_compacted(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<DatastoreError>();
    matches!(error, Some(DatastoreError::Compacted { .. }))
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(formatter),
            Self::Bucket(repository) => repository.address().fmt(formatter),
        }
    }
}
