//! Whether the clusters at hand are those that a journal is about: a kubeconfig is edited sooner or later,
//! and the same names in another cluster are other things.
use anyhow::{Context as _, Result};

use super::path;
use crate::{
    context::Context,
    engine::{Failure, Header, Kind},
    plan::Plan,
    playbooks::Sides,
};

/// Refuses a journal of another cluster than that of the user's context.
pub(super) async fn same_source(cx: &Context, header: &Header, place: &str) -> Result<()> {
    let cluster = cx.source().await?.identity().await?;
    if header.cluster == cluster {
        return Ok(());
    }
    let why = format!(
        "{place} is the journal of another cluster ({}), and this one is {cluster}: choose the right one with --context",
        header.cluster
    );
    Err(other(why))
}

/// Refuses another target than that of the journal.
pub(super) async fn same_target(header: &Header, sides: &Sides, place: &str) -> Result<()> {
    // A journal without it is of one cluster alone, or of a version that did not keep it.
    let Some(recorded) = &header.target_cluster else {
        return Ok(());
    };
    let cluster = sides.target.cluster.identity().await?;
    if recorded == cluster {
        return Ok(());
    }
    let why = format!(
        "{place} is the journal of a migration to another cluster ({recorded}), and context {} is {cluster}: mend the kubeconfig, or choose the right one with --to-kubeconfig",
        sides.target.cluster.context()
    );
    Err(other(why))
}

/// The plan of a journal and both its sides, after a look that they are the journal's own: for verbs that
/// change nothing.
pub(super) async fn of_journal(cx: &Context, header: &Header) -> Result<(Plan, Sides)> {
    let place = cx
        .keeper()
        .await?
        .place(&header.namespace, &header.migration);
    same_source(cx, header, &place).await?;
    let plan: Plan = serde_json::from_value(header.plan.clone())
        .with_context(|| format!("{place} holds no plan that this program can read"))?;
    let sides = path::sides(cx, &plan, &header.run, None).await?;
    same_target(header, &sides, &place).await?;
    Ok((plan, sides))
}

/// What a new journal keeps of its target's cluster.
pub(super) async fn of_target(sides: &Sides) -> Result<Option<String>> {
    if !sides.target.remote {
        return Ok(None);
    }
    Ok(Some(sides.target.cluster.identity().await?.to_owned()))
}

fn other(why: String) -> anyhow::Error {
    Failure::new(Kind::Blocked, why)
        .with_next("kubectl config get-contexts", "shows what there is")
        .into()
}
