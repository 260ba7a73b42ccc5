//! The movers of a plan, and what can be known of them before they are made.
use anyhow::Result;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, Node};

use super::Sides;
use crate::{
    adapters::kube::{KubeError, Selector, get_opt, list_all},
    engine::{Check, Failure, Kind},
    plan::{FreezeMode, MoverExecutable, MoverWay, Plan, RunAs},
    steps::{
        Place,
        inventory::Inventory,
        movers::{Movers, STARTS_WITHIN, Through, Ways, has_image},
        preflight::Look,
    },
};

/// The movers' image where neither plan nor flag names one: this program's own version. There is no public
/// registry behind it; the README says how to make the image and bring it to the nodes.
pub const DEFAULT_IMAGE: &str = concat!("localhost/kubectl-migrate:", env!("CARGO_PKG_VERSION"));

/// The label by which a namespace enforces a Pod Security standard.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// The movers of a plan.
pub(super) async fn of_plan(plan: &Plan, sides: &Sides, inventory: &Inventory) -> Result<Movers> {
    let mover = &plan.spec.mover;
    let run_as = match mover.run_as {
        RunAs::Auto if is_restricted(sides).await => RunAs::Workload,
        RunAs::Auto => RunAs::Root,
        chosen => chosen,
    };
    let put = mover.executable == MoverExecutable::Put;
    let by_exec = mover.ways() == [MoverWay::Exec];
    if put && by_exec {
        let why = "by way of `exec` nothing of ours runs in a pod: leave out either --put-mover or that way";
        return Err(Failure::new(Kind::Blocked, why).into());
    }
    let image = match &mover.image {
        Some(image) => image.clone(),
        None if put || by_exec => workloads_image(inventory)?,
        None => DEFAULT_IMAGE.to_owned(),
    };
    let through = mover.bucket.as_ref();
    let through = through.map(|place| Through::new(place, &sides.source, &sides.belongs));
    Ok(Movers {
        belongs: sides.belongs.clone(),
        source: sides.source.clone(),
        target: sides.target.clone(),
        volumes: inventory.volumes.clone(),
        workload: inventory.workload.clone(),
        image,
        executable: put.then(|| sides.executable.clone()),
        pull_secret: mover.pull_secret.clone(),
        run_as,
        starts_within: mover.start_within.map_or(STARTS_WITHIN, |span| span.0),
        ways: Ways::default(),
        allowed: mover.ways(),
        through: through.transpose()?,
        asleep: by_exec && plan.spec.freeze.mode == FreezeMode::Sleep,
        limit: sides.limit.clone(),
        only_read: false,
    })
}

/// The image of the workload's own first container, which is on the nodes where its volumes are.
fn workloads_image(inventory: &Inventory) -> Result<String, Failure> {
    let containers = &inventory.workload["spec"]["template"]["spec"]["containers"];
    let image = containers[0]["image"].as_str();
    image.map(str::to_owned).ok_or_else(|| {
        let why = "there is no workload whose image the movers could have: name one that the nodes have, and that has a shell, with --mover-image";
        Failure::new(Kind::Blocked, why)
    })
}

async fn is_restricted(sides: &Sides) -> bool {
    for place in [&sides.source, &sides.target] {
        // Without the right to look, root is tried, and a refusal is told by its event.
        if standard(place)
            .await
            .is_ok_and(|standard| standard.as_deref() == Some("restricted"))
        {
            return true;
        }
    }
    false
}

async fn standard(place: &Place) -> Result<Option<String>, KubeError> {
    let namespaces = place.cluster.cluster_scoped::<Namespace>();
    let namespace = get_opt(&namespaces, &place.namespace).await?;
    Ok(namespace.and_then(|namespace| namespace.metadata.labels?.get(ENFORCE).cloned()))
}

/// Whether movers will be let in, and whether their image is where they will run.
#[derive(Clone, Debug)]
pub struct MoverLook(pub(super) Movers);

#[async_trait]
impl Look for MoverLook {
    async fn look(&self) -> Result<Vec<Check>> {
        let mut checks = vec![self.security(&self.0.source).await];
        if self.0.goes_by_exec() {
            checks.extend(self.0.check_exec().await);
        } else if let Some(executable) = &self.0.executable {
            checks.extend(self.put(executable).await);
        } else {
            checks.push(self.image(&self.0.source).await);
            if self.0.target.remote {
                checks.push(self.image(&self.0.target).await);
            }
        }
        if self.0.target.remote || self.0.target.namespace != self.0.source.namespace {
            checks.push(self.security(&self.0.target).await);
        }
        checks.extend(self.0.check_bucket().await);
        Ok(checks)
    }
}

impl MoverLook {
    async fn security(&self, place: &Place) -> Check {
        let object = place.itself();
        let root = matches!(self.0.run_as, RunAs::Root | RunAs::Auto);
        match standard(place).await {
            Ok(Some(standard)) if standard == "restricted" && root => Check::block(
                "pod security",
                object,
                "enforces `restricted`, and movers are to run as root",
                "set spec.mover.runAs to workload or UID:GID, or relax the namespace's label for the time",
            ),
            Ok(Some(standard)) if !root => Check::warn(
                "pod security",
                object,
                format!("enforces `{standard}`: movers run as the workload's user"),
                "files of other owners cannot be kept as they are, and will be findings",
            ),
            Ok(standard) => {
                let standard = standard.unwrap_or_else(|| "no standard".to_owned());
                Check::pass("pod security", object, format!("enforces {standard}"))
            }
            Err(error) => Check::warn("pod security", object, error.to_string(), ""),
        }
    }

    /// Nodes name at most 50 of their images, so that one which is not named may still be there.
    async fn image(&self, place: &Place) -> Check {
        let image = &self.0.image;
        let object = format!("image {image}");
        let nodes = list_all(&place.cluster.cluster_scoped::<Node>(), &Selector::all()).await;
        let nodes = match nodes {
            Ok(nodes) => nodes,
            Err(error) => {
                let cure = format!(
                    "make sure that the nodes of {} can pull it",
                    place.cluster.context()
                );
                return Check::warn(
                    "mover image",
                    object,
                    format!("nodes cannot be looked at: {error}"),
                    cure,
                );
            }
        };
        let without: Vec<_> = nodes
            .iter()
            .filter(|node| !has_image(node, image))
            .filter_map(|node| node.metadata.name.clone())
            .collect();
        if without.is_empty() {
            let count = nodes.len();
            return Check::pass(
                "mover image",
                object,
                format!("is on all {count} nodes of {}", place.cluster.context()),
            );
        }
        Check::warn(
            "mover image",
            object,
            format!(
                "is not on node {}, which would have to pull it",
                without.join(", ")
            ),
            "bring it to the nodes, name one that they can pull (--mover-image), or use one that they have (--put-mover)",
        )
    }
}
