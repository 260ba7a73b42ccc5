use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::super::bucket::BucketFlags;
use crate::{
    adapters::s3::Address,
    context::Context,
    engine::{Failure, Kind as FailureKind},
    error::{Kind, Usage},
    flags::DryRun,
    steps::snapshots::{Fate, Judged, Keep, Repository, SnapshotId, Subject, judge},
    ui::{Format, PruneFate, PruneReason, PruneRow, PruneView, amount},
};

/// Delete the snapshots of a bucket that no rule keeps, of each workload by itself
#[derive(clap::Args, Debug)]
#[command(after_help = super::super::examples::SNAPSHOT_PRUNE)]
pub(crate) struct Args {
    /// Where they are
    #[arg(value_name = "s3://BUCKET/PREFIX")]
    repository: Address,
    /// Keep the last N
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Rules")]
    keep_last: u32,
    /// Keep the last one of each of the last N days that have any
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Rules")]
    keep_daily: u32,
    /// Keep the last one of each of the last N weeks, from Monday on, that have any
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Rules")]
    keep_weekly: u32,
    /// Keep the last one of each of the last N months that have any
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Rules")]
    keep_monthly: u32,
    /// client: show which would stay and go, and why
    #[arg(
        long,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_value = "none",
        default_missing_value = "client",
        value_enum,
        hide_possible_values = true
    )]
    dry_run: DryRun,
    /// Output format
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "table", value_parser = Format::parser(&[Format::Table, Format::Wide, Format::Json, Format::Yaml]))]
    output: Format,
    #[command(flatten)]
    server: BucketFlags,
}

impl Args {
    fn keep(&self) -> Result<Keep> {
        let keep = Keep {
            last: self.keep_last,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
        };
        if keep.is_nothing() {
            let why = "no rule is given, and without one all but the last would go: say how many are to stay with --keep-last, --keep-daily, --keep-weekly or --keep-monthly";
            return Err(Usage(why.to_owned()).into());
        }
        if self.dry_run == DryRun::Server {
            let why = "--dry-run=server is not offered by snapshot prune: a bucket takes nothing on trial; --dry-run=client shows what would go";
            return Err(Usage(why.to_owned()).into());
        }
        Ok(keep)
    }

    fn is_table(&self) -> bool {
        matches!(self.output, Format::Table | Format::Wide)
    }
}

/// What was found, and of which workloads nothing may go.
struct Found {
    judged: Vec<Judged>,
    /// Each with what speaks against it.
    doubts: BTreeMap<Subject, String>,
}

/// Runs the verb.
pub(super) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let keep = args.keep()?;
    let repository = args.server.open(cx, &args.repository).await?;
    let found = look(&repository, &keep).await?;
    let going = going(&found.judged);
    let view = |found: &Found, gone: &BTreeSet<SnapshotId>| PruneView {
        repository: args.repository.to_string(),
        time_zone: "UTC",
        dry_run: args.dry_run == DryRun::Client,
        items: rows(&repository, &found.judged, gone),
    };
    if args.is_table() && found.judged.is_empty() {
        cx.ui
            .say(&format!("no snapshots found in {}", args.repository));
        return Ok(Kind::Done);
    }
    if args.dry_run == DryRun::Client || going.is_empty() {
        cx.ui.prune(args.output, &view(&found, &BTreeSet::new()))?;
        cx.ui.say(&summary(&found.judged));
        return doubted(&found).map(|()| Kind::Done);
    }
    cx.ui.prune_before(&view(&found, &BTreeSet::new()));
    cx.ui.say(&summary(&found.judged));
    let count = amount::counted(going.len(), "snapshot", "snapshots");
    let deletes = format!("this deletes {count} of {}", args.repository);
    cx.ui
        .confirm_irreversible(&deletes, &args.repository.to_string())?;
    // Whoever was asked may have thought about it for long: only what was shown goes, and only if it would go now.
    let found = look(&repository, &keep).await?;
    let mut gone = BTreeSet::new();
    for one in &found.judged {
        let id = &one.found.id;
        if !matches!(one.fate, Fate::Goes | Fate::Ends) || !going.contains(id) {
            continue;
        }
        repository.prune(id).await?;
        gone.insert(id.clone());
        if args.is_table() {
            let address = repository.address_of(id);
            cx.ui.data(&format!("snapshot {address} deleted"))?;
        }
    }
    if !args.is_table() {
        cx.ui.prune(args.output, &view(&found, &gone))?;
    }
    doubted(&found).map(|()| Kind::Done)
}

/// Judges what is there. Where the newest that stays of a workload is not what its manifest says, it is not the last good
/// one, and nothing of that workload goes.
async fn look(repository: &Repository, keep: &Keep) -> Result<Found> {
    let mut judged = judge(repository.list().await?, keep);
    let mut newest: BTreeMap<Subject, SnapshotId> = BTreeMap::new();
    let of_those_that_lose: BTreeSet<_> = judged
        .iter()
        .filter(|one| matches!(one.fate, Fate::Goes | Fate::Ends))
        .filter_map(|one| one.subject.clone())
        .collect();
    for one in &judged {
        if let (Fate::Stays(_), Some(subject)) = (&one.fate, &one.subject)
            && of_those_that_lose.contains(subject)
        {
            let id = &one.found.id;
            let last = newest.entry(subject.clone()).or_insert_with(|| id.clone());
            if (id.at(), id) > (last.at(), last) {
                last.clone_from(id);
            }
        }
    }
    let stays: BTreeSet<_> = newest.keys().cloned().collect();
    let mut doubts = BTreeMap::new();
    for (subject, id) in newest {
        match repository.check_listing(&id).await {
            Ok(_) => {}
            Err(error) if Kind::of(&error) == Kind::Difference => {
                doubts.insert(subject, format!("{error:#}"));
            }
            Err(error) => return Err(error),
        }
    }
    for one in &mut judged {
        // As long as its manifest is there, all of it may be: it goes only where a later one is good.
        if let (Fate::Ends, Some(subject)) = (&one.fate, &one.subject)
            && (doubts.contains_key(subject) || !stays.contains(subject))
        {
            let why = "its deletion was begun, and no other snapshot of it is known to be good";
            one.fate = Fate::Left(why.to_owned());
            continue;
        }
        let doubt = one.subject.as_ref().and_then(|of| doubts.get(of));
        if let (Fate::Goes, Some(doubt)) = (&one.fate, doubt) {
            one.fate = Fate::Left(format!("the newest that stays is not whole: {doubt}"));
        }
    }
    Ok(Found { judged, doubts })
}

/// The ids of those that go.
fn going(judged: &[Judged]) -> BTreeSet<SnapshotId> {
    let goes = judged
        .iter()
        .filter(|one| matches!(one.fate, Fate::Goes | Fate::Ends));
    goes.map(|one| one.found.id.clone()).collect()
}

/// Ends with an error where a workload's newest snapshot is in doubt.
fn doubted(found: &Found) -> Result<()> {
    if found.doubts.is_empty() {
        return Ok(());
    }
    let evidence = found
        .doubts
        .iter()
        .map(|(subject, doubt)| format!("{}: {doubt}", subject.source));
    let why = "nothing was deleted of workloads whose newest snapshot is not whole";
    Err(Failure::new(FailureKind::Difference, why)
        .with_evidence(evidence.collect())
        .into())
}

fn rows(repository: &Repository, judged: &[Judged], gone: &BTreeSet<SnapshotId>) -> Vec<PruneRow> {
    let row = |one: &Judged| {
        let (fate, why) = match &one.fate {
            Fate::Stays(reasons) => {
                let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
                (PruneFate::Stays, reasons.join(", "))
            }
            Fate::Goes => (PruneFate::Goes, "no rule keeps it".to_owned()),
            Fate::Ends => (PruneFate::Goes, "its deletion was begun".to_owned()),
            Fate::Left(why) => (PruneFate::Left, why.clone()),
        };
        let reasons = match &one.fate {
            Fate::Stays(reasons) => reasons.as_slice(),
            _ => &[],
        };
        let id = &one.found.id;
        PruneRow {
            name: id.to_string(),
            address: repository.address_of(id).to_string(),
            source: one.subject.as_ref().map(|of| of.source.clone()),
            cluster: one.subject.as_ref().map(|of| of.cluster.clone()),
            fate,
            reasons: reasons
                .iter()
                .map(|reason| PruneReason {
                    rule: reason.rule.name(),
                    period: reason.period.clone(),
                })
                .collect(),
            why,
            deleted: gone.contains(id),
            stored_bytes: one.found.stored,
            taken: id.at(),
        }
    };
    judged.iter().map(row).collect()
}

/// `3 stay, 2 go with 1.1 GiB, 1 is left; days, weeks and months are those of UTC`.
fn summary(judged: &[Judged]) -> String {
    let count = |is: fn(&Fate) -> bool| judged.iter().filter(|one| is(&one.fate)).count();
    let stay = count(|fate| matches!(fate, Fate::Stays(_)));
    let left = count(|fate| matches!(fate, Fate::Left(_)));
    let (mut go, mut freed) = (0, 0);
    for one in judged {
        if matches!(one.fate, Fate::Goes | Fate::Ends) {
            go += 1;
            freed += one.found.stored;
        }
    }
    let freed = amount::bytes(freed);
    format!(
        "{stay} stay, {go} go with {freed}, {left} are left; days, weeks and months are those of UTC"
    )
}
