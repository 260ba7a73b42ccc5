//! What turns a plan into a list of steps.
mod copy;
mod ending;
mod freeze;
mod in_place;
mod kamaji;
mod movers;
mod put_checks;
mod restore;
mod restore_check;
mod snapshot;
mod statefulset;

use std::{sync::Arc, time::Duration};

use anyhow::Result;

use crate::{
    adapters::kube::Rule,
    engine::{Check, Cx, Step},
    marks::Belongs,
    plan::{self, Plan},
    steps::{
        About, Place,
        inventory::Inventory,
        movers::{Executable, Limit, Movers},
        preflight::{Look, Preflight},
        rights,
    },
};

pub use in_place::in_place_of;
pub use kamaji::switch_of;
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
    /// The executable for movers whose image does not hold it.
    pub executable: Executable,
    /// How fast volumes may be copied; what changes it reaches every step.
    pub limit: Limit,
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
    /// How long the pods may take to end by their own grace, where freezing is nothing but their end.
    pub ending: Option<Duration>,
}

/// The movers of a plan of volumes.
pub async fn movers_of(plan: &Plan, sides: &Sides, inventory: &Inventory) -> Result<Movers> {
    movers::of_plan(plan, sides, inventory).await
}

/// Makes the steps of a plan. `recorded` is what a migration that has begun is about: that does not change any more.
pub async fn build(plan: &Plan, sides: &Sides, recorded: Option<About>) -> Result<Playbook> {
    let (mut volumes, mut tenant, mut manifest) = (None, None, None);
    match recorded {
        Some(About::Volumes(inventory)) => volumes = Some(inventory),
        Some(About::Snapshot(snapshot)) => {
            (volumes, manifest) = (Some(snapshot.inventory), Some(snapshot.manifest));
        }
        Some(About::Tenant(of)) => tenant = Some(of),
        None => {}
    }
    match plan.spec.playbook {
        plan::Playbook::StatefulSet => statefulset::build(plan, sides, volumes).await,
        plan::Playbook::Copy => copy::build(plan, sides, volumes).await,
        plan::Playbook::Freeze => freeze::build(plan, sides, volumes).await,
        plan::Playbook::KamajiDatastore => kamaji::build(plan, sides, tenant).await,
        // A bucket's client makes them large.
        plan::Playbook::Snapshot => Box::pin(snapshot::build(plan, sides, volumes)).await,
        plan::Playbook::Restore => Box::pin(restore::build(plan, sides, volumes, manifest)).await,
        plan::Playbook::RestoreCheck => {
            Box::pin(restore_check::build(plan, sides, volumes, manifest)).await
        }
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

/// The parts that playbooks differ in.
struct Parts {
    about: About,
    /// Every step but preflight.
    steps: Vec<Arc<dyn Step>>,
    source_rules: Vec<Rule>,
    target_rules: Vec<Rule>,
    /// Looks at the world that belong to no step.
    looks: Vec<Arc<dyn Look>>,
    summary: String,
    allowed_freeze: Option<Duration>,
    ending: Option<Duration>,
}

impl Parts {
    /// Puts preflight before the other steps: it makes their checks, and that of the rights.
    fn with_preflight(self, sides: &Sides) -> Playbook {
        let source_rules = distinct(self.source_rules);
        let target_rules = distinct(self.target_rules);
        let rights = |place: &Place, rules: Vec<Rule>| {
            let place = place.clone();
            Arc::new(rights::Rights { place, rules }) as Arc<dyn Look>
        };
        let mut also = if sides.target.remote {
            vec![
                rights(&sides.source, source_rules.clone()),
                rights(&sides.target, target_rules.clone()),
            ]
        } else {
            let all = distinct([source_rules.clone(), target_rules.clone()].concat());
            vec![rights(&sides.source, all)]
        };
        also.extend(self.looks);
        let preflight = Arc::new(Preflight {
            steps: self.steps.clone(),
            about: self.about,
            also,
        });
        let mut steps: Vec<Arc<dyn Step>> = vec![preflight.clone()];
        steps.extend(self.steps);
        Playbook {
            steps,
            preflight,
            summary: self.summary,
            source_rules,
            target_rules,
            allowed_freeze: self.allowed_freeze,
            ending: self.ending,
        }
    }
}

fn distinct(mut rules: Vec<Rule>) -> Vec<Rule> {
    rules.sort();
    rules.dedup();
    rules
}
