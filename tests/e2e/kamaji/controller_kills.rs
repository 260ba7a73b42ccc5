//! A switch by Kamaji's Job that is killed at each write of its journal and at each change of the control plane.
use anyhow::{Result, ensure};

use super::{
    super::proxy::Fate,
    controller::BY_CONTROLLER,
    controller_causes::hold,
    kills::{Chain, Happens, at_each, both},
    place::GOLD,
};

#[test]
fn killed_at_each_write_a_switch_by_kamaji_s_job_goes_back_and_comes_to_its_end() -> Result<()> {
    let asked = "patch request";
    let begin = |kill: Fate| {
        let name = if matches!(kill, Fate::KillBefore) {
            "ctl-before"
        } else {
            "ctl-after"
        };
        Chain::new(name, kill, &BY_CONTROLLER, |tenant| {
            let happens: Happens = Box::new(hold(tenant, GOLD)?);
            Ok(happens)
        })
    };
    let chains = both(begin, ["commit started"; 2])?;
    for [_, _, whole] in &chains {
        ensure!(whole.contains(asked), "{whole:#?}");
    }
    at_each(
        &chains,
        &[
            "raise",
            "request",
            "freeze",
            "job",
            "final-copy",
            "verify",
            "commit",
            "roll-out",
            "thaw",
        ],
    )
}
