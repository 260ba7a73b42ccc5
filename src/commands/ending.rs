//! How a run ends on the screen: what happened, how things are, and what can be done next.
use anyhow::Result;

use super::session;
use crate::{
    adapters::kube::KubeError,
    context::Context,
    engine::{
        Check, Ended, Failure, JournalError, Kind as FailureKind, RunError, StoreError, Verdict,
    },
    error::{Kind, Stopped},
    report::{Report, State},
    state::LockError,
    ui::{Ending, amount},
};

/// The ending of an error outside of a run.
pub(crate) fn of(cx: &Context, error: &anyhow::Error) -> Ending {
    let mut ending = Ending::of(error);
    match error.downcast_ref::<LockError>() {
        Some(LockError::Held { migration, .. }) => {
            ending = ending
                .with_next(
                    cx.command(&format!("status {migration} -w")),
                    "watches the other run",
                )
                .with_next(
                    cx.command(&format!("run {migration} --take-over")),
                    "goes on here, if the other run is dead",
                );
        }
        Some(LockError::FileHeld { migration, .. }) => {
            ending = ending.with_next(
                cx.command(&format!("status {migration}")),
                "shows how it is",
            );
        }
        _ => {}
    }
    let kubeconfig = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref(), Some(KubeError::Kubeconfig { .. }))
    };
    if error.chain().any(kubeconfig) {
        ending = ending.with_next(
            "kubectl config get-contexts",
            "shows what there is; --kubeconfig and --context choose",
        );
    }
    if let Some(place) = error.chain().find_map(unreadable) {
        let look = match place
            .strip_prefix("configmap ")
            .and_then(|name| name.split_once('/'))
        {
            Some((namespace, name)) => {
                format!("kubectl get configmap -n {namespace} {name} -o yaml")
            }
            None => format!("cat {place}"),
        };
        ending = ending
            .with_next(
                look,
                "shows what is there; a copy of it from before can be put back",
            )
            .with_next(
                cx.command("thaw KIND/NAME --force"),
                "wakes a workload that is still frozen, by the note on itself alone",
            );
    }
    ending
}

/// Where a journal is that cannot be read any more.
fn unreadable<'error>(cause: &'error (dyn std::error::Error + 'static)) -> Option<&'error str> {
    match cause.downcast_ref::<JournalError>() {
        Some(
            JournalError::Damaged { place, .. }
            | JournalError::Store(StoreError::Damaged { place, .. }),
        ) => Some(place),
        _ => match cause.downcast_ref::<StoreError>() {
            Some(StoreError::Damaged { place, .. }) => Some(place),
            _ => None,
        },
    }
}

/// Tells how a run or a rollback ended, and gives its kind.
pub(super) fn tell(
    cx: &Context,
    report: &Report,
    ended: &Result<Ended>,
    back: bool,
) -> Result<Kind> {
    let name = &report.name;
    let command = |words: String| cx.command_in(&report.namespace, &words);
    let run = command(format!("run {name}"));
    let rollback = command(format!("rollback {name}"));
    let kind = match ended {
        Ok(Ended::Done) if back => {
            cx.ui.say(&format!("migration/{name} rolled back"));
            return Ok(Kind::Done);
        }
        Ok(Ended::Done) => {
            cx.ui.say(&format!(
                "migration/{name} done; `{}` tells what happened",
                command(format!("report {name}"))
            ));
            return Ok(Kind::Done);
        }
        Ok(Ended::Waiting { step, what }) => {
            cx.ui.say(&format!("step `{step}` waits for you: {what}"));
            cx.ui.say(&format!(
                "  next: {}\n        {rollback}   goes back",
                command(format!("mark {name} {step} --done --reason TEXT"))
            ));
            return Ok(Kind::Waiting);
        }
        Ok(Ended::Interrupted { .. }) => Kind::Interrupted,
        Err(error) => Kind::of(error),
    };
    let kind = if report.frozen.now {
        kind.while_frozen()
    } else {
        kind
    };
    let mut ending = match ended {
        Ok(Ended::Interrupted { step }) => {
            session::plain(format!("interrupted before step `{step}`"))
        }
        Err(error) if error.downcast_ref::<Stopped>().is_some() => session::plain("interrupted"),
        Err(error) => match error.downcast_ref::<RunError>() {
            Some(RunError::Blocked { step, checks }) => blocked(step, checks),
            _ => of(cx, error),
        },
        Ok(_) => Ending::default(),
    };
    ending.state = state(report);
    let lost = ended.as_ref().err().is_some_and(|error| {
        matches!(Kind::of(error), Kind::Locked) || Failure::kind_of(error) == FailureKind::LockLost
    });
    let rolling = back || ended.as_ref().err().is_some_and(session::is_rolling_back);
    ending = if lost {
        ending.with_next(command(format!("status {name} -w")), "shows who is at work")
    } else if rolling {
        ending.with_next(rollback, "goes on with the rollback")
    } else {
        let different = ended
            .as_ref()
            .err()
            .is_some_and(|error| Kind::of(error) == Kind::Difference);
        let on = if different {
            "copies again what differs, and compares again"
        } else {
            "goes on from there"
        };
        let ending = ending.with_next(run, on);
        if begun(report) {
            ending.with_next(rollback, "goes back")
        } else {
            ending
        }
    };
    cx.ui.ending(&ending);
    Err(Stopped(kind).into())
}

/// Whether a step was begun that changes something.
fn begun(report: &Report) -> bool {
    let mut changing = report.steps.iter().filter(|step| step.step != "preflight");
    changing.any(|step| step.attempts > 0)
}

/// A step that must not begin: every blocker once, with what to do about it.
fn blocked(step: &str, checks: &[Check]) -> Ending {
    let mut ending = session::plain(format!("step `{step}` is blocked"));
    for check in checks
        .iter()
        .filter(|check| check.verdict == Verdict::Block)
    {
        let seen = format!("{}: {}: {}", check.name, check.object, check.evidence);
        ending.evidence.push(if check.cure.is_empty() {
            seen
        } else {
            format!("{seen}\n  {}", check.cure)
        });
    }
    ending
}

/// How things are, for the line `state:`.
fn state(report: &Report) -> String {
    let frozen = if report.frozen.now {
        let since =
            std::time::Duration::try_from_secs_f64(report.frozen.seconds).unwrap_or_default();
        format!(
            "the source is frozen since {} and untouched",
            amount::duration(since)
        )
    } else {
        "the source is not frozen".to_owned()
    };
    match report.state {
        State::RolledBack => "everything is as it was before".to_owned(),
        _ if !begun(report) => "nothing was changed".to_owned(),
        _ => frozen,
    }
}
