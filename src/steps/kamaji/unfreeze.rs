//! Lifting a switch's freeze by what the objects themselves tell: when the journal is lost, too.
use anyhow::Result;
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy, apps::v1::Deployment,
};
use kube::api::ObjectMeta;

use super::{
    Stores, Switch, Tenant,
    api::{ApiServer, Write},
    controller::Original,
    pause::paused_by,
    policy::POLICY,
};
use crate::{
    adapters::{
        kamaji::PAUSED,
        kube::{get_opt, scale},
    },
    engine::{Cx, Failure, Kind, Undone},
    marks::{Belongs, HOME, MIGRATION, RUN},
    plan::{TenantFreeze, TenantWay},
    steps::Place,
};

/// A tenant's control plane that a switch holds: paused, read-only or stopped.
pub struct Held {
    switch: Switch,
    paused: bool,
    servers: Vec<ApiServer>,
    frozen: bool,
    stopped: bool,
}

impl Held {
    /// Looks at a control plane; none when no switch holds it.
    pub async fn find(place: &Place, name: &str) -> Result<Option<Self>> {
        let tenant = Tenant::as_it_is(place, name).await?;
        let mut switch = Switch {
            belongs: Belongs {
                migration: String::new(),
                home: place.namespace.clone(),
                run: String::new(),
            },
            place: place.clone(),
            stores: Stores::new(place.cluster.clone(), tenant.clone()),
            way: TenantWay::Direct,
            freeze: TenantFreeze::ReadOnly,
            max_freeze: None,
            tenant,
        };
        let control_plane = switch.control_plane().await?;
        let paused = control_plane.annotation(PAUSED).and_then(paused_by);
        let servers = switch.staying_api_servers().await?;
        let policy = match servers.first() {
            Some(server) => {
                let api = server.cluster.cluster_scoped::<ValidatingAdmissionPolicy>();
                get_opt(&api, POLICY).await?
            }
            None => None,
        };
        let of_policy = policy
            .as_ref()
            .and_then(|policy| labelled(&policy.metadata));
        let deployments = place.api::<Deployment>();
        let deployment = get_opt(&deployments, &switch.tenant.deployment).await?;
        let replicas = deployment.and_then(|found| found.spec?.replicas);
        let stopped = paused.is_some() && replicas == Some(0) && switch.tenant.replicas > 0;
        let frozen = policy.is_some();
        let asked = Original::read(&control_plane)?.map(|original| original.belongs());
        if asked.is_some() {
            switch.way = TenantWay::Controller;
        }
        let Some(belongs) = asked.or(of_policy).or_else(|| paused.clone()) else {
            return Ok(None);
        };
        switch.belongs = belongs;
        if stopped {
            switch.freeze = TenantFreeze::Offline;
        }
        Ok(Some(Self {
            switch,
            paused: paused.is_some(),
            servers,
            frozen,
            stopped,
        }))
    }

    /// The migration that holds it, with the namespace of its journal.
    #[must_use]
    pub fn by(&self) -> &Belongs {
        &self.switch.belongs
    }

    /// What is put back, one line each.
    pub async fn lines(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        if let Some((wants, uses)) = self.half_flipped().await? {
            lines.push(format!("spec.dataStore {wants} → {uses}, which it uses"));
        }
        if self.stopped {
            lines.push(format!("replicas 0 → {}", self.switch.tenant.replicas));
        }
        if self.frozen {
            lines.push(format!(
                "accept writes: remove validatingadmissionpolicy {POLICY} from the tenant"
            ));
        }
        if self.paused {
            lines.push(format!("remove annotation {PAUSED}"));
        }
        if self.switch.way == TenantWay::Controller {
            lines.push("put the annotations back that Kamaji's job goes by".to_owned());
            let tenant = self.switch.control_plane().await?;
            if tenant.spec.data_store != tenant.status.storage.data_store_name {
                lines.push(format!(
                    "delete Kamaji's job, and what it copied to datastore {}",
                    tenant.spec.data_store
                ));
            }
        }
        Ok(lines)
    }

    /// Puts it back, and sees a write accepted.
    pub async fn release(&self, cx: &Cx) -> Result<()> {
        if self.switch.way == TenantWay::Controller {
            return Box::pin(self.take_back(cx)).await;
        }
        // Un-paused with another wish the controller would begin a migration of its own.
        if let Some((wants, uses)) = self.half_flipped().await? {
            self.switch.want(&self.switch.place, &wants, &uses).await?;
        }
        if self.stopped {
            let deployments = self.switch.place.api::<Deployment>();
            let tenant = &self.switch.tenant;
            scale(&deployments, &tenant.deployment, tenant.replicas).await?;
        }
        if let Some(server) = self.servers.first() {
            self.switch.remove_policy(server).await?;
            self.switch
                .until_all(&Write::Accepted, &self.servers, cx, "thaw")
                .await?;
        }
        self.switch.resume_any().await
    }

    /// Puts a switch by Kamaji's own Job back, or, where it has flipped, lets it be used at the target.
    async fn take_back(&self, cx: &Cx) -> Result<()> {
        let tenant = self.switch.control_plane().await?;
        let uses = tenant.status.storage.data_store_name.clone();
        let wants = tenant.spec.data_store.clone();
        if let Some(server) = self.servers.first() {
            self.switch.remove_policy(server).await?;
        }
        if wants != uses {
            let mut switch = self.switch.clone();
            switch.tenant.target.clone_from(&wants);
            switch.stores = Stores::new(switch.place.cluster.clone(), switch.tenant.clone());
            return match Box::pin(switch.abort(cx, "thaw")).await? {
                Undone::Restored => Ok(()),
                Undone::Irreversible(why) => Err(Failure::new(Kind::Blocked, why).into()),
            };
        }
        self.switch.resume_any().await?;
        self.switch.until_lifted(cx, "thaw").await?;
        self.switch.restore_annotations().await
    }

    /// What it wants and what it uses, where a switch was broken off between the two.
    async fn half_flipped(&self) -> Result<Option<(String, String)>> {
        let tenant = self.switch.control_plane().await?;
        let (wants, uses) = (
            tenant.spec.data_store,
            tenant.status.storage.data_store_name,
        );
        Ok((self.paused && wants != uses).then_some((wants, uses)))
    }

    /// The refusal to take it from a migration that is not at its end.
    #[must_use]
    pub fn taken(&self) -> Failure {
        let Belongs {
            migration, home, ..
        } = self.by();
        let why = format!(
            "{} is held by migration {home}/{migration}, which is not at its end",
            self.switch.shown()
        );
        let command = |verb: &str| format!("kubectl migrate {verb} {migration} -n {home}");
        Failure::new(Kind::Blocked, why)
            .with_next(command("run"), "goes on with it")
            .with_next(command("rollback"), "puts everything back")
    }
}

/// Whose object it is.
fn labelled(meta: &ObjectMeta) -> Option<Belongs> {
    let labels = meta.labels.as_ref()?;
    Some(Belongs {
        migration: labels.get(MIGRATION)?.clone(),
        home: labels.get(HOME)?.clone(),
        run: labels.get(RUN)?.clone(),
    })
}
