//! What the tests of this folder share.
use serde_json::json;

use super::{Limit, Movers, STARTS_WITHIN, Ways};
use crate::{
    plan::{Mover, RunAs},
    steps::{
        Place,
        inventory::{Mode, Volume},
        users::tests::{belongs, place_with},
    },
};

/// Movers of the one volume `data`, from and to the namespace `shop` of the fake cluster.
pub(in crate::steps) fn movers(run_as: RunAs, mode: Mode, source: Place) -> Movers {
    Movers {
        belongs: belongs(),
        source,
        target: place_with(json!([])),
        volumes: vec![Volume {
            source: "data".to_owned(),
            uid: "claim-uid".to_owned(),
            volume: "pv-data".to_owned(),
            target: "new-data".to_owned(),
            mode,
            access: vec!["ReadWriteOnce".to_owned()],
            capacity: 1 << 30,
            size: "1Gi".to_owned(),
            class: None,
            used: Vec::new(),
            phase: "Bound".to_owned(),
        }],
        workload: json!({"spec": {"template": {"spec": {
            "securityContext": {"runAsUser": 999, "runAsGroup": 998, "fsGroup": 997},
            "tolerations": [{"key": "db", "operator": "Exists"}],
            "nodeSelector": {"disk": "ssd"},
            "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
                ]}},
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []},
            },
        }}}}),
        image: "mover:1".to_owned(),
        executable: None,
        pull_secret: Some("pull".to_owned()),
        run_as,
        starts_within: STARTS_WITHIN,
        ways: Ways::default(),
        allowed: Mover::default().ways(),
        through: None,
        asleep: false,
        limit: Limit::new(None),
        only_read: false,
    }
}
