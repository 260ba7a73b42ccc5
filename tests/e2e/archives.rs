//! Snapshots of volumes in a bucket of a real S3 server that pods reach, restored by Debian's own programs.
use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    s3::{ROOT, Server},
    support::{Namespace, On, Running, end, mover_image, output_of, wait_for},
    tree,
    workload::{self, Client, records},
};

pub const REPOSITORY: &str = "s3://backups/prod";

/// The program with the bucket's Secret and the tests' mover image.
pub fn migrate(namespace: &Namespace, args: &[&str]) -> Result<Command> {
    let image = mover_image()?;
    let flags = ["--s3-secret", "backups", "--mover-image", &image, "--yes"];
    namespace.migrate(&[args, &flags].concat())
}

/// A server, and a Secret that is enough to use it.
pub fn server(namespace: &Namespace) -> Result<Server> {
    let server = Server::for_pods(On::A)?;
    namespace.apply(&[server.secret("backups")])?;
    Ok(server)
}

/// The only snapshot of the bucket, as `NAME/TIME`, and how it is.
pub fn only(server: &Server) -> Result<(String, String)> {
    let list = ["snapshot", "list", REPOSITORY, "-o", "json"];
    let told = end(server.migrate(ROOT, &list)?)?.with_code(0)?;
    let list: serde_json::Value = serde_json::from_str(&told.out)?;
    let items = list["items"].as_array().context("a list")?;
    ensure!(items.len() == 1, "{list}");
    let text = |field: &str| items[0][field].as_str().map(str::to_owned);
    text("name").zip(text("state")).context("a snapshot")
}

/// Restores an object of the bucket by the system's own programs.
pub fn untar(object: &Path, folder: &Path) -> Result<()> {
    let command =
        "zstd -dc -- \"$1\" | tar -xp --numeric-owner --xattrs --xattrs-include='*' -C \"$2\"";
    let mut bash = Command::new("bash");
    bash.args(["-eo", "pipefail", "-c", command, "-"]);
    output_of(bash.arg(object).arg(folder))?;
    Ok(())
}

fn check(server: &Server, address: &str, level: &str) -> Result<super::support::Ended> {
    end(server.migrate(ROOT, &["restore-check", address, "--level", level])?)
}

#[test]
fn a_statefulset_that_is_written_to_goes_into_a_bucket_and_tar_restores_it() -> Result<()> {
    let namespace = Namespace::new(On::A, "archive", &[])?;
    let server = server(&namespace)?;
    workload::start(&namespace, 2)?;
    tree::fill(&namespace.folder("data-db-0")?)?;
    let client = Client::of(&namespace, "db-1")?;
    let take = ["snapshot", "statefulset/db", "--to", REPOSITORY];
    let told = end(migrate(&namespace, &take)?)?.with_code(0)?;
    namespace.ready("statefulset/db")?;
    let acknowledged = client.acknowledged()?;
    let (name, state) = only(&server)?;
    ensure!(
        name.starts_with("db/") && state == "whole",
        "{name} {state}"
    );
    let objects: BTreeSet<_> = server.objects()?.into_iter().collect();
    let mut wanted = BTreeSet::from([format!("prod/{name}/manifest.json")]);
    for volume in ["db-0/data", "db-0/log", "db-1/data", "db-1/log"] {
        wanted.insert(format!("prod/{name}/{volume}.tar.zst"));
        wanted.insert(format!("prod/{name}/{volume}.index.zst"));
    }
    ensure!(objects == wanted, "{objects:#?}");

    // The volume of a pod that wrote nothing since is what tar makes of its object.
    let restored = tempfile::tempdir()?;
    for volume in ["data-0", "log-1"] {
        fs::create_dir(restored.path().join(volume))?;
    }
    let at = |volume: &str| server.data().join(format!("prod/{name}/{volume}.tar.zst"));
    untar(&at("db-0/data"), &restored.path().join("data-0"))?;
    tree::assert_equal(
        &namespace.folder("data-db-0")?,
        &restored.path().join("data-0"),
        1,
    )?;
    // Every record that was acknowledged before the freeze, and none that was not written.
    untar(&at("db-1/log"), &restored.path().join("log-1"))?;
    let there = records(&restored.path().join("log-1"))?;
    ensure!(
        (acknowledged..=acknowledged + 1).contains(&there),
        "{acknowledged} were acknowledged, and {there} are there"
    );

    let address = format!("{REPOSITORY}/{name}");
    let shown = end(server.migrate(ROOT, &["snapshot", "show", &address])?)?.with_code(0)?;
    for said in ["statefulset", "frozen:", "yes", "data-db-0:", "digest"] {
        ensure!(shown.out.contains(said), "no {said} in {}", shown.out);
    }
    let read = check(&server, &address, "2")?.with_code(0)?;
    ensure!(
        read.out.contains("level 2: everything was read"),
        "{read:?}"
    );

    // And back, by ourselves, into claims that are made as they were.
    let other = Namespace::new(On::A, "archive-back", &[])?;
    let into = format!("namespace/{}", other.name);
    end(migrate(
        &namespace,
        &["restore", &address, "--into", &into, "--volumes-only"],
    )?)?
    .with_code(0)?;
    tree::assert_equal(
        &namespace.folder("data-db-0")?,
        &other.folder("data-db-0")?,
        1,
    )?;
    ensure!(records(&other.folder("log-db-1")?)? == there);
    let spec = &other.get("pvc/log-db-1")?["spec"];
    ensure!(spec["resources"]["requests"]["storage"] == "64Mi", "{spec}");
    // Nothing is written over what is there.
    let again = ["restore", &address, "--into", &into, "--volumes-only"];
    end(migrate(&namespace, &again)?)?
        .with_code(10)?
        .says(&["entries"])?;
    let undo = format!("restore-db-{}", other.name);
    end(namespace.migrate(&["rollback", &undo, "--yes"])?)?.with_code(0)?;
    ensure!(
        records(&other.folder("log-db-1")?)? == there,
        "it was taken away"
    );

    // No credential is anywhere but in the Secret, and no mover is left.
    let journal = namespace
        .get("configmap/migrate-snapshot-sts-db")?
        .to_string();
    let events = namespace.kubectl(&["get", "jobs,pods,events,configmaps", "-o", "json"])?;
    for text in [&journal, &events, &told.out, &told.err] {
        ensure!(!text.contains(ROOT[1]), "a secret in {text}");
    }
    let left = namespace.kubectl(&["get", "jobs,secrets", "-o", "name"])?;
    ensure!(
        left.lines().all(|name| !name.contains("migrate-")),
        "{left}"
    );
    Ok(())
}

#[test]
fn a_snapshot_that_is_killed_goes_on_and_one_that_is_damaged_is_told() -> Result<()> {
    let namespace = Namespace::new(On::A, "archive-kill", &[])?;
    let server = server(&namespace)?;
    namespace.apply(&[workload::claim("data", "1Gi")])?;
    let folder = namespace.folder("data")?;
    tree::fill(&folder)?;
    tree::noise(&folder.join("large"), 300 << 20)?;
    let take = ["snapshot", "pvc/data", "--to", REPOSITORY];
    let running = Running::start(migrate(&namespace, &take)?)?;
    let parts = |at_least: usize| {
        wait_for("parts in the bucket", || {
            let found = server.objects()?;
            let of = found.iter().filter(|path| path.contains(".sgwtmp"));
            Ok((of.count() >= at_least).then_some(()))
        })
    };
    parts(3)?;
    let process = Pid::from_raw(i32::try_from(running.id())?).context("a process")?;
    kill_process(process, Signal::KILL)?;
    ensure!(running.end()?.code.is_none(), "it was not killed");
    let (_, state) = only(&server)?;
    ensure!(state == "unfinished", "{state}");
    wait_for("the dead run's lock to run out", || {
        let go_on = ["run", "snapshot-pvc-data", "--take-over", "--yes"];
        let ended = end(namespace.migrate(&go_on)?)?;
        match ended.code {
            Some(11) => Ok(None),
            _ => ended.with_code(0).map(Some),
        }
    })?;
    let (name, state) = only(&server)?;
    ensure!(state == "whole", "{state}");
    let restored = tempfile::tempdir()?;
    let object = server.object("data.tar.zst")?;
    untar(&object, restored.path())?;
    tree::assert_equal(&folder, restored.path(), 1)?;
    let unfinished = server.objects()?;
    ensure!(
        unfinished.iter().all(|path| !path.contains(".sgwtmp")),
        "{unfinished:#?}"
    );

    let address = format!("{REPOSITORY}/{name}");
    check(&server, &address, "1")?.with_code(0)?;
    check(&server, &address, "2")?.with_code(0)?;
    let manifest = server.object("manifest.json")?;
    let whole = fs::read(&object)?;
    let no = |level: &str, said: &str| {
        let no = format!("restore-check level {level}: no:");
        check(&server, &address, level)?
            .with_code(12)?
            .says(&[&no, said])
    };
    // One byte: its sum is what the server keeps, so that only who reads it finds it.
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&object, &flipped)?;
    no("2", "pvc/data.tar.zst is damaged: the digest of its part")?;
    fs::write(&object, &whole[..whole.len() - 1])?;
    no("1", "pvc/data.tar.zst has")?;
    fs::remove_file(&object)?;
    no("1", "pvc/data.tar.zst is missing")?;
    fs::write(&object, &whole)?;
    let stranger = object.with_file_name("stranger.txt");
    fs::write(&stranger, "not ours")?;
    no("1", "pvc/stranger.txt is not one of its objects")?;
    fs::remove_file(&stranger)?;
    let text = fs::read_to_string(&manifest)?;
    let newer = text.replace(
        "\"kubectlMigrateSnapshot\": 2",
        "\"kubectlMigrateSnapshot\": 3",
    );
    fs::write(&manifest, newer)?;
    no("1", "has format 3, and this version reads 1 and 2")?;
    fs::remove_file(&manifest)?;
    no("1", "is unfinished")?;

    let delete = ["snapshot", "delete", &address, "--confirm", &name];
    end(server.migrate(ROOT, &delete)?)?.with_code(0)?;
    ensure!(server.objects()?.is_empty(), "{:?}", server.objects()?);
    Ok(())
}
