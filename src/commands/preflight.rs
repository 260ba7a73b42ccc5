use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{path, session::as_wanted};
use crate::{
    adapters::kube::role_yaml,
    context::Context,
    engine::{Check, Cx, Failure, Kind as FailureKind, Sink, Stop, Verdict},
    error::{Kind, Stopped},
    plan::Plan,
    playbooks,
    ui::{Format, PreflightView},
};

/// Check everything that a plan needs, on both clusters; change nothing
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::PREFLIGHT)]
pub(crate) struct Args {
    /// The plan file; - for standard input
    #[arg(long, short = 'f', value_name = "FILE")]
    filename: PathBuf,
    /// Print the smallest Roles that the plan needs, instead of checking
    #[arg(long)]
    emit_role: bool,
    /// User to whom the printed Roles are bound: a name, or system:serviceaccount:NAMESPACE:NAME
    #[arg(long, value_name = "USER", requires = "emit_role")]
    role_user: Option<String>,
    /// Output format
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "table", value_parser = Format::parser(&Format::COMMON))]
    output: Format,
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let plan = path::complete(cx, crate::plan::read(&args.filename)?).await?;
    let sides = path::sides(cx, &plan, "preflight", None).await?;
    let playbook = match playbooks::build(&plan, &sides, None).await {
        Ok(playbook) => playbook,
        Err(error) if !args.emit_role => match without_source(&plan, &sides, &error) {
            Some(check) => return show(cx, args.output, &sides, vec![check]),
            None => return as_wanted(cx, error, false),
        },
        Err(error) => return as_wanted(cx, error, false),
    };
    if args.emit_role {
        let user = match args.role_user {
            Some(user) => user,
            None => sides
                .source
                .cluster
                .username()
                .await
                .context("cannot tell who you are")?,
        };
        // Two migrations may share a namespace: the Roles of one must not replace those of the other.
        let name = format!("migrate-{}-{}", sides.belongs.home, plan.metadata.name);
        cx.ui
            .data(&roles(&playbook, sides.target.remote, &name, &user)?)?;
        return Ok(Kind::Done);
    }
    let (sink, _, _) = Sink::new();
    let (_wish, stop) = Stop::new();
    let checks = playbook.checks(&Cx::fresh(sink, stop)).await?;
    show(cx, args.output, &sides, checks)
}

fn show(
    cx: &Context,
    format: Format,
    sides: &playbooks::Sides,
    checks: Vec<(String, Check)>,
) -> Result<Kind> {
    let belongs = &sides.belongs;
    let view = PreflightView::new((&belongs.home, &belongs.migration), checks);
    cx.ui.preflight(format, &view)?;
    if view.verdict == Verdict::Block {
        return Err(Stopped(Kind::Blocked).into());
    }
    Ok(Kind::Done)
}

/// The one check that can be made where the source is not what the plan says, so that there is nothing to
/// make steps of.
fn without_source(
    plan: &Plan,
    sides: &playbooks::Sides,
    error: &anyhow::Error,
) -> Option<(String, Check)> {
    let failure = error.downcast_ref::<Failure>()?;
    let source = &plan.spec.source;
    let (kind, name) = [
        ("statefulset", &source.statefulset),
        ("deployment", &source.deployment),
        ("persistentvolumeclaim", &source.pvc),
    ]
    .into_iter()
    .find_map(|(kind, name)| Some((kind, name.as_ref()?)))?;
    let object = sides.source.object(kind, name);
    let check = source_check(&object, &failure.to_string());
    (failure.kind == FailureKind::Blocked).then(|| ("preflight".to_owned(), check))
}

/// A blocker out of the refusal's text: what is wrong, then what to do.
fn source_check(object: &str, text: &str) -> Check {
    let said = text.strip_prefix(object).unwrap_or(text).trim_start();
    let (evidence, cure) = said
        .split_once("; ")
        .or_else(|| said.split_once(": "))
        .unwrap_or((said, "let the plan name another source"));
    Check::block("source", object, evidence, cure)
}

fn roles(playbook: &playbooks::Playbook, remote: bool, name: &str, user: &str) -> Result<String> {
    if remote {
        let source = role_yaml(&playbook.source_rules, name, user)?;
        let target = role_yaml(&playbook.target_rules, name, user)?;
        return Ok(format!(
            "# for the source's cluster\n{source}---\n# for the target's cluster\n{target}"
        ));
    }
    let mut rules = [playbook.source_rules.clone(), playbook.target_rules.clone()].concat();
    rules.sort();
    rules.dedup();
    Ok(role_yaml(&rules, name, user)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_not_there_is_a_blocker_with_its_cure() {
        let object = "statefulset shop/orders-db";
        for (text, evidence, cure) in [
            (
                "statefulset shop/orders-db does not exist; `kubectl get statefulsets -n shop` shows what does",
                "does not exist",
                "`kubectl get statefulsets -n shop` shows what does",
            ),
            (
                "statefulset shop/orders-db is scaled to 0, because another migration froze it: end that first",
                "is scaled to 0, because another migration froze it",
                "end that first",
            ),
            (
                "statefulset shop/orders-db is odd",
                "is odd",
                "let the plan name another source",
            ),
        ] {
            let check = source_check(object, text);
            assert_eq!(
                check,
                Check::block("source", object, evidence, cure),
                "{text}"
            );
        }
    }
}
