//! Whether a pod can have all of its new volumes on one node.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use k8s_openapi::api::core::v1::PersistentVolume;

use super::{InPlace, bind::volume_of};
use crate::{adapters::kube::get_opt, engine::Check};

/// What a volume asks of its node: values by label. Only what is said in one term, and positively, is judged.
type Asked = BTreeMap<String, BTreeSet<String>>;

impl InPlace {
    /// A blocker for each pod whose new volumes no node could reach at once: local volumes are made where their mover
    /// happened to run.
    pub(super) async fn volumes_apart(&self) -> Result<Vec<Check>> {
        let mut pods: BTreeMap<&str, Vec<(String, Asked)>> = BTreeMap::new();
        for volume in &self.inventory.volumes {
            let Some(claim) = get_opt(&self.claims(), &volume.target).await? else {
                continue;
            };
            // A volume of the mode that one pod alone may have comes with its mover, after the freeze.
            let Some(on) = volume_of(&claim) else {
                continue;
            };
            let Some(found) = get_opt(&self.volumes(), on).await? else {
                continue;
            };
            let asked = asked(&found);
            for used in &volume.used {
                let name = volume.target.clone();
                pods.entry(&used.pod)
                    .or_default()
                    .push((name, asked.clone()));
            }
        }
        Ok(pods
            .into_iter()
            .filter_map(|(pod, volumes)| {
                let evidence = apart(&volumes)?;
                Some(Check::block(
                    "nodes of the new volumes",
                    self.place.object("pod", pod),
                    evidence,
                    "roll back; let the volumes be of a class that all nodes reach, or bind the pods to one node or zone",
                ))
            })
            .collect())
    }
}

fn asked(volume: &PersistentVolume) -> Asked {
    let affinity = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    let terms = affinity.map(|affinity| affinity.node_selector_terms.as_slice());
    let Some([term]) = terms else {
        return Asked::new();
    };
    let expressions = term.match_expressions.iter().flatten();
    expressions
        .filter(|one| one.operator == "In")
        .map(|one| {
            let values = one.values.iter().flatten().cloned().collect();
            (one.key.clone(), values)
        })
        .collect()
}

/// Two volumes that no node can have at once, if there are two.
fn apart(volumes: &[(String, Asked)]) -> Option<String> {
    let shown = |values: &BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(", ");
    volumes.iter().enumerate().find_map(|(at, (one, asked))| {
        volumes[at + 1..].iter().find_map(|(other, theirs)| {
            asked.iter().find_map(|(key, values)| {
                let others = theirs.get(key)?;
                values.is_disjoint(others).then(|| {
                    format!(
                        "no node can have both {one} ({key}: {}) and {other} ({key}: {})",
                        shown(values),
                        shown(others)
                    )
                })
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn on(key: &str, values: &[&str]) -> Asked {
        let volume = json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": key, "operator": "In", "values": values}]},
        ]}}}});
        asked(&serde_json::from_value(volume).expect("a volume"))
    }

    #[test]
    fn volumes_that_no_node_can_have_at_once_are_named() {
        let host = "kubernetes.io/hostname";
        let told = |asked: &[Asked]| {
            let names = ["data", "log", "wal"].map(str::to_owned);
            apart(
                &names
                    .into_iter()
                    .zip(asked.iter().cloned())
                    .collect::<Vec<_>>(),
            )
        };
        let anywhere = asked(&PersistentVolume::default());
        assert_eq!(
            told(&[on(host, &["n1"]), on(host, &["n1", "n2"]), anywhere]),
            None
        );
        assert_eq!(
            told(&[on(host, &["n1"]), on("zone", &["a"]), on(host, &["n2"])]).as_deref(),
            Some(
                "no node can have both data (kubernetes.io/hostname: n1) and wal (kubernetes.io/hostname: n2)"
            )
        );
    }
}
