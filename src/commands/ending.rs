//! How a run ends on the screen: what happened, how things are, and what can be done next.
use anyhow::Result;

use super::session;
use crate::{
    context::Context,
    engine::{Ended, Failure, Kind as FailureKind, RunError},
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
    ending
}

/// Tells how a run or a rollback ended, and gives its kind.
pub(super) fn tell(
    cx: &Context,
    report: &Report,
    ended: &Result<Ended>,
    back: bool,
) -> Result<Kind> {
    let name = &report.name;
    let run = cx.command(&format!("run {name}"));
    let rollback = cx.command(&format!("rollback {name}"));
    let kind = match ended {
        Ok(Ended::Done) if back => {
            cx.ui.say(&format!("migration/{name} rolled back"));
            return Ok(Kind::Done);
        }
        Ok(Ended::Done) => {
            cx.ui.say(&format!(
                "migration/{name} done; `{}` tells what happened",
                cx.command(&format!("report {name}"))
            ));
            return Ok(Kind::Done);
        }
        Ok(Ended::Waiting { step, what }) => {
            cx.ui.say(&format!("step `{step}` waits for you: {what}"));
            cx.ui.say(&format!(
                "  next: {}\n        {rollback}   goes back",
                cx.command(&format!("mark {name} {step} --done --reason TEXT"))
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
        Err(error) => of(cx, error),
        Ok(_) => Ending::default(),
    };
    if let Err(error) = ended
        && let Some(RunError::Blocked { checks, .. }) = error.downcast_ref::<RunError>()
    {
        for check in checks
            .iter()
            .filter(|check| check.verdict == crate::engine::Verdict::Block)
        {
            ending.evidence.push(format!(
                "{}: {}: {}",
                check.name, check.object, check.evidence
            ));
            if !check.cure.is_empty() {
                ending.evidence.push(format!("  {}", check.cure));
            }
        }
    }
    ending.state = state(report);
    let lost = ended.as_ref().err().is_some_and(|error| {
        matches!(Kind::of(error), Kind::Locked) || Failure::kind_of(error) == FailureKind::LockLost
    });
    let rolling = back || ended.as_ref().err().is_some_and(session::is_rolling_back);
    ending = if lost {
        ending.with_next(
            cx.command(&format!("status {name} -w")),
            "shows who is at work",
        )
    } else if rolling {
        ending.with_next(rollback, "goes on with the rollback")
    } else {
        let begun = report
            .steps
            .iter()
            .any(|step| step.attempts > 0 && step.step != "preflight");
        let ending = ending.with_next(run, "goes on from there");
        if begun {
            ending.with_next(rollback, "goes back")
        } else {
            ending
        }
    };
    cx.ui.ending(&ending);
    Err(Stopped(kind).into())
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
        _ if report.steps.iter().all(|step| step.attempts == 0) => "nothing was changed".to_owned(),
        _ => frozen,
    }
}
