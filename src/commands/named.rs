//! Migrations by their names, as verbs that only look find them.
use anyhow::{Result, bail};

use crate::{
    context::Context,
    engine::Progress,
    report::{Report, Seen as Look},
    state::{self, Seen},
};

/// The migration of this name, or an error that says where it was looked for.
pub(super) async fn seen(cx: &Context, name: &str) -> Result<Seen> {
    let namespace = cx.namespace().await?;
    let keeper = cx.keeper().await?;
    match state::one(&keeper, &namespace, name).await? {
        Some(seen) if cx.flags.journal.is_some() && seen.header.migration != name => bail!(
            "{} is the journal of migration {}, not of {name}",
            keeper.place(&namespace, name),
            seen.header.migration
        ),
        Some(seen) => Ok(seen),
        None => bail!(
            "there is no migration {name} in namespace {namespace}: `{}` shows all",
            cx.command("status -A")
        ),
    }
}

/// The report of a migration, now.
pub(super) fn report(seen: &Seen) -> (Report, Option<Progress>) {
    let look = Look::at(jiff::Timestamp::now(), seen.holder.is_some());
    let report = Report::of(&seen.header, &seen.entries, &look);
    (report, seen.progress.clone())
}
