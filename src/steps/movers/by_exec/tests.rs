//! The scripts in the real shell of this machine, with streams that are cut while every command seems to end well.
mod clients;
mod hidden;
mod world;

use std::{fs, os::unix::fs::MetadataExt as _};

use crate::{
    steps::movers::retry::Loss,
    transfer::{Excuse, Ownership, RoundKind, Side, What, archive::Dialect, path::TreePath},
};
use world::{FILLS, Fault, READS, World, program, programs};

fn told(loss: &Loss) -> String {
    match loss {
        Loss::Passing(error) => format!("passing: {error:#}"),
        Loss::Never(error) => format!("never: {error:#}"),
    }
}

/// What will be the same another time, with its evidence.
fn never(loss: Loss) -> crate::engine::Failure {
    match loss {
        Loss::Never(error) => error.downcast().expect("a failure"),
        Loss::Passing(error) => panic!("it would be tried again: {error:#}"),
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
async fn a_tar_that_cannot_read_or_write_everything_says_why() {
    let world = World::new();
    let complaint = "tar: ./a: Cannot open: Permission denied";
    let place = programs(&READS, &format!("echo '{complaint}' >&2; exit 2"));
    let poor = || world.shells_of(Fault::None, &["/bin/sh"], Some(place.path().to_owned()));
    let mut shells = world.shells(Fault::None);
    shells.source = poor().source;
    let failure = never(shells.round(RoundKind::Final).await.expect_err("no right"));
    assert_eq!(failure.kind, crate::engine::Kind::Blocked);
    assert_eq!(failure.evidence, [complaint]);

    let complaint = "tar: a: Cannot write: No space left on device";
    let place = programs(
        &FILLS,
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
            What::Fraction,
            What::LinkTime,
            What::Xattr(b"*".to_vec()),
            What::Holes
        ]
    );
    world.is_moved();
    let excused: Vec<_> = rounded.summary.findings.iter().map(Excuse::of).collect();
    let compared = shells.verify(&excused).await.expect("both").verification;
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
async fn all_complaints_are_heard_or_none_is_believed() {
    let world = World::new();
    let line = "tar: $i: Cannot change ownership to uid 1, gid 1: Operation not permitted";
    let much = format!("i=0; while [ $i -lt 30000 ]; do echo \"{line}\"; i=$((i + 1)); done");
    let place = programs(
        &FILLS,
        &format!("cat >/dev/null; {{ {much}; }} >&2; exit 2"),
    );
    let path = Some(place.path().to_owned());
    let target = world.shells_of(Fault::None, &["/bin/sh"], path).target;
    target.begin("session.1.x").await.expect("a beginning");
    let kept = target.close("session.1.x").await.expect("findings");
    let kept: Vec<_> = kept
        .iter()
        .map(|found| (found.what.clone(), found.count))
        .collect();
    assert_eq!(kept, [(What::Owner, 30_000)]);

    let line = "tar: ./a b: Cannot utime: Operation not permitted";
    program(
        &place,
        "tar",
        &format!("cat >/dev/null; echo '{line}' >&2; exit 2"),
    );
    target.begin("session.1.w").await.expect("a beginning");
    let kept = target.close("session.1.w").await.expect("findings");
    let excuses: Vec<_> = kept.iter().map(Excuse::of).collect();
    let only = vec![TreePath::new("a b").expect("a path")];
    assert_eq!(
        excuses,
        [Excuse {
            what: What::Time,
            only
        }]
    );

    program(
        &place,
        "tar",
        "cat >/dev/null; head -c 70000000 /dev/zero >&2",
    );
    target.begin("session.1.y").await.expect("a beginning");
    let failure = never(target.close("session.1.y").await.expect_err("it is cut"));
    assert!(
        failure.message.ends_with("more than can be told"),
        "{failure}"
    );
}

#[tokio::test]
async fn what_hangs_is_given_up() {
    let world = World::new();
    let mut shells = world.shells(Fault::None);
    shells.source.still = std::time::Duration::from_millis(20);
    shells.source.listen = std::sync::Arc::new(|_, heard| {
        Box::pin(async move {
            heard.send(vec![0; 10]).await.ok();
            std::future::pending().await
        })
    });
    for lost in [
        shells.round(RoundKind::Final).await.map(|_| ()),
        shells.source.size().await.map(|_| ()),
    ] {
        let lost = lost.expect_err("it hangs");
        assert!(
            told(&lost).starts_with("passing: the source: nothing came of its volume"),
            "{lost}"
        );
    }
    shells.target.shell.still = std::time::Duration::from_millis(20);
    shells.target.shell.run = std::sync::Arc::new(|_, _, _| Box::pin(std::future::pending()));
    let lost = shells.target.wipe().await.expect_err("it hangs");
    assert!(
        told(&lost).starts_with("passing: the target: `wipe` does not come to its end"),
        "{lost}"
    );
}
