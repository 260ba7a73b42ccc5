use std::str::FromStr;

use anyhow::{Error, Result};

use super::{limits, named, session::unchanged};
use crate::{
    adapters::kube::KubeError,
    context::Context,
    engine::{Failure, Kind as FailureKind},
    error::{Kind, Usage},
    marks::object_name,
    plan::{Playbook, Rate},
    report::State,
};

/// Slow a migration's copying down or speed it up, also while it runs
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::LIMIT)]
pub(crate) struct Args {
    /// Name of the migration
    name: String,
    /// Bytes a second of all its volumes together, like 50MiB/s or 500kB/s; none lifts the limit
    #[arg(value_name = "RATE")]
    rate: Wanted,
    /// Exit with 3 when there is nothing to do
    #[arg(long)]
    error_unchanged: bool,
}

/// A rate, or none.
#[derive(Clone, Debug)]
struct Wanted(Option<Rate>);

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let rate = text
            .parse()
            .map_err(|why| format!("{why}; none lifts a limit"))?;
        Ok(Self(Some(rate)))
    }
}

/// Runs the verb. It takes no lock: it is for a run that holds it.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let Wanted(wanted) = args.rate;
    let name = &args.name;
    let seen = named::seen(cx, name).await?;
    let header = &seen.header;
    let copies = [Playbook::StatefulSet, Playbook::Copy].map(Playbook::name);
    if !copies.contains(&header.playbook.as_str()) {
        let why = format!(
            "migration {name} has playbook `{}`, which copies no volumes: a limit is for {}",
            header.playbook,
            copies.join(" and ")
        );
        return Err(Usage(why).into());
    }
    let (report, _) = named::report(&seen);
    if matches!(report.state, State::Done | State::RolledBack) {
        let state = report.state.name();
        let text =
            format!("migration/{name} unchanged: it is {state}, and copies nothing any more");
        return Ok(unchanged(cx, &text, args.error_unchanged));
    }
    let shown = wanted.as_ref().map_or_else(
        || "not limited".to_owned(),
        |rate| format!("limited to {rate}"),
    );
    let bytes = |rate: &Rate| rate.bytes_per_second();
    if limits::of(&seen).as_ref().map(bytes) == wanted.as_ref().map(bytes) {
        let text = format!("migration/{name} unchanged: it is {shown}");
        return Ok(unchanged(cx, &text, args.error_unchanged));
    }
    let text = limits::written(&header.run, wanted.as_ref())?;
    let keeper = cx.keeper().await?;
    let set = keeper.set_limit(&header.namespace, name, &text).await;
    set.map_err(|error| explained(cx, error, &header.namespace, name))?;
    let when = if seen.holder.is_some() || cx.flags.journal.is_some() {
        "a run that is at work takes it in within seconds"
    } else {
        "nobody is at work; the next run begins with it"
    };
    cx.ui.say(&format!("migration/{name} {shown}: {when}"));
    Ok(Kind::Done)
}

/// Why it could not be written, and what to do.
fn explained(cx: &Context, error: Error, namespace: &str, name: &str) -> Error {
    let why = format!("the limit of migration {name} is as it was");
    let failure = Failure::new(FailureKind::Error, why);
    let failure = match error.downcast_ref::<KubeError>() {
        Some(KubeError::Forbidden { .. }) => {
            let lease = object_name(name);
            failure.with_next(
                format!("kubectl auth can-i update leases.coordination.k8s.io/{lease} -n {namespace}"),
                "tells whether you may; `preflight -f FILE --emit-role` prints the Role that a run has",
            )
        }
        Some(error) if error.is_not_found() => failure.with_next(
            cx.command_in(namespace, &format!("run {name}")),
            "makes its lock anew, on which the limit stands",
        ),
        _ => failure,
    };
    error.context(failure)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::{
        adapters::kube::{
            fake::{Answer, FakeApi, Seen, failure},
            lease::set_limit,
        },
        flags::Global,
        ui::Ui,
    };

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        flags: Global,
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_names_the_object_the_cause_and_what_to_do() {
        let program = Program::parse_from(["x", "--context=prod"]);
        let cx = Context::new(program.flags, Ui::for_test(80, false).0);
        let lease = "leases.coordination.k8s.io \"migrate-m\"";
        let refused = format!(
            "{lease} is forbidden: User \"jane\" cannot update resource \"leases\" in API group \"coordination.k8s.io\" in the namespace \"shop\""
        );
        let mut told = Vec::new();
        for (code, reason, message) in [
            (403, "Forbidden", refused),
            (404, "NotFound", format!("{lease} not found")),
            (422, "Invalid", format!("{lease} is invalid: no")),
        ] {
            let api = FakeApi::new(move |seen: &Seen| match seen.method.as_str() {
                "GET" if code != 404 => Answer::Json(
                    200,
                    json!({"metadata": {"name": "migrate-m", "resourceVersion": "1"}}),
                ),
                _ => Answer::Json(code, failure(reason, &message)),
            });
            let error = set_limit(&api.cluster(), "shop", "migrate-m", "{}").await;
            let error = explained(&cx, error.expect_err("a refusal").into(), "shop", "m");
            let next = Failure::next_of(&error);
            told.push(format!("{error:#}\n{:?}\n{next:#?}", Kind::of(&error)));
        }
        insta::assert_snapshot!(told.join("\n"));
    }
}
