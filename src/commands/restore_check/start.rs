//! Level 3: a migration of its own, with a journal, whose end is that nothing is left of it.
use anyhow::Result;
use jiff::Timestamp;

use super::{
    super::{
        begun::Begun,
        named,
        session::{Session, Subject, Way, Went},
    },
    Args,
};
use crate::{
    context::Context,
    engine::{Cx, Failure, Kind as FailureKind, Record, Sink, State, Stop},
    error::{Kind, Usage},
    plan::{self, Metadata, Network, Plan, Playbook, Source, Spec, Target},
    report::{self, RESTORE_CHECK, Report},
    state::{self, Seen},
    steps::{
        checks::Judged,
        drills::{ANSWERED, Answered, EXAMINED, WALLED, Walled},
        snapshots::SnapshotId,
    },
    ui::CheckRow,
};

/// Begins it, and sees to it that nothing is left.
pub(super) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    if cx.flags.to_context.is_some() || cx.flags.to_namespace.is_some() {
        let why = "level 3 makes a namespace of its own in the cluster of --context: leave out --to-context and --to-namespace";
        return Err(Usage(why.to_owned()).into());
    }
    let plan = plan(cx, &args).await?;
    let name = plan.metadata.name.clone();
    take_back_earlier(cx, &name, args.start.take_over).await?;
    let subject = Subject::Plan(Box::new(plan));
    let session = Session::open(cx, subject, args.start.take_over).await?;
    let Went { kind, seen, cut } = session.go_and_see(Way::On).await;
    if let Err(error) = &kind {
        // Before anything is told: whoever reads no further must not keep it from going.
        if cut || Kind::of(error) == Kind::Locked {
            cx.ui.say(&format!(
                "what was made for it is still there: `{}` deletes it, and so does the next check",
                cx.command_in(&seen.header.namespace, &format!("rollback {name}"))
            ));
        } else if has_begun(&named::report(&seen).0) {
            take_back(cx, &name).await;
        }
    }
    let left = left(&seen)?;
    show(cx, &left)?;
    match &kind {
        Ok(_) => {
            if let Some(answered) = &left.answered {
                note(cx, &args.snapshot.id, answered).await;
                cx.ui.data(&told(&args.snapshot.to_string(), &left))?;
            }
        }
        Err(error) if Kind::of(error) == Kind::Difference => {
            cx.ui.data(&format!("{}: level 3: no", args.snapshot))?;
        }
        Err(_) => {}
    }
    kind
}

/// The plan that a level 3 is.
async fn plan(cx: &Context, args: &Args) -> Result<Plan> {
    let id = &args.snapshot.id;
    let bucket = args.server.place(cx, &args.snapshot.repository).await?;
    let mut spec = Spec::new(
        Playbook::RestoreCheck,
        Source {
            snapshot: Some(id.to_string()),
            bucket: Some(Box::new(bucket)),
            ..Source::default()
        },
    );
    let start = &args.start;
    spec.target = Target {
        storage_class: start.storage_class.clone(),
        ..Target::default()
    };
    if let Some(file) = &start.checks {
        spec.checks = plan::read_checks(file)?;
    }
    if start.open_network {
        spec.network = Network::Open;
    }
    spec.ready_within = start.ready_within;
    Ok(Plan {
        api_version: plan::API_VERSION.to_owned(),
        kind: plan::KIND.to_owned(),
        metadata: Metadata {
            name: plan::short_name(&format!("restore-check-{}", id.name)),
            namespace: None,
        },
        spec,
    })
}

/// Takes away what an earlier check left that was cut off: a check is always from the beginning.
async fn take_back_earlier(cx: &Context, name: &str, take_over: bool) -> Result<()> {
    let seen = state::one(&cx.keeper().await?, &cx.namespace().await?, name).await?;
    let Some(seen) = seen else { return Ok(()) };
    let header = &seen.header;
    if header.playbook != Playbook::RestoreCheck.name() || header.migration != name {
        let why = format!(
            "the journal is that of migration {} ({}), which is no check of this snapshot: keep this one's in another file (--journal), or end that migration",
            header.migration, header.playbook
        );
        return Err(Failure::new(FailureKind::Blocked, why).into());
    }
    let (report, _) = named::report(&seen);
    let over = matches!(
        report.state,
        report::State::Done | report::State::RolledBack | report::State::Planned
    );
    if over || !has_begun(&report) {
        return Ok(());
    }
    cx.ui
        .say("an earlier check was cut off: what it left is deleted first");
    let session = Session::reopen(cx, name, take_over).await?;
    session.go(Way::Back(None)).await.map(drop)
}

/// Whether a step was begun that changes something.
fn has_begun(report: &Report) -> bool {
    let mut changing = report.steps.iter().filter(|step| step.step != "preflight");
    changing.any(|step| step.attempts > 0)
}

/// Takes everything away after a check that did not come to its end. What the check found tells more than that.
async fn take_back(cx: &Context, name: &str) {
    let gone = match Session::reopen(cx, name, false).await {
        Ok(session) => session.go(Way::Back(None)).await.map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = gone
        && error.downcast_ref::<crate::error::Stopped>().is_none()
    {
        cx.ui.warn(&format!(
            "what was made for the check could not be deleted: {error:#}; `{}` does it",
            cx.command(&format!("cleanup {name}"))
        ));
    }
}

/// What the steps left.
struct Left {
    walled: Option<Walled>,
    checks: Vec<Judged>,
    answered: Option<Answered>,
}

fn left(seen: &Seen) -> Result<Left> {
    let (sink, _, _) = Sink::new();
    let (_, stop) = Stop::new();
    let left = Cx::of(&State::fold(&seen.entries)?, sink, stop);
    Ok(Left {
        walled: left.find(&WALLED)?,
        checks: left
            .find(&EXAMINED)?
            .map_or_else(Vec::new, |examined| examined.checks),
        answered: left.find(&ANSWERED)?,
    })
}

fn show(cx: &Context, left: &Left) -> Result<()> {
    let rows = left.checks.iter().map(|check| CheckRow {
        name: check.name.clone(),
        pod: check.pod.clone(),
        wanted: check.wanted.clone(),
        found: check.found.clone(),
        good: check.good,
    });
    let rows: Vec<_> = rows.collect();
    Ok(cx.ui.checks(&rows)?)
}

fn told(address: &str, left: &Left) -> String {
    let checks = match left.checks.len() {
        0 => "there were no checks to run".to_owned(),
        1 => "its check found what it should".to_owned(),
        count => format!("its {count} checks found what they should"),
    };
    let closed = left.walled.as_ref().is_some_and(|walled| walled.closed);
    let network = if closed { "closed" } else { "open" };
    format!(
        "{address}: level 3: it was restored, compared and started with a {network} network, and was ready; {checks}"
    )
}

/// Writes the answer into the journal of the migration that took the snapshot, where that is here: `status` shows it.
async fn note(cx: &Context, id: &SnapshotId, answered: &Answered) {
    if let Err(error) = noted(cx, id, answered).await {
        cx.ui.say(&format!(
            "the journal of the snapshot does not tell of it: {error:#}"
        ));
    }
}

async fn noted(cx: &Context, id: &SnapshotId, answered: &Answered) -> Result<()> {
    if cx.flags.journal.is_some() {
        return Ok(());
    }
    let namespace = cx.namespace().await?;
    let all = state::all(cx.source().await?, Some(&namespace), None).await?;
    let taken = all
        .into_iter()
        .flatten()
        .find(|seen| id.is_of(&seen.header.run));
    let Some(taken) = taken else { return Ok(()) };
    let mut begun = Begun::lock(cx, &taken.header.migration, false).await?;
    let told = told_to(&mut begun, answered).await;
    begun.leave().await;
    told
}

async fn told_to(begun: &mut Begun, answered: &Answered) -> Result<()> {
    let (quiet, _, _) = Sink::new();
    let journal = &mut begun.journal;
    if matches!(journal.state().last(RESTORE_CHECK), Some(Record::Done(_))) {
        let again = Record::Broken(format!("it was checked again at {:.0}", Timestamp::now()));
        journal.record(&quiet, RESTORE_CHECK, again).await?;
    }
    journal
        .record(&quiet, RESTORE_CHECK, Record::Started)
        .await?;
    let done = Record::Done(serde_json::to_value(answered)?);
    Ok(journal.record(&quiet, RESTORE_CHECK, done).await?)
}
