//! Movers that die in the middle where volumes change in place, and where they are filled out of a bucket.
use std::{collections::BTreeSet, fs, fs::File, path::Path, time::Duration};

use anyhow::{Result, ensure};
use rustix::process::Pid;
use serde_json::json;

use super::{
    archives::{REPOSITORY, migrate, only, server},
    gate::Gate,
    movers::{How, lose, whole},
    processes::{self, Held},
    proxy::{Fate, Proxy},
    s3::ROOT,
    small::{NAME, Small},
    support::{Namespace, On, Running, end, wait_for},
    tree, workload,
};

/// For which a mover runs before it stands still again.
const MOMENT: Duration = Duration::from_millis(20);
/// Files that are put in place as soon as each is complete.
const FILES: usize = 12;
const EACH: u64 = 8 << 20;
/// Where most of each is a hole, this is none.
const DATA: u64 = 256 << 10;
/// What is said of each mover that is lost.
pub const LOST: &str = "going on with what is there";

/// Loses the movers of a side, and waits until their processes are gone.
pub fn lose_now(namespace: &Namespace, run: &str, side: &str, how: How) -> Result<()> {
    let victims = processes::movers(run, side)?;
    ensure!(!victims.is_empty(), "no mover of the {side} runs");
    lose(namespace, run, side, how)?;
    wait_for("the mover's end", || {
        let alive = processes::movers(run, side)?;
        let gone = victims.iter().all(|victim| !alive.contains(victim));
        Ok(gone.then_some(()))
    })
}

/// The files that are complete in a folder, which comes with the first.
fn placed(folder: &Path) -> usize {
    whole(folder).map_or(0, |files| files.len())
}

#[test]
fn movers_that_die_in_place_are_replaced_in_every_step_and_the_old_volume_stays() -> Result<()> {
    let small = Small::with("lost-in", |plan, statefulset| {
        plan["target"] = json!({"storageClass": "other"});
        plan["objects"] = json!("require");
        let claim = &mut statefulset["spec"]["volumeClaimTemplates"][0]["spec"];
        claim["resources"]["requests"]["storage"] = json!("1Gi");
    })?;
    let old = small.source.folder("data-db-0")?;
    let large = old.join("large");
    fs::create_dir(&large)?;
    for number in 0..FILES {
        let file = large.join(format!("{number:02}"));
        tree::noise(&file, DATA)?;
        File::options().write(true).open(&file)?.set_len(EACH)?;
    }

    // In copying, while the workload runs.
    let gate = Gate::new(&large)?;
    let (copying, opens_copying) = tokio::sync::watch::channel(false);
    let (comparing, opens_comparing) = tokio::sync::watch::channel(false);
    let proxy = Proxy::new(On::A, move |seen| {
        match seen.journal_write(NAME).as_deref() {
            Some("final-copy started") => Fate::Hold(opens_copying.clone()),
            Some("verify started") => Fate::Hold(opens_comparing.clone()),
            _ => Fate::Pass,
        }
    })?;
    let mut client = proxy.start(small.run()?)?;
    client.until("warm-copy: started")?;
    let run = processes::run_of(&small.source, NAME)?;
    let new = small.source.folder("data-db-0-migrate-m")?;
    gate.open_to(FILES / 2, BTreeSet::new());
    wait_for("half of the files", || {
        Ok((placed(&new.join("large")) == FILES / 2).then_some(()))
    })?;
    let half = whole(&new.join("large"))?;
    lose_now(&small.source, &run, "source", How::Killed)?;
    drop(gate);

    // And while it is frozen, in copying and in comparing: the source's mover waits at a file.
    for (before, step, side, how) in [
        ("freeze: done", copying, "target", How::Killed),
        ("final-copy: done", comparing, "source", How::Deleted),
    ] {
        client.until(before)?;
        if side == "target" {
            tree::noise(&large.join("late"), DATA)?;
        }
        let gate = Gate::new(&large)?;
        step.send_replace(true);
        wait_for("the mover at the gate", || {
            Ok(gate.is_waited_at().then_some(()))
        })?;
        lose_now(&small.source, &run, side, how)?;
    }
    let ended = client.end()?.with_code(0)?;
    let told = ended.err.matches(LOST).count();
    ensure!(told >= 3, "{told} were lost: {}", ended.err);
    small.source.ready("statefulset/db")?;
    ensure!(small.source.folder("data-db-0")? == new);
    tree::assert_equal(&old, &new, 0)?;
    let now = whole(&new.join("large"))?;
    for (name, inode) in &half {
        ensure!(now.get(name) == Some(inode), "{name} was sent again");
    }
    end(small.migrate(&["rollback", NAME, "--confirm", NAME])?)?.with_code(0)?;
    small.is_back()?;
    ensure!(small.source.folder("data-db-0")? == old);
    Ok(())
}

/// Lets a restore go on until more files are in place than these, and holds its mover there; none of `dead`.
pub fn held_in_the_middle(
    run: &str,
    to: &Path,
    more_than: usize,
    dead: &[Pid],
) -> Result<(Held, Pid)> {
    let mover = wait_for("the mover of the target", || {
        let mut movers = processes::movers(run, "target")?.into_iter();
        Ok(movers.find(|mover| !dead.contains(mover)))
    })?;
    let held = Held::new(&[mover]);
    wait_for("files in place", || {
        held.let_run(MOMENT);
        Ok((placed(to) > more_than).then_some(()))
    })?;
    Ok((held, mover))
}

#[test]
fn movers_that_die_in_a_restore_are_replaced_and_go_on_behind_what_is_there() -> Result<()> {
    let namespace = Namespace::new(On::A, "lost-restore", &[])?;
    let server = server(&namespace)?;
    namespace.apply(&[workload::claim("data", "1Gi"), workload::claim("to", "1Gi")])?;
    let (from, to) = (namespace.folder("data")?, namespace.folder("to")?);
    for number in 0..FILES {
        tree::noise(&from.join(format!("{number:02}")), EACH)?;
    }
    let take = ["snapshot", "pvc/data", "--to", REPOSITORY];
    end(migrate(&namespace, &take)?)?.with_code(0)?;
    let address = format!("{REPOSITORY}/{}", only(&server)?.0);
    let restore = ["restore", &address, "--into", "pvc/to"];
    let mut client = Running::start(migrate(&namespace, &restore)?)?;
    client.until("fill: started")?;
    let run = processes::run_of(&namespace, "restore-data-to")?;
    let mut dead = Vec::new();
    let mut complete = 0;
    let mut first = None;
    for how in [How::Killed, How::Deleted] {
        let (held, mover) = held_in_the_middle(&run, &to, complete, &dead)?;
        lose_now(&namespace, &run, "target", how)?;
        drop(held);
        dead.push(mover);
        let there = whole(&to)?;
        complete = there.len();
        first.get_or_insert(there);
    }
    ensure!(complete < FILES, "it was over too soon");
    let ended = client.end()?.with_code(0)?;
    let told = ended.err.matches(LOST).count();
    ensure!(told >= 2, "{told} were lost: {}", ended.err);
    let now = whole(&to)?;
    for (name, inode) in first.iter().flatten() {
        ensure!(now.get(name) == Some(inode), "{name} was written again");
    }
    tree::assert_equal(&from, &to, 0)?;
    // What it was read from is as it was.
    let check = ["restore-check", &address, "--level", "2"];
    end(server.migrate(ROOT, &check)?)?.with_code(0)?;
    println!("its movers died, the second with {complete} of {FILES} files in place");
    Ok(())
}
