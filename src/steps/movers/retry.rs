use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use futures::future::{BoxFuture, try_join_all};

use super::{Lone, Meter, Mover, Movers, Pair, keys::Keys};
use crate::{
    adapters::kube::{KubeError, job_evidence},
    engine::{Cx, Failure, Kind},
    transfer::{
        ControlError, Fault, Side,
        archive::{StoreError, StoreFailure},
    },
};

/// Something to be done with the movers of one volume. It may be done again: after a mover was lost it
/// begins anew, with what is on the target already.
pub type Work<T> =
    Arc<dyn for<'pair> Fn(&'pair mut Pair) -> BoxFuture<'pair, Result<T, Loss>> + Send + Sync>;

/// Something to be done with one mover alone; as [`Work`], it may be done again.
pub type LoneWork<T> =
    Arc<dyn for<'lone> Fn(&'lone mut Lone) -> BoxFuture<'lone, Result<T, Loss>> + Send + Sync>;

/// One try with the movers of a volume.
type Attempt<'a, T> = dyn Fn() -> BoxFuture<'a, Result<T, Loss>> + Send + Sync + 'a;

/// So many losses without an end are no accident.
const LOSSES: u32 = 20;
/// A bucket is asked for again and again by its own client, before it counts as lost once.
const STORE_LOSSES: u32 = 4;
/// Between a loss and the next try: doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Why a try with the movers of a volume ended.
#[derive(Debug)]
pub enum Loss {
    /// A mover, or the way to it, was lost: the work may go on with the next one.
    Passing(anyhow::Error),
    /// Trying again would end in the same way.
    Never(anyhow::Error),
}

impl Loss {
    /// Whether what was read is not what was put there.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        let Self::Never(error) = self else {
            return false;
        };
        let failure = error.downcast_ref::<Failure>();
        failure.is_some_and(|failure| failure.kind == Kind::Difference)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Passing(error) | Self::Never(error)) = self;
        write!(formatter, "{error:#}")
    }
}

impl From<ControlError> for Loss {
    fn from(error: ControlError) -> Self {
        let passing = match &error {
            ControlError::Connection { .. } | ControlError::Silent { .. } => true,
            ControlError::Fault(fault) => matches!(
                fault,
                Fault::PeerLost { .. }
                    | Fault::NoPeer
                    | Fault::Stopped
                    | Fault::Busy { .. }
                    | Fault::Store(StoreError {
                        failure: StoreFailure::Passing | StoreFailure::Credentials,
                        ..
                    })
            ),
            _ => false,
        };
        if passing {
            Self::Passing(error.into())
        } else {
            Self::Never(explained(error))
        }
    }
}

impl From<KubeError> for Loss {
    fn from(error: KubeError) -> Self {
        // The pod ended between being seen and being dialled, or the API server is away for a while.
        let passing = error.is_passing()
            || error.is_not_found()
            || matches!(
                error,
                KubeError::PodNotRunning { .. }
                    | KubeError::TimedOut { .. }
                    | KubeError::Other { .. }
            );
        if passing {
            Self::Passing(error.into())
        } else {
            Self::Never(error.into())
        }
    }
}

/// A mover's fault with the ending that it is.
fn explained(error: ControlError) -> anyhow::Error {
    let kind = match &error {
        ControlError::Fault(
            Fault::Foreign { .. }
            | Fault::NameTaken { .. }
            | Fault::TooSmall { .. }
            | Fault::ShapeDiffers { .. }
            | Fault::TooLarge { .. }
            | Fault::Newer { .. }
            | Fault::Store(StoreError {
                failure: StoreFailure::Refused,
                ..
            }),
        ) => Kind::Blocked,
        ControlError::Fault(Fault::Damaged { .. } | Fault::Store(_)) => Kind::Difference,
        ControlError::Fault(Fault::Fenced { .. } | Fault::Superseded) => Kind::LockLost,
        _ => return error.into(),
    };
    let next = next(&error);
    with_next(Failure::new(kind, error.to_string()), next).into()
}

/// Whether what is in a bucket is not what was put there.
pub(super) fn is_damage(error: &ControlError) -> bool {
    let ControlError::Fault(fault) = error else {
        return false;
    };
    matches!(
        fault,
        Fault::Damaged { .. }
            | Fault::Store(StoreError {
                failure: StoreFailure::Damaged,
                ..
            })
    )
}

/// What a bucket's error says that helps.
fn next(error: &ControlError) -> Option<(String, String)> {
    match error {
        ControlError::Fault(Fault::Store(error)) => error.next.clone(),
        _ => None,
    }
}

fn with_next(failure: Failure, next: Option<(String, String)>) -> Failure {
    match next {
        Some((command, what)) => failure.with_next(command, what),
        None => failure,
    }
}

impl Movers {
    /// Does the work with the movers of every volume at once. The answers come in the volumes' order.
    ///
    /// `expected` is how many bytes each volume holds, for the figures of a verification.
    pub async fn each<T: Send>(
        &self,
        cx: &Cx,
        meter: &Meter,
        expected: &[u64],
        work: &Work<T>,
    ) -> Result<Vec<T>> {
        let all: Vec<_> = (0..self.volumes.len()).collect();
        self.some(&all, cx, meter, expected, work).await
    }

    /// The same with some of the volumes, by their numbers.
    pub async fn some<T: Send>(
        &self,
        indices: &[usize],
        cx: &Cx,
        meter: &Meter,
        expected: &[u64],
        work: &Work<T>,
    ) -> Result<Vec<T>> {
        let keys = self.keys_where_needed().await?;
        let keys = keys.as_ref();
        let all = indices.iter().map(|index| async move {
            let expected = expected.get(*index).copied().unwrap_or_default();
            let attempt = || -> BoxFuture<'_, _> {
                Box::pin(self.once(*index, keys, cx, meter, expected, work))
            };
            let sides = [Side::Source, Side::Target];
            self.with(*index, &sides, cx, &attempt).await
        });
        try_join_all(all).await
    }

    /// Does the work with the target's movers of some of the volumes: no mover is put next to the source.
    pub async fn lone<T: Send>(
        &self,
        indices: &[usize],
        cx: &Cx,
        meter: &Meter,
        work: &LoneWork<T>,
    ) -> Result<Vec<T>> {
        let volumes: Vec<_> = indices.iter().map(|index| (*index, 0)).collect();
        self.alone(Side::Target, &volumes, cx, meter, work).await
    }

    /// Does the work with the movers of one side alone, of some of the volumes, each with how many bytes it holds.
    pub async fn alone<T: Send>(
        &self,
        side: Side,
        volumes: &[(usize, u64)],
        cx: &Cx,
        meter: &Meter,
        work: &LoneWork<T>,
    ) -> Result<Vec<T>> {
        let keys = self.keys_where_needed().await?;
        let keys = keys.as_ref();
        let all = volumes.iter().map(|(index, expected)| async move {
            let mover = Mover {
                index: *index,
                side,
            };
            let attempt = || -> BoxFuture<'_, _> {
                Box::pin(self.once_alone(mover, keys, cx, meter, *expected, work))
            };
            self.with(*index, &[side], cx, &attempt).await
        });
        try_join_all(all).await
    }

    async fn with<T: Send>(
        &self,
        index: usize,
        sides: &[Side],
        cx: &Cx,
        attempt: &Attempt<'_, T>,
    ) -> Result<T> {
        let mut pause = FIRST_PAUSE;
        let mut losses = 0;
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(Loss::Never(error)) => {
                    return Err(error)
                        .with_context(|| format!("claim {}", self.volumes[index].source));
                }
                Err(Loss::Passing(error)) => error,
            };
            losses += 1;
            let seen = self.seen(index, sides).await;
            let most = match error.downcast_ref() {
                Some(ControlError::Fault(Fault::Store(_) | Fault::Damaged { .. })) => STORE_LOSSES,
                _ => LOSSES,
            };
            if losses >= most {
                let message = format!(
                    "the movers of claim {} were lost {losses} times, the last time: {error:#}",
                    self.volumes[index].source
                );
                let failure = Failure::new(Kind::Error, message).with_evidence(seen);
                return Err(with_next(failure, error.downcast_ref().and_then(next)).into());
            }
            let seen = seen.join("; ");
            cx.sink.notice(format!(
                "claim {}: {error:#}{}{seen}; going on with what is there",
                self.volumes[index].source,
                if seen.is_empty() { "" } else { "; " }
            ));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn once<T: Send>(
        &self,
        index: usize,
        keys: Option<&Keys>,
        cx: &Cx,
        meter: &Meter,
        expected: u64,
        work: &Work<T>,
    ) -> Result<T, Loss> {
        let Some(keys) = keys else {
            let shells = self.shells(index, cx, meter, expected).await?;
            return work(&mut Pair::shells(shells)).await;
        };
        let running = self.running(index, keys, &cx.sink, &meter.step()).await;
        let running = running.map_err(Loss::Never)?;
        let linked = self.link(&running, keys, cx.fence, meter, expected).await?;
        work(&mut Pair::movers(linked)).await
    }

    async fn once_alone<T: Send>(
        &self,
        mover: Mover,
        keys: Option<&Keys>,
        cx: &Cx,
        meter: &Meter,
        expected: u64,
        work: &LoneWork<T>,
    ) -> Result<T, Loss> {
        let Some(keys) = keys else {
            let target = self.target_shell(mover.index, cx, meter).await?;
            return work(&mut Lone::shell(mover.index, target)).await;
        };
        let step = meter.step();
        let running = Box::pin(self.one(mover, Some(keys), &cx.sink, &step));
        let running = running.await.map_err(Loss::Never)?;
        let connected = self
            .connect(&running, keys, cx.fence, meter, expected)
            .await?;
        work(&mut Lone::mover(connected)).await
    }

    /// The keys by which movers know each other and us; none where there are no movers.
    async fn keys_where_needed(&self) -> Result<Option<Keys>> {
        if self.goes_by_exec() {
            return Ok(None);
        }
        self.keys().await.map(Some)
    }

    /// What is to be seen of the movers of a volume now.
    async fn seen(&self, index: usize, sides: &[Side]) -> Vec<String> {
        let mut lines = Vec::new();
        for side in sides {
            let place = self.place(*side);
            let name = self.name(&Mover { index, side: *side });
            lines.extend(job_evidence(&place.cluster, &place.namespace, &name).await);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_that_may_answer_later_is_asked_again_and_one_that_is_damaged_is_a_difference() {
        let store = |failure| {
            let text = |text: &str| text.to_owned();
            Loss::from(ControlError::Fault(Fault::Store(StoreError {
                why: text("why"),
                failure,
                next: Some((text("aws configure list"), text("shows them"))),
            })))
        };
        for failure in [StoreFailure::Passing, StoreFailure::Credentials] {
            assert!(
                matches!(store(failure), Loss::Passing(_)),
                "{failure:?} ended it"
            );
        }
        for (failure, kind) in [
            (StoreFailure::Refused, Kind::Blocked),
            (StoreFailure::Damaged, Kind::Difference),
        ] {
            assert_eq!(store(failure).is_damage(), kind == Kind::Difference);
            match store(failure) {
                Loss::Never(error) => {
                    assert_eq!(Failure::kind_of(&error), kind);
                    assert_eq!(Failure::next_of(&error)[0].0, "aws configure list");
                }
                Loss::Passing(error) => panic!("{failure:?} would be tried again: {error:#}"),
            }
        }
    }
}
