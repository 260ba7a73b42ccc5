use anyhow::Result;

use super::{
    identity, named,
    session::{Session, Subject, Way, keeps_its_plan, no_step, recorded, unchanged},
};
use crate::{
    context::Context,
    engine::{Cx, Entry, Failure, Kind as FailureKind, Record, Sink, State, Step, Stop, UndoPlan},
    error::{Kind, Usage},
    flags::DryRun,
    marks,
    plan::{Plan, Playbook},
    playbooks,
    playbooks::Sides,
    steps::{
        About,
        archives::SEALED,
        freeze::FROZEN,
        in_place::START,
        prepare::PREPARED,
        restores::{BROUGHT, COMPARED, FILLED},
        start_target::STARTED,
        verify::VERIFIED,
    },
};

/// Put everything back, last step first
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::ROLLBACK)]
pub(crate) struct Args {
    /// Name of the migration
    name: String,
    /// Undo down to this step, which itself stays done
    #[arg(long, value_name = "STEP")]
    to: Option<String>,
    /// Take over from another run whose lock has run out
    #[arg(long)]
    take_over: bool,
    /// client: show what would be done; server is not offered here
    #[arg(
        long,
        value_name = "HOW",
        default_value = "none",
        value_enum,
        hide_possible_values = true
    )]
    dry_run: DryRun,
    /// Exit with 3 when there is nothing to do
    #[arg(long)]
    error_unchanged: bool,
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    only_client(args.dry_run, "rollback")?;
    if args.dry_run == DryRun::Client {
        return dry_run(cx, &args.name, args.to.as_deref()).await;
    }
    let session = Session::open(cx, Subject::Name(args.name.clone()), args.take_over).await?;
    let journal = &session.journal;
    let undoing = match Undoing::new(journal.state(), &journal.header().steps, args.to.as_deref()) {
        Ok(undoing) => undoing,
        Err(error) => {
            session.leave().await;
            return Err(error);
        }
    };
    if undoing.steps.is_empty() {
        session.leave().await;
        let text = format!(
            "migration/{} unchanged: there is nothing to put back",
            args.name
        );
        return Ok(unchanged(cx, &text, args.error_unchanged));
    }
    let about = &session.playbook.preflight.about;
    let plan: Plan = serde_json::from_value(journal.header().plan.clone())?;
    let may = undoing
        .has_way_back(&plan, &session.sides, about, journal.entries())
        .await;
    // What is made for a check is nobody's.
    let asks = plan.spec.playbook != Playbook::RestoreCheck;
    let may = may.and_then(|()| match undoing.loses().filter(|_| asks) {
        Some(what) => Ok(cx.ui.confirm_irreversible(what, &args.name)?),
        None => Ok(()),
    });
    if let Err(error) = may {
        session.leave().await;
        return Err(error);
    }
    session.go(Way::Back(args.to.as_deref())).await
}

/// The steps that would be put back, in that order, and how.
async fn dry_run(cx: &Context, name: &str, to: Option<&str>) -> Result<Kind> {
    let seen = named::seen(cx, name).await?;
    keeps_its_plan(&cx.flags, name, &[])?;
    let state = State::fold(&seen.entries)?;
    let undoing = Undoing::new(&state, &seen.header.steps, to)?;
    let (plan, sides) = identity::of_journal(cx, &seen.header).await?;
    let playbook = playbooks::build(&plan, &sides, recorded(&state)?).await?;
    let about = &playbook.preflight.about;
    undoing
        .has_way_back(&plan, &sides, about, &seen.entries)
        .await?;
    for line in undoing.lines(&playbook.steps) {
        cx.ui.data(&line)?;
    }
    if undoing.steps.is_empty() {
        cx.ui.say(&format!(
            "migration/{name} unchanged: there is nothing to put back"
        ));
    }
    Ok(Kind::Done)
}

/// Refuses `--dry-run=server` where there is no one write that the server could check beforehand.
pub(super) fn only_client(how: DryRun, verb: &str) -> Result<()> {
    if how != DryRun::Server {
        return Ok(());
    }
    let why = format!(
        "--dry-run=server is not offered by {verb}: what it would write depends on what is there when it gets so far; --dry-run=client shows the steps"
    );
    Err(Usage(why).into())
}

/// What a rollback would put back.
struct Undoing {
    /// The steps, in the order in which they are put back.
    steps: Vec<String>,
    /// Clients may have written to the target, which would go.
    started: bool,
    /// Claims of the target that were made by the migration would go.
    claims: bool,
    /// What they hold was compared with the source.
    verified: bool,
    /// What a bucket has to do with it.
    bucket: InBucket,
    /// What the steps left.
    left: Cx,
}

/// What a bucket has to do with a rollback.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InBucket {
    /// Nothing that counts.
    Nothing,
    /// A snapshot in it is whole, and would go.
    Whole,
    /// A snapshot in it is the source, and was looked at when the steps were made.
    Source,
}

impl Undoing {
    fn new(state: &State, steps: &[String], to: Option<&str>) -> Result<Self> {
        if let Some(to) = to
            && !steps.iter().any(|step| step == to)
        {
            return Err(no_step(to, steps));
        }
        let undone: Vec<_> = steps
            .iter()
            .rev()
            .take_while(|step| Some(step.as_str()) != to)
            .filter(|step| {
                !matches!(
                    state.last(step),
                    None | Some(Record::Skipped(_) | Record::Undone | Record::Blocked(_))
                )
            })
            .cloned()
            .collect();
        let (sink, _, _) = Sink::new();
        let (_, stop) = Stop::new();
        let left = Cx::of(state, sink, stop);
        let goes = |step: &str| undone.iter().any(|id| id == step) && state.begun(step);
        // Cut off half way, it may have made some.
        let made = left
            .find(&PREPARED)?
            .is_none_or(|prepared| !prepared.made.is_empty());
        Ok(Self {
            started: [STARTED.step(), START.step(), BROUGHT.step()]
                .into_iter()
                .any(goes),
            claims: goes(PREPARED.step()) && made,
            verified: [VERIFIED.step(), COMPARED.step()]
                .iter()
                .any(|step| matches!(state.last(step), Some(Record::Done(_)))),
            bucket: if steps.iter().any(|step| step == FILLED.step()) {
                InBucket::Source
            } else if goes(SEALED.step()) {
                InBucket::Whole
            } else {
                InBucket::Nothing
            },
            left,
            steps: undone,
        })
    }

    /// Refuses to delete the target's data when the source is not there any more: it would be the last copy.
    async fn has_way_back(
        &self,
        plan: &Plan,
        sides: &Sides,
        about: &About,
        entries: &[Entry],
    ) -> Result<()> {
        let Some(inventory) = about.volumes() else {
            return Ok(());
        };
        if self.bucket == InBucket::Source || (!self.started && !self.claims) {
            return Ok(());
        }
        let source = &sides.source;
        let cleaned = entries
            .iter()
            .rev()
            .find(|entry| entry.step == super::cleanup::ID);
        let mut gone: Vec<_> = if plan.is_in_place() {
            // The old volumes are the source, whatever claim they have.
            let in_place = playbooks::in_place_of(plan, sides, inventory);
            in_place.no_way_back(&self.left).await?
        } else {
            let frozen = self.left.find(&FROZEN)?.map(|frozen| frozen.uid);
            let parts = inventory.source_now(source, frozen.as_deref()).await?;
            parts.iter().filter_map(|part| part.why(source)).collect()
        };
        if gone.is_empty() && !(plan.is_in_place() && cleaned.is_some()) {
            return Ok(());
        }
        if let Some(entry) = cleaned {
            gone.push(format!(
                "the source was deleted by `cleanup --old-data` at {:.0}",
                entry.at
            ));
        }
        let name = &sides.belongs.migration;
        let target = &sides.target;
        let why = format!(
            "migration {name} cannot be rolled back: the source is not there as it was, and the target is the only copy"
        );
        let look = format!(
            "kubectl get statefulset,pvc -n {} --context {} -l {}={name}",
            target.namespace,
            target.cluster.context(),
            marks::MIGRATION,
        );
        Err(Failure::new(FailureKind::Blocked, why)
            .with_evidence(gone)
            .with_next(look, "shows the target, which is kept as it is")
            .into())
    }

    /// What is lost for ever, if anything is.
    fn loses(&self) -> Option<&'static str> {
        if self.started {
            // From there on clients may have written to the target.
            Some("what clients wrote to the target since it was started is lost with a rollback")
        } else if self.claims && self.verified {
            Some("a rollback deletes the target's volumes, whose copy is complete and compared")
        } else if self.bucket == InBucket::Whole {
            Some("a rollback deletes the snapshot, which is whole")
        } else {
            None
        }
    }

    fn lines(&self, steps: &[std::sync::Arc<dyn Step>]) -> Vec<String> {
        let undo = |id: &String| {
            let step = steps.iter().find(|step| step.id() == id)?;
            Some(match step.undo_plan() {
                UndoPlan::Nothing => format!("{id}: nothing is to be put back (dry run)"),
                UndoPlan::By(how) => format!("{id}: {how} (dry run)"),
                UndoPlan::Never(why) => format!("{id}: cannot be put back: {why} (dry run)"),
            })
        };
        self.steps.iter().filter_map(undo).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::sample::at;

    /// A history of these records, each step begun before.
    fn state(records: &[(&str, Record)]) -> State {
        let mut entries = Vec::new();
        let mut add = |step: &str, record: &Record| {
            entries.push(Entry {
                seq: u32::try_from(entries.len() + 1).unwrap_or(0),
                fence: 1,
                at: at(0),
                step: step.to_owned(),
                record: record.clone(),
            });
        };
        for (step, record) in records {
            add(step, &Record::Started);
            add(step, record);
        }
        State::fold(&entries).expect("a history that can be")
    }

    fn undoing(records: &[(&str, Record)], to: Option<&str>) -> Result<Undoing> {
        let steps = ["prepare", "warm-copy", "verify", "start-target"].map(str::to_owned);
        Undoing::new(&state(records), &steps, to)
    }

    fn prepared(made: &[&str]) -> Record {
        Record::Done(json!({"made": made, "found": ["b"], "copied": []}))
    }

    #[test]
    fn a_name_is_wanted_where_a_complete_copy_or_what_clients_wrote_would_go() -> Result<()> {
        let failed = Record::Failed {
            kind: FailureKind::Error,
            error: "x".to_owned(),
            evidence: Vec::new(),
        };
        let verified = || ("verify", Record::Done(json!({"volumes": []})));
        let begun = undoing(
            &[("prepare", prepared(&["a"])), ("warm-copy", failed.clone())],
            None,
        )?;
        assert!(begun.claims && begun.loses().is_none());
        assert_eq!(begun.steps, ["warm-copy", "prepare"]);
        let complete = undoing(&[("prepare", prepared(&["a"])), verified()], None)?;
        assert!(
            complete
                .loses()
                .is_some_and(|what| what.contains("complete"))
        );
        let found = undoing(&[("prepare", prepared(&[])), verified()], None)?;
        assert!(!found.claims && found.loses().is_none());
        let half = undoing(&[("prepare", failed.clone())], None)?;
        assert!(half.claims, "some claims may have been made");
        let started = [
            ("prepare", prepared(&["a"])),
            verified(),
            ("start-target", failed),
        ];
        assert!(
            undoing(&started, None)?
                .loses()
                .is_some_and(|what| what.contains("clients"))
        );
        let steps = ["reserve", "upload", "seal"].map(str::to_owned);
        let snapshot = ["reserve", "upload", "seal"].map(|step| (step, Record::Done(json!(null))));
        let whole = Undoing::new(&state(&snapshot), &steps, None)?;
        assert!(whole.loses().is_some_and(|what| what.contains("whole")));
        let cut = Undoing::new(&state(&snapshot[..2]), &steps, None)?;
        assert!(cut.loses().is_none());
        let kept = undoing(&started, Some("start-target"))?;
        assert!(kept.steps.is_empty() && kept.loses().is_none());
        let kept = undoing(&started, Some("verify"))?;
        assert!(kept.started && !kept.claims);
        let error = undoing(&started, Some("nosuch")).err().expect("a refusal");
        assert_eq!(Kind::of(&error), Kind::Usage);
        Ok(())
    }
}
