//! Volumes go through a bucket of a real S3 server, between movers that cannot meet or are not to.
use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use anyhow::{Result, ensure};
use rustix::process::Pid;
use serde_json::{Value, json};

use super::{
    lost::{LOST, lose_now},
    movers::{How, whole},
    processes::{self, Held},
    proxy::Proxy,
    s3::{READER, ROOT, Server},
    small::{NAME, Small},
    support::{Namespace, On, PlanFile, Running, end, mover_image, wait_for},
    tree,
    volumes::Prepared,
    wire::Cut,
    workload,
};

const ADDRESS: &str = "s3://backups/moving";
/// The Secret with the bucket's credentials.
const SECRET: &str = "backups";
/// For which a mover runs before it stands still again.
const MOMENT: Duration = Duration::from_millis(20);
/// Files that are put in place as soon as each is complete.
const FILES: usize = 24;
const EACH: u64 = 8 << 20;

/// The StatefulSet, whose bytes may go through the bucket alone, with enough of them to be cut off in the middle.
fn small(name: &str, server: &Server, rounds: u32) -> Result<Small> {
    small_with(name, server, |plan| {
        plan["warm"] = json!({"rounds": rounds});
    })
}

/// The same with more in its plan.
fn small_with(name: &str, server: &Server, more: impl FnOnce(&mut Value)) -> Result<Small> {
    let source = Namespace::new(On::A, &format!("through-{name}"), &[])?;
    let target = Namespace::new(On::A, &format!("through-{name}-new"), &[])?;
    source.apply(&[server.secret(SECRET)])?;
    let small = Small::within(source, target, |plan, statefulset| {
        plan["mover"] = bucket_alone();
        // So that there is a middle to cut it off in.
        plan["mover"]["limit"] = json!("64MiB/s");
        more(plan);
        let claim = &mut statefulset["spec"]["volumeClaimTemplates"][0]["spec"];
        claim["resources"]["requests"]["storage"] = json!("1Gi");
    })?;
    let folder = small.source.folder("data-db-0")?.join("large");
    fs::create_dir(&folder)?;
    for number in 0..FILES {
        tree::noise(&folder.join(format!("{number:02}")), EACH)?;
    }
    Ok(small)
}

/// Movers whose bytes may go through the bucket and by no other way.
fn bucket_alone() -> Value {
    json!({"ways": ["bucket"], "bucket": {"address": ADDRESS, "secret": SECRET}})
}

/// Parts of unfinished uploads that the server has.
fn parts(server: &Server) -> Result<usize> {
    let found = server.objects()?;
    Ok(found.iter().filter(|path| path.contains(".sgwtmp")).count())
}

fn is_empty(server: &Server) -> Result<()> {
    let left = server.objects()?;
    ensure!(left.is_empty(), "left in the bucket: {left:#?}");
    Ok(())
}

/// Files that are in place; their folder comes with the first.
fn placed(folder: &Path) -> usize {
    whole(&folder.join("large")).map_or(0, |files| files.len())
}

/// The only mover of a side.
fn mover(run: &str, side: &str) -> Result<Pid> {
    wait_for(&format!("the mover of the {side}"), || {
        Ok(processes::movers(run, side)?.into_iter().next())
    })
}

/// Goes on with what was killed, as soon as its lock has run out, and comes to this.
fn again(small: &Small, until: &str) -> Result<Running> {
    wait_for("the dead run's lock to run out", || {
        let mut client = Running::start(small.migrate(&["run", NAME, "--take-over", "--yes"])?)?;
        // One that is too early ends.
        Ok(client.until(until).is_ok().then_some(client))
    })
}

#[test]
fn two_clusters_that_never_meet_are_copied_between_through_a_bucket() -> Result<()> {
    let source = Namespace::new(On::A, "data-never", &[])?;
    let target = Namespace::new(On::B, "data-never", &[])?;
    let server = Server::for_pods_of_both()?;
    source.apply(&[server.secret(SECRET)])?;
    for place in [&source, &target] {
        place.apply(&[workload::claim("rows", "1Gi")])?;
    }
    let (from, to) = (source.folder("rows")?, target.folder("rows")?);
    tree::fill(&from)?;
    tree::noise(&from.join("large"), 40 << 20)?;
    let image = mover_image()?;
    let both = [
        "--to-namespace",
        &target.name,
        "--to-kubeconfig",
        &On::B.kubeconfig()?,
        "--mover-image",
        &image,
    ];
    let copy = [
        "copy",
        "pvc/rows",
        "pvc/rows",
        "--yes",
        "--through",
        ADDRESS,
        "--s3-secret",
        SECRET,
        "--way",
        "direct,bucket",
    ];
    let cut = Cut::new()?;
    let reasons = [
        "the target mover cannot reach ",
        "the source mover cannot reach ",
        "`client` is not among spec.mover.ways",
    ];
    let told = end(source.migrate(&[&copy[..], &both].concat())?)?
        .with_code(0)?
        .says(&[
            "claim rows: its movers cannot reach each other, so its bytes go through the bucket: ",
        ])?
        .says(&reasons)?;
    tree::assert_equal(&from, &to, 1)?;
    is_empty(&server)?;
    let report = source.report("copy-rows-rows")?;
    let copied = &report["outputs"]["final-copy"]["volumes"][0];
    let because = copied["way"]["bucket"]["because"].to_string();
    let verified = &report["outputs"]["verify"]["volumes"][0];
    ensure!(
        verified["source_digest"].is_string()
            && verified["source_digest"] == verified["target_digest"],
        "{verified}"
    );
    let shown = end(source.migrate(&["report", "copy-rows-rows", "-o", "md"])?)?.with_code(0)?;
    // Markdown obeys nothing that it quotes.
    let shown = shown.out.replace('\\', "");
    for reason in reasons {
        ensure!(because.contains(reason), "no {reason} in {because}");
        ensure!(shown.contains(reason), "no {reason} in {shown}");
    }

    // The receipt is read again by the same way, and tells which side is another one now.
    let read = ["report", "copy-rows-rows", "--verify"];
    // The journal knows the rest.
    let there = ["--to-kubeconfig", &On::B.kubeconfig()?];
    let read = || end(source.migrate(&[&read[..], &there].concat())?);
    read()?.with_code(0)?;
    is_empty(&server)?;
    fs::write(to.join("more"), "written since")?;
    read()?
        .with_code(12)?
        .says(&["more", "the source still is, whole"])?;
    is_empty(&server)?;
    drop(cut);

    // No credential is anywhere but in the Secret.
    let journal = source.get("configmap/migrate-copy-rows-rows")?.to_string();
    for text in [&journal, &told.out, &told.err, &shown] {
        ensure!(!text.contains(ROOT[1]), "a secret in {text}");
    }
    for place in [&source, &target] {
        let left = place.kubectl(&["get", "jobs,secrets", "-o", "name"])?;
        ensure!(
            left.lines().all(|name| !name.contains("migrate-")),
            "{left}"
        );
    }
    Ok(())
}

#[test]
fn what_is_killed_in_the_upload_and_in_the_filling_goes_on_and_can_be_taken_back() -> Result<()> {
    let server = Server::for_pods(On::A)?;
    let small = small("kill", &server, 0)?;
    let plan = end(small.migrate(&["plan", "-f", &small.plan()])?)?.with_code(0)?;
    ensure!(
        plan.out.contains("copy all through s3://backups/moving"),
        "{}",
        plan.out
    );
    end(small.migrate(&["preflight", "-f", &small.plan()])?)?.with_code(0)?;
    is_empty(&server)?;

    // Nothing goes before the freeze: the upload is cut off while writes are stopped.
    let client = Running::start(small.run()?)?;
    wait_for("parts in the bucket", || {
        Ok((parts(&server)? >= 3).then_some(()))
    })?;
    ensure!(client.kill()?.code.is_none(), "it was not killed");
    let run = processes::run_of(&small.source, NAME)?;
    let sent = server.objects()?;
    ensure!(
        sent.iter()
            .all(|path| path.contains(&run) || path.contains(".sgwtmp")),
        "not of run {run}: {sent:#?}"
    );
    ensure!(small.source.get("statefulset/db")?["spec"]["replicas"] == 0);

    // Next it is cut off when some of the files are in place: the target's mover runs for a moment at a time.
    let target = small.target.folder("data-db-0")?;
    let client = again(&small, "final-copy: started")?;
    let held = Held::new(&[mover(&run, "target")?]);
    wait_for("files in place", || {
        held.let_run(MOMENT);
        Ok((placed(&target) > 0).then_some(()))
    })?;
    let first = placed(&target);
    client.kill()?;
    drop(held);
    ensure!(first < FILES, "it was over too soon");
    let archive = server.object("final.tar.zst")?;
    let made = fs::metadata(&archive)?.ino();

    // The archive is whole, and nothing of it is sent again; which file it is shows it while it is there.
    let client = again(&small, "verify: started")?;
    ensure!(fs::metadata(&archive)?.ino() == made, "it was sent again");
    client.end()?.with_code(13)?;
    small.is_moved()?;
    is_empty(&server)?;
    let report = small.source.report(NAME)?;
    let copied = &report["outputs"]["final-copy"]["volumes"][0];
    ensure!(copied["way"]["bucket"].is_object(), "{copied}");
    println!("{first} of {FILES} files were in place when it was killed");

    end(small.migrate(&["rollback", NAME, "--yes", "--confirm", NAME])?)?.with_code(0)?;
    small.is_back()?;
    is_empty(&server)
}

#[test]
fn movers_that_die_on_either_side_of_the_bucket_are_replaced_and_send_nothing_twice() -> Result<()>
{
    let server = Server::for_pods(On::A)?;
    let small = small("lost", &server, 0)?;
    let mut client = Running::start(small.run()?)?;
    wait_for("parts in the bucket", || {
        Ok((parts(&server)? >= 3).then_some(()))
    })?;
    let run = processes::run_of(&small.source, NAME)?;
    lose_now(&small.source, &run, "source", How::Killed)?;
    let sent = parts(&server)?;
    ensure!(sent >= 3, "{:?}", server.objects()?);

    // Then the other one, when some of the files are in place.
    let target = small.target.folder("data-db-0")?;
    let held = Held::new(&[mover(&run, "target")?]);
    wait_for("files in place", || {
        held.let_run(MOMENT);
        Ok((placed(&target) > 0).then_some(()))
    })?;
    let archive = server.object("final.tar.zst")?;
    let made = fs::metadata(&archive)?.ino();
    lose_now(&small.target, &run, "target", How::Deleted)?;
    drop(held);
    let there = whole(&target.join("large"))?;
    ensure!(there.len() < FILES, "it was over too soon");
    client.until("verify: started")?;
    ensure!(fs::metadata(&archive)?.ino() == made, "it was sent again");
    let ended = client.end()?.with_code(13)?;
    let told = ended.err.matches(LOST).count();
    ensure!(told >= 2, "{told} were lost: {}", ended.err);
    small.is_moved()?;
    let now = whole(&target.join("large"))?;
    for (name, inode) in &there {
        ensure!(now.get(name) == Some(inode), "{name} was written again");
    }
    is_empty(&server)
}

#[test]
fn a_bucket_that_goes_away_in_the_middle_loses_nothing_and_what_is_taken_back_leaves_nothing()
-> Result<()> {
    let mut server = Server::for_pods(On::A)?;
    let small = small("gone", &server, 1)?;
    let mut client = Running::start(small.run()?)?;
    client.until("final-copy: started")?;
    wait_for("the upload", || Ok((parts(&server)? > 0).then_some(())))?;
    server.lose()?;
    // It is frozen, and says what is the matter and how to go on.
    client
        .end()?
        .with_code(14)?
        .says(&["s3://backups/moving/m/moving-", "run m", "rollback m"])?;
    ensure!(small.source.get("statefulset/db")?["spec"]["replicas"] == 0);
    server.find_again()?;
    ensure!(parts(&server)? > 0, "{:?}", server.objects()?);

    // Then it is there, and denies: nobody may write any more.
    let [id, key] = READER;
    let secret = |id: &str, key: &str| -> Value {
        let mut secret = server.secret(SECRET);
        secret["stringData"]["AWS_ACCESS_KEY_ID"] = json!(id);
        secret["stringData"]["AWS_SECRET_ACCESS_KEY"] = json!(key);
        secret
    };
    small.source.apply(&[secret(id, key)])?;
    end(small.migrate(&["run", NAME])?)?.with_code(14)?.says(&[
        "by no other way they may",
        "run m",
        "rollback m",
    ])?;

    // All is taken back all the same; what is in the bucket is told to be left, and found later.
    end(small.migrate(&["rollback", NAME, "--yes"])?)?
        .with_code(0)?
        .says(&["may be left in s3://backups/moving/m/moving-", "`cleanup`"])?;
    small.is_back()?;
    ensure!(parts(&server)? > 0, "{:?}", server.objects()?);
    small.source.apply(&[secret(ROOT[0], ROOT[1])])?;
    let forget = ["cleanup", NAME, "--forget", "--confirm", NAME];
    end(small.migrate(&forget)?)?
        .with_code(0)?
        .says(&["what the movers' bytes went through"])?;
    is_empty(&server)?;

    // And goes when all is well again.
    end(small.migrate(&["run", "-f", &small.plan()])?)?.with_code(13)?;
    small.is_moved()?;
    is_empty(&server)
}

#[test]
fn a_file_that_changed_needs_no_room_for_two_of_it() -> Result<()> {
    let namespace = Namespace::new(On::A, "data-room", &[])?;
    let server = Server::for_pods(On::A)?;
    namespace.apply(&[server.secret(SECRET), workload::claim("from", "128Mi")])?;
    let from = namespace.folder("from")?;
    tree::noise(&from.join("large"), 80 << 20)?;
    let to = Prepared::new(&namespace, "tmpfs-volume", "to", "128Mi")?;
    let image = mover_image()?;
    let copy = [
        "copy",
        "pvc/from",
        "pvc/to",
        "--yes",
        "--storage-class",
        "prepared",
        "--mover-image",
        &image,
        "--through",
        ADDRESS,
        "--s3-secret",
        SECRET,
        "--way",
        "bucket",
    ];
    let proxy = Proxy::that_kills_after(On::A, "copy-from-to", "warm-copy done")?;
    let cut = proxy.end(namespace.migrate(&copy)?)?;
    ensure!(cut.code.is_none(), "{cut:?}");
    // All of it is another one now.
    tree::noise(&from.join("large"), 90 << 20)?;
    end(namespace.migrate(&["run", "copy-from-to"])?)?.with_code(0)?;
    tree::assert_equal(&from, &to.path()?, 0)?;
    is_empty(&server)
}

#[test]
fn a_freeze_that_would_be_too_long_is_refused_and_one_that_fits_is_foretold() -> Result<()> {
    let server = Server::for_pods(On::A)?;
    let small = small_with("max", &server, |plan| {
        plan["freeze"] = json!({"max": "100ms"});
    })?;
    end(small.run()?)?.with_code(10)?.says(&[
        "writes would have to stop for about ",
        "have to go through the bucket once more, all of them",
    ])?;
    ensure!(small.source.get("statefulset/db")?["spec"] == small.spec);
    end(small.migrate(&["rollback", NAME, "--yes"])?)?.with_code(0)?;
    small.is_back()?;
    is_empty(&server)?;

    let longer = json!({
        "playbook": "statefulset", "source": {"statefulset": "db"}, "objects": "copy",
        "target": {"namespace": small.target.name}, "mover": bucket_alone(),
        "freeze": {"max": "1h"},
    });
    end(small.migrate(&["cleanup", NAME, "--forget", "--confirm", NAME])?)?.with_code(0)?;
    let plan = PlanFile::new(&small.source.name, NAME, longer)?;
    end(small.migrate(&["run", "-f", &plan.path()])?)?.with_code(13)?;
    let report = small.source.report(NAME)?;
    let warm = &report["outputs"]["warm-copy"];
    // It went once, however many rounds are allowed, and was measured.
    ensure!(warm["volumes"][0]["rounds"] == 1, "{warm}");
    ensure!(warm["expected_freeze"].as_f64() > Some(0.0), "{warm}");
    small.is_moved()?;
    is_empty(&server)
}

#[test]
fn a_statefulset_gets_other_volumes_in_place_through_a_bucket() -> Result<()> {
    let place = Namespace::new(On::A, "through-place", &[])?;
    let server = Server::for_pods(On::A)?;
    place.apply(&[server.secret(SECRET)])?;
    workload::start(&place, 1)?;
    tree::fill(&place.folder("data-db-0")?)?;
    let client = workload::Client::of(&place, "db-0")?;
    let old = place.folder("data-db-0")?;
    let spec = json!({
        "playbook": "statefulset", "source": {"statefulset": "db"},
        "target": {"storageClass": "other"}, "mover": bucket_alone(),
    });
    let plan = PlanFile::new(&place.name, "grow", spec)?;
    end(place.migrate(&["run", "-f", &plan.path(), "--yes"])?)?.with_code(0)?;
    let acknowledged = client.acknowledged()?;
    place.ready("statefulset/db")?;
    let there = workload::records(&place.folder("log-db-0")?)?;
    ensure!(
        there >= acknowledged,
        "{acknowledged} were acknowledged, and {there} are there"
    );
    tree::assert_equal(&old, &place.folder("data-db-0")?, 1)?;
    let report = place.report("grow")?;
    for volume in report["outputs"]["final-copy"]["volumes"]
        .as_array()
        .into_iter()
        .flatten()
    {
        ensure!(volume["way"]["bucket"].is_object(), "{volume}");
    }
    is_empty(&server)
}
