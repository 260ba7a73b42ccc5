//! A migration that this process works on: locked, with its journal, its steps and its screen.
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::Timestamp;
use tokio::{sync::watch, task::JoinHandle};

use super::{path, signals};
use crate::{
    adapters::kube::lease::Lost,
    context::Context,
    engine::{
        Cx, Ended, FORMAT, Failure, Header, Holds, Journal, Kind as FailureKind, Record, RunError,
        Sink, State, Step, Stop, rollback, run,
    },
    error::{Kind, Stopped},
    plan::{Plan, changes, digest},
    playbooks::{self, Playbook},
    state::{self, Locked},
    steps::preflight::CHECKED,
    ui::{Ending, LINE_INTERVAL},
};

/// Which migration is worked on.
pub(super) enum Subject {
    /// That of a plan; it begins with it, or goes on.
    Plan(Box<Plan>),
    /// One that has begun, by its name.
    Name(String),
}

/// A migration that this process works on.
pub(super) struct Session<'cx> {
    cx: &'cx Context,
    locked: Locked,
    /// Its journal.
    pub(super) journal: Journal,
    /// Its steps.
    pub(super) playbook: Playbook,
    sink: Sink,
    screen: JoinHandle<()>,
    publisher: JoinHandle<()>,
}

/// What is to be done with the steps.
pub(super) enum Way<'keep> {
    /// Forward.
    On,
    /// Back, down to but without this step.
    Back(Option<&'keep str>),
}

impl<'cx> Session<'cx> {
    /// Locks a migration and opens its journal; a plan without a journal begins one.
    pub(super) async fn open(cx: &'cx Context, subject: Subject, take_over: bool) -> Result<Self> {
        let given = match subject {
            Subject::Plan(plan) => Some(path::complete(cx, *plan).await?),
            Subject::Name(_) if cx.flags.mover_image.is_some() || cx.flags.to_context.is_some() => {
                bail!(
                    "a migration that has begun keeps its plan: leave the flags out that change it"
                )
            }
            Subject::Name(ref name) => {
                // Looked at before it is locked, so that a name that is misspelt leaves no lock behind.
                super::named::seen(cx, name).await?;
                return Self::with(cx, name.clone(), None, take_over).await;
            }
        };
        let name = given
            .as_ref()
            .map(|plan| plan.metadata.name.clone())
            .unwrap_or_default();
        if let Some(plan) = &given {
            Self::can_begin(cx, plan, &name).await?;
        }
        Self::with(cx, name, given, take_over).await
    }

    /// Looks whether a migration can begin at all before it is locked, so that a workload that is misspelt
    /// leaves no lock behind.
    async fn can_begin(cx: &Context, plan: &Plan, name: &str) -> Result<()> {
        let sides = path::sides(cx, plan, "look", None).await?;
        let begun = state::one(&cx.keeper().await?, &sides.belongs.home, name).await?;
        if begun.is_none() {
            playbooks::build(plan, &sides, None).await?;
        }
        Ok(())
    }

    async fn with(
        cx: &'cx Context,
        name: String,
        given: Option<Plan>,
        take_over: bool,
    ) -> Result<Self> {
        let namespace = match given
            .as_ref()
            .and_then(|plan| plan.metadata.namespace.clone())
        {
            Some(namespace) => namespace,
            None => cx.namespace().await?,
        };
        let keeper = cx.keeper().await?;
        let place = keeper.place(&namespace, &name);
        let (sink, events, mut latest) = Sink::new();
        let (publish, published) = watch::channel("{}".to_owned());
        let locked = keeper.lock(&namespace, &name, take_over, published).await?;
        let publisher = tokio::spawn(async move {
            while latest.changed().await.is_ok() {
                let progress = latest.borrow_and_update().clone();
                if let Ok(text) = serde_json::to_string(&progress) {
                    publish.send_replace(text);
                }
            }
        });
        let cluster = cx.source().await?.identity().await?.to_owned();
        let opened = Journal::open(locked.store(), &place, Timestamp::now).await;
        let found = match opened {
            // A verb that was done is done anew when it is given again; its last journal makes room.
            Ok(Some(journal))
                if given
                    .as_ref()
                    .is_some_and(|plan| begins_anew(plan, &journal)) =>
            {
                drop(journal);
                locked.forget().await?;
                None
            }
            Ok(found) => found,
            Err(error) => {
                locked.release().await.ok();
                return Err(error.into());
            }
        };
        let opened = match found {
            Some(journal) => Self::go_on(cx, &locked, journal, given, &cluster, &place).await,
            None => Self::begin(cx, &locked, given, &name, &cluster).await,
        };
        let (journal, playbook) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                locked.release().await.ok();
                return Err(error);
            }
        };
        let ui = cx.ui.clone();
        let steps = playbook.ids();
        let screen = tokio::spawn(async move { ui.progress(&steps, LINE_INTERVAL, events).await });
        Ok(Self {
            cx,
            locked,
            journal,
            playbook,
            sink,
            screen,
            publisher,
        })
    }

    async fn go_on(
        cx: &Context,
        locked: &Locked,
        journal: Journal,
        given: Option<Plan>,
        cluster: &str,
        place: &str,
    ) -> Result<(Journal, Playbook)> {
        let header = journal.header();
        if header.cluster != cluster {
            let why = format!(
                "{place} is the journal of another cluster ({}), and this one is {cluster}: choose the right one with --context",
                header.cluster
            );
            return Err(Failure::new(FailureKind::Blocked, why).into());
        }
        let plan: Plan = serde_json::from_value(header.plan.clone())
            .with_context(|| format!("{place} holds no plan that this program can read"))?;
        if let Some(given) = given
            && digest(&given) != header.digest
        {
            let new = serde_json::to_value(&given)?;
            let changed = changes(&header.plan, &new);
            let why = format!(
                "the plan was changed since migration {} began: roll it back first, or go on with the plan that it began with (`{}`)",
                header.migration,
                cx.command_in(&header.namespace, &format!("run {}", header.migration))
            );
            return Err(Failure::new(FailureKind::Blocked, why)
                .with_evidence(changed)
                .into());
        }
        let recorded = recorded(journal.state())?;
        let sides = path::sides(cx, &plan, &header.run, Some(&locked.guard())).await?;
        let playbook = playbooks::build(&plan, &sides, recorded).await?;
        Ok((journal, playbook))
    }

    async fn begin(
        cx: &Context,
        locked: &Locked,
        given: Option<Plan>,
        name: &str,
        cluster: &str,
    ) -> Result<(Journal, Playbook)> {
        let plan = given.ok_or_else(|| anyhow!("there is no migration {name}"))?;
        let run = run_id();
        let sides = path::sides(cx, &plan, &run, Some(&locked.guard())).await?;
        let playbook = playbooks::build(&plan, &sides, None).await?;
        let header = Header {
            format: FORMAT,
            tool: concat!("kubectl-migrate ", env!("CARGO_PKG_VERSION")).to_owned(),
            migration: name.to_owned(),
            namespace: sides.belongs.home.clone(),
            cluster: cluster.to_owned(),
            run,
            playbook: plan.spec.playbook.name().to_owned(),
            digest: digest(&plan),
            plan: serde_json::to_value(&plan)?,
            steps: playbook.ids(),
            created: Timestamp::now(),
        };
        let journal = Journal::create(locked.store(), header, Timestamp::now).await?;
        Ok((journal, playbook))
    }

    /// Goes forward or back, until the end, a wait, a failure or the operator's interruption.
    pub(super) async fn go(mut self, way: Way<'_>) -> Result<Kind> {
        let (wish, stop) = Stop::new();
        let steps: &[Arc<dyn Step>] = &self.playbook.steps;
        let (sink, journal) = (&self.sink, &mut self.journal);
        let going = async {
            match way {
                Way::On => run(steps, journal, sink, &stop).await,
                Way::Back(keep) => rollback(steps, keep, journal, sink, &stop).await,
            }
        };
        let ended = tokio::select! {
            ended = going => ended.map_err(anyhow::Error::from),
            () = signals::second_interrupt(self.cx.ui.clone(), wish) => Err(Stopped(Kind::Interrupted).into()),
            _ = self.locked.lost() => Err(Stopped(Kind::Locked).into()),
        };
        // Whoever notices first, a step or the lock itself: it is told in the same way.
        let ended = match ended {
            Err(error) if Kind::of(&error) != Kind::Interrupted => {
                Err(self.locked.why_lost().await.map_or(error, |why| lost(&why)))
            }
            ended => ended,
        };
        let (used, capacity) = self.journal.usage();
        if used * 5 > capacity * 4 {
            self.cx.ui.warn(&format!(
                "the journal holds {used} of {capacity} bytes; nothing new is begun when it is full"
            ));
        }
        let back = matches!(way, Way::Back(_));
        self.close(ended, back).await
    }

    async fn close(self, ended: Result<Ended>, back: bool) -> Result<Kind> {
        let Self {
            cx,
            locked,
            journal,
            sink,
            screen,
            publisher,
            playbook,
        } = self;
        drop(sink);
        drop(playbook);
        // The screen ends when the last sender of events is gone; steps that were cut off may hold one.
        tokio::time::timeout(std::time::Duration::from_secs(1), screen)
            .await
            .ok();
        publisher.abort();
        let header = journal.header().clone();
        let entries = journal.entries().to_vec();
        drop(journal);
        locked.release().await.ok();
        let seen = crate::state::Seen {
            header,
            entries,
            progress: None,
            holder: None,
        };
        let (report, _) = super::named::report(&seen);
        super::ending::tell(cx, &report, &ended, back)
    }

    /// Writes down the operator's own decision on a step.
    pub(super) async fn mark(mut self, step: &str, reason: &str) -> Result<()> {
        let header = self.journal.header();
        let marked = if let Err(why) = super::mark::markable(header, self.journal.state(), step) {
            let status = format!("status {}", header.migration);
            let status = self.cx.command_in(&header.namespace, &status);
            Err(anyhow!("{why}; `{status}` shows where it is"))
        } else {
            let record = Record::Marked(reason.to_owned());
            self.journal
                .record(&self.sink, step, record)
                .await
                .map_err(Into::into)
        };
        self.publisher.abort();
        drop(self.sink);
        tokio::time::timeout(std::time::Duration::from_secs(1), self.screen)
            .await
            .ok();
        drop(self.journal);
        self.locked.release().await.ok();
        marked
    }

    /// Whether what its first step that can break has done still stands.
    pub(super) async fn look(&self) -> Result<Holds> {
        let (_wish, stop) = Stop::new();
        let look = Cx::of(self.journal.state(), self.sink.clone(), stop);
        for step in &self.playbook.steps {
            if let broken @ Holds::No(_) = step.holds(&look).await? {
                return Ok(broken);
            }
        }
        Ok(Holds::Yes)
    }

    /// Frees the migration without having done anything.
    pub(super) async fn leave(self) {
        self.publisher.abort();
        self.screen.abort();
        drop(self.journal);
        self.locked.release().await.ok();
    }
}

/// Whether nothing of an earlier journal is needed any more, so that a plan may begin anew: a verb that was
/// done is given again, or nothing was changed yet, or all was put back, and the plan is another.
fn begins_anew(plan: &Plan, journal: &Journal) -> bool {
    let state = journal.state();
    let every = |wanted: fn(Option<&Record>) -> bool| {
        let steps = &journal.header().steps;
        steps.iter().all(|step| wanted(state.last(step)))
    };
    let untouched = every(|last| matches!(last, None | Some(Record::Blocked(_) | Record::Undone)));
    let over = untouched || every(|last| last.is_none_or(Record::is_settled));
    match plan.spec.playbook {
        crate::plan::Playbook::Copy => over,
        _ => untouched && digest(plan) != journal.header().digest,
    }
}

/// The inventory that a migration began with.
fn recorded(state: &State) -> Result<Option<crate::steps::inventory::Inventory>> {
    let (sink, _, _) = Sink::new();
    let (_, stop) = Stop::new();
    let checked = Cx::of(state, sink, stop).find(&CHECKED)?;
    Ok(checked.map(|checked| checked.inventory))
}

/// The lock was lost while something was going on.
fn lost(why: &Lost) -> anyhow::Error {
    let kind = match why {
        Lost::Taken(_) => FailureKind::LockLost,
        // Nobody is known to have it: the server is what has to come back.
        Lost::Silence(_) => FailureKind::Error,
    };
    let why = format!("this run lost its lock ({why}), and changed nothing since");
    Failure::new(kind, why).into()
}

/// A name for this run that no other has: it marks every object that is made for it.
fn run_id() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..10)
        .map(|_| char::from(LETTERS[fastrand::usize(..LETTERS.len())]))
        .collect()
}

/// Nothing to do, told as kubectl does.
pub(super) fn unchanged(cx: &Context, text: &str, error_unchanged: bool) -> Kind {
    cx.ui.say(text);
    if error_unchanged {
        Kind::Unchanged
    } else {
        Kind::Done
    }
}

/// For callers that need the error's shape only.
pub(super) fn is_rolling_back(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<RunError>(),
        Some(RunError::RollingBack { .. })
    )
}

/// An ending with nothing but a message.
pub(super) fn plain(message: impl Into<String>) -> Ending {
    Ending {
        message: message.into(),
        ..Ending::default()
    }
}
