use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::{
    super::{Switch, api::ApiServer},
    abort::{LOOK, SETTLES_WITHIN},
    frozen::{KAMAJI_FREEZE, Refusal},
    job::has,
};
use crate::{
    adapters::kamaji::{PAUSED, TenantControlPlane},
    engine::{Cx, Failure, Freezes, Holds, Key, Kind, Outcome, Step, UndoPlan, Undone},
};

/// Waits until Kamaji's freeze was seen in force, and only then pauses Kamaji; or until it has to be feared that it
/// never comes.
#[derive(Clone, Debug)]
pub struct AwaitFreeze(pub Switch);

/// What that leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrozenByKamaji {
    /// How it was frozen.
    pub how: String,
    /// The API servers that were seen to refuse a write.
    pub refused_by: Vec<String>,
    /// Since when the proof stands.
    pub since: Timestamp,
    /// Whether Kamaji's Job was done before Kamaji could be paused: it has flipped by itself.
    pub raced: bool,
}

/// What that leaves in the journal.
pub const FROZEN_BY_KAMAJI: Key<FrozenByKamaji> = Key::new("freeze");

/// It was seen within a second. A tenant that is not frozen is copied while it is written to.
const IN_FORCE_WITHIN: Duration = Duration::from_mins(1);

/// A policy is in force within a second; the tenant is frozen meanwhile, so that a slow API server may take longer.
const CLOSED_WITHIN: Duration = Duration::from_mins(3);

/// What is there of a freeze that was asked for.
enum Seen {
    /// It is in force, as these pods show.
    InForce(Vec<String>),
    NotYet(String),
    /// The controller was faster.
    Flipped,
}

impl AwaitFreeze {
    async fn look(&self) -> Result<Seen> {
        let switch = &self.0;
        let tenant = switch.control_plane().await?;
        if switch.is_flipped(&tenant) {
            return Ok(Seen::Flipped);
        }
        if let Some(why) = switch.still_wanted(&tenant) {
            bail!(Failure::new(Kind::Blocked, format!("{why}: roll back")));
        }
        if tenant.is_paused() && !switch.has_paused(&tenant) {
            let why = format!(
                "{} was paused by somebody else (annotation {PAUSED}) before it was frozen: Kamaji does not install its freeze any more, and its job copies what is written to; roll back",
                switch.shown()
            );
            bail!(Failure::new(Kind::FreezeBroken, why));
        }
        if let Some(seen) = self.not_begun(&tenant).await? {
            return Ok(Seen::NotYet(seen));
        }
        let servers = switch.api_servers().await?;
        if let Some(why) = switch.open_by(&servers).await? {
            if switch.has_paused(&tenant) {
                let why = format!("{why}, and Kamaji is paused: roll back");
                bail!(Failure::new(Kind::FreezeBroken, why));
            }
            return Ok(Seen::NotYet(why));
        }
        Ok(Seen::InForce(
            servers.into_iter().map(|server| server.pod).collect(),
        ))
    }

    /// What is missing of Kamaji's beginning.
    async fn not_begun(&self, tenant: &TenantControlPlane) -> Result<Option<String>> {
        let status = &tenant.status.kubernetes_resources.version.status;
        if status != "Migrating" {
            return Ok(Some(format!("it is {status}, not Migrating")));
        }
        let manager = self.0.manager().await?;
        let job = self.0.job(&manager).await?;
        Ok(job.is_none().then(|| {
            let name = self.0.job_name();
            format!("there is no job {}/{name}", manager.namespace)
        }))
    }

    /// Pauses Kamaji once the freeze is in force; the pods that refuse writes, or none where Kamaji was faster.
    async fn hold(&self, cx: &Cx) -> Result<Option<Vec<String>>> {
        let switch = &self.0;
        let what = format!("Kamaji to freeze {}", switch.shown());
        let begun = Instant::now();
        loop {
            match self.look().await? {
                Seen::Flipped => {
                    switch.resume().await?;
                    return Ok(None);
                }
                Seen::InForce(pods) => {
                    let paused = switch.has_paused(&switch.control_plane().await?);
                    if paused {
                        return Ok(Some(pods));
                    }
                    switch.pause(&switch.place).await?;
                    self.settle().await?;
                }
                Seen::NotYet(seen) if begun.elapsed() < IN_FORCE_WITHIN => {
                    cx.sink.waiting(self.id(), &format!("{what}: {seen}"));
                    sleep(LOOK).await;
                }
                // Not frozen, the tenant is written to while it is copied: Kamaji must not give that copy away.
                Seen::NotYet(seen) => {
                    let open = || {
                        format!(
                            "{} is not frozen ({seen}), and Kamaji could not be held: roll back at once",
                            switch.shown()
                        )
                    };
                    switch.pause(&switch.place).await.with_context(open)?;
                    self.settle().await?;
                    if !switch.is_flipped(&switch.control_plane().await?) {
                        return Err(self.never(&seen).await.into());
                    }
                }
            }
        }
    }

    /// A Job that was complete before the pause may have been seen complete: the flip may be on its way.
    async fn settle(&self) -> Result<()> {
        let job = self.0.job(&self.0.manager().await?).await?;
        if job.is_some_and(|job| has(&job, "Complete")) {
            sleep(SETTLES_WITHIN).await;
        }
        Ok(())
    }

    async fn never(&self, seen: &str) -> Failure {
        let (switch, mut evidence) = (&self.0, Vec::new());
        let mut why = format!(
            "Kamaji has not frozen {} within {IN_FORCE_WITHIN:?} ({seen}): it may be written to while it is copied, so Kamaji is paused, and gives it away to nobody; roll back",
            switch.shown()
        );
        if let Ok(manager) = switch.manager().await {
            evidence = switch.job_evidence(&manager).await;
            let shown = manager.shown();
            why = format!("{why}, and look at the log of {shown} for {KAMAJI_FREEZE}");
        }
        Failure::new(Kind::TimedOut, why).with_evidence(evidence)
    }

    /// Closes what Kamaji's freeze leaves open: `kube-system`, and subresources such as `status`.
    async fn close_holes(&self, cx: &Cx) -> Result<()> {
        let switch = &self.0;
        let servers = switch.api_servers().await?;
        switch.make_policy(&servers[0]).await?;
        let (message, begun) = (switch.frozen_message(), Instant::now());
        for server in &servers {
            while server.refusal(&message).await? != Refusal::Ours {
                if begun.elapsed() > CLOSED_WITHIN {
                    let why = format!(
                        "pod {} does not refuse what Kamaji's freeze lets through after {CLOSED_WITHIN:?}",
                        server.pod
                    );
                    bail!(Failure::new(Kind::TimedOut, why));
                }
                cx.sink.waiting(
                    self.id(),
                    &format!("pod {} to refuse every write", server.pod),
                );
                sleep(LOOK).await;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Step for AwaitFreeze {
    fn id(&self) -> &'static str {
        FROZEN_BY_KAMAJI.step()
    }

    fn title(&self) -> String {
        "see Kamaji's freeze in force, and hold Kamaji before it flips".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("let Kamaji lift it, with request".to_owned())
    }

    fn freezes(&self) -> Freezes {
        Freezes::Begin
    }

    async fn rehearse(&self, _: &Cx) -> Result<Vec<String>> {
        Ok(vec![format!("{}: annotate {PAUSED}", self.0.shown())])
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let held = self.hold(cx).await?;
        let (raced, refused_by) = (held.is_none(), held.unwrap_or_default());
        if raced {
            cx.sink.notice(format!(
                "Kamaji's job was done before Kamaji could be held: {} belongs to datastore {} already, and the stores can only be compared afterwards",
                self.0.shown(),
                self.0.tenant.target
            ));
        } else if self.0.knows_policies() {
            self.close_holes(cx).await?;
        }
        Ok(Outcome::Done(serde_json::to_value(FrozenByKamaji {
            how: "kamaji".to_owned(),
            refused_by,
            since: Timestamp::now(),
            raced,
        })?))
    }

    async fn holds(&self, _: &Cx) -> Result<Holds> {
        if self.0.is_flipped(&self.0.control_plane().await?) {
            return Ok(Holds::Yes);
        }
        Ok(self.0.gate_open_by().await?.map_or(Holds::Yes, Holds::No))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        if self.0.is_flipped(&self.0.control_plane().await?) {
            return Ok(Undone::Restored); // what request's undo says of it
        }
        let servers: Vec<ApiServer> = self.0.api_servers().await?;
        if let Some(server) = servers.first() {
            self.0.remove_policy(server).await?;
        }
        Ok(Undone::Restored)
    }
}
