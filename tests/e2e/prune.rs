//! `snapshot prune` in a bucket of a real S3 server. Snapshots that are days old are written down by hand.
use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    s3::{READER, ROOT, Server},
    support::{Ended, end, output_of},
};

const REPOSITORY: &str = "s3://backups/prod";
const DATA: &str = "what is on the volume";

struct World(Server);

impl World {
    /// A whole snapshot of the only volume of a StatefulSet.
    fn take(&self, cluster: &str, name: &str, time: &str) -> Result<()> {
        let digest = "0".repeat(64);
        let archive = json!({
            "size": DATA.len(), "parts": 1, "etag": format!("{}-1", "0".repeat(32)),
            "indexSize": 5, "indexDigest": digest,
            "tree": {"digest": digest, "entries": 2, "files": 1, "bytes": 3, "directories": 1, "links": 0},
            "changed": 0, "changedExamples": [], "sockets": 0,
        });
        let volume = json!({
            "claim": format!("data-{name}-0"), "data": format!("{name}-0/data.tar.zst"),
            "index": format!("{name}-0/data.index.zst"), "size": "1Gi", "capacity": 1 << 30,
            "class": "fast", "access": ["ReadWriteOnce"], "archive": archive,
        });
        let manifest = json!({
            "kubectlMigrateSnapshot": 1, "kind": "volumes", "writtenBy": "0.1.0", "cluster": cluster,
            "source": format!("statefulset shop/{name}"), "frozen": true, "volumes": [volume], "workload": null,
        });
        let folder = self.0.data().join(format!("prod/{name}/{time}"));
        fs::create_dir_all(folder.join(format!("{name}-0")))?;
        fs::write(folder.join(format!("{name}-0/data.tar.zst")), DATA)?;
        fs::write(folder.join(format!("{name}-0/data.index.zst")), "index")?;
        fs::write(folder.join("manifest.json"), manifest.to_string())?;
        Ok(())
    }

    fn prune(&self, user: [&str; 2], args: &[&str]) -> Result<Ended> {
        let prune = ["snapshot", "prune", REPOSITORY];
        end(self.0.migrate(user, &[&prune, args].concat())?)
    }

    /// The snapshots of which anything is there.
    fn there(&self) -> Result<BTreeSet<String>> {
        let objects = self.0.objects()?.into_iter();
        let names = objects.map(|object| {
            let parts: Vec<_> = object.split('/').collect();
            parts.get(..3).unwrap_or(&parts).join("/")
        });
        Ok(names.collect())
    }
}

fn names(items: &Value, fate: &str) -> Vec<String> {
    let items = items.as_array().into_iter().flatten();
    let wanted = items.filter(|item| item["fate"] == fate);
    wanted
        .filter_map(|item| item["name"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn what_no_rule_keeps_goes_and_nothing_else() -> Result<()> {
    let world = World(Server::with_tls()?);
    for day in ["20261101", "20261126", "20261127", "20261128"] {
        for hour in ["04", "16"] {
            world.take("a", "db", &format!("{day}T{hour}0000Z"))?;
        }
    }
    // The same name in another cluster, a longer name, a run's own name: each is judged by itself.
    world.take("b", "db", "20261101T040000Z-other")?;
    world.take("a", "db-2", "20261101T040000Z")?;
    // What is unfinished, or somebody else's.
    let at = |path: &str| world.0.data().join("prod").join(path);
    fs::create_dir_all(at("db/20261102T000000Z/db-0"))?;
    fs::write(at("db/20261102T000000Z/db-0/data.tar.zst"), "half")?;
    fs::write(at("db/latest.txt"), "not ours")?;
    let before = world.0.objects()?;

    let rules = [
        "--keep-last",
        "1",
        "--keep-daily",
        "2",
        "--keep-monthly",
        "1",
    ];
    let with = |more: &[&'static str]| [&rules[..], more].concat();
    let goes = [
        "20261101T040000Z",
        "20261101T160000Z",
        "20261126T040000Z",
        "20261126T160000Z",
        "20261127T040000Z",
        "20261128T040000Z",
    ]
    .map(|time| format!("db/{time}"));
    let told = world
        .prune(READER, &with(&["--dry-run", "-o", "json"]))?
        .with_code(0)?;
    let told: Value = serde_json::from_str(&told.out)?;
    ensure!(
        told["kind"] == "SnapshotPrune" && told["dryRun"] == true && told["timeZone"] == "UTC",
        "{told}"
    );
    ensure!(names(&told["items"], "goes") == goes, "{told:#}");
    ensure!(
        names(&told["items"], "left") == ["db/20261102T000000Z"],
        "{told:#}"
    );
    let stays = [
        "db/20261101T040000Z-other",
        "db/20261127T160000Z",
        "db/20261128T160000Z",
        "db-2/20261101T040000Z",
    ];
    ensure!(names(&told["items"], "stays") == stays, "{told:#}");
    let table = world
        .prune(READER, &with(&["--dry-run=client"]))?
        .with_code(0)?;
    ensure!(table.out.contains("last of day 2026-11-27"), "{table:?}");
    ensure!(table.err.contains("those of UTC"), "{table:?}");

    // Nobody has said yes, or to something else, or may.
    world
        .prune(ROOT, &rules)?
        .with_code(2)?
        .says(&["--confirm s3://backups/prod", "no rule keeps it"])?;
    let other = with(&["--confirm", "s3://backups"]);
    world
        .prune(ROOT, &other)?
        .with_code(2)?
        .says(&["the name is `s3://backups/prod`"])?;
    let yes = with(&["--confirm", REPOSITORY]);
    world
        .prune(READER, &yes)?
        .with_code(10)?
        .says(&["lack s3:PutObject"])?;
    ensure!(world.0.objects()? == before, "{:#?}", world.0.objects()?);

    let told = world.prune(ROOT, &yes)?.with_code(0)?;
    ensure!(told.out.lines().count() == goes.len(), "{told:?}");
    let mut wanted: BTreeSet<_> = stays.iter().map(|name| format!("prod/{name}")).collect();
    wanted.extend(["prod/db/20261102T000000Z", "prod/db/latest.txt"].map(str::to_owned));
    ensure!(world.there()? == wanted, "{:#?}", world.there()?);
    let kept: Vec<_> = before
        .iter()
        .filter(|object| {
            !goes
                .iter()
                .any(|name| object.starts_with(&format!("prod/{name}/")))
        })
        .cloned()
        .collect();
    ensure!(world.0.objects()? == kept, "{:#?}", world.0.objects()?);
    // Asked again there is nothing to do, and nobody has to say yes.
    world.prune(ROOT, &rules)?.with_code(0)?;
    ensure!(world.0.objects()? == kept);
    Ok(())
}

#[test]
fn the_newest_is_looked_at_before_anything_goes_and_what_was_begun_is_ended() -> Result<()> {
    let world = World(Server::plain()?);
    for day in ["20261126", "20261127", "20261128"] {
        world.take("a", "db", &format!("{day}T040000Z"))?;
        world.take("a", "web", &format!("{day}T040000Z"))?;
    }
    // The server tells another sum of it than its manifest: as large as it should be, and something else.
    let newest = world.0.object("db/20261128T040000Z/db-0/data.tar.zst")?;
    let tag = format!("{}-1", "f".repeat(32));
    output_of(
        Command::new("setfattr")
            .args(["-n", "user.etag", "-v", &tag])
            .arg(&newest),
    )?;
    let rules = ["--keep-last", "1", "--confirm", REPOSITORY];
    world.prune(ROOT, &rules)?.with_code(12)?.says(&[
        "nothing was deleted of workloads whose newest snapshot is not whole",
        "statefulset shop/db",
        "should be",
    ])?;
    let wanted = [
        "db/20261126T040000Z",
        "db/20261127T040000Z",
        "db/20261128T040000Z",
        "web/20261128T040000Z",
    ];
    let wanted: BTreeSet<_> = wanted.iter().map(|name| format!("prod/{name}")).collect();
    ensure!(world.there()? == wanted, "{:#?}", world.there()?);

    // A deletion that was cut off: what is left of it goes, whatever the rules keep.
    output_of(
        Command::new("setfattr")
            .args(["-x", "user.etag"])
            .arg(&newest),
    )?;
    let cut = world.0.data().join("prod/db/20261126T040000Z");
    fs::remove_file(cut.join("manifest.json"))?;
    fs::write(cut.join("deleted.json"), "{}")?;
    let list = ["snapshot", "list", REPOSITORY, "-o", "json"];
    let listed = end(world.0.migrate(ROOT, &list)?)?.with_code(0)?;
    let listed: Value = serde_json::from_str(&listed.out)?;
    ensure!(listed["items"][0]["state"] == "halfDeleted", "{listed:#}");
    let address = format!("{REPOSITORY}/db/20261126T040000Z");
    end(world.0.migrate(ROOT, &["restore-check", &address])?)?
        .with_code(12)?
        .says(&["half deleted", "snapshot list"])?;
    let keep_all = ["--keep-last", "100", "--confirm", REPOSITORY];
    let told = world.prune(ROOT, &keep_all)?.with_code(0)?;
    ensure!(
        told.out == format!("snapshot {address} deleted\n"),
        "{told:?}"
    );
    let first = world.there()?.first().cloned().context("a snapshot")?;
    ensure!(first == "prod/db/20261127T040000Z", "{first}");
    Ok(())
}
