use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    probe::{LISTENS, Probes, Want},
    sealed,
};
use crate::{
    adapters::kube::{Selector, Wait, create_owned, delete_and_wait, get_opt, list_all},
    engine::{Check, Cx, Key, Outcome, Step, UndoPlan, Undone},
    marks::{Belongs, ROLE},
    plan::Network,
    steps::{Place, movers::Movers},
};

/// Closes the network of the namespace, and proves that it is closed.
#[derive(Clone, Debug)]
pub struct Wall {
    /// The migration.
    pub belongs: Belongs,
    /// The namespace.
    pub place: Place,
    /// What will run there.
    pub workload: Value,
    /// Whether it has to be closed.
    pub network: Network,
    /// Their image is that of the pods that look.
    pub movers: Movers,
}

/// What it leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Walled {
    /// Whether a connection that was open before was refused or lost then.
    pub closed: bool,
}

/// What it leaves in the journal.
pub const WALLED: Key<Walled> = Key::new("wall");

/// The policy.
const POLICY: &str = "deny-all";
/// The movers reach the bucket. They are gone when the workload starts.
const MOVER: &str = "mover-target";
/// It is gone as soon as it is deleted.
const GONE: Duration = Duration::from_mins(1);
/// What goes on without a closed network.
const CURE: &str = "if the workload may reach whatever it wants to, go on with --open-network";

impl Wall {
    fn probes(&self) -> Probes {
        Probes {
            belongs: self.belongs.clone(),
            place: self.place.clone(),
            image: self.movers.image.clone(),
            pull_secret: self.movers.pull_secret.clone(),
            starts_within: self.movers.starts_within,
        }
    }

    fn api(&self) -> Api<NetworkPolicy> {
        self.place.api()
    }

    /// Nothing in and nothing out, for all pods but the movers, and the one that is dialled to prove it.
    fn policy(&self) -> Result<NetworkPolicy> {
        Ok(serde_json::from_value(json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {
                "name": POLICY, "namespace": self.place.namespace, "labels": self.belongs.labels("wall"),
            },
            "spec": {
                "podSelector": {"matchExpressions": [{"key": ROLE, "operator": "NotIn", "values": [MOVER, LISTENS]}]},
                "policyTypes": ["Ingress", "Egress"],
            },
        }))?)
    }

    /// Whether it is closed, or why nobody can tell.
    async fn prove(&self) -> Result<Result<bool, String>> {
        let probes = self.probes();
        let address = probes.listen().await?;
        // What could not be reached before proves nothing when it cannot be reached later.
        if !probes.sees(Want::Open, &address).await? {
            let why = "one pod cannot reach another there even without a policy";
            return Ok(Err(why.to_owned()));
        }
        for policy in list_all(&self.api(), &Selector::all()).await? {
            if !self.belongs.owns(&policy.metadata) {
                let name = policy.metadata.name.unwrap_or_default();
                let why = format!(
                    "networkpolicy {name} is in it, which is not ours, and what one allows no other forbids"
                );
                return Ok(Err(why));
            }
        }
        create_owned(&self.api(), &self.policy()?).await?;
        // Once it is in force, a new pod is not to be open either, not even at first.
        let closed = probes.sees(Want::Closed, &address).await?
            && probes.sees(Want::Never, &address).await?;
        if closed && !probes.listens().await? {
            let why = "the pod that was to be reached has ended by itself";
            return Ok(Err(why.to_owned()));
        }
        Ok(Ok(closed))
    }

    async fn take_down(&self) -> Result<()> {
        self.probes().remove().await?;
        if let Some(policy) = get_opt(&self.api(), POLICY).await?
            && self.belongs.owns(&policy.metadata)
        {
            let what = format!("networkpolicy {}/{POLICY} to be gone", self.place.namespace);
            let uid = policy.metadata.uid.as_deref();
            delete_and_wait(&self.api(), POLICY, uid, &Wait::new(&what, GONE)).await?;
        }
        Ok(())
    }

    fn blocked(&self, why: impl Into<String>) -> Check {
        Check::block("network", self.place.itself(), why, CURE)
    }
}

#[async_trait]
impl Step for Wall {
    fn id(&self) -> &'static str {
        WALLED.step()
    }

    fn title(&self) -> String {
        match self.network {
            Network::Closed => "close its network, and prove that it is closed".to_owned(),
            Network::Open => "leave its network open".to_owned(),
        }
    }

    fn undo_plan(&self) -> UndoPlan {
        match self.network {
            Network::Closed => UndoPlan::By("take the policy and its pods away".to_owned()),
            Network::Open => UndoPlan::Nothing,
        }
    }

    async fn preflight(&self, _: &Cx) -> Result<Vec<Check>> {
        let mut checks = Vec::new();
        let object = self.place.itself();
        if self.network == Network::Closed
            && let Some(field) = sealed::of_node(&self.workload)
        {
            let why = format!("the pods have {field}, and what that opens no policy closes");
            checks.push(self.blocked(why));
        }
        let shared = sealed::shared(&self.workload);
        if !shared.is_empty() {
            checks.push(Check::block(
                "shared volumes",
                object,
                format!(
                    "the pods reach {}, which the running workload may have as well",
                    shared.join(", ")
                ),
                "such a workload cannot be started twice: --level 2 reads all of the snapshot",
            ));
        }
        Ok(checks)
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        if self.network == Network::Open {
            cx.sink.notice(format!(
                "{}: the workload can reach what the cluster lets it reach (--open-network)",
                self.place.itself()
            ));
            return Ok(Outcome::Done(serde_json::to_value(Walled {
                closed: false,
            })?));
        }
        if cx.again {
            // Half of a proof is none: from the beginning, without a policy.
            self.take_down().await?;
        }
        let proved = tokio::select! {
            proved = self.prove() => proved?,
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        let why = match proved {
            Ok(true) => {
                self.probes().remove().await?;
                return Ok(Outcome::Done(serde_json::to_value(Walled { closed: true })?));
            }
            Ok(false) => "the cluster's network does not enforce policies: a connection went through that a NetworkPolicy forbids".to_owned(),
            Err(why) => format!("nobody can prove that it is closed: {why}"),
        };
        self.take_down().await?;
        Ok(Outcome::Blocked(vec![self.blocked(why)]))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        self.take_down().await?;
        Ok(Undone::Restored)
    }
}
