use anyhow::Result;
use serde_json::Value;

use crate::{
    engine::{Failure, Kind},
    plan::Workload,
    steps::{Place, ready},
};

/// The pod of a workload that checks are run in which name none.
pub async fn first_pod(place: &Place, workload: &Workload, object: &Value) -> Result<String> {
    match workload {
        Workload::StatefulSet(name) => {
            let first = object["spec"]["ordinals"]["start"].as_u64().unwrap_or(0);
            Ok(format!("{name}-{first}"))
        }
        Workload::Deployment(name) => {
            let mut ready: Vec<_> = ready::of(place, workload)
                .await?
                .iter()
                .filter(|pod| ready::is_ready(pod))
                .filter_map(|pod| pod.metadata.name.clone())
                .collect();
            ready.sort();
            ready.into_iter().next().ok_or_else(|| {
                let object = place.object("deployment", name);
                let why = format!("{object} has no pod that is ready, and checks are run in one");
                Failure::new(Kind::Blocked, why).into()
            })
        }
    }
}
