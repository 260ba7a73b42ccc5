use std::{path::PathBuf, str::FromStr};

use anyhow::Result;

use crate::{
    context::Context,
    error::Kind,
    steps::{Place, kamaji},
    ui::amount::{bytes, count},
};

/// Take a Kamaji tenant's data out of its datastore into a file, verified
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::SNAPSHOT)]
pub(crate) struct Args {
    /// What it is of, as tcp/NAME: a Kamaji tenant's control plane
    #[arg(value_name = "tcp/NAME")]
    tenant: Tenant,
    /// The file, which must not exist
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// A Kamaji tenant's control plane, by its name.
#[derive(Clone, Debug)]
struct Tenant(String);

impl FromStr for Tenant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some(("tcp" | "tenantcontrolplane" | "tenantcontrolplanes", name))
                if !name.is_empty() =>
            {
                Ok(Self(name.to_owned()))
            }
            _ => Err("a Kamaji tenant's control plane is named as tcp/NAME".to_owned()),
        }
    }
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let place = Place {
        cluster: cx.source().await?.clone(),
        namespace: cx.namespace().await?,
        remote: false,
    };
    let Tenant(name) = &args.tenant;
    let meter = super::tenant_meter(cx);
    let (head, end) = kamaji::snapshot(&place, name, &args.to, &meter).await?;
    cx.ui.data(&format!(
        "tcp/{name} written to {}: schema {} of datastore {} ({}) at revision {}, {} records, {}, digest {}",
        args.to.display(),
        head.schema,
        head.data_store,
        head.driver,
        end.revision,
        count(end.records),
        bytes(end.bytes),
        end.digest
    ))?;
    Ok(Kind::Done)
}
