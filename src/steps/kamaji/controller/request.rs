use anyhow::{Result, bail, ensure};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{super::Switch, timeout};
use crate::{
    adapters::{
        kamaji::{CLEANUP_PRIOR_MIGRATION, MIGRATION_TIMEOUT, TenantControlPlane, tenants},
        kube::{KubeError, merge_patch},
    },
    engine::{Cx, Failure, Holds, Key, Kind, Outcome, Probe, Step, UndoPlan, Undone},
    steps::Place,
};

/// Asks Kamaji for the switch, in one change.
#[derive(Clone, Debug)]
pub struct Request(pub Switch);

/// What the request leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requested {
    /// Minutes that Kamaji's Job was given.
    pub timeout_minutes: u64,
    /// Keys that the source held.
    pub keys: u64,
}

/// What the request leaves in the journal.
pub const REQUESTED: Key<Requested> = Key::new("request");

/// The controller tells the status now and then, which is a change, too.
const TRIES: usize = 5;

impl Request {
    /// Refuses what has changed since preflight.
    fn may_ask(&self, tenant: &TenantControlPlane) -> Result<()> {
        let (switch, source) = (&self.0, &self.0.tenant.source);
        let uses = &tenant.status.storage.data_store_name;
        let why = if tenant.is_paused() {
            format!("{} is paused by somebody else", switch.shown())
        } else if tenant.spec.data_store != *source || uses != source {
            let wants = &tenant.spec.data_store;
            format!(
                "{} wants datastore {wants} and uses {uses}, not {source}",
                switch.shown()
            )
        } else if !tenant.is_at_rest() {
            let status = &tenant.status.kubernetes_resources.version.status;
            format!("{} is {status}", switch.shown())
        } else {
            return Ok(());
        };
        Err(Failure::new(Kind::Blocked, why).into())
    }

    /// Sends the change, if it is still to be sent.
    async fn ask(&self, place: &Place, minutes: u64) -> Result<()> {
        let api = tenants(&place.cluster, &place.namespace);
        for _ in 0..TRIES {
            let tenant = self.0.control_plane().await?;
            if self.0.has_asked(&tenant)? && tenant.spec.data_store == self.0.tenant.target {
                return Ok(());
            }
            self.may_ask(&tenant)?;
            let change = self.0.request_of(&tenant, &timeout::text(minutes))?;
            match merge_patch(&api, &self.0.tenant.name, &change).await {
                Ok(_) => return Ok(()),
                // Also of our own change, whose answer was lost: what counts is what is there.
                Err(KubeError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!(Failure::new(
            Kind::Blocked,
            format!("somebody changes {} again and again", self.0.shown())
        ))
    }
}

#[async_trait]
impl Step for Request {
    fn id(&self) -> &'static str {
        REQUESTED.step()
    }

    fn title(&self) -> String {
        format!("ask Kamaji for datastore {}", self.0.tenant.target)
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("take the wish back, and delete Job and copy".to_owned())
    }

    async fn rehearse(&self, _: &Cx) -> Result<Vec<String>> {
        let mut dry = self.0.place.clone();
        dry.cluster = dry.cluster.dry_run();
        let minutes = timeout::minutes(&self.0.stores.pair().await?.look().await?.source);
        self.ask(&dry, minutes).await?;
        let tenant = &self.0.tenant;
        Ok(vec![format!(
            "{}: spec.dataStore {} → {}, annotate {MIGRATION_TIMEOUT}={}, {CLEANUP_PRIOR_MIGRATION}=false",
            self.0.shown(),
            tenant.source,
            tenant.target,
            timeout::text(minutes)
        )])
    }

    async fn probe(&self, cx: &Cx) -> Result<Probe> {
        if cx.again {
            return Ok(Probe::Ready);
        }
        // From here on Job and copy are this migration's, and going back removes them.
        let look = self.0.stores.pair().await?.look().await?;
        let mut checks: Vec<_> = self.0.not_empty(&look).into_iter().collect();
        checks.extend(self.0.check_no_job(&self.0.manager().await?).await?);
        Ok(if checks.is_empty() {
            Probe::Ready
        } else {
            Probe::Blocked(checks)
        })
    }

    async fn apply(&self, _: &Cx) -> Result<Outcome> {
        let look = self.0.stores.pair().await?.look().await?;
        let minutes = timeout::minutes(&look.source);
        self.ask(&self.0.place, minutes).await?;
        Ok(Outcome::Done(serde_json::to_value(Requested {
            timeout_minutes: minutes,
            keys: look.source.keys,
        })?))
    }

    async fn holds(&self, _: &Cx) -> Result<Holds> {
        let tenant = self.0.control_plane().await?;
        if self.0.is_flipped(&tenant) {
            return Ok(Holds::Yes);
        }
        // Asked again it would be a copy onto the copy: it has to be taken back first.
        if let Some(why) = self.0.still_wanted(&tenant) {
            bail!(Failure::new(Kind::Blocked, format!("{why}: roll back")));
        }
        ensure!(
            self.0.has_asked(&tenant)?,
            Failure::new(
                Kind::Blocked,
                format!(
                    "{} does not carry this migration's mark any more: roll back",
                    self.0.shown()
                )
            )
        );
        Ok(Holds::Yes)
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        Box::pin(self.0.abort(cx, self.id())).await
    }
}
