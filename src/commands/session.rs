//! A migration that this process works on: locked, with its journal, its steps and its screen.
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use jiff::Timestamp;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    anew::begins_anew,
    identity,
    limits::{self, Follower},
    path, signals,
};
use crate::{
    adapters::kube::lease::Lost,
    context::Context,
    engine::{
        Cx, Ended, FORMAT, Failure, Header, Holds, Journal, Kind as FailureKind, Record, RunError,
        Sink, State, Step, Stop, rollback, run, stands_before,
    },
    error::{Kind, Stopped, Usage},
    flags::Global,
    plan::{Plan, changes, digest},
    playbooks::{self, Playbook, Sides},
    state::{self, Locked},
    steps::{About, inventory::AsWanted, preflight::CHECKED},
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
    /// Where it works.
    pub(super) sides: Sides,
    sink: Sink,
    screen: JoinHandle<()>,
    publisher: JoinHandle<()>,
    follower: Follower,
}

/// The field of a plan that has a verb of its own.
const LIMIT: &str = "spec.mover.limit: ";

/// What is to be done with the steps.
pub(super) enum Way<'keep> {
    /// Forward.
    On,
    /// Back, down to but without this step.
    Back(Option<&'keep str>),
}

/// How a session went.
pub(super) struct Went {
    /// How it ended.
    pub(super) kind: Result<Kind>,
    /// Its journal.
    pub(super) seen: crate::state::Seen,
    /// Whether it was to stop at once, or its lock was lost: no step was brought to its end.
    pub(super) cut: bool,
}

impl<'cx> Session<'cx> {
    /// Locks a migration and opens its journal; a plan without a journal begins one.
    pub(super) async fn open(cx: &'cx Context, subject: Subject, take_over: bool) -> Result<Self> {
        let given = match subject {
            Subject::Plan(plan) => Some(path::complete(cx, *plan).await?),
            Subject::Name(ref name) => {
                // Looked at before it is locked, so that a name that is misspelt leaves no lock behind.
                super::named::seen(cx, name).await?;
                keeps_its_plan(&cx.flags, name, &[])?;
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

    /// Locks one that has begun, by its name, whatever flags say of what is to begin: for a verb that takes back what
    /// it began itself.
    pub(super) async fn reopen(cx: &'cx Context, name: &str, take_over: bool) -> Result<Self> {
        Self::with(cx, name.to_owned(), None, take_over).await
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
            Some(journal) => Self::go_on(cx, &locked, journal, given, &place).await,
            None => Self::begin(cx, &locked, given, &name).await,
        };
        let (journal, playbook, sides) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                locked.release().await.ok();
                return Err(error);
            }
        };
        let limit = locked.limit();
        let follower = limits::follow(&sides.limit, limit, journal.header(), sink.clone());
        let ui = cx.ui.clone();
        let steps = playbook.ids();
        let screen = tokio::spawn(async move { ui.progress(&steps, LINE_INTERVAL, events).await });
        Ok(Self {
            cx,
            locked,
            journal,
            playbook,
            sides,
            sink,
            screen,
            publisher,
            follower,
        })
    }

    async fn go_on(
        cx: &Context,
        locked: &Locked,
        journal: Journal,
        given: Option<Plan>,
        place: &str,
    ) -> Result<(Journal, Playbook, Sides)> {
        let header = journal.header();
        identity::same_source(cx, header, place).await?;
        let plan: Plan = serde_json::from_value(header.plan.clone())
            .with_context(|| format!("{place} holds no plan that this program can read"))?;
        if let Some(given) = &given
            && given.metadata.name != header.migration
        {
            let why = format!(
                "{place} is the journal of migration {}, not of {}: keep this one's in another file (--journal)",
                header.migration, given.metadata.name
            );
            return Err(Failure::new(FailureKind::Blocked, why).into());
        }
        if let Some(given) = given
            && digest(&given) != header.digest
        {
            let new = serde_json::to_value(&given)?;
            let changed = changes(&header.plan, &new);
            let name = &header.migration;
            let why = format!(
                "the plan was changed since migration {name} began: roll it back first, or go on with the plan that it began with"
            );
            let command = |verb| cx.command_in(&header.namespace, &format!("{verb} {name}"));
            let limit = changed.iter().any(|change| change.starts_with(LIMIT));
            let mut failure = Failure::new(FailureKind::Blocked, why).with_evidence(changed);
            if limit {
                failure = failure.with_next(
                    cx.command_in(&header.namespace, &format!("limit {name} RATE")),
                    "changes how fast it copies, also while it runs",
                );
            }
            return Err(failure
                .with_next(command("run"), "goes on with the plan that it began with")
                .with_next(
                    command("rollback"),
                    "puts everything back; then the new plan can begin",
                )
                .into());
        }
        let recorded = recorded(journal.state())?;
        let sides = path::sides(cx, &plan, &header.run, Some(&locked.guard())).await?;
        identity::same_target(header, &sides, place).await?;
        let playbook = playbooks::build(&plan, &sides, recorded).await?;
        Ok((journal, playbook, sides))
    }

    async fn begin(
        cx: &Context,
        locked: &Locked,
        given: Option<Plan>,
        name: &str,
    ) -> Result<(Journal, Playbook, Sides)> {
        let plan = given.ok_or_else(|| anyhow!("there is no migration {name}"))?;
        let run = run_id();
        let sides = path::sides(cx, &plan, &run, Some(&locked.guard())).await?;
        let playbook = playbooks::build(&plan, &sides, None).await?;
        let header = Header {
            format: FORMAT,
            tool: concat!("kubectl-migrate ", env!("CARGO_PKG_VERSION")).to_owned(),
            migration: name.to_owned(),
            namespace: sides.belongs.home.clone(),
            cluster: cx.source().await?.identity().await?.to_owned(),
            target_cluster: identity::of_target(&sides).await?,
            run,
            playbook: plan.spec.playbook.name().to_owned(),
            digest: digest(&plan),
            plan: serde_json::to_value(&plan)?,
            steps: playbook.ids(),
            created: Timestamp::now(),
        };
        let journal = Journal::create(locked.store(), header, Timestamp::now).await?;
        Ok((journal, playbook, sides))
    }

    /// Goes forward or back, until the end, a wait, a failure or the operator's interruption.
    pub(super) async fn go(self, way: Way<'_>) -> Result<Kind> {
        Box::pin(self.go_and_see(way)).await.kind
    }

    /// The same, with what its journal tells then.
    pub(super) async fn go_and_see(mut self, way: Way<'_>) -> Went {
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

    async fn close(self, ended: Result<Ended>, back: bool) -> Went {
        let Self {
            cx,
            locked,
            journal,
            sink,
            screen,
            publisher,
            follower,
            playbook,
            sides: _,
        } = self;
        drop((sink, follower));
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
            limit: None,
        };
        let (report, _) = super::named::report(&seen);
        Went {
            kind: super::ending::tell(cx, &report, &ended, back),
            cut: ended.is_err_and(|error| error.downcast_ref::<Stopped>().is_some()),
            seen,
        }
    }

    /// Writes down the operator's own decision on a step.
    pub(super) async fn mark(mut self, step: &str, reason: &str, force: bool) -> Result<()> {
        let can = can_be_marked(self.journal.state(), &self.journal.header().steps, step);
        let decision = match can {
            Ok(()) => self.decision(step, reason, force).await,
            Err(error) => Err(error),
        };
        let marked = match decision {
            Ok(record) => {
                let recorded = self.journal.record(&self.sink, step, record).await;
                recorded.map_err(Into::into)
            }
            Err(error) => Err(error),
        };
        self.publisher.abort();
        drop((self.sink, self.follower));
        tokio::time::timeout(std::time::Duration::from_secs(1), self.screen)
            .await
            .ok();
        drop(self.journal);
        self.locked.release().await.ok();
        marked
    }

    /// The operator's decision as it is written down. What it is built on must stand: a switch of clients
    /// would leave behind what was written to a source that is not frozen any more. With `force` the
    /// decision says what was known.
    async fn decision(&self, step: &str, reason: &str, force: bool) -> Result<Record> {
        let (_wish, stop) = Stop::new();
        let steps = &self.playbook.steps;
        match stands_before(step, steps, &self.journal, &self.sink, &stop).await {
            Ok(()) => Ok(Record::Marked(reason.to_owned())),
            Err(why @ RunError::Failed { .. }) if force => {
                let why = format!("{:#}", anyhow::Error::from(why));
                Ok(Record::Marked(format!("{reason} (forced, although {why})")))
            }
            Err(why) => Err(anyhow::Error::from(why).context(format!(
                "step `{step}` is not marked: go back and begin anew, or mark it with --force if that does not matter"
            ))),
        }
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

/// Refuses a step that is not there, or that nobody waits for.
pub(super) fn can_be_marked(state: &State, steps: &[String], step: &str) -> Result<()> {
    if !steps.iter().any(|id| id == step) {
        return Err(no_step(step, steps));
    }
    let last = state.last(step);
    if matches!(last, Some(Record::Waiting(_) | Record::Failed { .. })) {
        return Ok(());
    }
    let last = last.map_or("not begun", Record::name);
    Err(anyhow!(
        "step `{step}` is {last}: only a step that waits or has failed can be marked"
    ))
}

/// A step that is not one of the migration's.
pub(super) fn no_step(step: &str, steps: &[String]) -> anyhow::Error {
    Usage(format!(
        "there is no step `{step}`: it is one of {}",
        steps.join(", ")
    ))
    .into()
}

/// Refuses flags that would change the plan of a migration that has begun; `more` are those that its verb
/// alone has.
pub(super) fn keeps_its_plan(flags: &Global, name: &str, more: &[(&str, bool)]) -> Result<()> {
    let mut given = vec![
        ("--to-context", flags.to_context.is_some()),
        ("--to-namespace", flags.to_namespace.is_some()),
        ("--mover-image", flags.mover.image.is_some()),
        ("--put-mover", flags.mover.put),
    ];
    given.extend_from_slice(more);
    let given: Vec<_> = given
        .into_iter()
        .filter_map(|(flag, given)| given.then_some(flag))
        .collect();
    if given.is_empty() {
        return Ok(());
    }
    Err(Usage(format!(
        "migration {name} has begun and keeps its plan: leave out {}",
        given.join(" and ")
    ))
    .into())
}

/// What a migration is about, as it was when it began.
pub(super) fn recorded(state: &State) -> Result<Option<About>> {
    let (sink, _, _) = Sink::new();
    let (_, stop) = Stop::new();
    let checked = Cx::of(state, sink, stop).find(&CHECKED)?;
    Ok(checked.map(|checked| checked.about))
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

/// A plan whose volumes are as it wants them: nothing to do. Every other error stays one.
pub(super) fn as_wanted(cx: &Context, error: anyhow::Error, error_unchanged: bool) -> Result<Kind> {
    match error.downcast_ref::<AsWanted>() {
        Some(AsWanted(text)) => Ok(unchanged(cx, text, error_unchanged)),
        None => Err(error),
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        flags: Global,
    }

    #[test]
    fn flags_that_would_change_a_plan_that_has_begun_are_named() {
        let flags = |args: &[&str]| Program::parse_from([&["x"], args].concat()).flags;
        assert!(
            keeps_its_plan(&flags(&["--to-kubeconfig=k", "-q"]), "m", &[("--x", false)]).is_ok()
        );
        let given = flags(&["--to-namespace=a", "--mover-image=b"]);
        let error = keeps_its_plan(&given, "m", &[("--max-freeze", true)]);
        let error = error.expect_err("a refusal");
        assert_eq!(
            error.to_string(),
            "migration m has begun and keeps its plan: leave out --to-namespace and --mover-image and --max-freeze"
        );
        assert_eq!(crate::error::Kind::of(&error), crate::error::Kind::Usage);
    }
}
