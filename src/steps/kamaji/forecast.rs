//! How long a tenant's writes will be refused, from what was measured while it worked.
use std::{fmt, time::Duration};

use anyhow::Result;
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};

use super::{ROLL_OUT_BOUND, Switch};
use crate::{
    adapters::kube::KubeError,
    engine::{Failure, Kind},
    plan::{Span, TenantFreeze},
};

/// A policy is in force, and out of force, within about a second: 0.7 s were seen.
const POLICY: Duration = Duration::from_secs(1);
/// What Kamaji does between the flip and the first new pod: the Secret, the user at the target, the certificate.
const KAMAJI: Duration = Duration::from_secs(2);
/// A pod's grace where it names none (Kubernetes' default).
const GRACE: i64 = 30;

/// What was measured of the stores.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// The last round of copying: the last copy has about as much to do.
    pub copying: Duration,
    /// What is compared while writes are refused.
    pub comparing: Duration,
}

/// The parts of the time in which writes are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forecast(Vec<(&'static str, Duration)>);

impl Forecast {
    /// All parts together.
    pub(super) fn total(&self) -> Duration {
        self.0.iter().map(|(_, takes)| *takes).sum()
    }

    /// Refuses what would take longer than is allowed.
    pub(super) fn fits(&self, allowed: Option<Span>) -> Result<(), Failure> {
        match allowed {
            Some(allowed) if self.total() > allowed.0 => {
                let why = format!(
                    "{allowed} is allowed (spec.freeze.max), and writes would be refused for {self}; allow more, or run again when less is written"
                );
                Err(Failure::new(Kind::Blocked, why))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Forecast {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "about {} (", Span::rounded(self.total()))?;
        let parts = self.0.iter().filter(|(_, takes)| !takes.is_zero());
        for (at, (part, takes)) in parts.enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(formatter, "{comma}{part} {}", Span::rounded(*takes))?;
        }
        formatter.write_str(")")
    }
}

impl Switch {
    /// How long writes will be refused; or why nobody can say it.
    pub(super) async fn forecast(&self, pace: Pace) -> Result<Result<Forecast, String>, KubeError> {
        let pods = self.pods().await?;
        let start = if self.tenant.replicas == 0 {
            Duration::ZERO
        } else {
            match pods.iter().filter_map(started_within).min() {
                Some(start) => start,
                None => {
                    return Ok(Err(format!(
                        "no API server of {} tells how long it took to start: none is ready, or each lost its readiness since",
                        self.shown()
                    )));
                }
            }
        };
        let (stopping, thawing) = match self.freeze {
            TenantFreeze::ReadOnly => (POLICY, POLICY),
            TenantFreeze::Offline => (grace(&pods), Duration::ZERO),
        };
        Ok(Ok(Forecast(vec![
            ("stopping writes", stopping),
            ("the last copy", pace.copying),
            ("comparing", pace.comparing),
            ("Kamaji", KAMAJI),
            ("the start of an API server", start),
            ("accepting writes", thawing),
        ])))
    }

    /// The forecast in seconds where there is one, for the journal; refuses one that does not fit what the plan
    /// allows, and a bound of which nobody can say whether it will be kept.
    pub(super) async fn fits(&self, pace: Pace) -> Result<Option<f64>> {
        match self.forecast(pace).await? {
            Ok(forecast) => {
                forecast.fits(self.max_freeze)?;
                Ok(Some(forecast.total().as_secs_f64()))
            }
            Err(why) => match self.max_freeze {
                None => Ok(None),
                Some(max) => {
                    let why = format!(
                        "spec.freeze.max is {max}, and how long writes would be refused cannot be said: {why}; leave max out, or begin anew when its API servers are ready"
                    );
                    Err(Failure::new(Kind::Blocked, why).into())
                }
            },
        }
    }
}

/// How long a pod's API server took from its start until it was ready. None where it is not ready, or became so
/// again later: a pod that lost its readiness for a while tells nothing of its start.
fn started_within(pod: &Pod) -> Option<Duration> {
    let status = pod.status.as_ref()?;
    let ready = status
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    let ready = ready.last_transition_time.as_ref()?.0;
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let restarted = containers.iter().any(|one| one.restart_count > 0);
    let running = containers
        .iter()
        .filter_map(|one| one.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    let begun: Timestamp = if restarted {
        running.map(|time| time.0).max()?
    } else {
        pod.metadata.creation_timestamp.as_ref()?.0
    };
    let took = Duration::try_from(ready.duration_since(begun)).ok()?;
    (took <= ROLL_OUT_BOUND).then_some(took)
}

/// How long the API servers may take to end.
fn grace(pods: &[Pod]) -> Duration {
    let graces = pods.iter().filter_map(|pod| pod.spec.as_ref());
    let graces = graces.map(|spec| spec.termination_grace_period_seconds.unwrap_or(GRACE));
    Duration::from_secs(graces.max().unwrap_or(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(created: u32, started: u32, ready: u32, restarts: u32) -> Pod {
        let at = |second: u32| format!("2026-11-28T03:{:02}:{:02}Z", second / 60, second % 60);
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "t-0", "creationTimestamp": at(created)},
            "status": {
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(ready)}],
                "containerStatuses": [{
                    "name": "kube-apiserver", "image": "i", "imageID": "", "ready": true,
                    "restartCount": restarts, "state": {"running": {"startedAt": at(started)}},
                }],
            },
        }))
        .expect("a pod")
    }

    #[test]
    fn a_start_is_counted_from_the_pod_s_creation_or_from_its_last_restart() {
        assert_eq!(
            started_within(&pod(0, 2, 7, 0)),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            started_within(&pod(0, 302, 306, 1)),
            Some(Duration::from_secs(4))
        );
    }

    #[test]
    fn a_pod_that_lost_its_readiness_since_tells_nothing_of_its_start() {
        assert_eq!(started_within(&pod(0, 2, 1_000, 0)), None);
        let mut other = pod(0, 2, 7, 0);
        if let Some(status) = other.status.as_mut() {
            status.conditions = None;
        }
        assert_eq!(started_within(&other), None);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_parts() {
        let forecast = Forecast(vec![
            ("stopping writes", Duration::from_secs(1)),
            ("the last copy", Duration::from_millis(40)),
            ("comparing", Duration::ZERO),
            ("the start of an API server", Duration::from_secs(5)),
        ]);
        assert!(forecast.fits(None).is_ok());
        assert!(
            forecast
                .fits(Some(Span(Duration::from_millis(6_040))))
                .is_ok()
        );
        let refused = forecast
            .fits(Some(Span(Duration::from_secs(6))))
            .expect_err("40 ms more than allowed");
        assert_eq!(refused.kind, Kind::Blocked);
        assert_eq!(
            refused.message,
            "6s is allowed (spec.freeze.max), and writes would be refused for about 7s (stopping writes 1s, the last copy 40ms, the start of an API server 5s); allow more, or run again when less is written"
        );
    }
}
