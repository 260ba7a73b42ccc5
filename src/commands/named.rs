//! Migrations by their names, as verbs that only look find them.
use std::path::Path;

use anyhow::{Result, bail};

use crate::{
    context::Context,
    engine::{Failure, Kind, Progress},
    report::{Report, Seen as Look},
    state::{self, Keeper, Seen},
};

/// The migration of this name, or an error that says where it was looked for.
pub(super) async fn seen(cx: &Context, name: &str) -> Result<Seen> {
    if let Some(file) = &cx.flags.journal {
        let seen = in_file(cx, file).await?;
        if seen.header.migration != name {
            bail!(
                "{} is the journal of migration {}, not of {name}",
                file.display(),
                seen.header.migration
            );
        }
        return Ok(seen);
    }
    let namespace = cx.namespace().await?;
    if let Some(seen) = state::one(&cx.keeper().await?, &namespace, name).await? {
        return Ok(seen);
    }
    let why = format!("there is no migration {name} in namespace {namespace}");
    Err(Failure::new(Kind::Error, why)
        .with_next(cx.command_anywhere("status -A"), "shows all")
        .into())
}

/// The migration whose journal is in this file, which tells its name and namespace: no cluster is asked.
pub(super) async fn in_file(cx: &Context, file: &Path) -> Result<Seen> {
    let keeper = Keeper::File(file.to_owned());
    if let Some(seen) = state::one(&keeper, "", "").await? {
        return Ok(seen);
    }
    let why = format!("there is no journal in {}", file.display());
    Err(Failure::new(Kind::Error, why)
        .with_next(cx.command_anywhere("run -f FILE"), "begins one")
        .into())
}

/// The report of a migration, now.
pub(super) fn report(seen: &Seen) -> (Report, Option<Progress>) {
    let look = Look::at(jiff::Timestamp::now(), seen.holder.is_some());
    let report = Report::of(&seen.header, &seen.entries, &look);
    (report, seen.progress.clone())
}
