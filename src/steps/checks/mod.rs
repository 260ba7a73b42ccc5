//! A user's own checks of a workload: commands in its pods, and what they give.
mod judge;
mod pods;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Place;
use crate::{
    adapters::kube::{CommandEnded, KubeError, run_command},
    engine::Stop,
    plan::{Compare, WorkloadCheck},
};

pub use judge::Judged;
pub use pods::first_pod;

/// How long a check may take to be as expected, where it does not say.
const WITHIN: Duration = Duration::from_mins(1);
/// A server that has just started recovers for a moment; more often would only be in its way.
const AGAIN: Duration = Duration::from_secs(2);
/// A command that runs longer than this hangs.
const LONGEST: Duration = Duration::from_mins(10);

/// What a check gave.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// The pod that it names; none for the workload's first one.
    pub pod: Option<String>,
    /// The container that it names; none for the pod's first one.
    pub container: Option<String>,
    /// The program with its arguments.
    pub command: Vec<String>,
    /// The code that it ended with.
    pub exit_code: i32,
    /// What it wrote, where that is text and short.
    pub output: Option<String>,
    /// How many bytes it wrote.
    pub bytes: u64,
    /// BLAKE3 over all of them.
    pub digest: String,
}

impl Measured {
    fn of(check: &WorkloadCheck, ended: &CommandEnded) -> Self {
        Self {
            name: check.name.clone(),
            pod: check.pod.clone(),
            container: check.container.clone(),
            command: check.command.clone(),
            exit_code: ended.code,
            output: ended.out.text().map(str::to_owned),
            bytes: ended.out.bytes,
            digest: ended.out.digest.clone(),
        }
    }

    /// The check that it is of, which wants the same once more.
    #[must_use]
    pub fn again(&self) -> WorkloadCheck {
        WorkloadCheck {
            name: self.name.clone(),
            pod: self.pod.clone(),
            container: self.container.clone(),
            command: self.command.clone(),
            output: None,
            exit_code: (self.exit_code != 0).then_some(self.exit_code),
            compare: Some(Compare::Snapshot),
            within: None,
        }
    }
}

/// What a check gave in the end, and how that is judged.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it gave; none where it could not be run.
    pub measured: Option<Measured>,
    /// How it is judged.
    pub judged: Judged,
}

/// Runs a check until it is as expected or has no more time; none when the operator stops it.
///
/// `taken` is what it gave when the snapshot was taken.
pub async fn run(
    place: &Place,
    pod: &str,
    check: &WorkloadCheck,
    taken: Option<&Measured>,
    stop: &Stop,
) -> Option<Run> {
    let within = check.within.map_or(WITHIN, |within| within.0);
    let until = tokio::time::Instant::now() + within;
    let pod = check.pod.as_deref().unwrap_or(pod);
    loop {
        let running = once(place, pod, check);
        let ended = tokio::select! {
            ended = running => ended,
            () = stop.wait() => return None,
        };
        let run = match ended {
            Ok(ended) => {
                let measured = Measured::of(check, &ended);
                let judged = Judged::of(pod, check, &measured, taken, &ended.err.line());
                Run {
                    measured: Some(measured),
                    judged,
                }
            }
            Err(error) => Run {
                measured: None,
                judged: Judged::failed(pod, check, taken, error.to_string()),
            },
        };
        if run.judged.good || tokio::time::Instant::now() + AGAIN >= until {
            return Some(run);
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = stop.wait() => return None,
        }
    }
}

async fn once(place: &Place, pod: &str, check: &WorkloadCheck) -> Result<CommandEnded, KubeError> {
    let at = (place.namespace.as_str(), pod);
    let container = check.container.as_deref();
    run_command(&place.cluster, at, container, &check.command, LONGEST).await
}
