//! Two clusters whose pods cannot reach each other.
use std::{
    process::Command,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use anyhow::Result;

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
struct Cut(#[expect(dead_code, reason = "it is held")] RwLockWriteGuard<'static, ()>);

impl Cut {
    fn new() -> Result<Self> {
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
fn two_clusters_that_cannot_meet_are_told_both_ways_and_the_copy_goes_on_when_they_can()
-> Result<()> {
    let source = Namespace::new(On::A, "data-apart", &[])?;
    let target = Namespace::new(On::B, "data-apart", &[])?;
    for place in [&source, &target] {
        place.apply(&[workload::claim("rows", "64Mi")])?;
    }
    tree::noise(&source.folder("rows")?.join("large"), 8 << 20)?;
    let copy = || {
        let mut command = source.migrate(&["copy", "pvc/rows", "pvc/rows", "--yes"])?;
        command.args([
            "--to-namespace",
            &target.name,
            "--mover-image",
            &mover_image()?,
        ]);
        command.args(["--to-kubeconfig", &On::B.kubeconfig()?]);
        Ok::<_, anyhow::Error>(command)
    };
    let cut = Cut::new()?;
    end(copy()?)?.with_code(10)?.says(&[
        "the movers of claim rows cannot reach each other, in neither direction",
        "the target's mover dialled ",
        "the source's mover dialled ",
        "next:",
    ])?;
    drop(cut);
    let _joined = joined();
    end(copy()?)?.with_code(0)?;
    tree::assert_equal(&source.folder("rows")?, &target.folder("rows")?, 0)
}
