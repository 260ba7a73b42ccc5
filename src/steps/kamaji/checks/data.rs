use anyhow::Result;

use super::super::Switch;
use crate::{
    adapters::datastore::{DatastoreError, Look},
    engine::Check,
};

impl Switch {
    /// What is in the stores, as a connection to both shows.
    pub(super) async fn check_data(&self) -> Result<Vec<Check>> {
        let unreachable = |evidence: String| {
            vec![Check::block(
                "stores",
                self.shown(),
                evidence,
                "look at the servers behind the DataStore's endpoints, and at its credentials",
            )]
        };
        let pair = match self.stores.pair().await {
            Ok(pair) => pair,
            Err(error) => return Ok(unreachable(format!("{error:#}"))),
        };
        let look = match pair.look().await {
            Ok(look) => look,
            Err(
                error @ (DatastoreError::Unreachable { .. }
                | DatastoreError::Refused { .. }
                | DatastoreError::Lost { .. }),
            ) => {
                return Ok(unreachable(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let mut checks = Vec::new();
        for (side, name, store) in [
            ("source data", &self.tenant.source, &look.source),
            ("target data", &self.tenant.target, &look.target),
        ] {
            let evidence = format!(
                "{} {}, {} keys of schema {}, revision {}",
                self.tenant.driver, store.version, store.keys, self.tenant.schema, store.revision
            );
            checks.push(Check::pass(side, format!("datastore {name}"), evidence));
        }
        checks.extend(self.check_time(pair, &look).await?);
        checks.extend(self.not_empty(&look));
        for finding in look.findings {
            let object = format!("{} and {}", self.tenant.source, self.tenant.target);
            let name: &str = &finding.check;
            checks.push(if finding.blocks {
                Check::block(name, object, finding.evidence, finding.cure)
            } else {
                Check::warn(name, object, finding.evidence, finding.cure)
            });
        }
        Ok(checks)
    }

    /// What an earlier switch left at the target would come to life again: objects that were deleted since.
    pub(in super::super) fn not_empty(&self, look: &Look) -> Option<Check> {
        let keys = look.target.keys;
        (keys > 0).then(|| {
            Check::block(
                "target data",
                format!("datastore {}", self.tenant.target),
                format!("holds {keys} keys of schema {} already", self.tenant.schema),
                "remove them, with `kubectl migrate cleanup NAME --old-data` of the switch that left them, or by hand",
            )
        })
    }
}
