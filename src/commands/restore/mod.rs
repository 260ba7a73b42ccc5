mod volumes;

use std::str::FromStr;

use anyhow::Result;

use super::bucket::{BucketFlags, InBucket, Place};
use crate::{
    context::Context,
    engine::{Failure, Kind as FailureKind},
    error::{Kind, Usage},
    plan,
    steps::kamaji::{Origin, Restore},
    ui::amount::{bytes, count},
};

/// Bring a snapshot back, of a workload with its volumes or of a tenant into a DataStore, and compare it there
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::RESTORE)]
pub(crate) struct Args {
    /// The file that `snapshot` wrote, or a snapshot in a bucket with its PREFIX/NAME/TIME
    #[arg(value_name = "FILE|s3://…")]
    from: Place,
    /// Into what: namespace/NAME, where the workload and its claims are made as they were, pvc/NAME, or datastore/NAME for a tenant's
    #[arg(long, value_name = "KIND/NAME")]
    into: Target,
    /// The key prefix or database there; the snapshot's own if not given
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// Remove what the schema holds there first; its name has to be typed
    #[arg(long)]
    overwrite: bool,
    /// client: read the file, look at the datastore, and tell what would be done
    #[arg(long, value_name = "client|none", default_value = "none", value_parser = ["client", "none"], hide_possible_values = true)]
    dry_run: String,
    #[command(flatten)]
    volumes: volumes::Flags,
    #[command(flatten)]
    server: BucketFlags,
}

/// Where a snapshot can go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// A tenant's, into a DataStore.
    DataStore(String),
    /// Volumes, into claims of a namespace that are named as they were.
    Namespace(String),
    /// One volume, into a claim.
    Claim(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((_, "")) | None => Err(
                "it is namespace/NAME or pvc/NAME for volumes, datastore/NAME for a tenant's data"
                    .to_owned(),
            ),
            Some(("datastore" | "datastores", name)) => Ok(Self::DataStore(name.to_owned())),
            Some(("namespace" | "namespaces" | "ns", name)) => Ok(Self::Namespace(name.to_owned())),
            Some(("pvc" | "persistentvolumeclaim" | "persistentvolumeclaims", name)) => {
                Ok(Self::Claim(name.to_owned()))
            }
            Some((kind, _)) => Err(format!("`{kind}` is none of namespace, pvc, datastore")),
        }
    }
}

/// Where it comes from; what is in a bucket has to be whole.
async fn origin(cx: &Context, args: &Args) -> Result<Origin> {
    let address = match &args.from {
        Place::File(path) => {
            args.server.are_of_no_use()?;
            return Ok(Origin::File(path.clone()));
        }
        Place::Bucket(address) => address,
    };
    let InBucket { repository, id } = InBucket::of(address).map_err(Usage)?;
    let repository = args.server.open(cx, &repository).await?;
    Ok(Origin::Bucket(Box::new(repository.stored(&id).await?)))
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let data_store = match &args.into {
        Target::DataStore(name) => name.clone(),
        Target::Namespace(name) => {
            let target = plan::Target {
                namespace: Some(name.clone()),
                ..plan::Target::default()
            };
            return Box::pin(volumes::run(cx, &args, target)).await;
        }
        Target::Claim(name) => {
            let target = plan::Target {
                pvc: Some(name.clone()),
                ..plan::Target::default()
            };
            return Box::pin(volumes::run(cx, &args, target)).await;
        }
    };
    args.volumes.are_of_no_use()?;
    let origin = origin(cx, &args).await?;
    let cluster = cx.source().await?;
    let schema = args.schema.as_deref();
    let from = origin.to_string();
    let restore = Restore::prepare(cluster, origin, &data_store, schema).await?;
    let place = format!("schema {} in datastore/{data_store}", restore.schema);
    if restore.there > 0 && !args.overwrite {
        let why = format!("{place} holds {} keys already", count(restore.there));
        let (into, server) = (&data_store, args.server.words());
        let again = format!("restore {from} --into datastore/{into} --overwrite{server}");
        return Err(Failure::new(FailureKind::Blocked, why)
            .with_next(cx.command(&again), "removes them first")
            .into());
    }
    let what = format!(
        "{place} restored from {from}: {} records, {}, taken {} from tcp/{} at revision {}",
        count(restore.end.records),
        bytes(restore.end.bytes),
        restore.head.taken,
        restore.head.tenant,
        restore.end.revision
    );
    if args.dry_run == "client" {
        cx.ui.data(&format!("{what} (dry run)"))?;
        return Ok(Kind::Done);
    }
    if restore.there > 0 {
        let removes = format!("this removes {} keys of {place}", count(restore.there));
        cx.ui.confirm_irreversible(&removes, &restore.schema)?;
        restore.clear().await?;
    }
    restore.bring(&super::tenant_meter(cx)).await?;
    cx.ui.data(&what)?;
    cx.ui.say(
        "Kubelets and controllers of the tenant that ran when the snapshot was taken, or later, know revisions that are \
        not there: restart them.",
    );
    Ok(Kind::Done)
}
