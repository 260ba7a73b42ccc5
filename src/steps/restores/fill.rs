use std::{sync::Arc, time::Instant};

use anyhow::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Restoring;
use crate::{
    engine::{Cx, Key, Outcome, Step, UndoPlan, Undone},
    steps::{
        archives::in_bucket,
        copy::target,
        movers::{Doing, LoneWork},
        prepare::PREPARED,
    },
    transfer::{Finding, Side},
};

/// Fills the claims out of the bucket: each by its own mover.
#[derive(Clone, Debug)]
pub struct Fill(pub Restoring);

/// What it leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Filled {
    /// What each volume cannot keep.
    pub findings: Vec<Vec<Finding>>,
    /// Seconds that each took, without the start of its mover; empty where an older version did not write them down.
    #[serde(default)]
    pub seconds: Vec<f64>,
}

/// What it leaves in the journal.
pub const FILLED: Key<Filled> = Key::new("fill");

#[async_trait]
impl Step for Fill {
    fn id(&self) -> &'static str {
        FILLED.step()
    }

    fn title(&self) -> String {
        "fill the volumes out of the bucket".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("delete what was written".to_owned())
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let this = &self.0;
        target::is_unused(&this.movers).await?;
        this.movers.adopt(&found(cx)?).await?;
        // Where a device is concerned, nothing but its claim tells later that what is on it is ours.
        let begun = this.movers.begun().await?;
        let meter = this.meter(cx, self.id(), Doing::Copying);
        target::devices_are_empty(&this.movers, cx, &meter, &begun).await?;
        let (places, repository) = (this.places(), this.repository.open().await?.clone());
        let work: LoneWork<(Vec<Finding>, f64)> = Arc::new(move |lone| {
            let (objects, archive) = places[lone.index].clone();
            let repository = repository.clone();
            Box::pin(async move {
                let place = in_bucket(&repository, objects).await;
                let began = Instant::now();
                let findings = lone.extract(&place, &archive).await?;
                Ok((findings, began.elapsed().as_secs_f64()))
            })
        });
        let volumes = this.volumes();
        let filled = tokio::select! {
            filled = this.movers.alone(Side::Target, &volumes, cx, &meter, &work) => filled?,
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        let (findings, seconds) = filled.into_iter().unzip();
        Ok(Outcome::Done(serde_json::to_value(Filled {
            findings,
            seconds,
        })?))
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        let this = &self.0;
        // Claims that we made are deleted whole by the step that made them.
        let adopted = this.movers.adopted(&found(cx)?).await?;
        if !adopted.is_empty() {
            let meter = this.meter(cx, self.id(), Doing::Copying);
            target::empty(&this.movers, cx, &meter, &adopted).await?;
            this.movers.forget(&adopted).await?;
        }
        this.movers.remove().await?;
        Ok(Undone::Restored)
    }
}

/// The claims that were there before us.
pub(super) fn found(cx: &Cx) -> Result<Vec<String>> {
    let prepared = cx.find(&PREPARED)?;
    Ok(prepared.map_or_else(Vec::new, |prepared| prepared.found))
}
