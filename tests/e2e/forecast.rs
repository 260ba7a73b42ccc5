//! A cut-over that would take longer than is allowed.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    small::{NAME, Small},
    support::{PlanFile, end},
};

fn plan(small: &Small, more: &Value) -> Result<PlanFile> {
    let mut spec = json!({
        "playbook": "statefulset", "source": {"statefulset": "db"},
        "target": {"namespace": small.target.name}, "objects": "copy", "freeze": {"max": "1ms"},
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    PlanFile::new(&small.source.name, NAME, spec)
}

#[test]
fn a_cut_over_that_would_not_fit_is_refused_before_anything_stops() -> Result<()> {
    let small = Small::new("max")?;
    let never = plan(&small, &json!({"warm": {"rounds": 0}}))?;
    end(small.migrate(&["run", "-f", &never.path()])?)?
        .with_code(10)?
        .says(&["how long the copy takes cannot be said"])?;
    ensure!(small.source.get("statefulset/db")?["spec"] == small.spec);
    end(small.migrate(&["rollback", NAME, "--yes"])?)?.with_code(0)?;

    let plan = plan(&small, &json!({}))?;
    let first = small.migrate(&["run", "-f", &plan.path()])?;
    // Again, when nothing is left to move: it takes just as long to prove.
    let second = small.migrate(&["run", NAME])?;
    for run in [first, second] {
        end(run)?
            .with_code(10)?
            .says(&["writes would have to stop for about ", "1ms is allowed"])?;
        ensure!(small.source.get("statefulset/db")?["spec"] == small.spec);
        small.source.ready("statefulset/db")?;
    }
    end(small.migrate(&["rollback", NAME, "--yes"])?)?.with_code(0)?;
    small.is_back()?;
    Ok(())
}
