//! What can be known beforehand of an executable that is put into movers' pods, and of the image that it is put into.
use k8s_openapi::api::core::v1::Node;

use super::MoverLook;
use crate::{
    adapters::kube::{Selector, list_all},
    engine::Check,
    steps::{
        Place,
        inventory::Volume,
        movers::{Executable, Opened, has_image, may_have_image},
    },
    transfer::Side,
};

const IMAGE: &str = "mover image";
const EXECUTABLE: &str = "mover executable";

impl MoverLook {
    /// The executable, and on each side whether there are nodes for it.
    pub(super) async fn put(&self, executable: &Executable) -> Vec<Check> {
        let opened = match executable.opened().await {
            Ok(opened) => opened,
            Err(error) => {
                let cure = "name one for Linux, of this version, with --mover-executable";
                let why = format!("{:#}", anyhow::Error::from(error));
                return vec![Check::block(EXECUTABLE, "the client's", why, cure)];
            }
        };
        let mut checks = vec![itself(opened)];
        checks.extend(self.nodes(Side::Source, opened).await);
        if self.0.target.remote {
            checks.extend(self.nodes(Side::Target, opened).await);
        }
        checks
    }

    async fn nodes(&self, side: Side, executable: &Opened) -> Vec<Check> {
        let place = self.0.place(side);
        let image = &self.0.image;
        let nodes = list_all(&place.cluster.cluster_scoped::<Node>(), &Selector::all()).await;
        match nodes {
            Ok(nodes) => {
                let volumes: &[Volume] = match side {
                    Side::Source => &self.0.volumes,
                    Side::Target => &[],
                };
                on_nodes(place, image, executable.elf.architecture, &nodes, volumes)
            }
            Err(error) => vec![Check::warn(
                IMAGE,
                format!("image {image}"),
                format!("nodes cannot be looked at: {error}"),
                format!(
                    "make sure that the nodes of {} have it",
                    place.cluster.context()
                ),
            )],
        }
    }
}

fn itself(executable: &Opened) -> Check {
    let object = executable.path.display().to_string();
    let machine = executable.elf.architecture;
    match &executable.elf.loader {
        None => Check::pass(
            EXECUTABLE,
            object,
            format!("{executable}, static, for linux/{machine}"),
        ),
        Some(loader) => Check::warn(
            EXECUTABLE,
            object,
            format!("{executable}, for linux/{machine}, needs {loader}, which the image may lack"),
            "name a static one of this version with --mover-executable",
        ),
    }
}

/// Whether movers will find the image on nodes of the executable's machine: on those where a volume is in use, and
/// elsewhere on some at least, to which they then are bound.
fn on_nodes(
    place: &Place,
    image: &str,
    machine: &str,
    nodes: &[Node],
    volumes: &[Volume],
) -> Vec<Check> {
    let cluster = place.cluster.context();
    let object = format!("image {image}");
    let cure = "name an image that is there, and that has a shell, with --mover-image";
    let other = "name an executable for that machine, of this version, with --mover-executable";
    let used = |name: Option<&String>| {
        let bound = volumes.iter().filter(|volume| is_bound(volume));
        bound
            .filter(|volume| volume.used.iter().any(|used| used.node.as_ref() == name))
            .map(|volume| volume.source.as_str())
            .next()
    };
    for node in nodes {
        let Some(claim) = used(node.metadata.name.as_ref()) else {
            continue;
        };
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let its = architecture(node);
        if its != machine {
            let why =
                format!("is for {machine}, and node {name}, where claim {claim} is used, is {its}");
            return vec![Check::block(EXECUTABLE, format!("node {name}"), why, other)];
        }
        if !has_image(node, image) && !may_have_image(node) {
            let why = format!(
                "is not on node {name}, where claim {claim} is used, and will not be pulled"
            );
            return vec![Check::block(IMAGE, object, why, cure)];
        }
    }
    let fit: Vec<_> = nodes
        .iter()
        .filter(|node| architecture(node) == machine)
        .collect();
    if fit.is_empty() {
        let why = format!("is for {machine}, and no node of {cluster} is");
        return vec![Check::block(
            EXECUTABLE,
            format!("context {cluster}"),
            why,
            other,
        )];
    }
    let with = fit.iter().filter(|node| has_image(node, image)).count();
    if with > 0 {
        let count = nodes.len();
        let why = format!("is on {with} of {count} nodes of {cluster}; movers run only there");
        return vec![Check::pass(IMAGE, object, why)];
    }
    if fit.iter().any(|node| may_have_image(node)) {
        let why =
            format!("no node of {cluster} tells that it has it, and some have more than they tell");
        return vec![Check::warn(IMAGE, object, why, cure)];
    }
    let why = format!("no node of {cluster} has it, and it will not be pulled");
    vec![Check::block(IMAGE, object, why, cure)]
}

/// Whether its movers run where it is used.
fn is_bound(volume: &Volume) -> bool {
    volume.access.iter().all(|mode| mode == "ReadWriteOnce")
}

fn architecture(node: &Node) -> &str {
    let status = node.status.as_ref();
    let info = status.and_then(|status| status.node_info.as_ref());
    info.map_or("", |info| info.architecture.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        adapters::kube::fake::FakeApi,
        engine::Verdict::{Block, Pass, Warn},
        steps::inventory::{Mode, Use},
    };
    use serde_json::json;

    fn node(name: &str, machine: &str, images: &[String]) -> Node {
        let images: Vec<_> = images
            .iter()
            .map(|image| json!({"names": [image]}))
            .collect();
        let mut node = json!({"metadata": {"name": name}, "status": {"images": images}});
        node["status"]["nodeInfo"] = json!({
            "architecture": machine, "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "",
            "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "operatingSystem": "linux",
            "osImage": "", "systemUUID": "",
        });
        serde_json::from_value(node).expect("a node")
    }

    fn used_on(node: &str, access: &str) -> Volume {
        Volume {
            source: "data-db-0".to_owned(),
            uid: String::new(),
            volume: String::new(),
            target: String::new(),
            mode: Mode::Filesystem,
            access: vec![access.to_owned()],
            capacity: 0,
            size: String::new(),
            class: None,
            used: vec![Use {
                pod: "db-0".to_owned(),
                node: Some(node.to_owned()),
            }],
            phase: String::new(),
        }
    }

    #[tokio::test]
    async fn what_no_mover_could_run_with_is_refused_before_anything_is_begun() {
        let place = Place {
            cluster: FakeApi::script([]).cluster(),
            namespace: "shop".to_owned(),
            remote: false,
        };
        let db = ["db:1".to_owned()];
        let many: Vec<_> = (0..50).map(|number| format!("i{number}:1")).collect();
        let nodes = [
            node("a", "amd64", &db),
            node("b", "amd64", &[]),
            node("c", "arm64", &db),
        ];
        let look = |image: &str, machine: &str, nodes: &[Node], volume: Option<Volume>| {
            let volumes: Vec<_> = volume.into_iter().collect();
            let mut checks = on_nodes(&place, image, machine, nodes, &volumes);
            let check = checks.remove(0);
            (check.verdict, format!("{}: {}", check.name, check.evidence))
        };
        for (told, verdict, evidence) in [
            (
                look("db:1", "amd64", &nodes, Some(used_on("a", "ReadWriteOnce"))),
                Pass,
                "mover image: is on 1 of 3 nodes of fake; movers run only there",
            ),
            (
                look("db:1", "amd64", &nodes, Some(used_on("b", "ReadWriteOnce"))),
                Block,
                "mover image: is not on node b, where claim data-db-0 is used, and will not be pulled",
            ),
            (
                look("db:1", "amd64", &nodes, Some(used_on("b", "ReadWriteMany"))),
                Pass,
                "mover image: is on 1 of 3 nodes of fake; movers run only there",
            ),
            (
                look("db:1", "amd64", &nodes, Some(used_on("c", "ReadWriteOnce"))),
                Block,
                "mover executable: is for amd64, and node c, where claim data-db-0 is used, is arm64",
            ),
            (
                look("db:1", "s390x", &nodes, None),
                Block,
                "mover executable: is for s390x, and no node of fake is",
            ),
            (
                look("none:1", "amd64", &nodes, None),
                Block,
                "mover image: no node of fake has it, and it will not be pulled",
            ),
            (
                look("none:1", "amd64", &[node("d", "amd64", &many)], None),
                Warn,
                "mover image: no node of fake tells that it has it, and some have more than they tell",
            ),
        ] {
            assert_eq!(told, (verdict, evidence.to_owned()));
        }
    }
}
