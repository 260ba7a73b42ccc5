//! The way back before the flip: the wish taken back, the freeze gone, Job and copy removed.
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use kube::api::DynamicObject;
use tokio::time::sleep;

use super::{super::Switch, frozen::Refusal, mark::Original};
use crate::{
    adapters::{
        kamaji::{PAUSED, TenantControlPlane, tenants},
        kube::{KubeError, Look, Wait, wait_for},
    },
    engine::{Cx, Failure, Kind, Undone},
};

/// What the controller has begun before it was paused ends within this.
pub(super) const SETTLES_WITHIN: Duration = Duration::from_secs(3);
/// Kamaji lifts its freeze within a second.
const LIFTED_WITHIN: Duration = Duration::from_mins(5);
/// The control plane's status may change while the wish is taken back.
const TRIES: usize = 5;
/// Between two looks at something that nothing announces.
pub(super) const LOOK: Duration = Duration::from_millis(200);

impl Switch {
    /// Puts everything back. Whatever is done already is left as it is.
    pub(in super::super) async fn abort(&self, cx: &Cx, step: &'static str) -> Result<Undone> {
        for _ in 0..TRIES {
            let mut tenant = self.control_plane().await?;
            if self.is_flipped(&tenant) {
                self.resume().await?;
                return Ok(self.too_late());
            }
            if !self.has_asked(&tenant)? {
                self.is_nobody_else_s(&tenant)?;
                break;
            }
            if !tenant.is_paused() {
                // The controller could flip at this very moment; taken back after that, the wish would be one for a
                // migration in the other direction.
                self.pause(&self.place).await?;
                sleep(SETTLES_WITHIN).await;
                tenant = self.control_plane().await?;
            }
            if let Some(original) = Original::read(&tenant)?
                && !self.is_flipped(&tenant)
            {
                match self.take_back(&tenant, &original).await {
                    // It is another one by now.
                    Err(KubeError::Invalid { .. } | KubeError::Conflict { .. }) => {}
                    other => other?,
                }
            }
        }
        self.resume().await?;
        self.until_lifted(cx, step).await?;
        self.is_still_in_source().await?;
        let manager = self.manager().await?;
        Box::pin(self.remove_job(&manager, cx, step)).await?;
        self.is_still_in_source().await?;
        self.stores.pair().await?.clear_target().await?;
        Ok(Undone::Restored)
    }

    /// Refuses to remove a copy that is in use: what the controller had begun may have come to its end after the wish
    /// was taken back, however long it was waited for.
    async fn is_still_in_source(&self) -> Result<()> {
        let (tenant, source) = (self.control_plane().await?, &self.tenant.source);
        let uses = &tenant.status.storage.data_store_name;
        ensure!(
            uses == source,
            Failure::new(
                Kind::Blocked,
                format!(
                    "{} uses datastore {uses}, not {source}: Kamaji has flipped it meanwhile, and neither its job nor the copy is removed",
                    self.shown()
                )
            )
            .with_next(
                format!(
                    "kubectl get tcp {} -n {} -o yaml",
                    self.tenant.name, self.place.namespace
                ),
                "shows what it wants and what it uses"
            )
        );
        Ok(())
    }

    /// Refuses to remove what belongs to a migration that somebody else has begun.
    fn is_nobody_else_s(&self, tenant: &TenantControlPlane) -> Result<()> {
        let (wants, source) = (&tenant.spec.data_store, &self.tenant.source);
        ensure!(
            wants == source,
            Failure::new(
                Kind::Blocked,
                format!(
                    "{} wants datastore {wants}, by somebody else's wish: neither its job nor the copy is removed",
                    self.shown()
                )
            )
        );
        Ok(())
    }

    fn too_late(&self) -> Undone {
        Undone::Irreversible(format!(
            "Kamaji has given the tenant to datastore {} already; {}",
            self.tenant.target,
            self.way_back()
        ))
    }

    /// Waits until Kamaji is done with the tenant and every API server accepts a write.
    pub(in super::super) async fn until_lifted(&self, cx: &Cx, step: &'static str) -> Result<()> {
        ensure!(
            !self.control_plane().await?.is_paused(),
            Failure::new(
                Kind::Blocked,
                format!(
                    "{} is paused by somebody else (annotation {PAUSED}): Kamaji cannot lift its freeze",
                    self.shown()
                )
            )
        );
        let what = format!("Kamaji to lift its freeze of {}", self.shown());
        let tell = |seen: &str| cx.sink.waiting(step, seen);
        let wait = Wait::new(&what, LIFTED_WITHIN).telling(&tell);
        let api = tenants(&self.place.cluster, &self.place.namespace);
        let at_rest =
            |found: Option<&DynamicObject>| match found.cloned().map(TenantControlPlane::new) {
                Some(Ok(tenant)) if tenant.is_at_rest() => Look::Done,
                Some(Ok(tenant)) => Look::NotYet(format!(
                    "it is {}",
                    tenant.status.kubernetes_resources.version.status
                )),
                Some(Err(error)) => Look::Never(error.to_string()),
                None => Look::Never("it was deleted".to_owned()),
            };
        wait_for(&api, &self.tenant.name, &wait, at_rest).await?;
        let begun = tokio::time::Instant::now();
        let message = self.frozen_message();
        for server in self.staying_api_servers().await? {
            while self.has_kamaji_s_freeze(&server).await?
                || server.refusal(&message).await? == Refusal::Kamaji
            {
                if begun.elapsed() > LIFTED_WITHIN {
                    let why = format!(
                        "pod {} still refuses writes after {LIFTED_WITHIN:?}: Kamaji has not lifted its freeze",
                        server.pod
                    );
                    bail!(Failure::new(Kind::TimedOut, why).with_next(
                        format!(
                            "kubectl get tcp {} -n {}",
                            self.tenant.name, self.place.namespace
                        ),
                        "shows its status: Kamaji lifts the freeze only where it is Ready"
                    ));
                }
                tell(&format!("{what}: pod {} refuses writes", server.pod));
                sleep(LOOK).await;
            }
        }
        Ok(())
    }
}
