//! What can be known before a switch, each with its evidence and its cure.
mod control_plane;
mod controller;
mod data;
mod job;
mod leftovers;
mod probe;
mod stores;
mod time;
mod ways;
mod writes;

use anyhow::Result;
use async_trait::async_trait;

pub use job::JobLook;

use super::Switch;
use crate::{engine::Check, steps::preflight::Look};

/// Everything that is looked at before a switch.
#[derive(Clone, Debug)]
pub struct TenantLook(pub Switch);

#[async_trait]
impl Look for TenantLook {
    async fn look(&self) -> Result<Vec<Check>> {
        let switch = &self.0;
        let tenant = switch.control_plane().await?;
        // A tenant that belongs to the target has been switched by this very migration: what follows would
        // speak of the state before.
        if switch.is_flipped(&tenant) && switch.tenant.source != switch.tenant.target {
            return Ok(vec![Check::pass(
                "control plane",
                switch.shown(),
                format!("is in datastore {} already", switch.tenant.target),
            )]);
        }
        let mut checks = switch.check_control_plane(&tenant);
        checks.extend(switch.check_ways(&tenant));
        checks.push(switch.check_controller().await);
        checks.extend(switch.check_leftovers(&tenant).await);
        let (stores, usable) = switch.check_stores(&tenant).await?;
        checks.extend(stores);
        if usable {
            checks.extend(switch.check_data().await?);
        }
        checks.extend(switch.check_writes().await);
        Ok(checks)
    }
}
