//! What the objects of a snapshot's volumes are called.
use crate::steps::inventory::Inventory;

/// The folder of claims that belong to no pod of their own.
const CLAIMS: &str = "pvc";

/// The objects of one volume, below the snapshot's own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The archive: `db-0/data.tar.zst`.
    pub data: String,
    /// Its index: `db-0/data.index.zst`.
    pub index: String,
}

/// The names of all volumes' objects, in their order: by pod and claim template; a claim that belongs to no pod of its
/// own by its own name.
#[must_use]
pub fn named(inventory: &Inventory) -> Vec<Named> {
    let workload = &inventory.workload;
    let name = workload["metadata"]["name"].as_str().unwrap_or_default();
    let templates: Vec<_> = workload["spec"]["volumeClaimTemplates"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|template| template["metadata"]["name"].as_str())
        .collect();
    let of_pod = |claim: &str| {
        templates.iter().find_map(|template| {
            let pod = claim.strip_prefix(template)?.strip_prefix('-')?;
            let ordinal = pod.strip_prefix(name)?.strip_prefix('-')?;
            ordinal.parse::<u32>().ok()?;
            Some(format!("{pod}/{template}"))
        })
    };
    let volumes = inventory.volumes.iter();
    volumes
        .map(|volume| {
            let claim = &volume.source;
            let path = of_pod(claim).unwrap_or_else(|| format!("{CLAIMS}/{claim}"));
            Named {
                data: format!("{path}.tar.zst"),
                index: format!("{path}.index.zst"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn names(workload: &Value, claims: &[&str]) -> Vec<String> {
        let volumes: Vec<_> = claims
            .iter()
            .map(|claim| {
                json!({"source": claim, "target": claim, "mode": "filesystem", "access": [], "capacity": 1,
                    "size": "1", "class": null, "used": [], "phase": "Bound"})
            })
            .collect();
        let inventory =
            json!({"workload": workload, "replicas": 1, "volumes": volumes, "left_out": []});
        let inventory = serde_json::from_value(inventory).expect("an inventory");
        named(&inventory)
            .into_iter()
            .map(|named| named.data)
            .collect()
    }

    #[test]
    fn a_pod_s_volumes_are_below_it_and_others_by_their_own_name() {
        let template = |name: &str| json!({"metadata": {"name": name}});
        let workload = json!({
            "metadata": {"name": "db"},
            "spec": {"volumeClaimTemplates": [template("data"), template("data-db")]},
        });
        assert_eq!(
            names(
                &workload,
                &["data-db-0", "data-db-db-1", "shared", "data-other-0"]
            ),
            [
                "db-0/data.tar.zst",
                "db-1/data-db.tar.zst",
                "pvc/shared.tar.zst",
                "pvc/data-other-0.tar.zst"
            ]
        );
        assert_eq!(names(&Value::Null, &["data"]), ["pvc/data.tar.zst"]);
    }
}
