//! The target is damaged before it is verified, and the source is written to while it is frozen: found.
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, PermissionsExt, chown, symlink},
    path::Path,
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{
    processes::{self, Held},
    proxy::Proxy,
    support::{Namespace, On, PlanFile, end, output_of, wait_for},
    tree,
    workload::{self, records},
};

/// A database of one pod, and the plan to move it.
fn world(name: &str) -> Result<(Namespace, Namespace, PlanFile)> {
    let source = Namespace::new(On::A, &format!("data-{name}"), &[])?;
    let target = Namespace::new(On::A, &format!("data-{name}-copy"), &[])?;
    workload::start(&source, 1)?;
    let spec = json!({
        "playbook": "statefulset", "source": {"statefulset": "db"}, "objects": "copy",
        "target": {"namespace": target.name},
    });
    let plan = PlanFile::new(&source.name, "m", spec)?;
    Ok((source, target, plan))
}

/// All that is in a tree, as tar sees it.
fn fingerprint(root: &Path) -> Result<String> {
    let script = "tar --format=posix --pax-option=delete=atime,delete=ctime,exthdr.name=%d/x/%f \
        --sort=name --numeric-owner --xattrs --acls -C \"$1\" -cf - . | sha256sum";
    output_of(Command::new("sh").args(["-c", script, "sh"]).arg(root))
}

/// Kills the program as soon as its journal says this; gives what it said.
fn killed_after(command: Command, write: &'static str) -> Result<String> {
    let proxy = Proxy::that_kills_after(On::A, "m", write)?;
    let ended = proxy.end(command)?;
    ensure!(ended.code.is_none(), "it was not killed: {ended:?}");
    Ok(ended.err)
}

/// The files that `damage` damages, each in its own way.
fn healthy(root: &Path) -> Result<()> {
    for name in [
        "flipped",
        "removed",
        "disguised",
        "owner",
        "mode",
        "time",
        "attribute",
        "shared",
    ] {
        fs::write(root.join(name), format!("{name} is healthy"))?;
    }
    let value = ["-n", "user.origin", "-v", "here"];
    output_of(
        Command::new("setfattr")
            .args(value)
            .arg(root.join("attribute")),
    )?;
    fs::hard_link(root.join("shared"), root.join("sharing"))?;
    symlink("flipped", root.join("link"))?;
    fs::create_dir(root.join("folder"))?;
    Ok(())
}

fn damage(root: &Path) -> Result<()> {
    let at = |name: &str| root.join(name);
    let write = |name: &str, text: &[u8]| -> Result<()> {
        let file = File::options().write(true).open(at(name))?;
        Ok(file.write_all_at(text, 3)?)
    };
    write("flipped", b"X")?;
    fs::remove_file(at("removed"))?;
    fs::write(at("folder/extra"), "what nobody copied")?;
    let modified = fs::metadata(at("disguised"))?.modified()?;
    write("disguised", b"X")?;
    File::options()
        .write(true)
        .open(at("disguised"))?
        .set_modified(modified)?;
    chown(at("owner"), Some(4711), None)?;
    fs::set_permissions(at("mode"), fs::Permissions::from_mode(0o4755))?;
    File::options()
        .write(true)
        .open(at("time"))?
        // Files written within one tick of the clock share a time: no other's.
        .set_modified(SystemTime::UNIX_EPOCH)?;
    let value = ["-n", "user.origin", "-v", "elsewhere"];
    output_of(Command::new("setfattr").args(value).arg(at("attribute")))?;
    fs::remove_file(at("link"))?;
    symlink("mode", at("link"))?;
    fs::copy(at("sharing"), at("alone"))?;
    let modified = fs::metadata(at("sharing"))?.modified()?;
    File::options()
        .write(true)
        .open(at("alone"))?
        .set_modified(modified)?;
    Ok(fs::rename(at("alone"), at("sharing"))?)
}

#[test]
fn every_damage_is_named_the_source_stays_as_it_was_and_rollback_wakes_it() -> Result<()> {
    let (source, target, plan) = world("damage")?;
    let folder = source.folder("data-db-0")?;
    healthy(&folder)?;
    killed_after(
        source.migrate(&["run", "-f", &plan.path(), "--yes"])?,
        "final-copy done",
    )?;
    let before = fingerprint(&folder)?;
    damage(&target.folder("data-db-0")?)?;
    end(source.migrate(&["run", "m"])?)?.with_code(12)?.says(&[
        "flipped: content: ",
        "removed: missing: ",
        "folder/extra: extra: ",
        "disguised: content: ",
        "owner: owner: source 0:0, target 4711:0",
        "mode: mode: ",
        "time: time: ",
        "attribute: xattr user.origin: ",
        "link: link-target: source flipped, target mode",
        "sharing: hard-link: ",
        "the source has been frozen for ",
        "copies again what differs, and compares again",
        "rollback m",
    ])?;
    ensure!(source.get("statefulset/db")?["spec"]["replicas"] == 0);
    ensure!(fingerprint(&folder)? == before, "the source was changed");
    let last = records(&source.folder("log-db-0")?)?;

    // To go on is to mend it.
    end(source.migrate(&["run", "m"])?)?.with_code(13)?.says(&[
        "final-copy: no longer holds: `verify` found differences",
        "verify: done",
    ])?;
    let target_folder = target.folder("data-db-0")?;
    ensure!(fingerprint(&target_folder)? == before, "it was not mended");

    end(source.migrate(&["rollback", "m", "--yes", "--confirm", "m"])?)?.with_code(0)?;
    source.ready("statefulset/db")?;
    let left = "jobs,persistentvolumeclaims,statefulsets,secrets,services";
    let left = target.kubectl(&["get", left, "-o", "name"])?;
    ensure!(left.is_empty(), "{left}");
    wait_for("the next record", || {
        // The last line may be half written.
        let now = records(&source.folder("log-db-0")?).ok();
        Ok(now.filter(|now| *now > last))
    })?;
    Ok(())
}

/// Lets the source's pod run again and waits until it has written.
fn wake(source: &Namespace) -> Result<u64> {
    let log = source.folder("log-db-0")?;
    let last = records(&log)?;
    source.kubectl(&["scale", "statefulset/db", "--replicas=1"])?;
    wait_for("a record that nobody should have written", || {
        // The last line may be half written.
        let now = records(&log).ok();
        Ok(now.filter(|now| *now > last))
    })
}

#[test]
fn who_wakes_the_frozen_source_is_named_and_the_copy_made_since_does_not_count() -> Result<()> {
    let (source, target, plan) = world("woken")?;
    tree::noise(&source.folder("data-db-0")?.join("large"), 32 << 20)?;
    let named = "was scaled to 1 by field manager `kubectl` (subresource scale)";

    let (proxy, gate) = Proxy::that_holds(On::A, "m", "final-copy started")?;
    let mut client = proxy.start(source.migrate(&["run", "-f", &plan.path(), "--yes"])?)?;
    client.until("freeze: done")?;
    let run = processes::run_of(&source, "m")?;
    let movers = processes::movers(&run, "target")?;
    ensure!(movers.len() == 2, "{movers:?}");
    // The copy lasts until the source is woken.
    let held = Held::new(&movers);
    gate.send_replace(true);
    wake(&source)?;
    client
        .end()?
        .with_code(14)?
        .says(&["the freeze was broken: ", named])?;
    drop(held);

    let said = killed_after(source.migrate(&["run", "m"])?, "final-copy done")?;
    ensure!(
        said.contains("freeze: no longer holds: ") && said.contains(named),
        "{said}"
    );
    ensure!(said.contains("freeze: done"), "{said}");

    let last = wake(&source)?;
    source.kubectl(&["scale", "statefulset/db", "--replicas=0"])?;
    source.kubectl(&["wait", "--for=delete", "pod/db-0", "--timeout=900s"])?;
    end(source.migrate(&["run", "m"])?)?.with_code(13)?.says(&[
        "freeze: no longer holds: ",
        // The API server keeps no record of who scaled to 0.
        "was changed during the freeze, last by somebody unknown",
        "final-copy: no longer holds: ",
        "final-copy: done",
    ])?;
    for claim in ["data-db-0", "log-db-0"] {
        let (here, there) = (source.folder(claim)?, target.folder(claim)?);
        tree::assert_equal(&here, &there, 0).context(claim)?;
    }
    ensure!(records(&target.folder("log-db-0")?)? >= last);
    Ok(())
}
