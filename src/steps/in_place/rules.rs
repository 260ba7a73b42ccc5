//! The rights that a move in place needs beside those of copying and freezing.
use super::InPlace;
use crate::adapters::kube::Rule;

/// Every right that the three steps use, their undo included.
#[must_use]
pub fn rules(of: &InPlace) -> Vec<Rule> {
    let here = Some(of.place.namespace.as_str());
    // The new volumes have no names yet, and volumes belong to no namespace.
    let volumes = ["get", "patch"].map(|verb| Rule::new(verb, "", "persistentvolumes", None));
    let workload = [
        Rule::new("create", "apps", "statefulsets", here),
        Rule::new("delete", "apps", "statefulsets", here).on(&of.name),
    ];
    let claims = of.inventory.volumes.iter().flat_map(|volume| {
        ["get", "delete", "watch"]
            .map(|verb| Rule::new(verb, "", "persistentvolumeclaims", here).on(&volume.source))
    });
    volumes.into_iter().chain(workload).chain(claims).collect()
}
