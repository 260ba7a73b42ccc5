//! What the way `controller` needs beyond the other: everything that Kamaji's Job can fail by.
use anyhow::Result;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::ServiceAccount;

use super::super::{Switch, controller::Manager};
use crate::{adapters::kube::get_opt, engine::Check, steps::preflight::Look};

/// Everything that is looked at before Kamaji's own Job is to copy.
#[derive(Clone, Debug)]
pub struct JobLook(pub Switch);

/// Where Kamaji's Jobs come from when its flags say nothing.
pub(super) const DEFAULT_IMAGE: &str = "docker.io/clastix/kamaji";

#[async_trait]
impl Look for JobLook {
    async fn look(&self) -> Result<Vec<Check>> {
        let switch = &self.0;
        let tenant = switch.control_plane().await?;
        // What follows would speak of this very migration's own Job.
        if switch.is_flipped(&tenant) || switch.has_paused(&tenant) {
            return Ok(Vec::new());
        }
        let manager = match switch.manager().await {
            Ok(manager) => manager,
            Err(error) => {
                return Ok(vec![Check::block(
                    "migration job",
                    switch.shown(),
                    format!("nobody can tell where it would be made: {error:#}"),
                    "use --way direct, which has no job",
                )]);
            }
        };
        let mut checks = vec![image(&manager)];
        match switch.check_no_job(&manager).await {
            Ok(check) => checks.extend(check),
            Err(error) => checks.push(unseen(&manager, &error)),
        }
        match switch.pull(&manager).await {
            Ok(check) => checks.push(check),
            Err(error) => checks.push(unseen(&manager, &error)),
        }
        checks.push(Box::pin(switch.probe_pod(&manager)).await);
        Ok(checks)
    }
}

pub(super) fn unseen(manager: &Manager, error: &dyn std::fmt::Display) -> Check {
    Check::block(
        "migration job",
        manager.shown(),
        format!("what its jobs need cannot be looked at: {error}"),
        "ask for the rights (--emit-role), or use --way direct",
    )
}

/// The image's repository, and its tag or digest.
pub(super) fn parts(image: &str) -> (&str, &str) {
    if let Some((repository, digest)) = image.split_once('@') {
        return (repository, digest);
    }
    let name = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[name..].find(':') {
        Some(colon) => (&image[..name + colon], &image[name + colon + 1..]),
        None => (image, "latest"),
    }
}

/// With the registry that a name without one means.
fn full(repository: &str) -> String {
    let first = repository.split('/').next().unwrap_or_default();
    let is_host = repository.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    if is_host {
        repository.to_owned()
    } else {
        format!("docker.io/{repository}")
    }
}

/// Kamaji's Job has an image of its own, which nobody needs until a migration.
fn image(manager: &Manager) -> Check {
    let (name, object) = ("migration image", manager.shown());
    let own = &manager.image;
    let (own_repository, own_tag) = parts(own);
    let cure = "set --migrate-image to the image that Kamaji itself runs, or use --way direct";
    let Some(wanted) = &manager.migrate_image else {
        return if full(own_repository) == DEFAULT_IMAGE {
            let evidence = format!("is {own}, and its jobs' default is of the same repository");
            Check::pass(name, object, evidence)
        } else {
            let evidence = format!(
                "runs {own} and has no flag --migrate-image: its jobs pull {DEFAULT_IMAGE}, of its build's tag"
            );
            Check::warn(name, object, evidence, cure)
        };
    };
    let (repository, tag) = parts(wanted);
    if full(repository) == full(own_repository) && tag == own_tag {
        return Check::pass(
            name,
            object,
            format!("its jobs run its own image, {wanted}"),
        );
    }
    Check::warn(
        name,
        object,
        format!("runs {own}, and its jobs run {wanted}"),
        cure,
    )
}

impl Switch {
    /// Jobs pull with what their account has; Kamaji's own pod may pull with more.
    async fn pull(&self, manager: &Manager) -> Result<Check> {
        let name = "pull secrets";
        let object = format!("serviceaccount {}/{}", manager.namespace, manager.account);
        let accounts = self
            .place
            .cluster
            .namespaced::<ServiceAccount>(&manager.namespace);
        let Some(account) = get_opt(&accounts, &manager.account).await? else {
            let cure = "make it, as Kamaji's chart does";
            return Ok(Check::block(name, object, "does not exist", cure));
        };
        let has: Vec<_> = account
            .image_pull_secrets
            .into_iter()
            .flatten()
            .map(|secret| secret.name)
            .collect();
        let missing: Vec<_> = manager
            .pull_secrets
            .iter()
            .filter(|secret| !has.contains(secret))
            .cloned()
            .collect();
        Ok(if missing.is_empty() {
            let evidence = format!("pulls with {} secrets, as Kamaji itself does", has.len());
            Check::pass(name, object, evidence)
        } else {
            let missing = missing.join(", ");
            Check::block(
                name,
                object,
                format!(
                    "lacks {missing}, which Kamaji's own pod pulls with: its jobs have the account's only"
                ),
                "add it to the account's imagePullSecrets, or use --way direct",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(own: &str, migrate: Option<&str>) -> Manager {
        Manager {
            name: "kamaji".to_owned(),
            namespace: "kamaji-system".to_owned(),
            account: "kamaji-controller-manager".to_owned(),
            image: own.to_owned(),
            migrate_image: migrate.map(str::to_owned),
            pull_secrets: Vec::new(),
        }
    }

    #[test]
    fn another_registry_or_tag_of_the_job_s_image_is_told() {
        use crate::engine::Verdict::{Pass, Warn};
        for (own, migrate, verdict) in [
            ("clastix/kamaji:v1.0.0", None, Pass),
            ("ghcr.io/clastix/kamaji:v1.0.0", None, Warn),
            (
                "ghcr.io/clastix/kamaji:v1.0.0",
                Some("ghcr.io/clastix/kamaji:v1.0.0"),
                Pass,
            ),
            (
                "ghcr.io/clastix/kamaji:v1.0.0",
                Some("clastix/kamaji:v1.0.0"),
                Warn,
            ),
            ("reg:5000/kamaji:v2", Some("reg:5000/kamaji:v1"), Warn),
            ("reg:5000/kamaji@sha256:1", Some("reg:5000/kamaji"), Warn),
            (
                "docker.io/clastix/kamaji:v1",
                Some("clastix/kamaji:v1"),
                Pass,
            ),
        ] {
            let check = image(&manager(own, migrate));
            assert_eq!(check.verdict, verdict, "{check:?}");
        }
    }
}
