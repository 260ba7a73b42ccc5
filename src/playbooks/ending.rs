//! How long pods may take to end, as their template says.
use std::time::Duration;

use super::statefulset::grace;
use crate::{plan::FreezeMode, steps::inventory::Inventory};

/// How long the pods of a workload may take to end by their own grace, when it is scaled to 0. Pods that
/// are put to sleep have to start again, and nobody knows how long that takes.
pub(super) fn ending(mode: FreezeMode, inventory: &Inventory) -> Option<Duration> {
    let ordered = inventory.workload["spec"]["podManagementPolicy"] == "OrderedReady";
    let one_by_one = if ordered { inventory.replicas } else { 1 };
    (mode == FreezeMode::Scale).then(|| grace(inventory) * one_by_one)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_that_end_one_after_the_other_take_the_sum_of_their_grace() {
        let inventory = |policy: &str, grace: Option<u64>| Inventory {
            workload: json!({"spec": {
                "podManagementPolicy": policy,
                "template": {"spec": {"terminationGracePeriodSeconds": grace}},
            }}),
            replicas: 3,
            volumes: Vec::new(),
            left_out: Vec::new(),
        };
        for (policy, grace, seconds) in [
            ("OrderedReady", Some(20), 60),
            ("OrderedReady", None, 90),
            ("Parallel", Some(20), 20),
        ] {
            let found = ending(FreezeMode::Scale, &inventory(policy, grace));
            assert_eq!(found, Some(Duration::from_secs(seconds)), "{policy}");
        }
        let asleep = ending(FreezeMode::Sleep, &inventory("Parallel", Some(20)));
        assert_eq!(asleep, None);
    }
}
