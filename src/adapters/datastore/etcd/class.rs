//! Keys that a working API server changes by itself, frozen or not.

/// Every class: its name, and what its keys begin with behind the schema's prefix.
pub(super) const CLASSES: [(&str, &str); 7] = [
    ("API server leases", "masterleases/"),
    ("API servers' leases to each other", "peerserverleases/"),
    ("node leases", "leases/kube-node-lease/"),
    ("system leases", "leases/kube-system/"),
    ("events", "events/"),
    ("address and port allocations", "ranges/"),
    (
        "Kamaji's freeze",
        "validatingwebhookconfigurations/kamaji-freeze",
    ),
];

/// The class of a key, as an index of [`CLASSES`]; `key` is without the schema's prefix.
pub(super) fn class_of(key: &[u8]) -> Option<usize> {
    CLASSES.iter().position(|(_, start)| {
        // A folder's name ends with its slash; else it is the one key.
        if start.ends_with('/') {
            key.starts_with(start.as_bytes())
        } else {
            key == start.as_bytes()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_left_out() {
        let class = |key: &str| class_of(key.as_bytes()).map(|index| CLASSES[index].0);
        assert_eq!(class("masterleases/10.0.0.1"), Some("API server leases"));
        assert_eq!(
            class("peerserverleases/apiserver-a"),
            Some("API servers' leases to each other")
        );
        assert_eq!(class("leases/kube-node-lease/a-1"), Some("node leases"));
        assert_eq!(
            class("leases/kube-system/kube-scheduler"),
            Some("system leases")
        );
        assert_eq!(class("events/shop/web.17"), Some("events"));
        assert_eq!(
            class("ranges/serviceips"),
            Some("address and port allocations")
        );
        let webhooks = "validatingwebhookconfigurations";
        assert_eq!(
            class(&format!("{webhooks}/kamaji-freeze")),
            Some("Kamaji's freeze")
        );
        for key in [
            "leases/shop/operator",
            "events.k8s.io/shop",
            "configmaps/events/a",
            &format!("{webhooks}/kamaji-freezer"),
        ] {
            assert_eq!(class(key), None, "{key}");
        }
    }
}
