//! What turns a plan into a list of steps.
mod copy;
mod freeze;
mod movers;
mod statefulset;

use std::{sync::Arc, time::Duration};

use anyhow::Result;

use crate::{
    adapters::kube::Rule,
    engine::{Check, Cx, Step},
    marks::Belongs,
    plan::{self, Plan},
    steps::{Place, inventory::Inventory, preflight::Preflight, rights},
};

pub use movers::{DEFAULT_IMAGE, MoverLook};

/// What a playbook works with.
#[derive(Clone, Debug)]
pub struct Sides {
    /// The migration.
    pub belongs: Belongs,
    /// From where.
    pub source: Place,
    /// To where.
    pub target: Place,
}

/// A plan as a list of steps.
pub struct Playbook {
    /// The steps, in order.
    pub steps: Vec<Arc<dyn Step>>,
    /// The checks of all of them.
    pub preflight: Arc<Preflight>,
    /// From what to what, and how much.
    pub summary: String,
    /// Rights that are needed where the source and the journal are.
    pub source_rules: Vec<Rule>,
    /// Rights that are needed where the target is.
    pub target_rules: Vec<Rule>,
    /// How long writes may stop.
    pub allowed_freeze: Option<Duration>,
}

/// Makes the steps of a plan. `recorded` is the inventory of a migration that has begun: what it is about
/// does not change any more.
pub async fn build(plan: &Plan, sides: &Sides, recorded: Option<Inventory>) -> Result<Playbook> {
    match plan.spec.playbook {
        plan::Playbook::StatefulSet => statefulset::build(plan, sides, recorded).await,
        plan::Playbook::Copy => copy::build(plan, sides, recorded).await,
        plan::Playbook::Freeze => freeze::build(plan, sides, recorded).await,
    }
}

impl Playbook {
    /// Every check of every step, with the step that made it.
    pub async fn checks(&self, cx: &Cx) -> Result<Vec<(String, Check)>> {
        self.preflight.named_checks(cx).await
    }

    /// The ids of the steps, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.id().to_owned()).collect()
    }
}

/// Puts preflight before the other steps: it makes their checks, and that of the rights.
fn with_preflight(
    sides: &Sides,
    inventory: Inventory,
    steps: Vec<Arc<dyn Step>>,
    (source_rules, target_rules): (Vec<Rule>, Vec<Rule>),
    looks: Vec<Arc<dyn crate::steps::preflight::Look>>,
) -> (Vec<Arc<dyn Step>>, Arc<Preflight>, Vec<Rule>, Vec<Rule>) {
    let source_rules = distinct(source_rules);
    let target_rules = distinct(target_rules);
    let rights = |place: &Place, rules: &[Rule]| {
        Arc::new(rights::Rights {
            place: place.clone(),
            rules: rules.to_vec(),
        }) as Arc<dyn crate::steps::preflight::Look>
    };
    let mut also = if sides.target.remote {
        vec![
            rights(&sides.source, &source_rules),
            rights(&sides.target, &target_rules),
        ]
    } else {
        let all = distinct([source_rules.clone(), target_rules.clone()].concat());
        vec![rights(&sides.source, &all)]
    };
    also.extend(looks);
    let preflight = Arc::new(Preflight {
        steps: steps.clone(),
        inventory,
        also,
    });
    let mut all: Vec<Arc<dyn Step>> = vec![preflight.clone()];
    all.extend(steps);
    (all, preflight, source_rules, target_rules)
}

fn distinct(mut rules: Vec<Rule>) -> Vec<Rule> {
    rules.sort();
    rules.dedup();
    rules
}
