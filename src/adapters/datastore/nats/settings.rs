//! What a bucket is configured with, and which of it is the servers' own.
use serde_json::Value;

/// Where servers say how a bucket is kept; others than in files make no snapshots.
const STORAGE: &str = "storage";
const FILE: &str = "file";
/// What belongs to the servers that keep a bucket, and not to the bucket.
pub(super) const REPLICAS: &str = "num_replicas";
const PLACEMENT: &str = "placement";
/// What people write to a bucket, and what servers do.
const METADATA: &str = "metadata";
const REMARK: &str = "_nats.";

/// Whether the servers keep a bucket in files: others make no snapshots.
pub(super) fn is_in_files(config: &Value) -> bool {
    config[STORAGE] == FILE
}

/// Whether a server reads the snapshots of another: those of older ones, as 2.15 does those of 2.14, but not the
/// other way.
pub(super) fn reads_snapshots(reader: &str, writer: &str) -> bool {
    let number = |version: &str| -> (u32, u32) {
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    };
    number(reader) >= number(writer)
}

/// Leaves to the target's servers what is theirs: an administrator's bucket says how it is kept there, and one server
/// alone keeps one replica.
pub(super) fn place(config: &mut Value, there: Option<&Value>, clustered: bool) {
    let Some(config) = config.as_object_mut() else {
        return;
    };
    config.remove(PLACEMENT);
    if let Some(there) = there {
        for name in [REPLICAS, PLACEMENT] {
            if let Some(value) = there.get(name) {
                config.insert(name.to_owned(), value.clone());
            }
        }
    }
    if !clustered {
        config.insert(REPLICAS.to_owned(), 1.into());
    }
}

/// Leaves out what a server remarks by itself. Older ones would keep what newer ones do, and kine starts only before
/// settings that it knows.
pub(super) fn without_remarks(config: &mut Value) {
    let Some(config) = config.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(metadata)) = config.get_mut(METADATA) {
        metadata.retain(|name, _| !name.starts_with(REMARK));
        if metadata.is_empty() {
            config.remove(METADATA);
        }
    }
}

/// The settings of a bucket that are its own, without those that a server adds by itself.
fn settings(config: &Value) -> serde_json::Map<String, Value> {
    let theirs = [REPLICAS, PLACEMENT, METADATA, "description"];
    let settings = config.as_object().cloned().unwrap_or_default();
    settings
        .into_iter()
        .filter(|(name, _)| !theirs.contains(&name.as_str()))
        .collect()
}

pub(super) fn same_settings(one: &Value, other: &Value) -> bool {
    let differing = differing_settings(one, other);
    differing.is_empty()
}

/// The names of the settings in which buckets differ.
pub(super) fn differing_settings(one: &Value, other: &Value) -> Vec<String> {
    let (one, other) = (settings(one), settings(other));
    let names = one.keys().chain(other.keys());
    // Newer servers tell more of the same.
    let told = names.filter(|name| one.contains_key(*name) && other.contains_key(*name));
    let mut differing: Vec<_> = told
        .filter(|name| one.get(*name) != other.get(*name))
        .cloned()
        .collect();
    differing.sort();
    differing.dedup();
    differing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(reads_snapshots("2.10.0", "2.9.25"));
        assert!(reads_snapshots("2.15.0-RC.1", "2.15.2"));
        assert!(!reads_snapshots("2.14.9", "2.15.0"));
    }

    #[test]
    fn servers_keep_what_is_theirs() {
        let source = json!({"name": "KV_t1", "num_replicas": 3, "placement": {"cluster": "old"}});
        let placed = |there: Option<&Value>, clustered| {
            let mut config = source.clone();
            place(&mut config, there, clustered);
            config
        };
        assert_eq!(
            placed(None, true),
            json!({"name": "KV_t1", "num_replicas": 3})
        );
        assert_eq!(
            placed(None, false),
            json!({"name": "KV_t1", "num_replicas": 1})
        );
        let there = json!({"num_replicas": 5, "placement": {"cluster": "new"}});
        assert_eq!(
            placed(Some(&there), true),
            json!({"name": "KV_t1", "num_replicas": 5, "placement": {"cluster": "new"}})
        );
    }

    #[test]
    fn remarks_of_a_server_are_no_settings() {
        let mut remarked = json!({"metadata": {"_nats.ver": "2.15.2", "team": "blue"}});
        without_remarks(&mut remarked);
        assert_eq!(remarked, json!({"metadata": {"team": "blue"}}));
        let mut remarked = json!({"metadata": {"_nats.ver": "2.15.2"}});
        without_remarks(&mut remarked);
        assert_eq!(remarked, json!({}));
    }

    #[test]
    fn settings_that_only_one_server_knows_do_not_differ() {
        let one = json!({"max_msgs_per_subject": 10, "num_replicas": 3, "allow_msg_ttl": true});
        let other = json!({"max_msgs_per_subject": 1, "num_replicas": 1});
        assert_eq!(differing_settings(&one, &other), ["max_msgs_per_subject"]);
    }
}
