//! Kamaji's Job with its pods: also those that an earlier Job has left, which go on writing.
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Preconditions},
};

use super::{super::Switch, manager::Manager};
use crate::{
    adapters::kube::{
        KubeError, Look, Selector, Wait, delete_and_wait, get_opt, list_all, wait_for,
    },
    engine::Cx,
};

/// A pod ends within its grace of 30 seconds, unless its node is away.
const GONE_WITHIN: Duration = Duration::from_mins(2);

/// Whether a Job has this condition.
pub(super) fn has(job: &Job, condition: &str) -> bool {
    let status = job.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one.type_ == condition && one.status == "True")
}

/// Whether a pod can still write.
pub(super) fn is_alive(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

impl Switch {
    /// The Job's name.
    pub(in super::super) fn job_name(&self) -> String {
        format!("migrate-{}", self.tenant.uid)
    }

    fn jobs(&self, manager: &Manager) -> Api<Job> {
        self.place.cluster.namespaced(&manager.namespace)
    }

    /// The Job, if it is there.
    pub(in super::super) async fn job(&self, manager: &Manager) -> Result<Option<Job>, KubeError> {
        get_opt(&self.jobs(manager), &self.job_name()).await
    }

    /// The pods of this Job and of earlier ones of its name.
    pub(in super::super) async fn job_pods(
        &self,
        manager: &Manager,
    ) -> Result<Vec<Pod>, KubeError> {
        let selector = format!("batch.kubernetes.io/job-name={}", self.job_name());
        let pods = self.place.cluster.namespaced::<Pod>(&manager.namespace);
        list_all(&pods, &Selector::labels(selector)).await
    }

    /// Deletes the Job with its pods, and pods that no Job owns any more; waits until none of them can write.
    pub(super) async fn remove_job(&self, manager: &Manager, cx: &Cx, step: &str) -> Result<()> {
        let (namespace, name) = (&manager.namespace, self.job_name());
        let what = format!("job {namespace}/{name} and its pods to be gone");
        let tell = |seen: &str| cx.sink.waiting(step, seen);
        let wait = Wait::new(&what, GONE_WITHIN).telling(&tell);
        if let Some(job) = self.job(manager).await? {
            let params = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: job.metadata.uid.clone(),
                    resource_version: None,
                }),
                // Without it its pods would be left, and go on writing.
                ..DeleteParams::foreground()
            };
            let jobs = self.jobs(manager);
            match jobs.delete(&name, &params).await.map_err(KubeError::from) {
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
            wait_for(&jobs, &name, &wait, |found: Option<&Job>| match found {
                None => Look::Done,
                Some(found) if found.metadata.uid != job.metadata.uid => Look::Done,
                Some(_) => Look::NotYet("its pods are ending".to_owned()),
            })
            .await?;
        }
        let pods = self.place.cluster.namespaced::<Pod>(namespace);
        for pod in self.job_pods(manager).await? {
            let uid = pod.metadata.uid.as_deref();
            delete_and_wait(&pods, &pod.name_any(), uid, &wait).await?;
        }
        Ok(())
    }
}
