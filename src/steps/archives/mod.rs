//! Volumes into a bucket: a snapshot of a workload, or of a single claim.
//!
//! Each volume's mover makes its archive and sends it; what arrived is read back out of the bucket before the manifest
//! makes the snapshot whole. The workload is frozen from before the first byte until that is done.
mod away;
mod hold;
mod measure;
mod names;
mod read_back;
mod remote;
mod reserve;
mod seal;
mod upload;
mod wake;

use anyhow::Result;

use super::{
    Place,
    freeze::Watched,
    inventory::Inventory,
    movers::{InBucket, Movers, access, lender},
    snapshots::Repository,
};
use crate::{
    adapters::s3::{Address, Bucket, Given, Settings, Source},
    engine::{Failure, Kind},
    plan::BucketPlace,
    transfer::archive::Objects,
};

pub use away::Away;
pub use hold::Hold;
pub use measure::{MEASURED, Measure, Measurements};
pub use names::{Named, named};
pub use read_back::{READ_BACK, ReadBack};
pub use remote::Remote;
pub use reserve::{RESERVED, Reserve, Reserved};
pub use seal::{SEALED, Seal};
pub use upload::{UPLOADED, Upload, Uploaded, UploadedVolume};
pub use wake::Wake;

/// What all steps of a snapshot work with.
#[derive(Clone, Debug)]
pub struct Archiving {
    /// The movers; only those of the source are made.
    pub movers: Movers,
    /// Where the snapshot goes.
    pub repository: Remote,
    /// What it is of.
    pub inventory: Inventory,
    /// The same for people and as an argument: `statefulset/db`.
    pub subject: String,
    /// What tells when the freeze is broken; none where nothing is frozen.
    pub guard: Option<Watched>,
}

fn address(bucket: &BucketPlace) -> Result<Address> {
    let address: Result<Address, String> = bucket.address.parse();
    address.map_err(|why| {
        let why = format!("`{}` is no place in a bucket: {why}", bucket.address);
        Failure::new(Kind::Blocked, why).into()
    })
}

/// Opens the repository of a plan, with the credentials of the Secret that it names, or of whoever runs this.
pub async fn repository(bucket: &BucketPlace, home: &Place) -> Result<Repository> {
    let address = address(bucket)?;
    let given = Given {
        endpoint: bucket.endpoint.clone(),
        region: bucket.region.clone(),
        authority: None,
        pem: bucket.authority.clone(),
    };
    let source = match &bucket.secret {
        Some(name) => Source::Secret {
            cluster: Box::new(home.cluster.clone()),
            namespace: home.namespace.clone(),
            name: name.clone(),
        },
        None => Source::user(),
    };
    let settings = Settings::read(given, source).await?;
    let bucket = Bucket::open(&address.bucket, settings)?;
    Ok(Repository::new(bucket, &address.key))
}

/// Where an archive is, for its mover: with the credentials of now. They may be others than those that a mover was
/// given before, and that it was refused with.
pub(super) async fn in_bucket(repository: &Repository, objects: Objects) -> InBucket {
    // Where there are none any more, it is the server's refusal that tells more.
    repository.bucket().renew().await.ok();
    InBucket {
        access: access(repository.bucket()),
        lender: lender(repository.bucket()),
        objects,
    }
}
