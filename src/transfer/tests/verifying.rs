//! Verification names every way in which a copy can be wrong.
use super::pair::{Pair, RUN, round, verified};
use super::tree::{hostile, set_owner, set_times, set_xattr};
use crate::transfer::path::TreePath;
use crate::transfer::report::{DifferenceKind, Excuse, Finding, RoundKind, What};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// Does this to a good copy, and expects exactly these differences.
async fn spoil(spoil: impl FnOnce(&Path), expected: &[(&str, DifferenceKind)]) {
    let pair = Pair::new();
    hostile(&pair.source());
    let mut client = pair.connected().await;
    round(&mut client, RoundKind::Warm).await.unwrap();
    client.finish(RUN).await.unwrap();
    spoil(&pair.target());
    let verification = verified(&mut client, &[]).await;
    let found: Vec<_> = verification
        .differences
        .iter()
        .map(|found| (found.path.to_string(), found.kind.clone()))
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(path, kind)| ((*path).to_owned(), kind.clone()))
        .collect();
    assert_eq!(found, expected, "{verification:?}");
    assert_eq!(verification.difference_count, expected.len() as u64);
    assert_ne!(verification.source.digest, verification.target.digest);
}

/// Changes something and puts the time back, as a failing disk would.
fn silently(path: &Path, change: impl FnOnce(&Path)) {
    let before = fs::symlink_metadata(path).unwrap();
    change(path);
    set_times(path, before.mtime(), before.mtime_nsec());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_of_the_same_size_and_time() {
    let flip = |path: &Path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.write_all_at(b"\x01", 5_000_000).unwrap();
    };
    spoil(
        |target| silently(&target.join("large"), flip),
        &[("large", DifferenceKind::Content)],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_in_a_hole() {
    let fill = |path: &Path| {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .write_all_at(b"x", 250 << 20)
            .unwrap();
    };
    spoil(
        |target| silently(&target.join("sparse"), fill),
        &[("sparse", DifferenceKind::Content)],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_extra_entries() {
    let change = |target: &Path| {
        silently(&target.join("many"), |many| {
            fs::remove_file(many.join("13")).unwrap();
            fs::write(many.join("extra\n"), b"").unwrap();
        });
        silently(target, |target| {
            fs::remove_dir(target.join("empty directory")).unwrap();
        });
    };
    spoil(
        change,
        &[
            ("empty directory", DifferenceKind::Missing),
            ("many/13", DifferenceKind::Missing),
            ("many/extra\\n", DifferenceKind::Extra),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn size_and_type() {
    let change = |target: &Path| {
        silently(&target.join("many/20"), |path| {
            fs::write(path, b"short").unwrap();
        });
        silently(target, |target| {
            fs::remove_file(target.join("old")).unwrap();
            fs::create_dir(target.join("old")).unwrap();
        });
    };
    spoil(
        change,
        &[
            ("many/20", DifferenceKind::Size),
            ("old", DifferenceKind::Type),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_mode_time_and_attributes() {
    let change = |target: &Path| {
        let many = target.join("many");
        silently(&many.join("1"), |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o604)).unwrap();
        });
        set_times(&many.join("2"), 1, 2);
        set_xattr(&many.join("3"), "user.more", b"1");
        silently(&target.join("attributes"), |path| {
            rustix::fs::lremovexattr(path, "user.origin").unwrap();
            set_xattr(path, "user.empty", b"not");
        });
    };
    spoil(
        change,
        &[
            ("attributes", DifferenceKind::Xattr(b"user.empty".into())),
            ("attributes", DifferenceKind::Xattr(b"user.origin".into())),
            ("many/1", DifferenceKind::Mode),
            ("many/2", DifferenceKind::Time),
            ("many/3", DifferenceKind::Xattr(b"user.more".into())),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_point_or_share_otherwise() {
    let change = |target: &Path| {
        silently(&target.join("links"), |links| {
            let time = fs::symlink_metadata(links.join("dangling")).unwrap();
            fs::remove_file(links.join("dangling")).unwrap();
            symlink("somewhere", links.join("dangling")).unwrap();
            set_times(&links.join("dangling"), time.mtime(), time.mtime_nsec());
            let time = fs::metadata(links.join("two")).unwrap();
            fs::remove_file(links.join("two")).unwrap();
            fs::write(links.join("two"), b"shared").unwrap();
            set_times(&links.join("two"), time.mtime(), time.mtime_nsec());
        });
    };
    spoil(
        change,
        &[
            ("links/dangling", DifferenceKind::LinkTarget),
            ("links/two", DifferenceKind::HardLink),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_round_could_not_keep_is_a_finding_and_not_a_difference() {
    let pair = Pair::new();
    hostile(&pair.source());
    let mut client = pair.connected().await;
    round(&mut client, RoundKind::Warm).await.unwrap();
    let spoilt = pair.target().join("attributes");
    silently(&spoilt, |path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    });
    silently(&spoilt, |path| {
        rustix::fs::lremovexattr(path, "user.origin").unwrap();
    });
    let attribute = What::Xattr(b"user.origin".into());
    let excused = [attribute.clone().into()];
    let verification = verified(&mut client, &excused).await;
    let found: Vec<_> = verification
        .differences
        .iter()
        .map(|found| found.kind.clone())
        .collect();
    // A change of the mode is one of the ACL's mask too, and neither is excused.
    assert_eq!(
        found,
        [
            DifferenceKind::Mode,
            DifferenceKind::Xattr(b"system.posix_acl_access".into())
        ]
    );
    assert_eq!(verification.findings.len(), 1);
    assert_eq!(verification.findings[0].what, attribute);
    assert_eq!(
        verification.findings[0].examples[0].as_bytes(),
        b"attributes"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_elsewhere_is_a_difference_there() {
    let pair = Pair::new();
    hostile(&pair.source());
    let mut client = pair.connected().await;
    round(&mut client, RoundKind::Warm).await.unwrap();
    let mode = |name: &str| {
        silently(&pair.target().join(name), |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o601)).unwrap();
        });
    };
    // A file of four names, of which the copy has told the first.
    mode("links/one");
    mode("old");
    let mut finding = Finding {
        what: What::Mode,
        why: "fchmod".into(),
        count: 1,
        examples: vec![TreePath::new("a/three").unwrap()],
    };
    let mut differences = async |finding: &Finding| -> Vec<String> {
        let excused = [Excuse::of(finding)];
        let verification = verified(&mut client, &excused).await;
        let found = verification.differences.iter();
        found.map(|found| found.path.to_string()).collect()
    };
    assert_eq!(differences(&finding).await, ["old"]);
    // Not all of them are named: then it may have been any.
    finding.count = 2;
    assert!(differences(&finding).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_owner() {
    if !rustix::process::geteuid().is_root() {
        // Nobody else can give a file away; then there is no wrong owner to find either.
        return;
    }
    spoil(
        |target| set_owner(&target.join("old"), 4711),
        &[("old", DifferenceKind::Owner)],
    )
    .await;
}
