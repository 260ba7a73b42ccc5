//! What the work of two movers waits for, as both of them tell it.
use std::{
    future::pending,
    time::{Duration, Instant},
};

use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, interval},
};

use super::limit::Share;
use crate::{
    adapters::kube::PortStream,
    engine::Limited,
    transfer::{Activity, Control, ControlError, Load, bottleneck},
};

/// How often the source's mover is asked. The target's tells by itself, with its progress.
const LOOK: Duration = Duration::from_secs(1);
/// Work that took no longer tells nothing by what was seen meanwhile.
const SHORT: Duration = Duration::from_millis(250);

/// What limits, with these workers at work on both sides.
pub(super) fn limited(source: &Load, target: &Load) -> Option<Limited> {
    bottleneck(source, target).map(|found| Limited {
        by: found.cause.to_string(),
        share: (found.share * 100.0).round() / 100.0,
    })
}

/// What limited work during which this was seen of both sides.
pub(super) fn verdict(source: Option<Activity>, target: Activity) -> Option<Limited> {
    limited(&source?.load(), &target.load())
}

/// Asks the source's mover what its workers are at until the work has ended, and passes changes of its limit on. What
/// was seen in all that time; none where it did not answer.
pub(super) async fn follow(
    source: &mut Control<PortStream>,
    mut share: Option<&mut Share>,
    mut ended: oneshot::Receiver<()>,
    tell: impl Fn(Activity),
) -> Result<Option<Activity>, ControlError> {
    let begun = Instant::now();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut first, mut last) = (None, None);
    let mut answers = true;
    loop {
        tokio::select! {
            _ = &mut ended => break,
            () = changed(share.as_deref_mut()) => {
                if let Some(share) = share.as_deref_mut() {
                    source.limit(share.now()).await?;
                }
            }
            _ = looks.tick(), if answers => match source.activity().await {
                Ok(now) => {
                    first.get_or_insert(now);
                    last = Some(now);
                    tell(now);
                }
                // The work goes on without it: what matters of the source the target sees.
                Err(_) => answers = false,
            },
        }
    }
    if answers && begun.elapsed() >= SHORT {
        last = source.activity().await.ok();
    }
    let since = |(last, first): (Activity, Activity)| last.since(&first);
    Ok(last.zip(first).and_then(since))
}

async fn changed(share: Option<&mut Share>) {
    match share {
        Some(share) => share.changed().await,
        None => pending().await,
    }
}
