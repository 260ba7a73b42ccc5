use anyhow::Result;
use async_trait::async_trait;

use super::{Switch, raise::RAISED};
use crate::{
    adapters::datastore::{Driver, Raised},
    engine::{Check, Cx, Holds, Key, Outcome, Probe, Step, UndoPlan, Undone},
};

/// Lets the target store's next revision come behind all that the source will give until no API server uses it.
///
/// Frozen, API servers go on writing for themselves, and clients are told those revisions. If the target gave them
/// again, to other changes, a client that has seen the source's would miss the target's.
#[derive(Clone, Debug)]
pub struct Lead(pub Switch);

/// What the lead leaves in the journal.
pub const LED: Key<Raised> = Key::new("lead");

/// The source's own writes while API servers start at the target: 50 revisions in 40 s were seen, and leases of
/// nodes come to 10 a second where there are 100 nodes.
const MARGIN: u64 = 10_000;

#[async_trait]
impl Step for Lead {
    fn id(&self) -> &'static str {
        LED.step()
    }

    fn title(&self) -> String {
        format!(
            "let datastore {} go on behind the source's last revision",
            self.0.tenant.target
        )
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("remove it, with the copy of warm-copy".to_owned())
    }

    async fn preflight(&self, _: &Cx) -> Result<Vec<Check>> {
        Ok(Vec::new())
    }

    async fn rehearse(&self, _: &Cx) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn probe(&self, _: &Cx) -> Result<Probe> {
        Ok(Probe::Ready)
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let pair = self.0.stores.pair().await?;
        if self.0.is_flipped(&self.0.control_plane().await?) {
            // Kamaji was faster than its pause: the target is in use, and began where it was raised to.
            let led = match self.0.tenant.driver {
                Driver::Etcd => cx.get(&RAISED)?,
                Driver::PostgreSQL | Driver::MySQL | Driver::Nats => Raised {
                    source: pair.source_revision().await?,
                    before: 0,
                    now: 0,
                },
            };
            return Ok(Outcome::Done(serde_json::to_value(led)?));
        }
        self.0.still_frozen().await?;
        let led = tokio::select! {
            led = pair.lead(MARGIN) => led?,
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        Ok(Outcome::Done(serde_json::to_value(led)?))
    }

    async fn holds(&self, cx: &Cx) -> Result<Holds> {
        if self.0.is_flipped(&self.0.control_plane().await?) {
            return Ok(Holds::Yes);
        }
        let source = self.0.stores.pair().await?.source_revision().await?;
        Ok(used_up(cx.get(&LED)?.now, source).map_or(Holds::Yes, Holds::Unknown))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored) // warm-copy's undo removes all of it; etcd's revision is only a counter
    }
}

/// Why the target has to go on further behind: a run that stood still for long comes to a source that has moved on.
/// Once the flip has begun, nobody can do that any more.
fn used_up(led: u64, source: u64) -> Option<String> {
    (led < source.saturating_add(MARGIN / 2)).then(|| {
        format!("the source has gone on to revision {source}, and the target's begin above {led}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_is_renewed_before_the_source_has_used_it_up() {
        assert_eq!(used_up(20_000, 10_000), None);
        assert_eq!(used_up(20_000, 15_000), None);
        assert!(used_up(20_000, 15_001).is_some());
        assert!(used_up(20_000, 30_000).is_some());
    }
}
