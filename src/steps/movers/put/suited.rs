use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::{
    super::{Mover, Movers},
    Opened,
};
use crate::adapters::kube::{Selector, list_all};

/// A node tells of so many of its images at most, unless its kubelet was told otherwise.
const TOLD: usize = 50;

/// The nodes on which an executable can be put into a pod of an image that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suited {
    /// The machine that the executable is for.
    pub(super) architecture: &'static str,
    /// The host names of the nodes that have the image; empty where that is not known.
    pub(super) hosts: Vec<String>,
}

impl Movers {
    /// The nodes that suit a mover. On a node that it is bound to, what it meets there tells more than that it suits
    /// not; and without the right to look, only the machine is known.
    pub(in super::super) async fn suited(
        &self,
        mover: &Mover,
        bound: Option<&str>,
        executable: &Opened,
    ) -> Suited {
        let architecture = executable.elf.architecture;
        let mut found = Vec::new();
        if bound.is_none() {
            let cluster = &self.place(mover.side).cluster;
            let nodes = list_all(&cluster.cluster_scoped::<Node>(), &Selector::all()).await;
            found = hosts(&nodes.unwrap_or_default(), &self.image);
        }
        Suited {
            architecture,
            hosts: found,
        }
    }
}

/// The nodes that have the image; where none says so, those that have more images than they tell of.
fn hosts(nodes: &[Node], image: &str) -> Vec<String> {
    let those = |suits: &dyn Fn(&Node) -> bool| -> Vec<String> {
        let suiting = nodes.iter().filter(|node| suits(node));
        suiting.filter_map(host).collect()
    };
    let found = those(&|node| has_image(node, image));
    if found.is_empty() {
        those(&may_have_image)
    } else {
        found
    }
}

/// The name by which pods are bound to it; a node's own name can only be asked for alone.
fn host(node: &Node) -> Option<String> {
    let labels = node.metadata.labels.as_ref()?;
    labels.get("kubernetes.io/hostname").cloned()
}

fn images(node: &Node) -> impl Iterator<Item = &Vec<String>> {
    let status = node.status.as_ref();
    let images = status.and_then(|status| status.images.as_ref());
    images
        .into_iter()
        .flatten()
        .filter_map(|image| image.names.as_ref())
}

/// Whether a node says that it has an image.
#[must_use]
pub fn has_image(node: &Node, wanted: &str) -> bool {
    images(node).flatten().any(|name| same_image(name, wanted))
}

/// Whether a node has more images than it tells of.
#[must_use]
pub fn may_have_image(node: &Node) -> bool {
    images(node).count() >= TOLD
}

/// `busybox:1` is known to nodes as `docker.io/library/busybox:1`, and what has no tag as `latest`.
fn same_image(known: &str, wanted: &str) -> bool {
    let last = wanted.rsplit('/').next().unwrap_or(wanted);
    let tagged = if last.contains([':', '@']) {
        wanted.to_owned()
    } else {
        format!("{wanted}:latest")
    };
    known == tagged
        || known
            .strip_prefix("docker.io/")
            .is_some_and(|rest| rest == tagged || rest.strip_prefix("library/") == Some(&tagged))
}

impl Suited {
    /// Lets a pod run on these nodes only, of those that it may run on anyway.
    pub(in super::super) fn narrow(&self, pod: &mut Value) {
        let mut wanted = vec![
            json!({"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}),
            json!({"key": "kubernetes.io/arch", "operator": "In", "values": [self.architecture]}),
        ];
        if !self.hosts.is_empty() {
            let hosts = &self.hosts;
            let host = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": hosts});
            wanted.push(host);
        }
        let required =
            &mut pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        let terms = &mut required["nodeSelectorTerms"];
        if terms.as_array().is_none_or(Vec::is_empty) {
            *terms = json!([{"matchExpressions": []}]);
        }
        for term in terms.as_array_mut().into_iter().flatten() {
            // Any of the terms is enough, and an empty one is met by no node.
            if term.as_object().is_none_or(serde_json::Map::is_empty) {
                continue;
            }
            match term["matchExpressions"].as_array_mut() {
                Some(expressions) => expressions.extend(wanted.iter().cloned()),
                None => term["matchExpressions"] = json!(wanted),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, images: &[&str]) -> Node {
        let node = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"images": images.iter().map(|image| json!({"names": [image]})).collect::<Vec<_>>()},
        });
        serde_json::from_value(node).expect("a node")
    }

    #[test]
    fn nodes_with_the_image_are_found_and_else_those_that_may_have_it() {
        let many: Vec<String> = (0..TOLD).map(|number| format!("i{number}:1")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let nodes = [
            node("a", &["docker.io/library/busybox:latest"]),
            node("b", &["reg:5000/db:1"]),
            node("c", &many),
        ];
        assert_eq!(hosts(&nodes, "busybox"), ["a"]);
        assert_eq!(hosts(&nodes, "busybox:latest"), ["a"]);
        assert_eq!(hosts(&nodes, "docker.io/library/busybox"), ["a"]);
        assert_eq!(hosts(&nodes, "reg:5000/db:1"), ["b"]);
        assert_eq!(hosts(&nodes, "reg:5000/db"), ["c"]);
        assert_eq!(hosts(&nodes[..2], "other:1"), [""; 0]);
    }

    #[test]
    fn every_way_to_a_node_is_narrowed() {
        let suited = Suited {
            architecture: "arm64",
            hosts: vec!["a".to_owned(), "b".to_owned()],
        };
        let wanted = json!([
            {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
            {"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]},
            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["a", "b"]},
        ]);
        let terms = |pod: &Value| {
            let affinity = &pod["affinity"]["nodeAffinity"];
            affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].clone()
        };
        let mut pod = json!({});
        suited.narrow(&mut pod);
        assert_eq!(terms(&pod), json!([{"matchExpressions": wanted}]));

        let zone = json!({"key": "zone", "operator": "Exists"});
        let bound = json!([{"key": "metadata.name", "operator": "In", "values": ["a"]}]);
        let mut pod = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [zone]}, {"matchFields": bound}, {}],
        }}}});
        suited.narrow(&mut pod);
        let mut both = vec![zone];
        both.extend(wanted.as_array().expect("an array").iter().cloned());
        assert_eq!(
            terms(&pod),
            json!([{"matchExpressions": both}, {"matchFields": bound, "matchExpressions": wanted}, {}])
        );
    }
}
