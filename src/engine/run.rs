use std::sync::Arc;

use super::{
    Check, Cx, Failure, Freezes, Holds, Journal, JournalError, Kind, Outcome, Probe, Record, Sink,
    Step, Stop,
};

/// How a run ended, when nothing went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every step is done.
    Done,
    /// A step waits for the operator.
    Waiting {
        /// Which step.
        step: String,
        /// For what.
        what: String,
    },
    /// The operator interrupted it at a safe point.
    Interrupted {
        /// The step that is next.
        step: String,
    },
}

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A step must not begin; nothing was changed by it.
    #[error("step `{step}` is blocked: {}", summary(.checks))]
    Blocked {
        /// Which step.
        step: String,
        /// All its checks; at least one blocks.
        checks: Vec<Check>,
    },
    /// A step failed; the journal says so too.
    #[error("step `{step}` failed")]
    Failed {
        /// Which step.
        step: String,
        /// Which ending.
        kind: Kind,
        /// What was seen.
        evidence: Vec<String>,
        /// The cause.
        source: anyhow::Error,
    },
    /// A rollback was begun; it has to end first.
    #[error("a rollback of step `{step}` was begun and has not ended")]
    RollingBack {
        /// Which step.
        step: String,
    },
    /// The journal is not of these steps.
    #[error("the journal's steps are {journal}, and the plan's are {plan}")]
    OtherSteps {
        /// Of the journal.
        journal: String,
        /// Of the plan.
        plan: String,
    },
    /// The journal could not be written, so nothing more was done.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

fn summary(checks: &[Check]) -> String {
    let mut blocking = checks
        .iter()
        .filter(|check| check.verdict == super::Verdict::Block);
    let first = blocking.next().map_or_else(String::new, |check| {
        format!("{}: {}", check.object, check.evidence)
    });
    match blocking.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}

/// Runs the steps that are not settled yet, in order; the same code begins and goes on.
pub async fn run(
    steps: &[Arc<dyn Step>],
    journal: &mut Journal,
    sink: &Sink,
    stop: &Stop,
) -> Result<Ended, RunError> {
    same_steps(steps, journal)?;
    if let Some(step) = steps.iter().find(|step| {
        matches!(
            journal.state().last(step.id()),
            Some(Record::UndoStarted | Record::UndoFailed(_))
        )
    }) {
        return Err(RunError::RollingBack {
            step: step.id().to_owned(),
        });
    }
    recheck(steps, journal, sink, stop).await?;
    for step in steps {
        let last = journal.state().last(step.id());
        if last.is_some_and(Record::is_settled) {
            continue;
        }
        if stop.requested() {
            return Ok(Ended::Interrupted {
                step: step.id().to_owned(),
            });
        }
        if let Some(ended) = one(step.as_ref(), journal, sink, stop).await? {
            return Ok(ended);
        }
    }
    Ok(Ended::Done)
}

/// Refuses a journal whose steps are not the plan's.
pub(super) fn same_steps(steps: &[Arc<dyn Step>], journal: &Journal) -> Result<(), RunError> {
    let ours: Vec<_> = steps.iter().map(|step| step.id().to_owned()).collect();
    if journal.header().steps == ours {
        return Ok(());
    }
    Err(RunError::OtherSteps {
        journal: journal.header().steps.join(", "),
        plan: ours.join(", "),
    })
}

/// What one step sees of the world.
pub(super) fn context(journal: &Journal, step: &str, sink: &Sink, stop: &Stop) -> Cx {
    Cx {
        outputs: journal.state().outputs().clone(),
        again: journal.state().begun(step),
        fence: journal.fence(),
        made_under: journal.state().made_under(step),
        sink: sink.clone(),
        stop: stop.clone(),
    }
}

/// Looks whether what is done still holds, while something is left to do that relies on it.
///
/// The first step that does not is recorded as broken, and with it every later one that was done: they
/// were built on it.
async fn recheck(
    steps: &[Arc<dyn Step>],
    journal: &mut Journal,
    sink: &Sink,
    stop: &Stop,
) -> Result<(), RunError> {
    let settled =
        |journal: &Journal, id: &str| journal.state().last(id).is_some_and(Record::is_settled);
    if steps.iter().all(|step| settled(journal, step.id())) {
        return Ok(());
    }
    let fallen = match first_fallen(steps, true, journal, sink, stop).await? {
        None => difference(steps, journal),
        fallen => fallen,
    };
    let sealed = sealed(steps, journal);
    let Some((at, why)) = fallen else {
        // A journal may say so of a runner that knew no seal.
        let open = sealed.and_then(|seal| (0..seal).find(|&at| !settled(journal, steps[at].id())));
        let why = "it would have to be made again";
        return open.map_or(Ok(()), |at| Err(too_late(steps, at, why, journal)));
    };
    if sealed.is_some_and(|seal| at < seal) {
        return Err(too_late(steps, at, &why, journal));
    }
    Ok(break_from(steps, at, &why, journal, sink).await?)
}

/// The last step that was begun and [seals](Step::seals) what is before it.
fn sealed(steps: &[Arc<dyn Step>], journal: &Journal) -> Option<usize> {
    let begun = |step: &Arc<dyn Step>| step.seals() && journal.state().begun(step.id());
    steps.iter().rposition(begun)
}

/// Looks for the first step that is done and has to be made again, and why. Changes nothing.
///
/// Where nobody can tell (`unknown` says that this counts), it need not be: when a later step seals it, or
/// the operator has decided on one.
async fn first_fallen(
    steps: &[Arc<dyn Step>],
    unknown: bool,
    journal: &Journal,
    sink: &Sink,
    stop: &Stop,
) -> Result<Option<(usize, String)>, RunError> {
    let last = |step: &Arc<dyn Step>| journal.state().last(step.id());
    let sealed = sealed(steps, journal);
    for (at, step) in steps.iter().enumerate() {
        if !matches!(last(step), Some(Record::Done(_))) {
            continue;
        }
        let cx = context(journal, step.id(), sink, stop);
        let holds = step.holds(&cx).await.map_err(|source| RunError::Failed {
            step: step.id().to_owned(),
            kind: Failure::kind_of(&source),
            evidence: Failure::evidence_of(&source),
            source,
        })?;
        match holds {
            Holds::Yes => {}
            Holds::No(why) => return Ok(Some((at, why))),
            Holds::Unknown(why) => {
                let decided = |step| matches!(last(step), Some(Record::Marked(_)));
                let open = sealed.is_none_or(|seal| seal <= at);
                if unknown && open && !steps[at..].iter().any(decided) {
                    return Ok(Some((at, why)));
                }
            }
        }
    }
    Ok(None)
}

/// Looks whether what was done before this step still stands; an error that says why not. Changes nothing.
pub async fn stands_before(
    step: &str,
    steps: &[Arc<dyn Step>],
    journal: &Journal,
    sink: &Sink,
    stop: &Stop,
) -> Result<(), RunError> {
    let before = steps.iter().take_while(|earlier| earlier.id() != step);
    let before: Vec<_> = before.cloned().collect();
    match first_fallen(&before, false, journal, sink, stop).await? {
        Some((at, why)) => Err(fallen(
            &before[at],
            format!("it does not stand any more: {why}"),
        )),
        None => Ok(()),
    }
}

/// The error of a step that would have to be made again, after a step that forbids it.
fn too_late(steps: &[Arc<dyn Step>], at: usize, why: &str, journal: &Journal) -> RunError {
    let seal = sealed(steps, journal).map_or("", |seal| steps[seal].id());
    let why = format!(
        "it does not stand any more: {why}; step `{seal}` has begun since and relies on it, so nothing is made again: go back and begin anew, or mark what waits with --force if it does not matter"
    );
    fallen(&steps[at], why)
}

fn fallen(step: &Arc<dyn Step>, why: String) -> RunError {
    let kind = match step.freezes() {
        Freezes::Begin => Kind::FreezeBroken,
        Freezes::Nothing | Freezes::End => Kind::Blocked,
    };
    RunError::Failed {
        step: step.id().to_owned(),
        kind,
        evidence: Vec::new(),
        source: Failure::new(kind, why).into(),
    }
}

/// The step that has to be done again because a later one found source and target different, and why.
fn difference(steps: &[Arc<dyn Step>], journal: &Journal) -> Option<(usize, String)> {
    let last = |step: &str| journal.state().last(step);
    steps.iter().find_map(|step| {
        let Some(Record::Failed {
            kind: Kind::Difference,
            ..
        }) = last(step.id())
        else {
            return None;
        };
        let repair = step.repaired_by()?;
        let at = steps.iter().position(|other| other.id() == repair)?;
        let done = matches!(last(repair), Some(Record::Done(_)));
        done.then(|| (at, format!("`{}` found differences", step.id())))
    })
}

/// Records the step at `at` and every later one that was done as broken.
async fn break_from(
    steps: &[Arc<dyn Step>],
    at: usize,
    why: &str,
    journal: &mut Journal,
    sink: &Sink,
) -> Result<(), JournalError> {
    // The last one first: cut off in between, the next run finds the reason again, and what was built on it
    // never counts as done while the step itself is made again.
    for step in steps[at..].iter().rev() {
        if matches!(
            journal.state().last(step.id()),
            Some(Record::Done(_) | Record::Marked(_))
        ) {
            let record = Record::Broken(why.to_owned());
            journal.record(sink, step.id(), record).await?;
        }
    }
    Ok(())
}

async fn one(
    step: &dyn Step,
    journal: &mut Journal,
    sink: &Sink,
    stop: &Stop,
) -> Result<Option<Ended>, RunError> {
    let id = step.id();
    let cx = context(journal, id, sink, stop);
    let failed = |source: anyhow::Error| RunError::Failed {
        step: id.to_owned(),
        kind: Failure::kind_of(&source),
        evidence: Failure::evidence_of(&source),
        source,
    };
    match step.probe(&cx).await.map_err(failed)? {
        Probe::Blocked(checks) => {
            if !journal.state().begun(id) {
                let record = Record::Blocked(checks.clone());
                journal.record(sink, id, record).await?;
            }
            return Err(RunError::Blocked {
                step: id.to_owned(),
                checks,
            });
        }
        // Skip only what was done before us. Once `Started` is in the journal the change may be ours,
        // and a skipped step is never rolled back.
        Probe::Done(why) if !journal.state().begun(id) => {
            journal.record(sink, id, Record::Skipped(why)).await?;
            return Ok(None);
        }
        Probe::Ready | Probe::Done(_) => {}
    }
    journal.record(sink, id, Record::Started).await?;
    journal.confirm().await?;
    let (record, ended) = match step.apply(&cx).await {
        Ok(Outcome::Done(output)) => (Record::Done(output), Ok(None)),
        Ok(Outcome::Waiting(what)) => {
            let step = id.to_owned();
            let record = Record::Waiting(what.clone());
            (record, Ok(Some(Ended::Waiting { step, what })))
        }
        Ok(Outcome::Blocked(checks)) => {
            let step = id.to_owned();
            let error = RunError::Blocked {
                step,
                checks: checks.clone(),
            };
            // What an earlier try may have half made must stay known to rollback.
            let record = if cx.again {
                Record::Failed {
                    kind: Kind::Blocked,
                    error: error.to_string(),
                    evidence: Vec::new(),
                }
            } else {
                Record::Blocked(checks)
            };
            (record, Err(error))
        }
        Ok(Outcome::Stopped) => {
            let step = id.to_owned();
            (Record::Stopped, Ok(Some(Ended::Interrupted { step })))
        }
        Err(source) => {
            let record = Record::Failed {
                kind: Failure::kind_of(&source),
                error: format!("{source:#}"),
                evidence: Failure::evidence_of(&source),
            };
            (record, Err(failed(source)))
        }
    };
    match (journal.record(sink, id, record).await, ended) {
        (Ok(()), ended) => ended,
        // The step's own failure tells the operator more than that it could not be written down too.
        (Err(_), Err(failure)) => Err(failure),
        (Err(error), Ok(_)) => Err(error.into()),
    }
}
