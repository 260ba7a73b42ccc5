//! Kamaji itself: where it makes its Jobs, and with what.
use anyhow::{Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Container};
use kube::ResourceExt as _;

use super::super::Switch;
use crate::{
    adapters::kube::{Selector, list_all},
    engine::{Failure, Kind},
};

/// The labels of Kamaji's own Deployment, as its chart sets them.
pub(in super::super) const MANAGER: &str =
    "app.kubernetes.io/name=kamaji,app.kubernetes.io/component=controller-manager";
/// The flag that says which image its Jobs have.
const IMAGE_FLAG: &str = "--migrate-image";

/// What is known of Kamaji's own Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Manager {
    /// The Deployment's name.
    pub name: String,
    /// Where it runs, and where its Jobs are made.
    pub namespace: String,
    /// Its account, which its Jobs use, too.
    pub account: String,
    /// Its own image.
    pub image: String,
    /// Its Jobs' image, where its flags say so.
    pub migrate_image: Option<String>,
    /// What its own pods pull with; its Jobs do not.
    pub pull_secrets: Vec<String>,
}

impl Manager {
    fn of(deployment: &Deployment) -> Option<Self> {
        let spec = deployment.spec.as_ref()?.template.spec.as_ref()?;
        let container = spec
            .containers
            .iter()
            .find(|container| container.name == "manager")
            .or(spec.containers.first())?;
        Some(Self {
            name: deployment.name_any(),
            namespace: deployment.namespace()?,
            account: spec.service_account_name.clone()?,
            image: container.image.clone()?,
            migrate_image: flag(container, IMAGE_FLAG),
            pull_secrets: spec
                .image_pull_secrets
                .iter()
                .flatten()
                .map(|secret| secret.name.clone())
                .collect(),
        })
    }

    /// For people.
    pub(in super::super) fn shown(&self) -> String {
        format!("deployment {}/{}", self.namespace, self.name)
    }
}

/// The value of a flag, `--flag=value` or `--flag value`.
fn flag(container: &Container, name: &str) -> Option<String> {
    let mut words = container
        .command
        .iter()
        .flatten()
        .chain(container.args.iter().flatten());
    while let Some(word) = words.next() {
        match word.strip_prefix(name) {
            Some("") => return words.next().cloned(),
            Some(rest) if rest.starts_with('=') => return Some(rest[1..].to_owned()),
            _ => {}
        }
    }
    None
}

impl Switch {
    /// Kamaji's own Deployment. Without it nobody knows where its Jobs are.
    pub(in super::super) async fn manager(&self) -> Result<Manager> {
        let everywhere = self.place.cluster.everywhere::<Deployment>();
        let found = list_all(&everywhere, &Selector::labels(MANAGER)).await?;
        let all: Vec<_> = found.iter().filter_map(Manager::of).collect();
        ensure!(
            all.len() == 1,
            Failure::new(
                Kind::Blocked,
                format!(
                    "{} deployments have Kamaji's labels ({MANAGER}): its Jobs are made where the one is that works on {}",
                    all.len(),
                    self.shown()
                )
            )
            .with_next(
                format!("kubectl get deployments -A -l {MANAGER}"),
                "shows them"
            )
        );
        all.into_iter()
            .next()
            .ok_or_else(|| anyhow::anyhow!("a deployment"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_flag_is_read_in_both_its_forms() {
        let container = |args: serde_json::Value| -> Container {
            serde_json::from_value(json!({"name": "manager", "args": args})).expect("a container")
        };
        let read = |args| flag(&container(args), IMAGE_FLAG);
        assert_eq!(
            read(json!(["manager", "--migrate-image=a/b:1"])),
            Some("a/b:1".to_owned())
        );
        assert_eq!(
            read(json!(["--migrate-image", "a/b:1", "--other"])),
            Some("a/b:1".to_owned())
        );
        assert_eq!(read(json!(["--migrate-images=a/b:1"])), None);
    }
}
