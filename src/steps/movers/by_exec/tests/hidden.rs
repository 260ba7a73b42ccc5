//! What a tar leaves out, and says nothing or little of.
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
};

use tempfile::TempDir;

use super::{
    super::told,
    never,
    world::{FILLS, Fault, READS, World, program, programs, real_tar},
};
use crate::{
    engine::Kind,
    steps::movers::by_exec::Shell,
    transfer::{Excuse, RoundKind, Side, What, archive::Dialect},
};

/// More than eight octal digits, and another so.
const LARGE: [u32; 2] = [1_000_650_000, 16_777_216];

fn source(world: &World, shell: &[&str], place: Option<&TempDir>) -> Shell {
    let path = place.map(|place| place.path().to_owned());
    world.shells_of(Fault::None, shell, path).source
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
async fn an_owner_that_a_plain_tar_cuts_off_is_refused() {
    let world = World::new();
    let [user, group] = LARGE;
    chown(world.path("source/a/b"), Some(user), Some(group)).expect("the right");
    let poor = source(&world, &["busybox", "sh"], None);
    let looked = poor.look().await.expect("a look");
    assert_eq!(looked.cut, Some(format!("owner {user}:{group}")));
    let mut shells = world.shells(Fault::None);
    shells.source = poor;
    let rounded = shells.round(RoundKind::Final).await;
    let failure = never(rounded.expect_err("it is cut off"));
    assert_eq!(failure.kind, Kind::Blocked);
    assert!(
        failure
            .message
            .contains(": the owner 1000650000:16777216 is more than"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_time_that_a_plain_tar_cuts_off_is_refused() {
    let world = World::new();
    let file = fs::File::options()
        .write(true)
        .open(world.path("source/a/b/large"));
    let early = std::time::UNIX_EPOCH - std::time::Duration::from_hours(24);
    file.and_then(|file| file.set_modified(early))
        .expect("the right");
    let poor = source(&world, &["busybox", "sh"], None);
    let read = poor.read(Side::Source, "r1-0", |_| ()).await;
    let failure = never(read.expect_err("it is cut off"));
    assert_eq!(failure.kind, Kind::Blocked);
    assert!(
        failure.message.contains(": the time -86400 is more than"),
        "{failure}"
    );
}

#[tokio::test]
async fn owners_that_cannot_be_seen_are_not_taken_for_small_ones() {
    let world = World::new();
    let complaint = "stat: cannot stat './a/b': Permission denied";
    for does in [
        &format!("echo '0 0'; echo \"{complaint}\" >&2; exit 1")[..],
        "exit 1",
        "exit 127",
    ] {
        let tar = "exec busybox tar \"$@\"";
        let place = programs(&[&READS[..], &["busybox"]].concat(), tar);
        program(&place, "stat", does);
        let poor = source(&world, &["/bin/sh"], Some(&place));
        let read = poor.read(Side::Source, "r1-0", |_| ()).await;
        let failure = never(read.expect_err("nobody knows"));
        assert_eq!(failure.kind, Kind::Blocked);
        assert!(
            failure.message.contains("do not tell all owners"),
            "{failure}"
        );
    }
    // What went meanwhile has none.
    let place = programs(
        &[&READS[..], &["busybox"]].concat(),
        "exec busybox tar \"$@\"",
    );
    let gone = "stat: cannot stat './x': No such file or directory";
    program(&place, "stat", &format!("echo \"{gone}\" >&2; exit 1"));
    let poor = source(&world, &["/bin/sh"], Some(&place));
    poor.read(Side::Source, "r1-0", |_| ())
        .await
        .expect("all of it");
}

#[tokio::test]
async fn what_is_mounted_within_a_volume_blocks() {
    let world = World::new();
    let inner = world.path("source/a");
    let text = format!(
        "mount -t tmpfs none '{}' && exec /bin/sh \"$@\"",
        inner.display()
    );
    let shell = ["unshare", "--mount", "/bin/sh", "-c", &text, "sh"];
    let hidden = source(&world, &shell, None);
    let looked = hidden.size().await.expect("a look");
    assert_eq!(looked.mount.as_deref(), inner.to_str());
    let read = hidden.read(Side::Source, "r1-0", |_| ()).await;
    let failure = never(read.expect_err("a part of it is hidden"));
    assert_eq!(failure.kind, Kind::Blocked);
    assert!(
        failure.message.contains("is mounted within the volume"),
        "{failure}"
    );
    let looked = source(&world, &["/bin/sh"], None)
        .size()
        .await
        .expect("a look");
    assert_eq!(looked.mount, None);
}

#[tokio::test]
async fn a_busybox_that_may_set_no_modes_is_refused() {
    let world = World::new();
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        "busybox",
        "sh",
    ];
    let target = world.shells_of(Fault::None, &nobody, None).target;
    for name in ["", "session"] {
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(world.path(name), open).expect("the right");
    }
    let missing = target.missing().await.expect("a look");
    let said = "the rights of root, without which its `tar` sets no modes";
    assert_eq!(missing, [said]);
}

#[tokio::test]
async fn a_sync_that_warns_of_what_it_does_has_synced() {
    let world = World::new();
    let place = programs(&FILLS, &format!("exec {} \"$@\"", real_tar()));
    program(
        &place,
        "sync",
        "[ $# = 0 ] || echo 'sync: ignoring all arguments' >&2; exec /bin/sync",
    );
    let path = Some(place.path().to_owned());
    let mut shells = world.shells(Fault::None);
    shells.target = world.shells_of(Fault::None, &["/bin/sh"], path).target;
    shells.round(RoundKind::Final).await.expect("a round");
    world.is_moved();
}

#[tokio::test]
async fn a_tar_that_nobody_knows_is_none() {
    let world = World::new();
    let place = programs(&READS, "echo 'bsdtar 3.7.4 - libarchive 3.7.4'");
    let shells = world.shells_of(Fault::None, &["/bin/sh"], Some(place.path().to_owned()));
    let wanted = "a `tar` that is GNU's or busybox's".to_owned();
    let looked = shells.source.look().await.expect("a look");
    assert_eq!(looked.missing, std::slice::from_ref(&wanted));
    let missing = shells.target.missing().await.expect("a look");
    assert!(missing.contains(&wanted), "{missing:?}");
}

#[tokio::test]
async fn a_gnu_tar_without_attributes_is_a_plain_one() {
    let world = World::new();
    let warns = "case \"$*\" in *--xattrs*) echo 'tar: XATTR support is not available' >&2 ;; esac";
    let tar = format!("{warns}; exec {} \"$@\"", real_tar());
    let place = programs(&[&READS[..], &FILLS[..]].concat(), &tar);
    let mut shells = world.shells(Fault::None);
    let poor = world.shells_of(Fault::None, &["/bin/sh"], Some(place.path().to_owned()));
    let looked = poor.source.look().await.expect("a look");
    assert_eq!(
        (looked.dialect(), looked.missing.len()),
        (Dialect::Plain, 0)
    );
    shells.source = poor.source;
    let rounded = shells.round(RoundKind::Final).await.expect("a round");
    let findings = &rounded.summary.findings;
    assert!(
        findings
            .iter()
            .any(|found| found.what == What::Xattr(b"*".to_vec())),
        "{findings:?}"
    );
    // What was made for one that keeps them is refused by one that does not.
    shells.target = poor.target;
    shells.dialect = Dialect::Plain;
    shells.round(RoundKind::Final).await.expect("a round");
    world.is_moved();
    let kept = shells
        .target
        .unpacked(0, &["tar: XATTR support is not available".to_owned()]);
    never(kept.expect_err("something is lost"));
}

#[tokio::test]
async fn a_sparse_file_is_the_same_whether_its_holes_are_told_or_read() {
    use std::os::unix::fs::FileExt as _;
    let world = World::new();
    let path = world.path("source/holes");
    let file = fs::File::create(&path).expect("room");
    file.write_all_at(b"begin", 1 << 20).expect("room");
    file.write_all_at(b"middle", 5 << 20).expect("room");
    file.set_len(9 << 20).expect("room");
    let shells = world.shells(Fault::None);
    shells.round(RoundKind::Final).await.expect("a round");
    world.is_moved();
    let copied = fs::metadata(world.path("target/holes")).expect("it is there");
    assert_eq!(copied.len(), 9 << 20);
    assert!(copied.blocks() < 1000, "{} blocks", copied.blocks());
    let compared = shells.verify(&[]).await.expect("both").verification;
    assert!(compared.is_equal(), "{:#?}", compared.differences);
    assert_eq!(compared.findings, []);
    assert_eq!(compared.source, compared.target);
    assert_eq!(compared.source.bytes, (9 << 20) + 300_012);
}

#[tokio::test]
async fn holes_are_read_when_both_sides_are_compared() {
    let world = World::new();
    let asked = world.path("asked");
    let real = real_tar();
    let tar = format!("echo \"$*\" >>'{}'; exec {real} \"$@\"", asked.display());
    let place = programs(&READS, &tar);
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
async fn what_is_warned_of_blocks_whatever_the_status_is() {
    let world = World::new();
    for (complaint, why) in [
        (
            "tar: ./a: Warning: Cannot llistxattr: Input/output error",
            "cannot read all extended",
        ),
        (
            "tar: XATTR support is not available",
            "cannot read all extended",
        ),
        ("tar: ./a: something was left out", "may have left out"),
    ] {
        let real = real_tar();
        let tar = format!(
            "case \"$*\" in *\"-f - .\") echo '{complaint}' >&2 ;; esac; exec {real} \"$@\""
        );
        let place = programs(&READS, &tar);
        let poor = source(&world, &["/bin/sh"], Some(&place));
        let (sender, mut pieces) = tokio::sync::mpsc::channel(8);
        let (told, ()) = tokio::join!(poor.tell("read", sender, told::Pace::Free), async {
            while pieces.recv().await.is_some() {}
        });
        let failure = never(told.expect_err("it blocks"));
        assert_eq!(failure.kind, Kind::Blocked);
        assert!(failure.message.contains(why), "{failure}");
        assert_eq!(failure.evidence, [complaint]);
    }
}

#[tokio::test]
async fn what_an_image_s_shell_and_loader_lack_is_no_warning_of_its_tar() {
    let world = World::new();
    let without = ["LC_ALL=en_XX.UTF-8", "LD_PRELOAD=/nowhere/library.so"];
    let shell = ["env", without[0], without[1], "bash"];
    let shells = world.shells_of(Fault::None, &shell, None);
    shells.round(RoundKind::Final).await.expect("a round");
    world.is_moved();
}

#[tokio::test]
async fn a_file_system_without_attributes_has_none() {
    let world = World::new();
    let complaint = "tar: ./a: Warning: Cannot llistxattrat: Operation not supported";
    let real = real_tar();
    let tar =
        format!("case \"$*\" in *\"-f - .\") echo '{complaint}' >&2 ;; esac; exec {real} \"$@\"");
    let place = programs(&READS, &tar);
    let mut shells = world.shells(Fault::None);
    shells.source = source(&world, &["/bin/sh"], Some(&place));
    shells.round(RoundKind::Final).await.expect("a round");
    world.is_moved();
    assert!(told::of_attributes(complaint));
    assert!(!told::of_attributes(
        "tar: ./Cannot xattr: file changed as we read it"
    ));
}

#[tokio::test]
async fn an_owner_that_could_not_be_compared_is_refused_before_it_is() {
    let world = World::new();
    chown(world.path("source/a"), Some(LARGE[0]), None).expect("the right");
    let mut shells = world.shells(Fault::None);
    let plain = world.shells_of(Fault::None, &["busybox", "sh"], None);
    (shells.target, shells.dialect) = (plain.target, Dialect::Plain);
    let rounded = shells.round(RoundKind::Warm).await;
    let failure = never(rounded.expect_err("it is cut off"));
    assert_eq!(failure.kind, Kind::Blocked);
    assert!(
        failure
            .message
            .contains("the owner 1000650000:0 of a is more than"),
        "{failure}"
    );
    // That it is unpacked rightly does not help.
    let there = fs::metadata(world.path("target/a")).expect("it is there");
    assert_eq!(there.uid(), LARGE[0]);
}

#[tokio::test]
async fn another_time_is_a_difference_also_with_a_plain_tar() {
    let world = World::new();
    let mut shells = world.shells_of(Fault::None, &["busybox", "sh"], None);
    shells.dialect = Dialect::Plain;
    let rounded = shells.round(RoundKind::Final).await.expect("a round");
    let named = |what| {
        let mut found = rounded.summary.findings.iter();
        found.any(|found| found.what == what)
    };
    assert!(named(What::Fraction) && !named(What::Time));
    let excused: Vec<_> = rounded.summary.findings.iter().map(Excuse::of).collect();
    let file = fs::File::options()
        .write(true)
        .open(world.path("target/-rf *"))
        .expect("it is there");
    file.set_modified(std::time::UNIX_EPOCH).expect("the right");
    chown(world.path("target/a/b/large"), Some(7), None).expect("the right");
    let compared = shells.verify(&excused).await.expect("both").verification;
    let found: Vec<_> = compared
        .differences
        .iter()
        .map(|one| one.path.to_string())
        .collect();
    assert_eq!(found, ["-rf *", "a/b/large", "z"]);
}

#[tokio::test]
async fn a_length_that_is_counted_in_few_bits_hides_nothing() {
    let world = World::new();
    let place = programs(
        &[&READS[..], &["busybox"]].concat(),
        "exec busybox tar \"$@\"",
    );
    program(&place, "wc", "cat >/dev/null; echo 4096");
    std::os::unix::fs::symlink("/bin/cat", place.path().join("cat")).expect("a link");
    for fault in [Fault::None, Fault::OnlyBytesEnd(100_000)] {
        let path = Some(place.path().to_owned());
        let poor = world.shells_of(fault, &["/bin/sh"], path).source;
        let read = poor.read(Side::Source, "r1-0", |_| ()).await;
        let (tree, _) = read.expect("all of it");
        assert_eq!(tree.summary().bytes, 300_012);
    }
}

#[tokio::test]
async fn a_stream_goes_on_behind_what_a_tail_can_count() {
    let world = World::new();
    let place = programs(&READS, &format!("exec {} \"$@\"", real_tar()));
    let most = "case $2 in +*) [ \"${2#+}\" -le 1073741825 ] || exit 1 ;; esac";
    program(
        &place,
        "tail",
        &format!("{most}; exec /usr/bin/tail \"$@\""),
    );
    let path = world.path("source/holes");
    let length = 1100 << 20;
    let file = fs::File::create(&path).expect("room");
    file.set_len(length).expect("room");
    let shell = source(&world, &["/bin/sh"], Some(&place));
    // Only the end of it: the root, the file, and what comes behind that.
    let first = (length + 1).to_string();
    let command = shell.reading(&["check", "n", &first]);
    let (sender, mut pieces) = tokio::sync::mpsc::channel(8);
    let told = tokio::spawn((shell.listen)(command, sender));
    let mut count = 0;
    while let Some(piece) = pieces.recv().await {
        count += piece.len() as u64;
    }
    let said = told.await.expect("no panic").expect("an end");
    let whole = said.lines().find_map(|line| line.strip_prefix("n length "));
    let whole: u64 = whole
        .and_then(|whole| whole.parse().ok())
        .expect("a length");
    assert_eq!(count, whole - length);
}

#[test]
fn what_fsck_found_is_nobody_s_and_no_other_folder_is() {
    for (line, nobodys) in [
        ("tar: ./lost+found: Permission denied", true),
        ("tar: can't open './lost+found': Permission denied", true),
        ("find: './lost+found': Permission denied", true),
        ("tar: ./x/lost+found: Permission denied", false),
        ("tar: ./lost+found/x: Permission denied", false),
        ("tar: ./data: Permission denied", false),
    ] {
        assert_eq!(told::went(line), nobodys, "{line}");
    }
}

#[tokio::test]
async fn what_a_disk_refuses_in_the_end_is_an_error() {
    let world = World::new();
    let place = programs(&FILLS, &format!("exec {} \"$@\"", real_tar()));
    let path = Some(place.path().to_owned());
    let target = world.shells_of(Fault::None, &["/bin/sh"], path).target;
    target.begin("session.1.x").await.expect("a beginning");
    let complaint = "sync: error syncing: Input/output error";
    let fails = format!("[ \"$*\" = '-f .' ] || {{ echo '{complaint}' >&2; exit 1; }}");
    program(&place, "sync", &fails);
    let (pieces, piece) = tokio::sync::mpsc::channel(1);
    pieces.send(vec![0; 10_240]).await.expect("room");
    drop(pieces);
    let poured = target.pour("session.1.x", piece, |_| ()).await;
    poured.expect("it is there");
    let failure = never(target.close("session.1.x").await.expect_err("it is lost"));
    assert_eq!(failure.evidence, [complaint, "sync: failed"]);
}
