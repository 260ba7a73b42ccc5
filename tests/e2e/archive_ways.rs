//! Snapshots of volumes with credentials that change in the middle, into another server than versitygw, and of devices.
use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{
    archives::{REPOSITORY, migrate, only, server, untar},
    moto::{self, Moto},
    s3::{NEW, OLD, Server},
    support::{Namespace, On, Running, end, mover_image, output_of, wait_for},
    tree,
    volumes::{Prepared, block_claim},
    workload,
};

/// Takes a snapshot while its credentials become others, of which the first are refused then.
fn rotated(
    name: &str,
    begin: impl FnOnce(&Namespace, &Server) -> Result<Command>,
    rotate: impl FnOnce(&Namespace, &Server) -> Result<()>,
) -> Result<()> {
    let namespace = Namespace::new(On::A, name, &[])?;
    let server = Server::for_pods(On::A)?;
    namespace.apply(&[workload::claim("data", "1Gi")])?;
    let folder = namespace.folder("data")?;
    tree::noise(&folder.join("large"), 96 << 20)?;
    let running = Running::start(begin(&namespace, &server)?)?;
    wait_for("parts in the bucket", || {
        let found = server.objects()?;
        let of = found.iter().filter(|path| path.contains(".sgwtmp"));
        Ok((of.count() >= 2).then_some(()))
    })?;
    rotate(&namespace, &server)?;
    server.refuse_old()?;
    let ended = running.end()?.with_code(0)?;
    // It was asked for the new ones where it was: no mover was lost for it.
    ensure!(
        !ended.err.contains("going on with what is there"),
        "{}",
        ended.err
    );
    for [_, secret] in [OLD, NEW] {
        ensure!(!ended.err.contains(secret), "{}", ended.err);
    }
    // What was sent by both is one archive.
    let restored = tempfile::tempdir()?;
    untar(&server.object("data.tar.zst")?, restored.path())?;
    tree::assert_equal(&folder, restored.path(), 0)?;
    let (_, state) = only(&server)?;
    ensure!(state == "whole", "{state}");
    // A part that was sent twice may stay in the server's own folder, which no client sees.
    let mut left = server.objects()?;
    left.retain(|path| !path.starts_with(".sgwtmp"));
    ensure!(left.len() == 3, "{left:#?}");
    // By now the old ones are of no use to anybody.
    let refused = server.migrate(OLD, &["snapshot", "list", REPOSITORY])?;
    end(refused)?
        .with_code(10)?
        .says(&["it knows no such access key"])?;
    Ok(())
}

const TAKE: [&str; 6] = [
    "snapshot", "pvc/data", "--to", REPOSITORY, "--limit", "8MiB/s",
];

#[test]
fn a_secret_that_is_rotated_in_mid_upload_is_read_again() -> Result<()> {
    rotated(
        "rotate-secret",
        |namespace, server| {
            namespace.apply(&[server.secret_of("backups", OLD)])?;
            migrate(namespace, &TAKE)
        },
        |namespace, server| namespace.apply(&[server.secret_of("backups", NEW)]),
    )
}

#[test]
fn a_profile_that_is_rotated_in_mid_upload_is_read_again() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::create_dir(home.path().join(".aws"))?;
    let write = |[access, secret]: [&str; 2]| {
        let text =
            format!("[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n");
        let draft = home.path().join("draft");
        fs::write(&draft, text)?;
        anyhow::Ok(fs::rename(draft, home.path().join(".aws/credentials"))?)
    };
    rotated(
        "rotate-profile",
        |namespace, server| {
            write(OLD)?;
            let image = mover_image()?;
            let flags = ["--mover-image", &image, "--yes"];
            let mut command = namespace.migrate(&[&TAKE[..], &flags].concat())?;
            command
                .env("HOME", home.path())
                .env("AWS_ENDPOINT_URL", server.endpoint())
                .env("AWS_CA_BUNDLE", server.authority_file());
            for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"] {
                command.env_remove(name);
            }
            Ok(command)
        },
        |_, _| write(NEW),
    )
}

#[test]
fn another_server_than_versitygw_keeps_a_snapshot_as_well() -> Result<()> {
    let namespace = Namespace::new(On::A, "archive-moto", &[])?;
    let server = Moto::for_pods(On::A)?;
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "backups"}, "stringData": {
            "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any-secret", "AWS_ENDPOINT_URL": server.endpoint(),
        },
    });
    namespace.apply(&[secret, workload::claim("data", "1Gi")])?;
    let folder = namespace.folder("data")?;
    tree::fill(&folder)?;
    tree::noise(&folder.join("large"), 40 << 20)?;
    let repository = format!("s3://{}/prod", moto::BUCKET);
    let told = |ended: super::support::Ended| {
        let told = server.told();
        ended.with_code(0).context(told)
    };
    told(end(migrate(
        &namespace,
        &["snapshot", "pvc/data", "--to", &repository],
    )?)?)?;
    let run =
        |args: &[&str]| end(namespace.migrate(&[args, &["--s3-secret", "backups"]].concat())?);
    let listed = told(run(&["snapshot", "list", &repository, "-o", "name"])?)?;
    let name = listed
        .out
        .trim()
        .strip_prefix("snapshot/")
        .context("a name")?
        .to_owned();
    let address = format!("{repository}/{name}");
    let checked = told(run(&["restore-check", &address])?)?;
    ensure!(
        checked.out.contains("level 2: everything was read"),
        "{checked:?}"
    );
    // It tells the sum of sums, so that level 1 compares it.
    ensure!(!checked.err.contains("tells no sum"), "{checked:?}");

    let other = Namespace::new(On::A, "archive-moto-to", &[])?;
    let into = format!("namespace/{}", other.name);
    told(end(migrate(
        &namespace,
        &["restore", &address, "--into", &into],
    )?)?)?;
    tree::assert_equal(&folder, &other.folder("data")?, 1)?;

    let keep = ["--keep-last", "1", "--dry-run"];
    let kept = told(run(
        &[&["snapshot", "prune", &repository], &keep[..]].concat()
    )?)?;
    ensure!(kept.out.contains("one of the last"), "{kept:?}");
    told(run(&["snapshot", "delete", &address, "--confirm", &name])?)?;
    let listed = told(run(&["snapshot", "list", &repository, "-o", "name"])?)?;
    ensure!(listed.out.is_empty(), "{listed:?}");
    Ok(())
}

#[test]
fn a_device_goes_into_a_bucket_as_one_file_and_onto_a_device_again() -> Result<()> {
    let namespace = Namespace::new(On::A, "archive-block", &[])?;
    let server = server(&namespace)?;
    let from = Prepared::new(&namespace, "block-volume", "from", "40Mi")?;
    let to = Prepared::new(&namespace, "block-volume", "to", "48Mi")?;
    let used = Prepared::new(&namespace, "block-volume", "used", "48Mi")?;
    namespace.apply(&[
        block_claim("from", "40Mi"),
        block_claim("to", "40Mi"),
        block_claim("used", "40Mi"),
    ])?;
    let device = namespace.folder("from")?;
    ensure!(device == from.path()?);
    tree::noise(&device, 40 << 20)?;
    end(migrate(
        &namespace,
        &["snapshot", "pvc/from", "--to", REPOSITORY],
    )?)?
    .with_code(0)?;
    let (name, state) = only(&server)?;
    ensure!(state == "whole", "{state}");
    let restored = tempfile::tempdir()?;
    untar(&server.object("from.tar.zst")?, restored.path())?;
    let image = restored.path().join("device.img");
    output_of(Command::new("cmp").arg(&device).arg(&image))?;

    let address = format!("{REPOSITORY}/{name}");
    let restore = |claim: &str| {
        end(migrate(
            &namespace,
            &["restore", &address, "--into", claim],
        )?)
    };
    let same = |target: &Prepared| -> Result<()> {
        let length = ["-n", "41943040"];
        output_of(
            Command::new("cmp")
                .args(length)
                .arg(&image)
                .arg(target.path()?),
        )?;
        Ok(())
    };
    // What is on a device is never written over.
    namespace.folder("used")?;
    tree::noise(&used.path()?, 48 << 20)?;
    let before = fs::read(used.path()?)?;
    restore("pvc/used")?
        .with_code(10)?
        .says(&["it is not empty"])?;
    ensure!(fs::read(used.path()?)? == before, "it was written to");
    end(namespace.migrate(&["rollback", "restore-from-used", "--yes"])?)?.with_code(0)?;
    ensure!(fs::read(used.path()?)? == before, "it was emptied");
    restore("pvc/to")?.with_code(0)?;
    same(&to)?;
    let left = namespace.kubectl(&["get", "jobs", "-o", "name"])?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}
