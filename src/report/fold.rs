use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    API_VERSION, Checked, Current, Frozen, Report, RestoreChecked, Runner, Seen, State, StepReport,
    StepState, seconds_between, volumes,
};
use crate::engine::{Entry, Header, Record};

/// What is known of a step while folding.
struct Folding {
    report: StepReport,
    /// When the attempt began that has not ended.
    open: Option<Timestamp>,
    seconds: Option<f64>,
}

pub(super) fn fold(header: &Header, entries: &[Entry], seen: &Seen<'_>) -> Report {
    let mut steps: Vec<Folding> = header
        .steps
        .iter()
        .enumerate()
        .map(|(at, id)| Folding::new(at + 1, id))
        .collect();
    let mut outputs = BTreeMap::new();
    for entry in entries {
        match &entry.record {
            Record::Done(output) => {
                outputs.insert(entry.step.clone(), output.clone());
            }
            Record::Undone => {
                outputs.remove(&entry.step);
            }
            _ => {}
        }
        if let Some(step) = steps.iter_mut().find(|step| step.report.step == entry.step) {
            step.add(entry);
        }
    }
    let steps: Vec<_> = steps.into_iter().map(|step| step.close(seen)).collect();
    let state = state(&steps, entries, seen.locked);
    Report {
        api_version: API_VERSION,
        kind: "Report",
        name: header.migration.clone(),
        namespace: header.namespace.clone(),
        cluster: header.cluster.clone(),
        playbook: header.playbook.clone(),
        tool: header.tool.clone(),
        run: header.run.clone(),
        created: header.created,
        updated: entries.last().map_or(header.created, |entry| entry.at),
        seen: seen.now,
        state,
        current: current(&steps, entries, state),
        frozen: if steps.iter().any(|step| step.step == seen.freeze_begin) {
            Frozen::of(entries, seen).with_expected(&outputs)
        } else {
            Frozen::of(entries, seen)
        },
        runners: runners(entries),
        checked: Checked::of(entries, seen.now),
        restore_checked: RestoreChecked::of(entries, seen.now),
        findings: volumes::each(
            header.steps.iter().map(String::as_str),
            &outputs,
            |step, volume| Some(volumes::findings(step, volume)),
        )
        .into_iter()
        .flatten()
        .collect(),
        steps,
        outputs,
    }
}

impl Folding {
    fn new(number: usize, id: &str) -> Self {
        Self {
            report: StepReport {
                number,
                step: id.to_owned(),
                state: StepState::Pending,
                started: None,
                ended: None,
                seconds: None,
                attempts: 0,
                why: String::new(),
                evidence: Vec::new(),
                checks: Vec::new(),
                marked: None,
                broken: None,
            },
            open: None,
            seconds: None,
        }
    }

    fn add(&mut self, entry: &Entry) {
        let step = &mut self.report;
        step.why.clear();
        step.evidence.clear();
        step.checks.clear();
        let mut ends = true;
        step.state = match &entry.record {
            Record::Started => {
                ends = false;
                step.attempts += 1;
                step.started.get_or_insert(entry.at);
                self.open = Some(entry.at);
                StepState::Running
            }
            Record::Done(_) => StepState::Done,
            Record::Skipped(why) => {
                step.why.clone_from(why);
                StepState::Skipped
            }
            Record::Blocked(checks) => {
                step.checks.clone_from(checks);
                StepState::Blocked
            }
            Record::Failed {
                error, evidence, ..
            } => {
                step.why.clone_from(error);
                step.evidence.clone_from(evidence);
                StepState::Failed
            }
            Record::Stopped => StepState::Stopped,
            Record::Waiting(what) => {
                step.why.clone_from(what);
                StepState::Waiting
            }
            Record::Marked(reason) => {
                step.marked = Some(reason.clone());
                StepState::Marked
            }
            Record::Broken(why) => {
                step.broken = Some(why.clone());
                step.why.clone_from(why);
                StepState::Broken
            }
            Record::UndoStarted => {
                ends = false;
                // A runner that was killed left its attempt open: nobody knows how long it ran.
                self.open = None;
                StepState::Undoing
            }
            Record::Undone => {
                // It is as if it had never been done: also the operator's word on it is void.
                step.marked = None;
                StepState::Undone
            }
            Record::UndoFailed(error) => {
                step.why.clone_from(error);
                StepState::UndoFailed
            }
        };
        step.ended = ends.then_some(entry.at);
        if ends && let Some(open) = self.open.take() {
            *self.seconds.get_or_insert(0.0) += seconds_between(open, entry.at);
        }
    }

    fn close(self, seen: &Seen<'_>) -> StepReport {
        let Self {
            mut report,
            open,
            mut seconds,
        } = self;
        if report.state == StepState::Running {
            if !seen.locked {
                report.state = StepState::Interrupted;
            } else if let Some(open) = open {
                *seconds.get_or_insert(0.0) += seconds_between(open, seen.now);
            }
        }
        report.seconds = seconds;
        report
    }
}

fn state(steps: &[StepReport], entries: &[Entry], locked: bool) -> State {
    let busy = |running, idle| if locked { running } else { idle };
    let Some(last) = entries.last() else {
        return busy(State::Running, State::Planned);
    };
    // A rollback that has not ended goes before everything else: nothing but it may go on.
    for step in steps {
        match step.state {
            StepState::Undoing => return busy(State::RollingBack, State::RollbackInterrupted),
            StepState::UndoFailed => return State::RollbackFailed,
            _ => {}
        }
    }
    if matches!(last.record, Record::Undone) {
        let clean = steps.iter().all(|step| {
            matches!(
                step.state,
                StepState::Pending | StepState::Undone | StepState::Skipped | StepState::Blocked
            )
        });
        return if clean {
            State::RolledBack
        } else {
            busy(State::RollingBack, State::PartlyRolledBack)
        };
    }
    match first_open(steps).map(|step| step.state) {
        None => State::Done,
        Some(StepState::Waiting) => State::Waiting,
        Some(StepState::Failed) => State::Failed,
        Some(StepState::Blocked) => State::Blocked,
        Some(_) => busy(State::Running, State::Interrupted),
    }
}

fn current(steps: &[StepReport], entries: &[Entry], state: State) -> Option<Current> {
    let step = match state {
        State::Done | State::RolledBack => None,
        State::RollingBack | State::RollbackInterrupted | State::RollbackFailed => entries
            .last()
            .and_then(|entry| steps.iter().find(|step| step.step == entry.step)),
        _ => first_open(steps),
    }?;
    Some(Current {
        number: step.number,
        of: steps.len(),
        step: step.step.clone(),
    })
}

fn first_open(steps: &[StepReport]) -> Option<&StepReport> {
    steps.iter().find(|step| {
        !matches!(
            step.state,
            StepState::Done | StepState::Skipped | StepState::Marked
        )
    })
}

fn runners(entries: &[Entry]) -> Vec<Runner> {
    let mut runners: Vec<Runner> = Vec::new();
    for entry in entries {
        match runners.last_mut() {
            Some(runner) if runner.fence == entry.fence => runner.entries += 1,
            _ => runners.push(Runner {
                fence: entry.fence,
                since: entry.at,
                entries: 1,
            }),
        }
    }
    runners
}
