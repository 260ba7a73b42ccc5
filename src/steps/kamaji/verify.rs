use anyhow::Result;
use async_trait::async_trait;

use super::{
    Stores, Switch, final_copy::LAST, stores::meter, warm_copy::Rounds, warm_verify::HALF,
};
use crate::{
    adapters::datastore::{Comparison, FirstHalf, Later, Meter, Pair},
    engine::{Cx, Failure, Key, Kind, Outcome, Step, UndoPlan, Undone},
};

/// Compares both stores by content.
#[derive(Clone, Debug)]
pub struct VerifyStores(pub Switch);

/// What the comparison leaves in the journal.
pub const COMPARED: Key<Comparison> = Key::new("verify");

/// What is to be said of differences where the target is in use already.
const AFTER_THE_FLIP: &str = ", and the tenant is in use at the target: what is missing there was lost, or deleted there since; the source is kept";

/// What was written to the source after this copy; none where it cannot tell.
pub(super) async fn later_of(stores: &Stores, last: &Rounds) -> Result<Option<Later>> {
    Ok(match last.position() {
        Some(position) => stores.pair().await?.later(position).await?,
        None => None,
    })
}

/// Compares what changed since the first half, where there is one and the stores can tell, else everything.
async fn compare(
    pair: &dyn Pair,
    half: Option<&FirstHalf>,
    cx: &Cx,
    meter: &Meter,
) -> Result<Comparison> {
    if let Some(half) = half {
        if let Some(compared) = pair.compare_rest(half, meter).await? {
            return Ok(compared);
        }
        cx.sink.notice(
            "what changed since `warm-verify` cannot be told any more: everything is compared again"
                .to_owned(),
        );
    }
    Ok(pair.compare(meter).await?)
}

impl Switch {
    /// What was written to the source after the last copy.
    pub(super) async fn later(&self, cx: &Cx) -> Result<Option<Later>> {
        later_of(&self.stores, &cx.get(&LAST)?).await
    }

    async fn nothing_later(&self, cx: &Cx) -> Result<()> {
        let tenant = &self.tenant;
        match self.later(cx).await? {
            Some(later) if later.writes > 0 => {
                let why = format!(
                    "{} writes came to datastore {} after the last copy",
                    later.writes, tenant.source
                );
                Err(Failure::new(Kind::Difference, why)
                    .with_evidence(later.keys)
                    .into())
            }
            Some(_) => Ok(()),
            // The comparison that was just made has read the present.
            None => {
                cx.sink.notice(format!(
                    "datastore {} does not tell what was written since the last copy: the comparison alone counts",
                    tenant.source
                ));
                Ok(())
            }
        }
    }
}

#[async_trait]
impl Step for VerifyStores {
    fn id(&self) -> &'static str {
        COMPARED.step()
    }

    fn title(&self) -> String {
        "compare every key and value".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        // Only where Kamaji's own Job was faster than we: what can still be compared is better than nothing.
        let flipped = self.0.is_flipped(&self.0.control_plane().await?);
        if !flipped {
            self.0.still_frozen().await?;
        }
        let pair = self.0.stores.pair().await?;
        let meter = meter(cx, self.id(), "comparing");
        // A second try is there because something was wrong: nothing of before counts then.
        let half = cx.find(&HALF)?.and_then(|half| half.compared);
        let half = half.filter(|_| !flipped && !cx.again);
        let compared = tokio::select! {
            compared = compare(pair, half.as_ref(), cx, &meter) => compared?,
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        if compared.different > 0 {
            let tenant = &self.0.tenant;
            let mut why = format!(
                "{} of {} keys of schema {} differ between datastore {} and datastore {}",
                compared.different, compared.keys, tenant.schema, tenant.source, tenant.target
            );
            if flipped {
                why.push_str(AFTER_THE_FLIP);
            }
            let evidence = compared.differences.iter();
            let evidence = evidence
                .map(|one| format!("{}: {}", one.key, one.how))
                .collect();
            return Err(Failure::new(Kind::Difference, why)
                .with_evidence(evidence)
                .into());
        }
        if flipped {
            return Ok(Outcome::Done(serde_json::to_value(compared)?));
        }
        // What was read last must still be the last: a write that was let in before the freeze may come late.
        self.0.still_frozen().await?;
        self.0.nothing_later(cx).await?;
        Ok(Outcome::Done(serde_json::to_value(compared)?))
    }

    fn repaired_by(&self) -> Option<&'static str> {
        Some(LAST.step())
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}
