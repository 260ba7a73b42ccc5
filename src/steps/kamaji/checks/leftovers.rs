use anyhow::Result;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::ResourceExt as _;

use super::super::{Switch, controller::Manager};
use crate::{
    adapters::{
        kamaji::{CLEANUP_PRIOR_MIGRATION, MIGRATION_TIMEOUT, TenantControlPlane},
        kube::{Selector, list_all},
    },
    engine::Check,
    plan::TenantWay,
};

impl Switch {
    /// What an earlier migration by Kamaji left: a Job that still runs writes to a store meanwhile.
    pub(super) async fn check_leftovers(&self, tenant: &TenantControlPlane) -> Vec<Check> {
        let mut checks = vec![self.check_jobs().await];
        checks.extend(self.check_orphans().await);
        for annotation in [CLEANUP_PRIOR_MIGRATION, MIGRATION_TIMEOUT] {
            if let Some(value) = tenant.annotation(annotation) {
                checks.push(Check::warn(
                    "leftovers",
                    self.shown(),
                    format!("has annotation {annotation}={value}, which acts on the next migration by Kamaji"),
                    format!("kubectl annotate tcp {} -n {} {annotation}-", self.tenant.name, self.place.namespace),
                ));
            }
        }
        checks
    }

    /// A Job of the same arguments that has ended makes Kamaji flip at once, without any copy: it takes it for its
    /// own.
    pub(in super::super) async fn check_no_job(&self, manager: &Manager) -> Result<Option<Check>> {
        let Some(job) = self.job(manager).await? else {
            return Ok(None);
        };
        let (namespace, name) = (&manager.namespace, job.name_any());
        Ok(Some(Check::block(
            "migration job",
            format!("job {namespace}/{name}"),
            "is of an earlier migration: Kamaji would take it for the new one's, and what it copied then for a copy of now",
            format!("kubectl delete job {name} -n {namespace} --cascade=foreground"),
        )))
    }

    /// Deleting a Job by `kubectl delete --cascade=orphan`, as Kamaji's controller does in effect, leaves its pod.
    async fn check_orphans(&self) -> Option<Check> {
        let job = format!("migrate-{}", self.tenant.uid);
        let selector = Selector::labels(format!("batch.kubernetes.io/job-name={job}"));
        let pods = list_all(&self.place.cluster.everywhere::<Pod>(), &selector).await;
        let pods = match pods {
            Ok(pods) => pods,
            Err(error) => {
                return Some(Check::warn(
                    "migration pod",
                    self.shown(),
                    format!("pods cannot be looked at: {error}"),
                    format!("make sure that no pod of job {job} runs"),
                ));
            }
        };
        let running = pods.into_iter().find(|pod| {
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            !matches!(phase, Some("Succeeded" | "Failed"))
        })?;
        let (namespace, name) = (running.namespace().unwrap_or_default(), running.name_any());
        Some(Check::block(
            "migration pod",
            format!("pod {namespace}/{name}"),
            "is of an earlier migration and runs: it may write to a store at any time",
            format!("kubectl delete pod {name} -n {namespace}"),
        ))
    }

    async fn check_jobs(&self) -> Check {
        let name = "migration job";
        let selector = format!(
            "tcp.kamaji.clastix.io/name={},tcp.kamaji.clastix.io/namespace={}",
            self.tenant.name, self.place.namespace
        );
        let jobs = list_all(
            &self.place.cluster.everywhere::<Job>(),
            &Selector::labels(selector),
        )
        .await;
        let jobs = match jobs {
            Ok(jobs) => jobs,
            Err(error) => {
                return Check::warn(
                    name,
                    self.shown(),
                    format!("jobs cannot be looked at: {error}"),
                    "make sure that no job of Kamaji's works on it",
                );
            }
        };
        let ended = |job: &Job| {
            let conditions = job
                .status
                .as_ref()
                .and_then(|status| status.conditions.as_ref());
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|condition| condition.type_ == "Complete" && condition.status == "True")
        };
        let shown = |job: &Job| {
            format!(
                "job {}/{}",
                job.namespace().unwrap_or_default(),
                job.name_any()
            )
        };
        if let Some(job) = jobs.iter().find(|job| !ended(job)) {
            let (namespace, job_name) = (job.namespace().unwrap_or_default(), job.name_any());
            return Check::block(
                name,
                shown(job),
                "is of an earlier migration and has not ended: its pod may write to a store at any time",
                format!("kubectl delete job {job_name} -n {namespace} --cascade=foreground"),
            );
        }
        match jobs.first() {
            // By Kamaji's own Job it is told, and refused, by its name.
            Some(job) if self.way == TenantWay::Controller => {
                Check::pass(name, shown(job), "has ended")
            }
            Some(job) => Check::pass(name, shown(job), "has ended, and is not in the way"),
            None => Check::pass(
                name,
                self.shown(),
                "no job of an earlier migration is there",
            ),
        }
    }
}
