use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::path;
use crate::{
    adapters::kube::role_yaml,
    context::Context,
    engine::{Cx, Sink, Stop, Verdict},
    error::{Kind, Stopped},
    playbooks,
    ui::{Format, PreflightView},
};

/// Check everything that a plan needs, on both clusters; change nothing
#[derive(clap::Args, Debug)]
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
    /// How to print it
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "table", value_parser = Format::parser(&Format::COMMON))]
    output: Format,
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let plan = path::complete(cx, crate::plan::read(&args.filename)?).await?;
    let sides = path::sides(cx, &plan, "preflight", None).await?;
    let playbook = playbooks::build(&plan, &sides, None).await?;
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
    let view = PreflightView::new((&sides.belongs.home, &plan.metadata.name), checks);
    cx.ui.preflight(args.output, &view)?;
    if view.verdict == Verdict::Block {
        return Err(Stopped(Kind::Blocked).into());
    }
    Ok(Kind::Done)
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
