//! The sleeper: what runs in a pod's containers while the workload sleeps.
use serde_json::{Value, json};

use super::field::get;

/// Sleeps until it is told to end, and ends at once: a shell that waits for `sleep` in the foreground
/// would hear SIGTERM only an hour later.
pub(super) const COMMAND: [&str; 3] = [
    "/bin/sh",
    "-c",
    "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done",
];

const CONTAINERS: &str = "/spec/template/spec/containers";

/// What would end the sleeper, or would write beside it.
const OFF: [&str; 5] = [
    "args",
    "readinessProbe",
    "livenessProbe",
    "startupProbe",
    "lifecycle",
];

/// The fields of the pod template that put it to sleep, with their values.
///
/// Init containers are taken out, sidecars among them: a sleeper needs nothing prepared, and a pod
/// that is moved to another node while asleep would run them again, on volumes that must not change.
pub(super) fn fields(object: &Value) -> Vec<(String, Option<Value>)> {
    let mut fields = Vec::new();
    let containers = get(object, CONTAINERS).and_then(Value::as_array);
    for container in containers.into_iter().flatten() {
        let Some(name) = container.get("name").and_then(Value::as_str) else {
            continue;
        };
        let at = format!("{CONTAINERS}/{name}");
        fields.push((format!("{at}/command"), Some(json!(COMMAND))));
        fields.extend(OFF.map(|field| (format!("{at}/{field}"), None)));
    }
    fields.push(("/spec/template/spec/initContainers".to_owned(), None));
    fields
}

/// The container whose command is at this path.
pub(super) fn container(at: &str) -> Option<&str> {
    at.strip_prefix(CONTAINERS)?
        .strip_prefix('/')?
        .strip_suffix("/command")
}

/// Whether a container's command is the sleeper.
pub(super) fn is(command: Option<&Vec<String>>) -> bool {
    command.is_some_and(|command| command.iter().eq(COMMAND))
}
