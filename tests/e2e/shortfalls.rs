//! What runs out in the middle: room on the new volumes, and keys while something is read out of a bucket.
use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    archives::{REPOSITORY, migrate, only},
    movers::whole,
    processes::{self, Held},
    proxy::Proxy,
    s3::{NEW, OLD, ROOT, Server},
    small::{NAME, Small},
    support::{Namespace, On, Running, end, wait_for},
    tree,
    volumes::Prepared,
    workload,
};

/// For which a mover runs before it stands still again.
const MOMENT: Duration = Duration::from_millis(20);
/// What is said of a volume that is full.
const FULL: &str = "no space is left on the target at ";
/// Has more than fits, when it comes.
const LATE: u64 = 40 << 20;

/// Lets something be written to the source when its copy is all that is left to do, so that it does not fit any more:
/// how it ends then.
fn full_while_frozen(small: &Small) -> Result<()> {
    let (proxy, gate) = Proxy::that_holds(On::A, NAME, "final-copy started")?;
    let mut client = proxy.start(small.run()?)?;
    client.until("freeze: done")?;
    tree::noise(&small.source.folder("data-db-0")?.join("late"), LATE)?;
    gate.send_replace(true);
    client.end()?.with_code(14)?.says(&[
        FULL,
        "enlarge the volume",
        "the source has been frozen for ",
        "run m",
        "rollback m",
    ])?;
    ensure!(small.source.get("statefulset/db")?["spec"]["replicas"] == 0);
    Ok(())
}

/// A StatefulSet in place, whose new volume is full at 24 MiB.
fn in_place(name: &str) -> Result<(Small, Prepared)> {
    let small = Small::with(name, |plan, _| {
        plan["target"] = json!({"storageClass": "prepared", "size": "24Mi"});
        plan["objects"] = json!("require");
    })?;
    let new = Prepared::new(&small.source, "tmpfs-volume", "data-db-0-migrate-m", "24Mi")?;
    Ok((small, new))
}

#[test]
fn a_new_volume_in_place_that_is_full_keeps_the_old_one_and_goes_on_when_it_is_larger() -> Result<()>
{
    let (small, new) = in_place("full-in")?;
    let old = small.source.folder("data-db-0")?;
    full_while_frozen(&small)?;
    new.resize("128Mi")?;
    end(small.run()?)?.with_code(0)?;
    small.source.ready("statefulset/db")?;
    ensure!(small.source.get("pvc/data-db-0")?["spec"]["storageClassName"] == "prepared");
    tree::assert_equal(&old, &new.path()?, 0)?;
    end(small.migrate(&["rollback", NAME, "--confirm", NAME])?)?.with_code(0)?;
    small.is_back()?;
    ensure!(small.source.folder("data-db-0")? == old);
    Ok(())
}

#[test]
fn a_new_volume_in_place_that_is_full_can_be_given_up() -> Result<()> {
    let (small, _new) = in_place("full-back")?;
    let old = small.source.folder("data-db-0")?;
    full_while_frozen(&small)?;
    end(small.migrate(&["rollback", NAME, "--confirm", NAME])?)?.with_code(0)?;
    small.is_back()?;
    ensure!(small.source.folder("data-db-0")? == old);
    ensure!(fs::metadata(old.join("late"))?.len() == LATE);
    Ok(())
}

#[test]
fn through_a_bucket_a_full_target_goes_on_and_what_was_damaged_there_is_sent_again() -> Result<()> {
    let source = Namespace::new(On::A, "through-full", &[])?;
    let target = Namespace::new(On::A, "through-full-new", &[])?;
    let server = Server::for_pods(On::A)?;
    source.apply(&[server.secret("backups")])?;
    let new = Prepared::new(&target, "tmpfs-volume", "data-db-0", "24Mi")?;
    let small = Small::within(source, target, |plan, _| {
        plan["target"]["storageClass"] = json!("prepared");
        plan["target"]["size"] = json!("24Mi");
        plan["mover"] = json!({"ways": ["bucket"], "bucket": {
            "address": "s3://backups/moving", "secret": "backups",
        }});
    })?;
    full_while_frozen(&small)?;
    new.resize("256Mi")?;
    // What had arrived in the bucket is whole, and is not what was sent any more.
    let object = server.object("final.tar.zst")?;
    let mut flipped = fs::read(&object)?;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&object, flipped)?;
    end(small.run()?)?.with_code(13)?.says(&[
        "final.tar.zst is damaged: the digest of its part",
        "it is sent again",
    ])?;
    small.is_moved()?;
    let left = server.objects()?;
    ensure!(left.is_empty(), "left in the bucket: {left:#?}");
    end(small.migrate(&["rollback", NAME, "--yes", "--confirm", NAME])?)?.with_code(0)?;
    small.is_back().map(drop)
}

/// A claim of a volume that was prepared for it.
fn prepared_claim(name: &str, size: &str) -> Value {
    let mut claim = workload::claim(name, size);
    claim["spec"]["storageClassName"] = json!("prepared");
    claim
}

/// Takes a snapshot of a claim; its address.
fn snapshot_of(namespace: &Namespace, server: &Server) -> Result<String> {
    let take = ["snapshot", "pvc/data", "--to", REPOSITORY];
    end(migrate(namespace, &take)?)?.with_code(0)?;
    Ok(format!("{REPOSITORY}/{}", only(server)?.0))
}

#[test]
fn a_restore_into_a_full_volume_goes_on_when_it_is_larger() -> Result<()> {
    const FILES: usize = 8000;
    let namespace = Namespace::new(On::A, "restore-full", &[])?;
    let server = Server::for_pods(On::A)?;
    namespace.apply(&[
        server.secret("backups"),
        workload::claim("data", "20Mi"),
        prepared_claim("to", "20Mi"),
    ])?;
    let to = Prepared::new(&namespace, "tmpfs-volume", "to", "20Mi")?;
    let from = namespace.folder("data")?;
    // Less than the target's size in bytes, and more in blocks: only writing tells.
    for number in 0..FILES {
        fs::write(from.join(format!("{number}")), format!("row {number}"))?;
    }
    let address = snapshot_of(&namespace, &server)?;
    let restore = ["restore", &address, "--into", "pvc/to"];
    end(migrate(&namespace, &restore)?)?.with_code(1)?.says(&[
        FULL,
        "enlarge the volume",
        "run restore-data-to",
        "rollback restore-data-to",
    ])?;
    let there = whole(&to.path()?)?.len();
    ensure!(there > 0 && there < FILES, "{there} of {FILES} files");
    to.resize("64Mi")?;
    end(namespace.migrate(&["run", "restore-data-to"])?)?.with_code(0)?;
    tree::assert_equal(&from, &to.path()?, 0)
}

#[test]
fn a_restore_whose_keys_are_rotated_goes_on_where_it_is_and_a_damaged_one_is_taken_back()
-> Result<()> {
    let namespace = Namespace::new(On::A, "restore-keys", &[])?;
    let server = Server::for_pods(On::A)?;
    namespace.apply(&[
        server.secret_of("backups", OLD),
        workload::claim("data", "1Gi"),
        workload::claim("to", "1Gi"),
    ])?;
    let from = namespace.folder("data")?;
    tree::noise(&from.join("large"), 160 << 20)?;
    let address = snapshot_of(&namespace, &server)?;
    let to = namespace.folder("to")?;
    let restore = ["restore", &address, "--into", "pvc/to"];
    let mut client = Running::start(migrate(&namespace, &restore)?)?;
    client.until("fill: started")?;
    let run = processes::run_of(&namespace, "restore-data-to")?;
    let mover = wait_for("the mover of the target", || {
        Ok(processes::movers(&run, "target")?.into_iter().next())
    })?;
    let held = Held::new(&[mover]);
    // From the first entry on it has its keys.
    wait_for("the filling", || {
        held.let_run(MOMENT);
        Ok(fs::read_dir(&to)?.next().transpose()?)
    })?;
    ensure!(!to.join("large").exists(), "it was over too soon");
    namespace.apply(&[server.secret_of("backups", NEW)])?;
    server.refuse_old()?;
    drop(held);
    let ended = client.end()?.with_code(0)?;
    ensure!(
        !ended.err.contains("going on with what is there"),
        "it began again: {}",
        ended.err
    );
    tree::assert_equal(&from, &to, 0)?;

    let object = server.object("data.tar.zst")?;
    let mut flipped = fs::read(&object)?;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&object, flipped)?;
    let other = Namespace::new(On::A, "restore-keys-to", &[])?;
    let into = format!("namespace/{}", other.name);
    let name = format!("restore-data-{}", other.name);
    let rollback = format!("rollback {name}");
    end(migrate(
        &namespace,
        &["restore", &address, "--into", &into],
    )?)?
    .with_code(12)?
    .says(&["data.tar.zst is damaged: the digest of its part", &rollback])?;
    end(namespace.migrate(&["rollback", &name, "--yes"])?)?.with_code(0)?;
    let left = other.kubectl(&["get", "pvc,jobs,secrets", "-o", "name"])?;
    ensure!(left.is_empty(), "{left}");
    // What it was read from is as it was.
    let list = ["snapshot", "list", REPOSITORY, "-o", "name"];
    let listed = end(server.migrate(ROOT, &list)?)?.with_code(0)?;
    ensure!(listed.out.lines().count() == 1, "{listed:?}");
    Ok(())
}
