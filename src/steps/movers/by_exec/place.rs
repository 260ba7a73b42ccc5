//! Where a volume can be read and filled by commands.
use std::{
    path::{Component, Path},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::Value;

use super::{
    super::{Meter, Mover, Movers, Way, objects::CONTAINER, objects::VOLUME, retry::Loss},
    FOLDER, PAUSE, STILL, Shell, Shells, Target,
    told::Marks,
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
        let ((source, looked), target) = tokio::try_join!(
            self.source_shell(index, cx, meter),
            self.target_shell(index, cx, meter)
        )?;
        let held = target.shell.look().await?;
        // What it could not tell again is known before anybody waits for it.
        let loss = lacks(&target.shell, &held.missing).or_else(|| target.shell.hides(&held));
        if let Some(loss) = loss {
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
        match lacks(&target.shell, &missing) {
            Some(loss) if !self.only_read => Err(loss),
            _ => Ok(target),
        }
    }

    /// The shell next to a source, and what it has: in a pod of its own workload where that sleeps, else in one that
    /// waits.
    async fn source_shell(
        &self,
        index: usize,
        cx: &Cx,
        meter: &Meter,
    ) -> Result<(Shell, Marks), Loss> {
        if self.asleep {
            let spots = self.spots(index).await?;
            let shells = spots
                .into_iter()
                .map(|spot| self.shell(Side::Source, spot))
                .collect();
            if let Some(found) = first_that_reads(shells, Shell::size).await {
                return found;
            }
        }
        let side = Side::Source;
        let shell = self.waiting(Mover { index, side }, cx, meter).await?;
        let looked = shell.size().await?;
        reads(shell, looked)
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

    /// The containers of pods that use the source and have all of it, those of the workload first.
    async fn spots(&self, index: usize) -> Result<Vec<Spot>, Loss> {
        let claim = &self.volumes[index].source;
        let mut pods: Vec<Pod> = list_all(&self.source.api(), &Selector::all()).await?;
        pods.retain(|pod| {
            uses(pod, claim)
                && pod.metadata.deletion_timestamp.is_none()
                && !self.belongs.is_mover(&pod.metadata)
        });
        pods.sort_by_key(|pod| !is_selected(pod, &self.workload));
        Ok(pods.iter().flat_map(|pod| spots(pod, claim)).collect())
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
            still: STILL,
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
        let spots = match self.spots(index).await {
            Ok(spots) => spots,
            Err(loss) => return Check::warn(CHECK, object, loss.to_string(), ""),
        };
        let shells = spots
            .into_iter()
            .map(|spot| self.shell(Side::Source, spot))
            .collect();
        match first_that_reads(shells, Shell::look).await {
            Some(Ok((shell, looked))) => {
                let known = named(looked.dialect());
                let evidence = format!("is read by the {known} of {}", shell.object);
                Check::pass(CHECK, object, evidence)
            }
            Some(Err(loss)) => Check::block(CHECK, object, loss.to_string(), cure),
            None => {
                let evidence =
                    "no container that runs has all of it: a pod of its own is made to read it";
                Check::warn(CHECK, object, evidence, "")
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

/// Why nothing can be done by a shell that lacks something.
fn lacks(shell: &Shell, missing: &[String]) -> Option<Loss> {
    if missing.is_empty() {
        return None;
    }
    let why = format!(
        "{} lacks {}: by exec nothing goes without; roll back, then name another image with --mover-image, or with spec.freeze.mode `sleep` let it be `scale`",
        shell.object,
        missing.join(", ")
    );
    Some(Loss::Never(Failure::new(Kind::Blocked, why).into()))
}

/// A shell that has what it takes to read its volume, and sees all of that.
fn reads(shell: Shell, looked: Marks) -> Result<(Shell, Marks), Loss> {
    let elsewhere = || {
        let why = format!("{}: no volume is mounted at {}", shell.object, shell.root);
        let failure = Failure::new(Kind::Blocked, why);
        (!looked.mounted).then(|| Loss::Never(failure.into()))
    };
    let refused = lacks(&shell, &looked.missing).or_else(|| shell.hides(&looked));
    match refused.or_else(elsewhere) {
        Some(loss) => Err(loss),
        None => Ok((shell, looked)),
    }
}

/// The first of several shells that can read its volume; if none can, why the first cannot. None where there is no shell.
async fn first_that_reads(
    shells: Vec<Shell>,
    ask: impl AsyncFn(&Shell) -> Result<Marks, Loss>,
) -> Option<Result<(Shell, Marks), Loss>> {
    let mut refused = None;
    for shell in shells {
        let asked = ask(&shell).await;
        match asked.and_then(|looked| reads(shell, looked)) {
            Ok(found) => return Some(Ok(found)),
            Err(loss) => refused = refused.or(Some(Err(loss))),
        }
    }
    refused
}

/// Whether a pod is one of those that a workload selects.
fn is_selected(pod: &Pod, workload: &Value) -> bool {
    let labels = pod.metadata.labels.as_ref();
    let wanted = workload["spec"]["selector"]["matchLabels"].as_object();
    wanted.is_some_and(|wanted| {
        wanted.iter().all(|(key, value)| {
            let label = labels.and_then(|labels| labels.get(key));
            label.map(String::as_str) == value.as_str()
        })
    })
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
        let root = absolute(&mount.mount_path)?;
        let mut others = mounts.iter().filter(|other| *other != mount);
        if others.any(|other| {
            absolute(&other.mount_path).is_none_or(|other| Path::new(&other).starts_with(&root))
        }) {
            return None;
        }
        Some(Spot {
            pod: name.clone(),
            container: container.name.clone(),
            root,
            image: running(container)?,
        })
    };
    spec.containers.iter().filter_map(spot).collect()
}

/// Where a node mounts what is to be at a path; none where that is not known.
fn absolute(path: &str) -> Option<String> {
    let parts = Path::new(path).components().map(|part| match part {
        Component::RootDir | Component::CurDir => Some(""),
        Component::Normal(name) => name.to_str(),
        Component::ParentDir | Component::Prefix(_) => None,
    });
    let parts: Option<Vec<_>> = parts.collect();
    let named: Vec<_> = parts?.into_iter().filter(|part| !part.is_empty()).collect();
    Some(format!("/{}", named.join("/")))
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

    #[test]
    fn a_path_is_what_a_node_makes_of_it() {
        for (path, wanted) in [
            ("data", Some("/data")),
            ("/data/", Some("/data")),
            ("//data/./x", Some("/data/x")),
            ("/data/../x", None),
        ] {
            assert_eq!(absolute(path).as_deref(), wanted, "{path}");
        }
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "db-0", "labels": {"app": "db", "more": "1"}},
            "spec": {
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}],
                "containers": [{"name": "db", "volumeMounts": [
                    {"name": "data", "mountPath": "data"}, {"name": "other", "mountPath": "/./data/sub"},
                ]}],
            },
            "status": {"containerStatuses": [{
                "name": "db", "state": {"running": {}}, "image": "db:1", "imageID": "1", "ready": true, "restartCount": 0,
            }]},
        }))
        .expect("a pod");
        assert_eq!(spots(&pod, "c"), []);
        let selects = |labels: Value| {
            let workload = json!({"spec": {"selector": {"matchLabels": labels}}});
            is_selected(&pod, &workload)
        };
        assert!(selects(json!({"app": "db"})));
        assert!(!selects(json!({"app": "db", "role": "primary"})));
        assert!(!is_selected(&pod, &Value::Null));
    }

    #[tokio::test]
    async fn the_first_container_that_can_read_a_volume_does() {
        let shell = |object: &str| Shell {
            object: object.to_owned(),
            image: String::new(),
            root: "/data".to_owned(),
            folder: None,
            pause: PAUSE,
            still: STILL,
            run: Arc::new(|_, _, _| Box::pin(std::future::pending())),
            listen: Arc::new(|_, _| Box::pin(std::future::pending())),
        };
        let look = async |shell: &Shell| {
            let said = match &shell.object[..] {
                "none" => "n missing tar\nn end",
                "nested" => "n mounted /data\nn mount /data/x\nn tar gnu\nn end",
                "elsewhere" => "n tar gnu\nn end",
                "large" => "n mounted /data\nn owner 1000650000:0\nn owners 0\nn tar plain\nn end",
                "all" => "n mounted /data\nn tar gnu\nn end",
                _ => return Err(Loss::Passing(anyhow::anyhow!("it has no shell"))),
            };
            Ok(Marks::of("n", said))
        };
        let first = async |names: &[&str]| {
            let shells = names.iter().map(|name| shell(name)).collect();
            first_that_reads(shells, look).await
        };
        let names = [
            "gone",
            "none",
            "nested",
            "elsewhere",
            "large",
            "all",
            "gone",
        ];
        let found = first(&names).await.expect("shells").expect("one reads");
        assert_eq!(found.0.object, "all");
        for (names, why) in [
            (&["none", "gone"][..], "lacks `tar`"),
            (&["nested", "none"], "/data/x is mounted within"),
            (&["elsewhere"], "no volume is mounted at /data"),
            (&["large"], "the owner 1000650000:0 is more"),
            (&["gone"], "it has no shell"),
        ] {
            let refused = first(names).await.expect("shells").expect_err("none reads");
            assert!(refused.to_string().contains(why), "{refused}");
        }
        assert!(first(&[]).await.is_none());
    }
}
