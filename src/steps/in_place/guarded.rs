//! Freeze and comparison as they stand in a move in place: from the swap on, the StatefulSet that was frozen and the
//! claims that were compared are not there any more, and that is as it should be.
use anyhow::{Result, bail};
use async_trait::async_trait;

use super::{InPlace, RETAINED, workload::Stands};
use crate::{
    engine::{Check, Cx, Failure, Freezes, Holds, Kind, Outcome, Probe, Step, UndoPlan, Undone},
    steps::{Users, freeze::FROZEN, verify::Verify},
};

/// The freeze of a StatefulSet that is moved in place.
#[derive(Clone, Debug)]
pub struct FreezeInPlace(pub InPlace);

/// The comparison of volumes that change their claims afterwards.
#[derive(Clone, Debug)]
pub struct VerifyInPlace {
    /// The comparison.
    pub verify: Verify,
    /// The move.
    pub in_place: InPlace,
}

impl InPlace {
    /// Whether the swap that follows has begun in the world; what it relies on is its own to look after then.
    async fn is_past(&self, cx: &Cx) -> Result<bool> {
        let (Some(_), Some(frozen)) = (cx.find(&RETAINED)?, cx.find(&FROZEN)?) else {
            return Ok(false);
        };
        self.is_swapped(&frozen).await
    }
}

#[async_trait]
impl Step for FreezeInPlace {
    fn id(&self) -> &'static str {
        self.0.freeze.id()
    }

    fn title(&self) -> String {
        self.0.freeze.title()
    }

    fn undo_plan(&self) -> UndoPlan {
        self.0.freeze.undo_plan()
    }

    fn freezes(&self) -> Freezes {
        self.0.freeze.freezes()
    }

    async fn preflight(&self, cx: &Cx) -> Result<Vec<Check>> {
        self.0.freeze.preflight(cx).await
    }

    async fn rehearse(&self, cx: &Cx) -> Result<Vec<String>> {
        self.0.freeze.rehearse(cx).await
    }

    async fn probe(&self, cx: &Cx) -> Result<Probe> {
        if !cx.again {
            let apart = self.0.volumes_apart().await?;
            if !apart.is_empty() {
                return Ok(Probe::Blocked(apart));
            }
        }
        self.0.freeze.probe(cx).await
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        self.0.freeze.apply(cx).await
    }

    async fn holds(&self, cx: &Cx) -> Result<Holds> {
        if !self.0.is_past(cx).await? {
            return self.0.freeze.holds(cx).await;
        }
        let frozen = cx.get(&FROZEN)?;
        match self.0.stands(&frozen).await? {
            Stands::Nothing => {}
            Stands::New(_) | Stands::Frozen(_) => return Ok(Holds::Yes),
            // By a rollback that kept what is before the swap.
            Stands::Old(found) => {
                let awake = self.0.is_awake(&found, &frozen).await?;
                return Ok(awake.map_or(Holds::Yes, Holds::No));
            }
            Stands::Foreign => bail!(self.0.foreign()),
        }
        let users = Users::now(&self.0.place, &self.0.belongs).await?;
        let claims = self.0.inventory.claims();
        let user = claims.iter().find_map(|claim| users.first(claim));
        Ok(user.map_or(Holds::Yes, |pod| {
            Holds::No(format!("{pod} uses a volume of {}", self.0.object()))
        }))
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        // A StatefulSet that was made again has another uid, and an earlier undo may have woken it.
        if let Some(frozen) = cx.find(&FROZEN)?
            && self.0.freeze.is_another_and_awake(&frozen).await?
        {
            return Ok(Undone::Restored);
        }
        self.0.freeze.undo(cx).await
    }
}

#[async_trait]
impl Step for VerifyInPlace {
    fn id(&self) -> &'static str {
        self.verify.id()
    }

    fn title(&self) -> String {
        self.verify.title()
    }

    fn undo_plan(&self) -> UndoPlan {
        self.verify.undo_plan()
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        self.verify.apply(cx).await
    }

    async fn holds(&self, cx: &Cx) -> Result<Holds> {
        if !self.in_place.is_past(cx).await? {
            return self.verify.holds(cx).await;
        }
        let missing = self
            .in_place
            .missing(cx.get(&RETAINED)?.volumes.iter().map(|one| &one.new))
            .await?;
        match missing.into_iter().next() {
            None => Ok(Holds::Yes),
            Some(why) => Err(Failure::new(
                Kind::Blocked,
                format!("{why}, and with it the copy: roll back, the old volumes are kept"),
            )
            .into()),
        }
    }

    fn repaired_by(&self) -> Option<&'static str> {
        self.verify.repaired_by()
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        self.verify.undo(cx).await
    }
}
