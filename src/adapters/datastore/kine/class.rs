//! Rows that a working API server, kine or Kamaji changes by itself, frozen or not.
use super::COMPACT_KEY;

/// Where newer versions of kine keep the revision that the API server compacts to.
const API_COMPACT_KEY: &str = "compact_rev_key_apiserver";

/// How a class knows its rows' names.
enum Names {
    Under(&'static str),
    Only(&'static [&'static str]),
}

/// Every class with its name.
const CLASSES: [(&str, Names); 9] = [
    ("API server leases", Names::Under("/registry/masterleases/")),
    (
        "API servers' leases to each other",
        Names::Under("/registry/peerserverleases/"),
    ),
    (
        "node leases",
        Names::Under("/registry/leases/kube-node-lease/"),
    ),
    (
        "system leases",
        Names::Under("/registry/leases/kube-system/"),
    ),
    ("events", Names::Under("/registry/events/")),
    (
        "address and port allocations",
        Names::Under("/registry/ranges/"),
    ),
    (
        "Kamaji's freeze",
        Names::Only(&["/registry/validatingwebhookconfigurations/kamaji-freeze"]),
    ),
    (
        "kine's compaction",
        Names::Only(&[COMPACT_KEY, API_COMPACT_KEY]),
    ),
    ("kine's gaps", Names::Under("gap-")),
];

/// Rows that the source's compaction removed after they were copied.
pub(super) const COMPACTED: usize = CLASSES.len();
/// The row that a target begins behind.
pub(super) const LEAD: usize = COMPACTED + 1;
/// How many classes there are, with those that are not known by names.
pub(super) const COUNT: usize = LEAD + 1;

/// The class of a row by its name, as a number under [`COMPACTED`].
pub(super) fn class_of(name: &[u8]) -> Option<usize> {
    CLASSES.iter().position(|(_, names)| match names {
        Names::Under(start) => name.starts_with(start.as_bytes()),
        Names::Only(whole) => whole.iter().any(|whole| name == whole.as_bytes()),
    })
}

/// A class's name.
pub(super) fn name_of(class: usize) -> &'static str {
    match class {
        COMPACTED => "compacted at the source",
        LEAD => "the target's lead",
        class => CLASSES[class].0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_left_out() {
        let class = |name: &str| class_of(name.as_bytes()).map(name_of);
        assert_eq!(
            class("/registry/masterleases/10.0.0.1"),
            Some("API server leases")
        );
        assert_eq!(
            class("/registry/leases/kube-node-lease/a-1"),
            Some("node leases")
        );
        assert_eq!(
            class("/registry/leases/kube-system/kube-scheduler"),
            Some("system leases")
        );
        assert_eq!(class("/registry/events/shop/web.17"), Some("events"));
        assert_eq!(
            class("/registry/ranges/serviceips"),
            Some("address and port allocations")
        );
        for name in ["compact_rev_key", "compact_rev_key_apiserver"] {
            assert_eq!(class(name), Some("kine's compaction"), "{name}");
        }
        assert_eq!(class("gap-17"), Some("kine's gaps"));
        let webhooks = "/registry/validatingwebhookconfigurations";
        assert_eq!(
            class(&format!("{webhooks}/kamaji-freeze")),
            Some("Kamaji's freeze")
        );
        for name in [
            "/registry/leases/shop/operator",
            "/registry/events.k8s.io/shop",
            "/registry/configmaps/gap-1/a",
            "/registry/gap-1",
            "compact_rev_keys",
            &format!("{webhooks}/kamaji-freezer"),
        ] {
            assert_eq!(class(name), None, "{name}");
        }
    }
}
