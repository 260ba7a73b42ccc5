//! The scripts in the real shell of this machine, with streams that are cut while every command seems to end well.
mod world;

use std::{fs, os::unix::fs::MetadataExt as _};

use crate::{
    steps::movers::retry::Loss,
    transfer::{Ownership, RoundKind, Side, What, archive::Dialect},
};
use world::{Fault, World, programs};

fn told(loss: &Loss) -> String {
    match loss {
        Loss::Passing(error) => format!("passing: {error:#}"),
        Loss::Never(error) => format!("never: {error:#}"),
    }
}

#[tokio::test]
async fn a_volume_is_told_filled_and_compared() {
    let world = World::new();
    let shells = world.shells(Fault::None);
    let rounded = shells.round(RoundKind::Final).await.expect("a round");
    assert!(rounded.whole);
    assert_eq!(rounded.summary.findings, []);
    assert_eq!(rounded.summary.bytes, 300_000 + 9 + 3);
    world.is_moved();
    let compared = shells.verify(&[]).await.expect("a comparison").verification;
    assert!(compared.is_equal(), "{:#?}", compared.differences);
    assert_eq!(compared.source, compared.target);
    assert_eq!(
        shells
            .inspect(Side::Target)
            .await
            .expect("a look")
            .ownership,
        Ownership::Ours
    );
    // Once more, over what is there.
    fs::write(world.path("target").join("stray"), "x").expect("room");
    let compared = shells.verify(&[]).await.expect("a comparison").verification;
    let differences = compared.differences.iter().map(|one| one.path.to_string());
    assert_eq!(differences.collect::<Vec<_>>(), [".", "stray"]);
    shells.round(RoundKind::Final).await.expect("a round");
    assert!(!world.path("target").join("stray").exists());
    let before = fs::metadata(world.path("target")).expect("a folder");
    shells.target.finish().await.expect("an end");
    let after = fs::metadata(world.path("target")).expect("a folder");
    assert_eq!(
        (before.mtime(), before.mtime_nsec()),
        (after.mtime(), after.mtime_nsec())
    );
    assert_eq!(
        world.names(),
        ["-rf *", "a", "lost+found", "new\nline \"'$x", "out", "z"]
    );
    let compared = shells.verify(&[]).await.expect("a comparison").verification;
    assert!(compared.is_equal(), "{:#?}", compared.differences);
    // Without the mark it is anybody's.
    let refused = shells
        .round(RoundKind::Final)
        .await
        .expect_err("it is not ours");
    assert!(
        told(&refused).contains("5 entries that this run did not write"),
        "{refused}"
    );
    assert!(shells.target.wipe().await.is_err());
    world.is_moved();
}

#[tokio::test]
async fn what_was_written_is_taken_back_and_only_that() {
    let world = World::new();
    let shells = world.shells(Fault::None);
    assert_eq!(shells.target.wipe().await.expect("nothing is there"), 0);
    shells.round(RoundKind::Warm).await.expect("a round");
    assert_eq!(shells.target.wipe().await.expect("it is ours"), 5);
    assert_eq!(world.names(), ["lost+found"]);
    assert_eq!(shells.target.wipe().await.expect("it was wiped"), 0);
    // Another run's mark is not ours.
    fs::create_dir(world.path("target").join(".kubectl-migrate-r9-0")).expect("room");
    fs::write(
        world.path("target/.kubectl-migrate-r9-0/mark"),
        "kubectl-migrate working directory 1\nr9-0\n",
    )
    .expect("room");
    let found = shells.inspect(Side::Target).await.expect("a look");
    assert_eq!(found.ownership, Ownership::OtherRun("r9-0".to_owned()));
    assert!(shells.round(RoundKind::Warm).await.is_err());
}

#[tokio::test]
async fn a_stream_that_is_cut_at_any_byte_goes_on_there() {
    let world = World::new();
    for step in 0..5 {
        // At members' ends and in the middle of headers and contents.
        let at = step * 64_001 + step % 3;
        for fault in [
            Fault::TellingEnds(at),
            Fault::OnlyBytesEnd(at),
            Fault::InputEnds(at),
            Fault::InputChanges(at),
            Fault::Unheard(step + 1),
        ] {
            let shells = world.shells(fault);
            let rounded = shells.round(RoundKind::Final).await;
            rounded.unwrap_or_else(|loss| panic!("{fault:?}: {}", told(&loss)));
            world.is_moved();
            let compared = world.shells(Fault::None).verify(&[]).await.expect("both");
            let differences = compared.verification.differences;
            assert!(differences.is_empty(), "{fault:?}: {differences:#?}");
        }
    }
}

#[tokio::test]
async fn what_is_read_back_is_cut_and_goes_on_too() {
    let world = World::new();
    let shells = world.shells(Fault::None);
    shells.round(RoundKind::Final).await.expect("a round");
    for at in (0..40).map(|step| step * 8_191 + step % 5) {
        for fault in [Fault::TellingEnds(at), Fault::OnlyBytesEnd(at)] {
            let compared = world.shells(fault).verify(&[]).await;
            let compared = compared.unwrap_or_else(|loss| panic!("{fault:?}: {}", told(&loss)));
            assert!(compared.verification.is_equal(), "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_byte_that_changed_on_the_way_is_never_taken_for_the_source_s() {
    let world = World::new();
    for at in [100, 2_000, 150_000, 300_000] {
        let shells = world.shells(Fault::TellingChanges(at));
        let lost = shells
            .round(RoundKind::Final)
            .await
            .expect_err("it changed");
        // In a header it is seen at once, in contents by the digest.
        assert!(
            told(&lost).contains("is not what its `sha256sum` read")
                || told(&lost).contains("is damaged"),
            "{at}: {lost}"
        );
    }
    let shells = world.shells(Fault::Always);
    let lost = shells
        .round(RoundKind::Final)
        .await
        .expect_err("nothing comes");
    assert!(
        told(&lost).starts_with("passing: the source: the tar of its volume was cut off 6 times"),
        "{lost}"
    );
    world
        .shells(Fault::None)
        .round(RoundKind::Final)
        .await
        .expect("a round");
    world.is_moved();
}

#[tokio::test]
async fn who_was_taken_over_from_pours_nothing_any_more() {
    let world = World::new();
    let shells = world.shells(Fault::None);
    let target = &shells.target;
    target.begin("session.1.old").await.expect("a beginning");
    let (pieces, poured) = tokio::sync::mpsc::channel(1);
    let pouring = target.pour("session.1.old", poured, |_| ());
    let other = async {
        shells.round(RoundKind::Final).await.expect("a round");
        pieces.send(vec![0; 200_000]).await.expect("room");
        drop(pieces);
    };
    let (poured, ()) = tokio::join!(pouring, other);
    let lost = poured.expect_err("it is gone");
    assert!(told(&lost).contains("another client took over"), "{lost}");
    world.is_moved();
}

/// What will be the same another time, with its evidence.
fn never(loss: Loss) -> crate::engine::Failure {
    match loss {
        Loss::Never(error) => error.downcast().expect("a failure"),
        Loss::Passing(error) => panic!("it would be tried again: {error:#}"),
    }
}

#[tokio::test]
async fn a_tar_that_cannot_read_or_write_everything_says_why() {
    let world = World::new();
    let reads = [
        "sh",
        "sha256sum",
        "tee",
        "tail",
        "wc",
        "sleep",
        "du",
        "find",
        "stat",
    ];
    let complaint = "tar: ./a: Cannot open: Permission denied";
    let place = programs(&reads, &format!("echo '{complaint}' >&2; exit 2"));
    let poor = || world.shells_of(Fault::None, &["/bin/sh"], Some(place.path().to_owned()));
    let mut shells = world.shells(Fault::None);
    shells.source = poor().source;
    let failure = never(shells.round(RoundKind::Final).await.expect_err("no right"));
    assert_eq!(failure.kind, crate::engine::Kind::Blocked);
    assert_eq!(failure.evidence, [complaint]);

    let fills = [
        "sh",
        "sha256sum",
        "cat",
        "rm",
        "sleep",
        "head",
        "mkfifo",
        "mkdir",
        "mv",
        "sync",
        "wc",
    ];
    let complaint = "tar: a: Cannot write: No space left on device";
    let place = programs(
        &fills,
        &format!("head -c 1000 >/dev/null; echo '{complaint}' >&2; exit 2"),
    );
    let poor = || world.shells_of(Fault::None, &["/bin/sh"], Some(place.path().to_owned()));
    let mut shells = world.shells(Fault::None);
    shells.target = poor().target;
    let failure = never(shells.round(RoundKind::Final).await.expect_err("no room"));
    assert!(
        failure
            .message
            .ends_with("that fills the volume ended with status 2"),
        "{failure}"
    );
    assert_eq!(failure.evidence, [complaint]);
}

#[tokio::test]
async fn what_the_target_cannot_keep_is_a_finding_and_nothing_else_is() {
    let world = World::new();
    let target = world.shells(Fault::None).target;
    let lines = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    let kept = target.unpacked(
        2,
        &lines(&[
            "tar: x: Cannot change ownership to uid 1, gid 1: Operation not permitted",
            "tar: y: Cannot change ownership to uid 1, gid 1: Operation not permitted",
            "tar: setxattrat: Cannot set 'user.a' extended attribute for file 'x': Operation not supported",
            "tar: Exiting with failure status due to previous errors",
        ]),
    );
    let kept = kept.expect("findings");
    let kept: Vec<_> = kept
        .iter()
        .map(|found| (found.what.clone(), found.count))
        .collect();
    assert_eq!(
        kept,
        [(What::Owner, 2), (What::Xattr(b"user.a".to_vec()), 1)]
    );
    let both = [
        "tar: x: Cannot change ownership to uid 1, gid 1: Operation not permitted",
        "tar: z: Cannot open: Input/output error",
    ];
    let failure = never(target.unpacked(2, &lines(&both)).expect_err("an error"));
    assert_eq!(failure.evidence, [both[1]]);
}

#[tokio::test]
async fn what_the_image_lacks_is_named() {
    let world = World::new();
    let programs = programs(&["sh", "tar", "cat", "rm", "sleep", "du"], "");
    let shells = world.shells_of(Fault::None, &["/bin/sh"], Some(programs.path().to_owned()));
    let looked = shells.source.look().await.expect("a look");
    assert_eq!(looked.missing, ["`sha256sum`", "`tee`", "`tail`", "`wc`"]);
    let missing = shells.target.missing().await.expect("a look");
    assert!(missing.contains(&"`mkfifo`".to_owned()), "{missing:?}");
    assert_eq!(looked.dialect(), Dialect::Gnu);
}

#[tokio::test]
async fn busybox_alone_is_enough() {
    let world = World::new();
    let mut shells = world.shells_of(Fault::None, &["busybox", "sh"], None);
    shells.dialect = Dialect::Plain;
    let looked = shells.source.look().await.expect("a look");
    assert_eq!(
        (looked.dialect(), looked.missing.len()),
        (Dialect::Plain, 0)
    );
    let rounded = shells.round(RoundKind::Final).await.expect("a round");
    let named: Vec<_> = rounded
        .summary
        .findings
        .iter()
        .map(|found| found.what.clone())
        .collect();
    assert_eq!(
        named,
        [
            What::Time,
            What::Time,
            What::Xattr(b"*".to_vec()),
            What::Holes
        ]
    );
    world.is_moved();
    let compared = shells.verify(&named).await.expect("both").verification;
    assert!(compared.is_equal(), "{:#?}", compared.differences);
    // The symlink's own time is not set.
    assert_eq!(
        (compared.findings.len(), compared.findings[0].count),
        (1, 1)
    );
    assert_eq!(compared.source.bytes, compared.target.bytes);
    shells.target.finish().await.expect("an end");
}

#[tokio::test]
async fn options_of_an_image_s_environment_hide_nothing() {
    let world = World::new();
    let shell = ["env", "TAR_OPTIONS=--exclude=large", "/bin/sh"];
    let shells = world.shells_of(Fault::None, &shell, None);
    shells.round(RoundKind::Final).await.expect("a round");
    world.is_moved();
}

#[tokio::test]
async fn what_still_unpacks_ends_before_the_volume_is_wiped() {
    let world = World::new();
    let target = world.shells(Fault::None).target;
    let tar = std::process::Command::new("tar")
        .args(["-c", "-C"])
        .arg(world.path("source"))
        .arg(".")
        .output()
        .expect("a tar");
    target.begin("session.1.old").await.expect("a beginning");
    let (pieces, poured) = tokio::sync::mpsc::channel(1);
    pieces
        .send(tar.stdout[..150_000].to_vec())
        .await
        .expect("room");
    drop(pieces);
    target
        .pour("session.1.old", poured, |_| ())
        .await
        .expect("it is there");
    target.wipe().await.expect("it is ours");
    assert!(!world.path("session/session.1.old").exists());
    assert_eq!(world.names(), ["lost+found"]);
}

#[tokio::test]
async fn an_owner_that_a_plain_tar_cuts_off_is_refused() {
    let world = World::new();
    let reads = [
        "sh",
        "sha256sum",
        "tee",
        "tail",
        "wc",
        "sleep",
        "du",
        "find",
    ];
    let place = programs(&reads, "exit 0");
    let stat = place.path().join("stat");
    fs::rename(place.path().join("tar"), &stat).expect("room");
    fs::write(&stat, "#!/bin/sh\necho '0 0'\necho '1000650000 0'\n").expect("room");
    let other = programs(&[], "exit 0");
    fs::rename(other.path().join("tar"), place.path().join("tar")).expect("room");
    let poor = world.shells_of(Fault::None, &["/bin/sh"], Some(place.path().to_owned()));
    let looked = poor.source.look().await.expect("a look");
    assert_eq!(looked.owner.as_deref(), Some("1000650000:0"));
    let mut shells = world.shells(Fault::None);
    shells.source = poor.source;
    let read = shells.source.read(Side::Source, "r1-0", |_| ()).await;
    let failure = never(read.expect_err("it is cut off"));
    assert!(
        failure.message.contains("1000650000:0 is more than"),
        "{failure}"
    );
}

#[tokio::test]
async fn holes_are_read_when_both_sides_are_compared() {
    let world = World::new();
    let reads = ["sh", "sha256sum", "tee", "tail", "wc", "sleep", "du"];
    let asked = world.path("asked");
    let real = ["/usr/bin/tar", "/bin/tar"];
    let real = real.iter().find(|path| fs::exists(path).unwrap_or(false));
    let real = real.expect("a tar");
    let tar = format!("echo \"$*\" >>'{}'; exec {real} \"$@\"", asked.display());
    let place = programs(&reads, &tar);
    let mut shells = world.shells(Fault::None);
    let path = Some(place.path().to_owned());
    shells.source = world.shells_of(Fault::None, &["/bin/sh"], path).source;
    let is_sparse = || {
        let all = fs::read_to_string(&asked).expect("it was asked");
        let mut volumes = all.lines().filter(|line| line.ends_with("-f - ."));
        volumes.next_back().expect("a volume").contains("--sparse")
    };
    shells.round(RoundKind::Final).await.expect("a round");
    assert!(is_sparse());
    let compared = shells.verify(&[]).await.expect("both").verification;
    assert!(compared.is_equal(), "{:#?}", compared.differences);
    assert!(!is_sparse());
}

#[tokio::test]
async fn attributes_that_cannot_be_read_block_whatever_the_status_is() {
    let world = World::new();
    let reads = [
        "sh",
        "sha256sum",
        "tee",
        "tail",
        "wc",
        "sleep",
        "du",
        "find",
        "stat",
    ];
    let complaint = "tar: ./a: Warning: Cannot llistxattr: Input/output error";
    let place = programs(
        &reads,
        &format!("head -c 1024 /dev/zero; echo '{complaint}' >&2"),
    );
    fs::hard_link("/usr/bin/head", place.path().join("head"))
        .or_else(|_| std::os::unix::fs::symlink("/usr/bin/head", place.path().join("head")))
        .expect("a link");
    let path = Some(place.path().to_owned());
    let poor = world.shells_of(Fault::None, &["/bin/sh"], path).source;
    let (sender, mut pieces) = tokio::sync::mpsc::channel(8);
    let (told, ()) = tokio::join!(poor.tell("read", sender, super::told::Pace::Free), async {
        while pieces.recv().await.is_some() {}
    });
    let failure = never(told.expect_err("it blocks"));
    assert_eq!(failure.kind, crate::engine::Kind::Blocked);
    assert_eq!(failure.evidence, [complaint]);
}

#[tokio::test]
async fn an_older_client_changes_nothing_of_a_newer_one_s() {
    let world = World::new();
    let mut newer = world.shells(Fault::None);
    (newer.fence, newer.target.fence) = (2, 2);
    newer.round(RoundKind::Final).await.expect("a round");
    let older = world.shells(Fault::None).target;
    for lost in [
        older
            .begin("session.1.old")
            .await
            .expect_err("it is fenced"),
        older
            .again("session.1.old")
            .await
            .expect_err("it is fenced"),
        older.wipe().await.map(|_| ()).expect_err("it is fenced"),
        older.finish().await.expect_err("it is fenced"),
    ] {
        assert!(told(&lost).starts_with("never: "), "{lost}");
    }
    world.is_moved();
}

#[tokio::test]
async fn a_target_hears_that_more_will_come() {
    let world = World::new();
    let mut target = world.shells(Fault::None).target;
    target.stays = std::time::Duration::from_millis(20);
    target.begin("session.1.old").await.expect("a beginning");
    let (pieces, poured) = tokio::sync::mpsc::channel(1);
    let pouring = target.pour("session.1.old", poured, |_| ());
    let other = async {
        while !world.path("session/session.1.old/alive").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        fs::rename(world.path("session/session.1.old"), world.path("elsewhere")).expect("room");
    };
    let (lost, ()) = tokio::join!(pouring, other);
    drop(pieces);
    let lost = lost.expect_err("it is gone");
    assert!(told(&lost).starts_with("passing: "), "{lost}");
    let short = target.unpacked(2, &["tar: Unexpected EOF in archive".to_owned()]);
    assert!(matches!(short, Err(Loss::Passing(_))));
}

#[tokio::test]
async fn complaints_that_were_cut_off_are_not_taken_for_all() {
    let world = World::new();
    let fills = [
        "sh",
        "sha256sum",
        "cat",
        "rm",
        "sleep",
        "head",
        "mkfifo",
        "mkdir",
        "mv",
        "sync",
        "wc",
        "seq",
    ];
    let line = "tar: $i: Cannot change ownership to uid 1, gid 1: Operation not permitted";
    let tar = format!("cat >/dev/null; for i in $(seq 1000); do echo \"{line}\"; done >&2; exit 2");
    let place = programs(&fills, &tar);
    let path = Some(place.path().to_owned());
    let target = world.shells_of(Fault::None, &["/bin/sh"], path).target;
    target.begin("session.1.x").await.expect("a beginning");
    let failure = never(target.close("session.1.x").await.expect_err("it is cut"));
    assert!(
        failure.message.ends_with("more than can be told"),
        "{failure}"
    );
}

#[tokio::test]
async fn what_takes_long_is_heard_of() {
    let world = World::new();
    let fills = ["sh", "cat", "mkdir", "sync", "mv"];
    let place = programs(&fills, "");
    for (name, does) in [
        ("sleep", "exec /bin/sleep 0.01"),
        ("rm", "/bin/sleep 1; exec /bin/rm \"$@\""),
    ] {
        let other = programs(&[], does);
        fs::rename(other.path().join("tar"), place.path().join(name)).expect("room");
    }
    world
        .shells(Fault::None)
        .round(RoundKind::Final)
        .await
        .expect("a round");
    let path = Some(place.path().to_owned());
    let target = world.shells_of(Fault::None, &["/bin/sh"], path).target;
    let said = (target.shell.run)(target.command(&["wipe"]), Vec::new(), 1 << 16).await;
    let said = said.expect("an answer");
    assert!(said.complaint.contains("alive"), "{}", said.complaint);
    assert!(said.out.ends_with(b"end\n"));
    assert_eq!(world.names(), ["lost+found"]);
}
