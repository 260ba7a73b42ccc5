//! A snapshot whose client or mover is killed with -9, again and again: it ends with the bytes of one that nobody
//! disturbed, and what is left in the bucket is found.
use std::{fs, path::PathBuf};

use anyhow::{Result, ensure};
use rustix::process::{Signal, kill_process};

use super::{
    archives::{REPOSITORY, migrate, only, server, untar},
    kills::Kills,
    processes,
    proxy::{Fate, Proxy},
    s3::{ROOT, Server},
    support::{Namespace, On, Running, end, wait_for},
    tree, workload,
};

const NAME: &str = "snapshot-pvc-data";
/// So many parts has the volume's archive, and a last one that is smaller.
const PARTS: u64 = 10;
/// So often it is killed.
const KILLS: u64 = 10;
/// Bytes a second that are read: an upload takes some seconds.
const LIMIT: &str = "16MiB/s";

/// A claim that is an archive of some parts, in a namespace with a bucket.
fn claimed(name: &str, mebibytes: u64) -> Result<(Namespace, Server, PathBuf)> {
    let namespace = Namespace::new(On::A, name, &[])?;
    let server = server(&namespace)?;
    namespace.apply(&[workload::claim("data", "1Gi")])?;
    let folder = namespace.folder("data")?;
    tree::fill(&folder)?;
    tree::noise(&folder.join("large"), mebibytes << 20)?;
    Ok((namespace, server, folder))
}

/// Files of parts that were sent and are no object yet.
fn parts(server: &Server) -> Result<usize> {
    let found = server.objects()?;
    Ok(found.iter().filter(|path| path.contains(".sgwtmp")).count())
}

/// The contents of the only snapshot's archive and index; then it is deleted.
fn taken(server: &Server) -> Result<[Vec<u8>; 2]> {
    let (name, state) = only(server)?;
    ensure!(state == "whole" && parts(server)? == 0, "{state}");
    let address = format!("{REPOSITORY}/{name}");
    end(server.migrate(ROOT, &["restore-check", &address])?)?.with_code(0)?;
    let objects = ["data.tar.zst", "data.index.zst"].map(|object| server.object(object));
    let [data, index] = objects;
    let taken = [fs::read(data?)?, fs::read(index?)?];
    let delete = ["snapshot", "delete", &address, "--confirm", &name];
    end(server.migrate(ROOT, &delete)?)?.with_code(0)?;
    ensure!(server.objects()?.is_empty(), "{:?}", server.objects()?);
    Ok(taken)
}

#[test]
fn killed_at_ten_points_of_its_upload_it_ends_with_the_same_bytes() -> Result<()> {
    let (namespace, server, _) = claimed("archive-kills", 16 * PARTS)?;
    let take = ["snapshot", "pvc/data", "--to", REPOSITORY];
    end(migrate(&namespace, &take)?)?.with_code(0)?;
    let undisturbed = taken(&server)?;

    let mut luck = fastrand::Rng::with_seed(20_261_128);
    let limited = [&take[..], &["--limit", LIMIT]].concat();
    let mut running = Some(Running::start(migrate(&namespace, &limited)?)?);
    for number in 0..KILLS {
        // Later ones come no earlier, so that each has something left to kill.
        let at_least = usize::try_from(luck.u64(number / 2..=number * (PARTS - 2) / KILLS))?;
        let mut client = match running.take() {
            Some(running) => running,
            None => Running::start(namespace.migrate(&["run", NAME, "--yes"])?)?,
        };
        client.until("upload: started")?;
        wait_for("parts in the bucket", || {
            Ok((parts(&server)? >= at_least).then_some(()))
        })?;
        if luck.u8(0..4) == 0 {
            // Kubernetes starts it again, and the same client goes on.
            let run = processes::run_of(&namespace, NAME)?;
            for mover in wait_for("the mover", || {
                let movers = processes::movers(&run, "source")?;
                Ok((!movers.is_empty()).then_some(movers))
            })? {
                kill_process(mover, Signal::KILL)?;
            }
            client.until("going on with what is there")?;
        }
        let ended = client.kill()?;
        ensure!(
            ended.code.is_none(),
            "it was over before kill {number}: {ended:?}"
        );
        let (_, state) = only(&server)?;
        ensure!(state == "unfinished", "{state} after kill {number}");
    }
    end(namespace.migrate(&["run", NAME, "--yes"])?)?.with_code(0)?;
    ensure!(taken(&server)? == undisturbed, "it ended with other bytes");
    println!(
        "killed at {KILLS} points of an upload of {} parts",
        PARTS + 1
    );
    Ok(())
}

#[test]
fn killed_at_each_write_of_the_journal_a_snapshot_ends_with_the_same_bytes_or_none() -> Result<()> {
    let (namespace, server, _) = claimed("archive-cuts", 20)?;
    let take = ["snapshot", "pvc/data", "--to", REPOSITORY];
    end(migrate(&namespace, &take)?)?.with_code(0)?;
    let undisturbed = taken(&server)?;
    end(namespace.migrate(&["cleanup", NAME, "--forget", "--confirm", NAME])?)?.with_code(0)?;
    let journal = format!("configmap/migrate-{NAME}");
    let next = || {
        if namespace.get(&journal).is_ok() {
            namespace.migrate(&["run", NAME, "--yes"])
        } else {
            migrate(&namespace, &take)
        }
    };
    for kill in [Fate::KillBefore, Fate::KillAfter] {
        let kills = Kills::new(Some(kill), |seen| seen.journal_write(NAME))?;
        let cuts = kills.until_code(0, next)?;
        ensure!(cuts.contains("reserve done"), "{cuts:#?}");
        ensure!(taken(&server)? == undisturbed, "it ended with other bytes");
        end(namespace.migrate(&["cleanup", NAME, "--forget", "--confirm", NAME])?)?.with_code(0)?;
    }

    // Killed before it could write down what it began: the list shows it, cleanup says who takes it back, and that does.
    let kills = Kills::new(Some(Fate::KillBefore), |seen| seen.journal_write(NAME))?;
    kills.until_cut("reserve done", next)?;
    let (_, state) = only(&server)?;
    ensure!(state == "unfinished", "{state}");
    end(namespace.migrate(&["cleanup", NAME, "--yes"])?)?
        .with_code(10)?
        .says(&["what it made is still needed", "rollback snapshot-pvc-data"])?;
    end(namespace.migrate(&["rollback", NAME])?)?.with_code(0)?;
    ensure!(server.objects()?.is_empty(), "{:?}", server.objects()?);
    Ok(())
}

#[test]
fn what_a_lost_mover_sends_after_a_rollback_is_found_by_cleanup() -> Result<()> {
    let (namespace, server, _) = claimed("archive-late", 1)?;
    let take = ["snapshot", "pvc/data", "--to", REPOSITORY];
    let proxy = Proxy::that_kills_after(On::A, NAME, "reserve done")?;
    let killed = proxy.end(migrate(&namespace, &take)?)?;
    ensure!(killed.code.is_none(), "it was not killed: {killed:?}");
    let (name, _) = only(&server)?;
    end(namespace.migrate(&["rollback", NAME])?)?.with_code(0)?;
    // As a mover would that nobody reaches any more.
    let folder = server.data().join(format!("prod/{name}/pvc"));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("data.index.zst"), "late")?;
    let other = server.data().join(format!("prod/{name}x/pvc"));
    fs::create_dir_all(&other)?;
    fs::write(other.join("data.index.zst"), "another's")?;
    let cleanup = |flags: &[&str]| end(namespace.migrate(&[&["cleanup", NAME], flags].concat())?);
    cleanup(&["--dry-run=client"])?
        .with_code(0)?
        .says(&[&name, "it was begun and not finished"])?;
    ensure!(server.objects()?.len() == 2, "a dry run has deleted");
    cleanup(&["--yes"])?.with_code(0)?;
    let left = server.objects()?;
    ensure!(
        left == [format!("prod/{name}x/pvc/data.index.zst")],
        "{left:?}"
    );
    cleanup(&["--yes"])?
        .with_code(0)?
        .says(&["left nothing behind"])?;
    // A bucket that cannot be asked keeps nobody from tidying up the rest.
    namespace.kubectl(&["delete", "secret", "backups"])?;
    cleanup(&["--yes"])?
        .with_code(0)?
        .says(&["cannot be looked at", "backups cannot be used"])?;
    Ok(())
}

#[test]
fn without_the_bucket_s_credentials_a_rollback_wakes_the_workload_first() -> Result<()> {
    let namespace = Namespace::new(On::A, "archive-wake", &[])?;
    let server = server(&namespace)?;
    workload::start(&namespace, 1)?;
    tree::noise(&namespace.folder("data-db-0")?.join("large"), 64 << 20)?;
    let name = "snapshot-sts-db";
    let take = [
        "snapshot",
        "statefulset/db",
        "--to",
        REPOSITORY,
        "--limit",
        LIMIT,
    ];
    let mut client = Running::start(migrate(&namespace, &take)?)?;
    client.until("upload: started")?;
    wait_for("parts in the bucket", || {
        Ok((parts(&server)? > 0).then_some(()))
    })?;
    client.kill()?;
    namespace.kubectl(&["delete", "secret", "backups"])?;
    let rollback = || end(namespace.migrate(&["rollback", name, "--yes"])?);
    rollback()?
        .with_code(10)?
        .says(&["backups cannot be used: it does not exist"])?;
    namespace.ready("statefulset/db")?;
    let replicas = &namespace.get("statefulset/db")?["spec"]["replicas"];
    ensure!(*replicas == 1, "{replicas}");
    ensure!(!server.objects()?.is_empty(), "nothing was sent");
    namespace.apply(&[server.secret("backups")])?;
    rollback()?.with_code(0)?;
    ensure!(server.objects()?.is_empty(), "{:?}", server.objects()?);
    Ok(())
}

#[test]
fn a_restore_whose_snapshot_is_gone_is_rolled_back() -> Result<()> {
    let (namespace, server, folder) = claimed("archive-gone", 1)?;
    end(migrate(
        &namespace,
        &["snapshot", "pvc/data", "--to", REPOSITORY],
    )?)?
    .with_code(0)?;
    let (snapshot, _) = only(&server)?;
    let address = format!("{REPOSITORY}/{snapshot}");
    let restored = tempfile::tempdir()?;
    untar(&server.object("data.tar.zst")?, restored.path())?;
    tree::assert_equal(&folder, restored.path(), 1)?;
    let other = Namespace::new(On::A, "archive-gone-to", &[])?;
    let into = format!("namespace/{}", other.name);
    let name = format!("restore-data-{}", other.name);
    let journal: &'static str = Box::leak(name.clone().into_boxed_str());
    let proxy = Proxy::that_kills_after(On::A, journal, "fill done")?;
    let killed = proxy.end(migrate(
        &namespace,
        &["restore", &address, "--into", &into],
    )?)?;
    ensure!(killed.code.is_none(), "it was not killed: {killed:?}");
    let delete = ["snapshot", "delete", &address, "--confirm", &snapshot];
    end(server.migrate(ROOT, &delete)?)?.with_code(0)?;
    end(namespace.migrate(&["run", &name])?)?
        .with_code(12)?
        .says(&["there is no such object"])?;
    end(namespace.migrate(&["rollback", &name, "--yes"])?)?.with_code(0)?;
    let left = other.kubectl(&["get", "pvc,jobs,secrets", "-o", "name"])?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

#[test]
fn what_is_damaged_before_it_was_read_back_is_sent_again() -> Result<()> {
    let (namespace, server, _) = claimed("archive-flip", 20)?;
    let take = ["snapshot", "pvc/data", "--to", REPOSITORY];
    let proxy = Proxy::that_kills_after(On::A, NAME, "upload done")?;
    let killed = proxy.end(migrate(&namespace, &take)?)?;
    ensure!(killed.code.is_none(), "it was not killed: {killed:?}");
    let object = server.object("data.tar.zst")?;
    let mut flipped = fs::read(&object)?;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&object, flipped)?;
    let run = || end(namespace.migrate(&["run", NAME, "--yes"])?);
    run()?.with_code(12)?.says(&[
        "data.tar.zst is damaged: the digest of its part",
        "run snapshot-pvc-data",
        "rollback snapshot-pvc-data",
    ])?;
    // Nothing of it is left to be taken for whole.
    ensure!(server.objects()?.is_empty(), "{:?}", server.objects()?);
    run()?
        .with_code(0)?
        .says(&["upload: no longer holds: `read-back` found differences"])?;
    taken(&server).map(drop)
}
