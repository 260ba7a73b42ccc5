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
/// workload of the same template would write to the data of the first, or speak to what listens there.
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
            let mut mounts = mounts.iter().filter(|mount| mount["name"] == name);
            // A socket is spoken to all the same.
            let held = kind == "hostPath" && !is_plain(&volume[kind]);
            let reached = mounts.any(|mount| held || mount["readOnly"] != true);
            reached.then(|| format!("{name} ({kind})"))
        })
        .collect()
}

fn is_foreign(kind: &str) -> bool {
    !OWN.contains(&kind)
}

/// Whether what is at this place of a node is nothing but files: its settings, and its programs.
fn is_plain(host: &Value) -> bool {
    let path = host["path"].as_str().unwrap_or_default();
    let plain = ["/etc/", "/usr/"].iter().any(|at| path.starts_with(at));
    plain && host["type"] != "Socket" && !path.contains("/../")
}

/// What the pods have of their node that no policy closes: its network, and its other processes.
pub(super) fn of_node(workload: &Value) -> Option<&'static str> {
    let pod = &workload["spec"]["template"]["spec"];
    let fields = ["hostNetwork", "hostPID", "hostIPC"];
    fields.into_iter().find(|field| pod[field] == true)
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
            "containers": [{"volumeMounts": [mount("data", false), mount("zone", true), mount("node", false), mount("run", true)]}],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "zone", "hostPath": {"path": "/etc/localtime"}},
                {"name": "node", "hostPath": {"path": "/var/lib/db"}},
                {"name": "run", "hostPath": {"path": "/run/mysqld"}},
                {"name": "files", "nfs": {"server": "s", "path": "/"}},
                {"name": "unused", "hostPath": {"path": "/"}},
                {"name": "tmp", "emptyDir": {}},
            ],
        }}}});
        assert_eq!(
            shared(&workload),
            ["node (hostPath)", "run (hostPath)", "files (nfs)"]
        );
        assert_eq!(of_node(&workload), Some("hostNetwork"));
        let pid = json!({"spec": {"template": {"spec": {"hostPID": true}}}});
        assert_eq!(of_node(&pid), Some("hostPID"));
        assert!(shared(&json!({})).is_empty() && of_node(&json!({})).is_none());
    }
}
