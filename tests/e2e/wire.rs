//! Two clusters whose pods cannot reach each other.
use std::{
    process::Command,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use anyhow::{Result, ensure};

use super::{
    support::{CLUSTER, Namespace, On, end, mover_image, output_of},
    tree, workload,
};

static WIRE: RwLock<()> = RwLock::new(());

/// While this is held, pods of one cluster reach those of the other.
pub fn joined() -> RwLockReadGuard<'static, ()> {
    WIRE.read().unwrap_or_else(PoisonError::into_inner)
}

/// While this is held, they do not.
pub struct Cut(#[expect(dead_code, reason = "it is held")] RwLockWriteGuard<'static, ()>);

impl Cut {
    pub fn new() -> Result<Self> {
        let guard = WIRE.write().unwrap_or_else(PoisonError::into_inner);
        output_of(Command::new(CLUSTER).args(["cut", "a", "b"]))?;
        Ok(Self(guard))
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        let joined = output_of(Command::new(CLUSTER).args(["join", "a", "b"]));
        joined.expect("the clusters were joined before");
    }
}

#[test]
fn two_clusters_that_cannot_meet_are_copied_between_through_the_client() -> Result<()> {
    let source = Namespace::new(On::A, "data-apart", &[])?;
    let target = Namespace::new(On::B, "data-apart", &[])?;
    for place in [&source, &target] {
        place.apply(&[workload::claim("rows", "64Mi")])?;
    }
    tree::noise(&source.folder("rows")?.join("large"), 8 << 20)?;
    let copy = {
        let mut command = source.migrate(&["copy", "pvc/rows", "pvc/rows", "--yes"])?;
        command.args([
            "--to-namespace",
            &target.name,
            "--mover-image",
            &mover_image()?,
        ]);
        command.args(["--to-kubeconfig", &On::B.kubeconfig()?]);
        command
    };
    let _cut = Cut::new()?;
    end(copy)?.with_code(0)?.says(&[
        "claim rows: its movers cannot reach each other, so its bytes go through this client: ",
        "the target mover cannot reach ",
        "the source mover cannot reach ",
    ])?;
    tree::assert_equal(&source.folder("rows")?, &target.folder("rows")?, 0)?;
    let report = source.report("copy-rows-rows")?;
    let way = &report["outputs"]["final-copy"]["volumes"][0]["way"];
    ensure!(way["client"]["because"].is_array(), "{report}");
    Ok(())
}
