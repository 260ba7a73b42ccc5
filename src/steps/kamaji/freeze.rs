use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Switch,
    api::{ApiServer, Write, at_least_one},
};
use crate::{
    engine::{Cx, Failure, Freezes, Holds, Key, Kind, Outcome, Step, UndoPlan, Undone},
    plan::{TenantFreeze, TenantWay},
};

/// Stops the writes to the tenant, and proves it.
#[derive(Clone, Debug)]
pub struct FreezeTenant(pub Switch);

/// What the freeze leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frozen {
    /// How it was frozen.
    pub how: String,
    /// The API servers that were seen to refuse a write; none where they were stopped.
    pub refused_by: Vec<String>,
    /// Since when the proof stands.
    pub since: Timestamp,
}

/// What the freeze leaves in the journal.
pub const FROZEN: Key<Frozen> = Key::new("freeze");

/// A policy is in force within a second; an API server that takes so long has another trouble.
const IN_FORCE_WITHIN: Duration = Duration::from_mins(3);
/// Between two probes: each is a small request, and writes are accepted meanwhile.
const BETWEEN_PROBES: Duration = Duration::from_millis(100);

impl Switch {
    /// Waits until every API server does so with a write; their pods.
    pub(super) async fn until_all(
        &self,
        wanted: &Write,
        servers: &[ApiServer],
        cx: &Cx,
        step: &str,
    ) -> Result<Vec<String>> {
        let message = self.frozen_message();
        let begun = Instant::now();
        for server in servers {
            loop {
                if server.probe(&message).await? == *wanted {
                    break;
                }
                let what = match wanted {
                    Write::Frozen => "refuse",
                    Write::Accepted => "accept",
                };
                if begun.elapsed() > IN_FORCE_WITHIN {
                    bail!(Failure::new(
                        Kind::TimedOut,
                        format!(
                            "pod {} does not {what} writes after {IN_FORCE_WITHIN:?}",
                            server.pod
                        ),
                    ));
                }
                cx.sink
                    .waiting(step, &format!("pod {} to {what} writes", server.pod));
                tokio::time::sleep(BETWEEN_PROBES).await;
            }
        }
        Ok(servers.iter().map(|server| server.pod.clone()).collect())
    }

    async fn make_read_only(&self, cx: &Cx) -> Result<Vec<String>> {
        let servers = self.api_servers().await?;
        at_least_one(&servers, &self.shown())?;
        self.make_policy(&servers[0]).await?;
        let refused = self
            .until_all(&Write::Frozen, &servers, cx, "freeze")
            .await?;
        // One that came meanwhile has not been asked.
        let now: Vec<_> = self
            .pods()
            .await?
            .into_iter()
            .filter_map(|pod| pod.metadata.name)
            .collect();
        if let Some(new) = now.iter().find(|pod| !refused.contains(pod)) {
            bail!(Failure::new(
                Kind::FreezeBroken,
                format!(
                    "pod {new} is a new API server of {}, and nobody knows whether it refuses writes",
                    self.shown()
                ),
            ));
        }
        Ok(refused)
    }

    /// Why the tenant may be written to again; none while it is frozen.
    pub(super) async fn thawed_by(&self) -> Result<Option<String>> {
        if self.way == TenantWay::Controller {
            return self.gate_open_by().await;
        }
        let shown = self.shown();
        if self.freeze == TenantFreeze::Offline {
            let pods = self.pods().await?;
            let names: Vec<_> = pods
                .into_iter()
                .filter_map(|pod| pod.metadata.name)
                .collect();
            return Ok((!names.is_empty())
                .then(|| format!("pod {} serves {shown} again", names.join(", "))));
        }
        let message = self.frozen_message();
        let servers = self.api_servers().await?;
        for server in &servers {
            if !self.has_policy(server).await? {
                return Ok(Some(format!(
                    "somebody removed validatingadmissionpolicy {} from the tenant",
                    super::policy::POLICY
                )));
            }
            if server.probe(&message).await? != Write::Frozen {
                return Ok(Some(format!(
                    "pod {} of {shown} accepts writes",
                    server.pod
                )));
            }
        }
        Ok(None)
    }

    /// A later step's own look: what is read next must be the last there is.
    pub(super) async fn still_frozen(&self) -> Result<()> {
        match self.thawed_by().await? {
            None => Ok(()),
            Some(why) => Err(Failure::new(Kind::FreezeBroken, why).into()),
        }
    }
}

#[async_trait]
impl Step for FreezeTenant {
    fn id(&self) -> &'static str {
        FROZEN.step()
    }

    fn title(&self) -> String {
        match self.0.freeze {
            TenantFreeze::ReadOnly => format!("let {} refuse every write", self.0.tenant.name),
            TenantFreeze::Offline => format!("stop the API servers of {}", self.0.tenant.name),
        }
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By(match self.0.freeze {
            TenantFreeze::ReadOnly => "accept writes again".to_owned(),
            TenantFreeze::Offline => "start them again".to_owned(),
        })
    }

    fn freezes(&self) -> Freezes {
        Freezes::Begin
    }

    async fn rehearse(&self, _: &Cx) -> Result<Vec<String>> {
        Ok(vec![format!("{}: {}", self.0.shown(), self.title())])
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let refused_by = match self.0.freeze {
            TenantFreeze::ReadOnly => self.0.make_read_only(cx).await?,
            TenantFreeze::Offline => {
                self.0.stop_servers(cx).await?;
                Vec::new()
            }
        };
        Ok(Outcome::Done(serde_json::to_value(Frozen {
            how: self.0.freeze.to_string(),
            refused_by,
            since: Timestamp::now(),
        })?))
    }

    async fn holds(&self, _: &Cx) -> Result<Holds> {
        // After the flip the tenant is frozen at the target, or thawed there on purpose.
        if self.0.is_flipped(&self.0.control_plane().await?) {
            return Ok(Holds::Yes);
        }
        Ok(self.0.thawed_by().await?.map_or(Holds::Yes, Holds::No))
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        match self.0.freeze {
            TenantFreeze::ReadOnly => {
                let servers = self.0.api_servers().await?;
                at_least_one(&servers, &self.0.shown())?;
                self.0.remove_policy(&servers[0]).await?;
                self.0
                    .until_all(&Write::Accepted, &servers, cx, self.id())
                    .await?;
            }
            TenantFreeze::Offline => self.0.start_servers(cx).await?,
        }
        Ok(Undone::Restored)
    }
}
