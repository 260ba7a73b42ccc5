//! How a run ends on the screen: what happened, how things are, and what can be done next.
use std::time::Duration;

use anyhow::Result;

use super::session;
use crate::{
    adapters::{kube::KubeError, s3::S3Error},
    context::Context,
    engine::{
        Check, Ended, Failure, JournalError, Kind as FailureKind, RunError, StoreError, Verdict,
    },
    error::{Kind, Stopped},
    plan::Playbook,
    report::{Report, State, StepState},
    state::LockError,
    steps::{
        kamaji::Tenant,
        preflight::{CHECKED, Checked},
    },
    ui::{Ending, amount},
};

/// The ending of an error outside of a run.
pub(crate) fn of(cx: &Context, error: &anyhow::Error) -> Ending {
    let mut ending = Ending::of(error);
    match error.downcast_ref::<LockError>() {
        Some(LockError::Held {
            namespace,
            migration,
            ..
        }) => {
            ending = ending
                .with_next(
                    cx.command_in(namespace, &format!("status {migration} -w")),
                    "watches the other run",
                )
                .with_next(
                    cx.command_in(namespace, &format!("run {migration} --take-over")),
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
    let bucket =
        |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<S3Error>()?.next();
    if let Some((command, what)) = error.chain().find_map(bucket) {
        ending = ending.with_next(command, what);
    }
    if error.chain().any(is_away) {
        ending = ending.with_next(
            cx.command_anywhere("version --server-version"),
            "tells whether it answers again; everything that was begun is kept",
        );
    }
    if let Some(place) = error.chain().find_map(newer) {
        let (look, _) = look_at(cx, place);
        ending = ending.with_next(look, "says in its first line which version wrote it");
    }
    if let Some(place) = error.chain().find_map(unreadable) {
        let (look, thaw) = look_at(cx, place);
        ending = ending
            .with_next(
                look,
                "shows what is there; a copy of it from before can be put back",
            )
            .with_next(
                thaw,
                "wakes a workload that is still frozen, by the note on itself alone",
            );
    }
    ending
}

/// The commands that show a journal, and that thaw without it.
fn look_at(cx: &Context, place: &str) -> (String, String) {
    let thaw = "thaw KIND/NAME --force";
    match place
        .strip_prefix("configmap ")
        .and_then(|name| name.split_once('/'))
    {
        Some((namespace, name)) => (
            format!("kubectl get configmap -n {namespace} {name} -o yaml"),
            cx.command_in(namespace, thaw),
        ),
        None => (format!("cat {place}"), cx.command(thaw)),
    }
}

/// Whether the server did not answer.
fn is_away(cause: &(dyn std::error::Error + 'static)) -> bool {
    let cause = match cause.downcast_ref::<LockError>() {
        Some(LockError::Kube(error)) => Some(error),
        _ => cause.downcast_ref::<KubeError>(),
    };
    matches!(cause, Some(KubeError::Unreachable { .. }))
}

/// Where a journal is that a newer version wrote.
fn newer<'error>(cause: &'error (dyn std::error::Error + 'static)) -> Option<&'error str> {
    match cause.downcast_ref::<JournalError>() {
        Some(JournalError::Version { place, .. }) => Some(place),
        _ => None,
    }
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
    let undoes = undoes(report);
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
                "  next: {}\n        {rollback}   {undoes}",
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
    ending.state = state(report, back);
    let lost = ended.as_ref().err().is_some_and(|error| {
        matches!(Kind::of(error), Kind::Locked) || Failure::kind_of(error) == FailureKind::LockLost
    });
    let flipped = flipped(report);
    let rolling = back || ended.as_ref().err().is_some_and(session::is_rolling_back);
    let check = report.playbook == Playbook::RestoreCheck.name();
    ending = if check && !back {
        // What was made for it is taken away by itself, and a check always begins anew.
        ending
    } else if lost {
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
        // Copying again would write under a workload that is at work.
        let broken = ended
            .as_ref()
            .err()
            .is_some_and(|error| Failure::kind_of(error) == FailureKind::FreezeBroken);
        let ending = if broken && is_started(report) {
            ending
        } else {
            ending.with_next(run, on)
        };
        if begun(report) && flipped != Some(Flipped::Surely) {
            ending.with_next(rollback, undoes)
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

/// Whether clients may be at work on the target.
fn is_started(report: &Report) -> bool {
    is_done(report, START_TARGET) || is_done(report, START)
}

/// With which a workload starts at its target.
const START_TARGET: &str = "start-target";
/// With which a workload starts on its new volumes, in place.
const START: &str = "start";

fn is_done(report: &Report, step: &str) -> bool {
    let step = report.step(step);
    step.is_some_and(|step| {
        matches!(
            step.state,
            StepState::Done | StepState::Marked | StepState::Skipped
        )
    })
}

/// How far a tenant is on its way from one DataStore to the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flipped {
    /// The change was asked for, and nobody saw its answer.
    Perhaps,
    /// It belongs to the target: there is no way back.
    Surely,
}

/// Whether a tenant belongs to its target; none before that was begun, and where there is no tenant.
fn flipped(report: &Report) -> Option<Flipped> {
    let step = ["flip", "commit"]
        .into_iter()
        .find_map(|step| report.step(step))?;
    match step.state {
        StepState::Done | StepState::Marked | StepState::Skipped => Some(Flipped::Surely),
        StepState::Undone => None,
        _ => (step.attempts > 0).then_some(Flipped::Perhaps),
    }
}

/// The tenant that a migration is about, as it was when it began.
fn tenant(report: &Report) -> Option<Tenant> {
    let output = report.outputs.get(CHECKED.step())?;
    let checked: Checked = serde_json::from_value(output.clone()).ok()?;
    checked.about.into_tenant()
}

/// To whom a tenant belongs, and whether it can be written to.
fn state_of_tenant(report: &Report, flipped: Flipped) -> String {
    let (name, source, target) = tenant(report).map_or_else(
        || {
            (
                "the tenant".to_owned(),
                "its old datastore".to_owned(),
                "its new datastore".to_owned(),
            )
        },
        |tenant| {
            (
                format!("tenant {}", tenant.name),
                format!("datastore {}", tenant.source),
                format!("datastore {}", tenant.target),
            )
        },
    );
    let belongs = match flipped {
        Flipped::Surely => format!("{name} belongs to {target}"),
        Flipped::Perhaps => {
            format!(
                "{name} belongs to {source} or already to {target} (status.storage.dataStoreName)"
            )
        }
    };
    if !report.frozen.now {
        return format!("{belongs} and accepts writes; the data in {source} is kept");
    }
    format!(
        "{belongs}, and has refused writes for {}; the data in {source} is kept",
        amount::duration(frozen_for(report))
    )
}

/// How long writes have been stopped this time.
fn frozen_for(report: &Report) -> Duration {
    let now = report.frozen.periods.last();
    let seconds = now.map_or(report.frozen.seconds, |period| period.seconds);
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// What a rollback does first.
fn undoes(report: &Report) -> &'static str {
    if is_done(report, START) {
        "stops it and gives it its old volumes back"
    } else if is_started(report) {
        "stops the target and wakes the source"
    } else if report.frozen.now {
        "wakes the source"
    } else {
        "goes back"
    }
}

/// How things are, for the line `state:`.
fn state(report: &Report, back: bool) -> String {
    match report.state {
        State::RolledBack => return "everything is as it was before".to_owned(),
        _ if !begun(report) => return "nothing was changed".to_owned(),
        _ if report.playbook == Playbook::RestoreCheck.name() => {
            return "the snapshot is untouched".to_owned();
        }
        _ => {}
    }
    if is_done(report, START) {
        return "it runs on its new volumes; the old ones are kept".to_owned();
    }
    if is_started(report) {
        return "the target is started; the source is stopped and kept".to_owned();
    }
    if let Some(flipped) = flipped(report) {
        return state_of_tenant(report, flipped);
    }
    if !report.frozen.now {
        return "the source is not frozen".to_owned();
    }
    let since = frozen_for(report);
    let kept = if back { "" } else { ", the copy is kept" };
    format!(
        "the source has been frozen for {}; its data is untouched{kept}",
        amount::duration(since)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{Entry, Header, Record},
        report::{Seen, sample, sample_switch},
    };

    /// A tenant's switch, of which preflight is done.
    fn switch(records: &[(&str, Record)]) -> Report {
        let tenant = serde_json::json!({
            "name": "t1", "uid": "u", "driver": "etcd", "source": "silver", "target": "gold", "schema": "s",
            "user": "s", "replicas": 1, "version": "v1.36.0", "deployment": "t1", "selector": "a=b",
            "kubeconfig_secret": "s", "kubeconfig_key": "k",
        });
        let checked = serde_json::json!({"about": {"tenant": tenant}, "passed": 1, "warnings": []});
        let before = [
            ("preflight", Record::Started),
            ("preflight", Record::Done(checked)),
        ];
        told_of(&sample_switch::header(), &[&before, records].concat())
    }

    fn report(records: &[(&str, Record)]) -> Report {
        told_of(&sample::header(), records)
    }

    fn told_of(header: &Header, records: &[(&str, Record)]) -> Report {
        let entries: Vec<_> = (1..)
            .zip(records)
            .map(|(seq, (step, record))| Entry {
                seq,
                fence: 1,
                at: sample::at(0),
                step: (*step).to_owned(),
                record: record.clone(),
            })
            .collect();
        Report::of(header, &entries, &Seen::at(sample::at(72), false))
    }

    #[test]
    fn after_the_flip_it_is_said_to_whom_the_tenant_belongs() {
        let done = || Record::Done(serde_json::Value::Null);
        let mut records = vec![
            ("freeze", Record::Started),
            ("freeze", done()),
            ("flip", Record::Started),
        ];
        let told = |records: &[_]| {
            let report = switch(records);
            (state(&report, false), flipped(&report).is_some())
        };
        assert_eq!(
            told(&records[..2]),
            (
                "the source has been frozen for 1m12s; its data is untouched, the copy is kept"
                    .to_owned(),
                false
            )
        );
        let kept = "and has refused writes for 1m12s; the data in datastore silver is kept";
        assert_eq!(
            told(&records),
            (
                format!(
                    "tenant t1 belongs to datastore silver or already to datastore gold (status.storage.dataStoreName), {kept}"
                ),
                true
            )
        );
        records.push(("flip", done()));
        assert_eq!(
            told(&records),
            (format!("tenant t1 belongs to datastore gold, {kept}"), true)
        );
        records.extend([("thaw", Record::Started), ("thaw", done())]);
        assert_eq!(
            told(&records).0,
            "tenant t1 belongs to datastore gold and accepts writes; the data in datastore silver is kept"
        );
    }

    #[test]
    fn the_state_says_how_the_source_and_the_target_are() {
        let done = || Record::Done(serde_json::Value::Null);
        let mut records = vec![("warm-copy", Record::Started), ("warm-copy", done())];
        let told = |records: &[_], back| {
            let report = report(records);
            (state(&report, back), undoes(&report))
        };
        assert_eq!(
            told(&records, false),
            ("the source is not frozen".to_owned(), "goes back")
        );
        records.push(("freeze", Record::Started));
        let frozen = "the source has been frozen for 1m12s; its data is untouched";
        assert_eq!(
            told(&records, false),
            (format!("{frozen}, the copy is kept"), "wakes the source")
        );
        assert_eq!(told(&records, true).0, frozen);
        records.extend([
            ("freeze", done()),
            ("start-target", Record::Started),
            ("start-target", done()),
            ("hand-over", Record::Started),
            ("hand-over", Record::Stopped),
        ]);
        assert_eq!(
            told(&records, false),
            (
                "the target is started; the source is stopped and kept".to_owned(),
                "stops the target and wakes the source"
            )
        );
        assert_eq!(told(&[], false).0, "nothing was changed");
    }
}
