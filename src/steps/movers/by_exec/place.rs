//! Where a volume can be read and filled by commands.
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{
    super::{Meter, Mover, Movers, Way, objects::CONTAINER, objects::VOLUME, retry::Loss},
    FOLDER, PAUSE, Shell, Shells, Target,
};
use crate::{
    adapters::kube::{Call, Selector, exec, exec_stream, list_all},
    engine::{Check, Cx, Failure, Kind},
    steps::inventory::{Mode, uses},
    transfer::{Side, archive::Dialect},
};

const CHECK: &str = "way exec";

/// A container that has a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spot {
    pod: String,
    container: String,
    root: String,
    image: String,
}

impl Movers {
    /// Both shells of a volume.
    pub(in super::super) async fn shells(
        &self,
        index: usize,
        cx: &Cx,
        meter: &Meter,
        expected: u64,
    ) -> Result<Shells, Loss> {
        if self.volumes[index].mode == Mode::Block {
            let why = "by exec go file systems, and it is a device: let a mover run (spec.mover)";
            return Err(Loss::Never(Failure::new(Kind::Blocked, why).into()));
        }
        let (source, target) = tokio::try_join!(
            self.source_shell(index, cx, meter),
            self.target_shell(index, cx, meter)
        )?;
        let (looked, held) = tokio::try_join!(source.size(), target.shell.look())?;
        for (missing, shell) in [(&looked.missing, &source), (&held.missing, &target.shell)] {
            if !missing.is_empty() {
                return Err(lacks(shell, missing));
            }
        }
        if let Some(loss) = source.cuts_owners(&looked) {
            return Err(loss);
        }
        let dialect = held.dialect();
        if self.ways.of(index).is_none() {
            let told = looked.dialect();
            meter.sink().notice(format!(
                "claim {}: its bytes go by exec: told by the {} of {}, and unpacked by the {} of {}",
                self.volumes[index].source,
                named(told),
                source.object,
                named(dialect),
                target.shell.object
            ));
        }
        self.ways.set(index, Way::Exec);
        Ok(Shells {
            index,
            run: self.run_of(index),
            source,
            target,
            dialect,
            fence: cx.fence,
            meter: meter.clone(),
            limit: self.limit.clone(),
            used: looked.used.unwrap_or(0),
            expected,
        })
    }

    /// The shell next to a target.
    pub(in super::super) async fn target_shell(
        &self,
        index: usize,
        cx: &Cx,
        meter: &Meter,
    ) -> Result<Target, Loss> {
        let side = Side::Target;
        let shell = self.waiting(Mover { index, side }, cx, meter).await?;
        let target = Target::new(shell, self.run_of(index), cx.fence);
        let missing = target.missing().await?;
        if missing.is_empty() || self.only_read {
            Ok(target)
        } else {
            Err(lacks(&target.shell, &missing))
        }
    }

    /// The shell next to a source: in a pod of its own workload where that sleeps, else in one that waits.
    async fn source_shell(&self, index: usize, cx: &Cx, meter: &Meter) -> Result<Shell, Loss> {
        if self.asleep
            && let Some(spot) = self.spot(index).await?
        {
            return Ok(self.shell(Side::Source, spot));
        }
        let side = Side::Source;
        self.waiting(Mover { index, side }, cx, meter).await
    }

    /// The shell of a pod that waits next to a volume.
    async fn waiting(&self, mover: Mover, cx: &Cx, meter: &Meter) -> Result<Shell, Loss> {
        let step = meter.step();
        let running = Box::pin(self.one(mover, None, &cx.sink, &step));
        let running = running.await.map_err(Loss::Never)?;
        let spot = Spot {
            pod: running.pod,
            container: CONTAINER.to_owned(),
            root: VOLUME.to_owned(),
            image: running.image,
        };
        Ok(self.shell(mover.side, spot))
    }

    /// A container of the source's own pods that has the volume, and all of it.
    async fn spot(&self, index: usize) -> Result<Option<Spot>, Loss> {
        let claim = &self.volumes[index].source;
        let pods: Vec<Pod> = list_all(&self.source.api(), &Selector::all()).await?;
        let theirs = pods.iter().filter(|pod| {
            uses(pod, claim)
                && pod.metadata.deletion_timestamp.is_none()
                && !self.belongs.is_mover(&pod.metadata)
        });
        Ok(theirs.flat_map(|pod| spots(pod, claim)).next())
    }

    fn shell(&self, side: Side, spot: Spot) -> Shell {
        let place = self.place(side).clone();
        let object = format!(
            "container {} of {}",
            spot.container,
            place.object("pod", &spot.pod)
        );
        let (image, root) = (spot.image.clone(), spot.root.clone());
        let folder =
            (spot.container == CONTAINER && spot.root == VOLUME).then(|| FOLDER.to_owned());
        let spot = Arc::new((place, spot));
        let again = Arc::clone(&spot);
        Shell {
            object,
            image,
            root,
            folder,
            pause: PAUSE,
            run: Arc::new(move |command, input, most| {
                let spot = Arc::clone(&spot);
                Box::pin(async move {
                    let (place, at) = &*spot;
                    let call = Call {
                        namespace: &place.namespace,
                        pod: &at.pod,
                        container: &at.container,
                        command: &command,
                        input: &input,
                        most,
                    };
                    exec(&place.cluster, &call).await
                })
            }),
            listen: Arc::new(move |command, heard| {
                let spot = Arc::clone(&again);
                Box::pin(async move {
                    let (place, at) = &*spot;
                    let call = Call {
                        namespace: &place.namespace,
                        pod: &at.pod,
                        container: &at.container,
                        command: &command,
                        input: &[],
                        most: 0,
                    };
                    exec_stream(&place.cluster, &call, &heard).await
                })
            }),
        }
    }

    /// What can be known of the way by exec before it is gone.
    pub async fn check_exec(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for (index, volume) in self.volumes.iter().enumerate() {
            let object = self.source.object("persistentvolumeclaim", &volume.source);
            if volume.mode == Mode::Block {
                let evidence = "is a device, and by exec go file systems";
                let cure = "leave `exec` out of spec.mover.ways, so that a mover copies it";
                checks.push(Check::block(CHECK, object, evidence, cure));
            } else if self.asleep {
                checks.push(self.check_spot(index, object).await);
            }
        }
        if !self.asleep {
            let object = format!("image {}", self.image);
            let evidence = "what it has of `sh`, `tar` and `sha256sum` is seen in a pod of it, before anything is frozen";
            checks.push(Check::pass(CHECK, object, evidence));
        }
        checks
    }

    /// Whether a volume can be read in its own pod.
    async fn check_spot(&self, index: usize, object: String) -> Check {
        let cure =
            "let spec.freeze.mode be `scale`, and name an image that has them with --mover-image";
        let (shell, looked) = match self.spot(index).await {
            Ok(Some(spot)) => {
                let shell = self.shell(Side::Source, spot);
                let looked = shell.look().await;
                (shell, looked)
            }
            Ok(None) => {
                let evidence =
                    "no container that runs has all of it: a pod of its own is made to read it";
                return Check::warn(CHECK, object, evidence, "");
            }
            Err(loss) => return Check::warn(CHECK, object, loss.to_string(), ""),
        };
        match looked {
            Ok(looked) if looked.missing.is_empty() => {
                if let Some(loss) = shell.cuts_owners(&looked) {
                    return Check::block(CHECK, object, loss.to_string(), cure);
                }
                let known = named(looked.dialect());
                let evidence = format!("is read by the {known} of {}", shell.object);
                Check::pass(CHECK, object, evidence)
            }
            Ok(looked) => {
                let evidence = format!("{} lacks {}", shell.object, looked.missing.join(", "));
                Check::block(CHECK, object, evidence, cure)
            }
            Err(loss) => {
                let evidence = format!("{} cannot be asked: {loss}", shell.object);
                Check::block(CHECK, object, evidence, cure)
            }
        }
    }
}

fn named(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Gnu => "GNU tar",
        Dialect::Plain => {
            "plain `tar`, which knows whole seconds, no extended attributes and no holes,"
        }
    }
}

fn lacks(shell: &Shell, missing: &[String]) -> Loss {
    let why = format!(
        "{} lacks {}: by exec nothing goes without; roll back, then name another image with --mover-image, or with spec.freeze.mode `sleep` let it be `scale`",
        shell.object,
        missing.join(", ")
    );
    Loss::Never(Failure::new(Kind::Blocked, why).into())
}

/// The running containers of a pod that have all of a claim's volume, and nothing else within it.
fn spots(pod: &Pod, claim: &str) -> Vec<Spot> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let name = pod.metadata.name.clone().unwrap_or_default();
    let ephemeral = |volume: &str| format!("{name}-{volume}") == claim;
    let mut volumes = spec.volumes.iter().flatten().filter(|volume| {
        let named = volume.persistent_volume_claim.as_ref();
        let named = named.is_some_and(|named| named.claim_name == claim);
        named || (volume.ephemeral.is_some() && ephemeral(&volume.name))
    });
    let Some(volume) = volumes.next() else {
        return Vec::new();
    };
    let statuses = pod.status.as_ref();
    let statuses = statuses.and_then(|status| status.container_statuses.as_ref());
    let running = |container: &Container| {
        let mut all = statuses.into_iter().flatten();
        let status = all.find(|status| status.name == container.name)?;
        status.state.as_ref()?.running.as_ref()?;
        Some(status.image_id.clone())
    };
    let spot = |container: &Container| {
        let mounts = container.volume_mounts.as_deref().unwrap_or_default();
        let mount = mounts.iter().find(|mount| {
            let part = mount.sub_path.iter().chain(&mount.sub_path_expr).next();
            mount.name == volume.name && part.is_none()
        })?;
        let root = mount.mount_path.trim_end_matches('/');
        let within = format!("{root}/");
        if mounts
            .iter()
            .any(|other| other.mount_path.starts_with(&within) && other != mount)
        {
            return None;
        }
        Some(Spot {
            pod: name.clone(),
            container: container.name.clone(),
            root: root.to_owned(),
            image: running(container)?,
        })
    };
    spec.containers.iter().filter_map(spot).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_volume_is_read_where_all_of_it_is_and_nothing_else_within_it() {
        let container = |name: &str, mounts| json!({"name": name, "volumeMounts": mounts});
        let status = |name: &str, running: bool| {
            let state = if running {
                json!({"running": {}})
            } else {
                json!({"waiting": {}})
            };
            json!({"name": name, "state": state, "image": "db:1", "imageID": "sha256:1", "ready": true, "restartCount": 0})
        };
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "db-0"},
            "spec": {
                "volumes": [
                    {"name": "config", "configMap": {"name": "db"}},
                    {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}},
                ],
                "containers": [
                    container("none", json!([])),
                    container("part", json!([{"name": "data", "mountPath": "/data", "subPath": "pg"}])),
                    container("nested", json!([
                        {"name": "data", "mountPath": "/data"}, {"name": "config", "mountPath": "/data/conf"},
                    ])),
                    container("waits", json!([{"name": "data", "mountPath": "/data"}])),
                    container("db", json!([
                        {"name": "data", "mountPath": "/data/"}, {"name": "config", "mountPath": "/data-conf"},
                    ])),
                ],
            },
            "status": {"containerStatuses": [
                status("none", true), status("part", true), status("nested", true), status("waits", false),
                status("db", true),
            ]},
        }))
        .expect("a pod");
        let wanted = Spot {
            pod: "db-0".to_owned(),
            container: "db".to_owned(),
            root: "/data".to_owned(),
            image: "sha256:1".to_owned(),
        };
        assert_eq!(spots(&pod, "data-db-0"), [wanted]);
        assert_eq!(spots(&pod, "other"), []);
    }
}
