//! A switch by Kamaji's Job that is killed at each write of its journal and at each change of the control plane.
use anyhow::{Result, ensure};

use super::{
    super::proxy::Fate,
    controller::BY_CONTROLLER,
    controller_causes::hold,
    kills::{Chain, Happens, at_each},
    place::GOLD,
};

#[test]
fn killed_at_each_write_a_switch_by_kamaji_s_job_goes_back_and_comes_to_its_end() -> Result<()> {
    // Before each write is what the way `direct` is killed at, too: it is the engine's and not the way's.
    let chain = Chain::new("ctl-after", Fate::KillAfter, &BY_CONTROLLER, |tenant| {
        let happens: Happens = Box::new(hold(tenant, GOLD)?);
        Ok(happens)
    })?;
    let cuts = chain.there_back_and_on("commit started")?;
    let [_, _, whole] = &cuts;
    ensure!(whole.contains("patch request"), "{whole:#?}");
    at_each(
        &[cuts],
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
            "settle",
        ],
    )
}
