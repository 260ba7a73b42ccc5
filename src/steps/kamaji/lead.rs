use anyhow::Result;
use async_trait::async_trait;

use super::{Switch, raise::RAISED, warm_verify::HALF};
use crate::{
    adapters::datastore::{Driver, Raised},
    engine::{Cx, Holds, Key, Outcome, Step, UndoPlan, Undone},
};

/// Lets the target store's next revision come behind all that the source will give until no API server uses it.
///
/// Frozen, API servers go on writing for themselves, and clients are told those revisions. If the target gave them
/// again, to other changes, a client that has seen the source's would miss the target's.
#[derive(Clone, Debug)]
pub struct Lead(pub Switch);

/// What the lead leaves in the journal.
pub const LED: Key<Raised> = Key::new("lead");

/// How far the target's revisions are to begin behind the source's, which has moved so far since they were raised.
///
/// With kine it is one row, however far. With etcd each revision is a write, and writes stop meanwhile: what the
/// source has moved is what it will move again until the API servers are at the target; 10,000 take about 2 s.
pub(super) fn margin(driver: Driver, moved: u64) -> u64 {
    match driver {
        Driver::Etcd => moved.saturating_mul(2).clamp(1_000, 10_000),
        Driver::PostgreSQL | Driver::MySQL | Driver::Nats => 10_000,
    }
}

/// What raised the target last.
fn raised(cx: &Cx) -> Result<Raised> {
    match cx.find(&HALF)? {
        Some(half) => Ok(half.raised),
        None => cx.get(&RAISED),
    }
}

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

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let pair = self.0.stores.pair().await?;
        if self.0.is_flipped(&self.0.control_plane().await?) {
            // Kamaji was faster than its pause: the target is in use, and began where it was raised to.
            let led = match self.0.tenant.driver {
                Driver::Etcd => raised(cx)?,
                Driver::PostgreSQL | Driver::MySQL | Driver::Nats => Raised {
                    source: pair.source_revision().await?,
                    before: 0,
                    now: 0,
                },
            };
            return Ok(Outcome::Done(serde_json::to_value(led)?));
        }
        self.0.still_frozen().await?;
        let driver = self.0.tenant.driver;
        let moved = match driver {
            Driver::Etcd => {
                let now = pair.source_revision().await?;
                now.saturating_sub(raised(cx)?.source)
            }
            Driver::PostgreSQL | Driver::MySQL | Driver::Nats => 0,
        };
        let led = tokio::select! {
            led = pair.lead(margin(driver, moved)) => led?,
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        Ok(Outcome::Done(serde_json::to_value(led)?))
    }

    async fn holds(&self, cx: &Cx) -> Result<Holds> {
        if self.0.is_flipped(&self.0.control_plane().await?) {
            return Ok(Holds::Yes);
        }
        let source = self.0.stores.pair().await?.source_revision().await?;
        Ok(used_up(&cx.get(&LED)?, source).map_or(Holds::Yes, Holds::Unknown))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored) // warm-copy's undo removes all of it; etcd's revision is only a counter
    }
}

/// Why the target has to go on further behind: a run that stood still for long comes to a source that has moved on.
/// Once the flip has begun, nobody can do that any more.
fn used_up(led: &Raised, source: u64) -> Option<String> {
    let (at_first, left) = (
        led.now.saturating_sub(led.source),
        led.now.saturating_sub(source),
    );
    (left < at_first / 2).then(|| {
        let led = led.now;
        format!("the source has gone on to revision {source}, and the target's begin above {led}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_is_renewed_before_the_source_has_used_it_up() {
        let led = Raised {
            source: 10_000,
            before: 1,
            now: 20_000,
        };
        assert_eq!(used_up(&led, 10_000), None);
        assert_eq!(used_up(&led, 15_000), None);
        assert!(used_up(&led, 15_001).is_some());
        assert!(used_up(&led, 30_000).is_some());
    }

    #[test]
    fn etcd_is_led_as_far_as_its_source_moves_and_tables_far_at_no_cost() {
        assert_eq!(margin(Driver::Etcd, 0), 1_000);
        assert_eq!(margin(Driver::Etcd, 3_000), 6_000);
        assert_eq!(margin(Driver::Etcd, u64::MAX), 10_000);
        assert_eq!(margin(Driver::MySQL, 0), 10_000);
    }
}
