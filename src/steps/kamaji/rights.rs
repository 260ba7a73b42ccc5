//! The rights that a switch needs, each of them used by a step.
use anyhow::Result;

use super::{Switch, controller};
use crate::{
    adapters::{
        kamaji::{DataStore, GROUP, data_stores},
        kube::{Rule, get_opt, tunnel_rules},
    },
    plan::{TenantFreeze, TenantWay},
};

/// Every right where the control plane is, and where the stores and their Secrets are. In the tenant its
/// administrator's kubeconfig is used.
pub async fn rules(switch: &Switch) -> Result<Vec<Rule>> {
    let (namespace, tenant) = (Some(switch.place.namespace.as_str()), &switch.tenant);
    let mut rules = Vec::new();
    let mut on = |verbs: &[&str], group: &str, resource: &str, name: &str| {
        let all = verbs
            .iter()
            .map(|verb| Rule::new(verb, group, resource, namespace).on(name));
        rules.extend(all);
    };
    let all_life = ["get", "list", "watch", "patch"];
    on(&all_life, GROUP, "tenantcontrolplanes", &tenant.name);
    // The one right that only the way `direct` needs: Kamaji writes its status itself.
    if switch.way == TenantWay::Direct {
        on(
            &["patch"],
            GROUP,
            "tenantcontrolplanes/status",
            &tenant.name,
        );
    }
    on(&["get"], "", "secrets", &tenant.kubeconfig_secret);
    on(&["get"], "apps", "deployments", &tenant.deployment);
    if switch.freeze == TenantFreeze::Offline {
        on(
            &["list", "watch"],
            "apps",
            "deployments",
            &tenant.deployment,
        );
        on(
            &["get", "update"],
            "apps",
            "deployments/scale",
            &tenant.deployment,
        );
    }
    rules.extend(["get", "list", "watch"].map(|verb| Rule::new(verb, "", "pods", namespace)));
    rules.extend(["create", "get"].map(|verb| Rule::new(verb, "", "pods/portforward", namespace)));
    rules.push(Rule::new("list", "", "events", namespace));
    if switch.way == TenantWay::Controller {
        rules.extend(controller::rules(switch).await);
    }
    rules.push(Rule::new("list", GROUP, "tenantcontrolplanes", None));
    rules.push(Rule::new("list", "batch", "jobs", None));
    rules.push(Rule::new("list", "", "pods", None));
    rules.push(Rule::new("list", "apps", "deployments", None));
    for store in [&tenant.source, &tenant.target] {
        rules.extend(
            ["get", "list", "watch"]
                .map(|verb| Rule::new(verb, GROUP, "datastores", None).on(store)),
        );
        // What it names can only be known by who may read it; preflight tells that it is missing.
        let found = get_opt(&data_stores(&switch.place.cluster), store).await;
        let Some(found) = found
            .ok()
            .flatten()
            .and_then(|found| DataStore::new(found).ok())
        else {
            continue;
        };
        for (namespace, name) in found.secrets() {
            rules.push(Rule::new("get", "", "secrets", Some(&namespace)).on(&name));
        }
        for endpoint in &found.spec.endpoints {
            rules.extend(tunnel_rules(endpoint));
        }
    }
    Ok(rules)
}
