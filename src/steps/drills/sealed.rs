//! What a workload has besides its claims that leads out of its namespace.
use serde_json::Value;

/// Volumes that are of the pod or its namespace alone.
const OWN: [&str; 9] = [
    "configMap",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "name",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// The volumes that the pods of a workload share with others and can write to, such as a folder of their node: a second
/// workload of the same template would write to the data of the first.
pub(super) fn shared(workload: &Value) -> Vec<String> {
    let pod = &workload["spec"]["template"]["spec"];
    let containers = [&pod["initContainers"], &pod["containers"]];
    let containers = containers.into_iter().filter_map(Value::as_array).flatten();
    let mounts: Vec<_> = containers
        .filter_map(|container| container["volumeMounts"].as_array())
        .flatten()
        .collect();
    let volumes = pod["volumes"].as_array().into_iter().flatten();
    volumes
        .filter_map(|volume| {
            let name = volume["name"].as_str()?;
            let kind = volume.as_object()?.keys().find(|key| is_foreign(key))?;
            let written = mounts
                .iter()
                .any(|mount| mount["name"] == name && mount["readOnly"] != true);
            written.then(|| format!("{name} ({kind})"))
        })
        .collect()
}

fn is_foreign(kind: &str) -> bool {
    !OWN.contains(&kind)
}

/// Whether the pods have their node's network, which no policy closes.
pub(super) fn uses_node(workload: &Value) -> bool {
    workload["spec"]["template"]["spec"]["hostNetwork"] == true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_shared_and_written_to_is_found() {
        let mount =
            |name: &str, read: bool| json!({"name": name, "mountPath": "/x", "readOnly": read});
        let workload = json!({"spec": {"template": {"spec": {
            "hostNetwork": true,
            "initContainers": [{"volumeMounts": [mount("zone", true), mount("files", false)]}],
            "containers": [{"volumeMounts": [mount("data", false), mount("zone", true), mount("node", false)]}],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "zone", "hostPath": {"path": "/etc/localtime"}},
                {"name": "node", "hostPath": {"path": "/var/lib/db"}},
                {"name": "files", "nfs": {"server": "s", "path": "/"}},
                {"name": "unused", "hostPath": {"path": "/"}},
                {"name": "tmp", "emptyDir": {}},
            ],
        }}}});
        assert_eq!(shared(&workload), ["node (hostPath)", "files (nfs)"]);
        assert!(uses_node(&workload));
        assert!(shared(&json!({})).is_empty() && !uses_node(&json!({})));
    }
}
