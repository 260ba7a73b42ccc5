//! The receipt once more: movers are made, both sides read, and the movers taken away again, however it ends.
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::{
    commands::{begun::Begun, named, session, signals},
    context::Context,
    engine::{Cx, Failure, Kind as FailureKind, Record, Sink, Stop},
    error::{Kind, Stopped, Usage},
    plan::{Plan, Playbook},
    playbooks,
    steps::{
        movers::Movers,
        receipt::{RECEIPT, Reread, reread},
        verify::{VERIFIED, Verified},
    },
    ui::{Format, LINE_INTERVAL},
};

/// The screen ends when the last sender of events is gone; work that was cut off may hold one.
const SCREEN: Duration = Duration::from_secs(1);
/// The step with which the migration's own movers go.
const RELEASE: &str = "release";

/// Reads both sides once more, and reports.
pub(super) async fn run(cx: &Context, name: &str, output: Format) -> Result<Kind> {
    let mut begun = Begun::open(cx, name, false).await?;
    let done = Box::pin(verify(cx, name, &mut begun)).await;
    let seen = begun.seen();
    begun.leave().await;
    let (movers, reread) = done?;
    let (report, _) = named::report(&seen);
    cx.ui.report(output, &report)?;
    reread.outcome(&movers)?;
    cx.ui.say(&format!(
        "migration/{name} is on both sides what was verified"
    ));
    Ok(Kind::Done)
}

async fn verify(cx: &Context, name: &str, begun: &mut Begun) -> Result<(Movers, Reread)> {
    let (sink, events, _) = Sink::new();
    let (wish, stop) = Stop::new();
    let state = begun.journal.state();
    let mut world = Cx::of(state, sink.clone(), stop);
    world.fence = begun.journal.fence();
    let plan: Plan = serde_json::from_value(begun.journal.header().plan.clone())?;
    let verified = receipt(cx, name, begun, &world)?;
    if plan.is_in_place() {
        let why = format!(
            "migration {name} moved its StatefulSet in place: no claim has the old volumes any more by which they could be read"
        );
        return Err(Failure::new(FailureKind::Blocked, why).into());
    }
    let about = session::recorded(state)?;
    let inventory = about
        .and_then(crate::steps::About::into_volumes)
        .with_context(|| format!("the journal of migration {name} names no volumes"))?;
    let movers = playbooks::movers_of(&plan, &begun.sides, &inventory).await?;
    let movers = movers.only_reading();
    let ui = cx.ui.clone();
    let screen = tokio::spawn(async move { ui.progress(&[], LINE_INTERVAL, events).await });
    // What it told the last time stands until it is told anew.
    if matches!(begun.journal.state().last(RECEIPT), Some(Record::Done(_))) {
        let (quiet, _, _) = Sink::new();
        let again = Record::Broken("it is read once more".to_owned());
        begun.journal.record(&quiet, RECEIPT, again).await?;
    }
    begun
        .journal
        .record(&sink, RECEIPT, Record::Started)
        .await?;
    let reading = async {
        let read = tokio::select! {
            read = reread(&movers, &world, &verified) => read,
            () = world.stop.wait() => Err(Stopped(Kind::Interrupted).into()),
        };
        // Whether or not it went well: they hold the volumes.
        if let Err(error) = movers.remove().await {
            let command = cx.command_in(&begun.sides.belongs.home, &format!("cleanup {name}"));
            cx.ui.warn(&format!(
                "the movers could not be removed, and hold the volumes: {error:#}; once the migration is done, `{command}` removes them"
            ));
        }
        // Also where the movers declined it: what they looked for is there.
        movers.sweep(movers.ways.has_bucket(), &sink).await;
        read
    };
    let read = tokio::select! {
        read = reading => read,
        () = signals::second_interrupt(cx.ui.clone(), wish) => Err(Stopped(Kind::Interrupted).into()),
        _ = begun.locked.lost() => Err(Stopped(Kind::Locked).into()),
    };
    let read = match read {
        Ok(read) => {
            let done = Record::Done(serde_json::to_value(&read)?);
            begun.journal.record(&sink, RECEIPT, done).await?;
            Ok((movers, read))
        }
        Err(error) => Err(error),
    };
    drop((sink, world));
    tokio::time::timeout(SCREEN, screen).await.ok();
    if let Err(error) = &read
        && error.downcast_ref::<Stopped>().is_some()
    {
        cx.ui.say(&format!(
            "migration/{name} was not read to the end; `{}` removes movers that are left",
            cx.command_in(&begun.sides.belongs.home, &format!("cleanup {name}"))
        ));
    }
    read
}

/// The receipt of a migration whose own movers are gone.
fn receipt(cx: &Context, name: &str, begun: &Begun, world: &Cx) -> Result<Verified> {
    let header = begun.journal.header();
    let copies = [Playbook::StatefulSet, Playbook::Copy].map(Playbook::name);
    if !copies.contains(&header.playbook.as_str()) {
        let why = format!(
            "migration {name} has playbook `{}`, which copies no volumes: --verify is for {}",
            header.playbook,
            copies.join(" and ")
        );
        return Err(Usage(why).into());
    }
    let released = begun.journal.state().last(RELEASE);
    let verified = world.find(&VERIFIED)?;
    match (verified, released) {
        (Some(verified), Some(released)) if released.is_settled() => Ok(verified),
        _ => {
            let why = format!("migration {name} is not so far: there is no receipt yet");
            let command = cx.command_in(&header.namespace, &format!("status {name}"));
            Err(Failure::new(FailureKind::Blocked, why)
                .with_next(command, "shows how it is")
                .into())
        }
    }
}
