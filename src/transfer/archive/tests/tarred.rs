//! Volumes as the `tar` of this machine tells them, by the very script that runs in pods; and streams that are none.
use super::*;
use crate::transfer::archive::tarred::{Dialect, Origin, Tree, compare, read, remake};
use crate::transfer::archive::{head, plain};
use crate::transfer::entry::{Digest, Kind, Metadata, Time};
use crate::transfer::path::TreePath;
use crate::transfer::report::{Excuse, TreeSummary, What};
use crate::transfer::summing::Summing;
use crate::transfer::tests::tree;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::process::{Command, Stdio};

const READ: &str = include_str!("../../../steps/movers/by_exec/read.sh");

/// Whose `tar` it is.
const GNU: &[&str] = &["/bin/sh"];
const BUSYBOX: &[&str] = &["busybox", "sh"];

fn origin(side: Side) -> Origin<'static> {
    Origin {
        object: "a test",
        side,
        run: "r1-0",
    }
}

/// A folder's tar, and what was said of it.
fn told(shell: &[&str], root: &Path) -> (Vec<u8>, String) {
    let output = Command::new(shell[0])
        .args(&shell[1..])
        .args(["-c", READ, "read"])
        .arg(root)
        .args(["-", "read", "nonce", "1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("nonce status 0\n"), "{said}");
    (output.stdout, said)
}

/// Gives bytes in pieces whose ends are no member's.
fn pieces(bytes: &[u8], size: usize) -> impl FnMut() -> Result<Option<Vec<u8>>, Fault> + use<'_> {
    let mut chunks = bytes.chunks(size);
    move || Ok(chunks.next().map(<[u8]>::to_vec))
}

fn tree_of(bytes: &[u8], side: Side) -> Result<Tree, Fault> {
    read(origin(side), &mut pieces(bytes, 1000), &mut |_| ())
}

fn tree(shell: &[&str], root: &Path) -> Tree {
    tree_of(&told(shell, root).0, Side::Target).unwrap()
}

fn sum(entries: &[Entry]) -> TreeSummary {
    let mut summing = Summing::new();
    for entry in entries {
        summing.add(entry);
    }
    summing.finish()
}

/// Lets a tar unpack what was made of another.
fn unpack(program: &[&str], tar: &[u8], into: &Path) {
    let gnu = ["--numeric-owner", "--xattrs", "--xattrs-include=*"];
    let options = if program == ["tar"] { &gnu[..] } else { &[] };
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .args(["-x", "-p"])
        .args(options)
        .args(["-f", "-"])
        .current_dir(into)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), tar).unwrap();
    assert!(child.wait().unwrap().success());
}

fn remade(tar: &[u8], dialect: Dialect) -> (Vec<u8>, Tree) {
    let mut made = Vec::new();
    let tree = remake(
        origin(Side::Source),
        dialect,
        &mut pieces(tar, 777),
        &mut |_| (),
        &mut |piece| {
            made.extend(piece);
            Ok(())
        },
    );
    (made, tree.unwrap())
}

#[test]
fn gnu_tar_tells_all_that_a_mover_sees() {
    let place = Place::new(tree::hostile);
    let (tar, said) = told(GNU, &place.path("volume"));
    assert!(
        said.contains("socket ignored") && said.contains("nonce tar gnu"),
        "{said}"
    );
    let wanted = entries(&place.path("volume"));
    let found = tree_of(&tar, Side::Source).unwrap();
    assert_eq!(found.summary(), sum(&wanted));
    assert_eq!(found.lost(Dialect::Gnu, Dialect::Gnu), []);

    let (made, again) = remade(&tar, Dialect::Gnu);
    assert_eq!(again.summary(), found.summary());
    unpack(&["tar"], &made, &place.path("restored"));
    for (one, other) in wanted.iter().zip(&entries(&place.path("restored"))) {
        assert_eq!(one, other);
    }
    let there = tree(GNU, &place.path("restored"));
    assert!(compare(&found, &there, BOTH, &[]).is_equal());
    assert_eq!(there.summary(), sum(&wanted));
    for name in ["sparse", "only a hole"] {
        let restored = place.path("restored").join(name);
        let blocks = std::fs::metadata(restored).unwrap().blocks();
        assert!(blocks < 200, "{name} takes {blocks} blocks");
    }
}

/// GNU tar tells each of them, and fills no small hole as ours do.
#[test]
fn more_stretches_of_data_than_an_archive_of_ours_tells() {
    let place = Place::new(|volume| {
        let file = std::fs::File::create(volume.join("sparse")).unwrap();
        for stretch in 0..100_100_u64 {
            file.write_all_at(b"data", stretch * 8192).unwrap();
        }
    });
    let (tar, _) = told(GNU, &place.path("volume"));
    let found = read(
        origin(Side::Source),
        &mut pieces(&tar, 1 << 20),
        &mut |_| (),
    )
    .unwrap();
    assert_eq!(found.summary(), sum(&entries(&place.path("volume"))));
}

#[test]
fn what_a_plain_tar_does_not_keep_is_named_and_nothing_else_is_lost() {
    let place = Place::new(tree::hostile);
    let (tar, _) = told(GNU, &place.path("volume"));
    let (made, source) = remade(&tar, Dialect::Plain);
    unpack(&["busybox", "tar"], &made, &place.path("restored"));
    let directories = source.directories();
    unpack(&["busybox", "tar"], &directories, &place.path("restored"));
    let target = tree(GNU, &place.path("restored"));
    let dialects = [Dialect::Gnu, Dialect::Plain];
    assert!(!compare(&source, &target, dialects, &[]).is_equal());
    let lost = source.lost(Dialect::Gnu, Dialect::Plain);
    let named = |what| lost.iter().any(|finding| finding.what == what);
    assert!(named(What::Fraction) && named(What::Holes), "{lost:?}");
    let excused: Vec<_> = lost.iter().map(Excuse::of).collect();
    let compared = compare(&source, &target, dialects, &excused);
    assert!(compared.is_equal(), "{:#?}", compared.differences);
    assert!(!compared.findings.is_empty());
}

#[test]
fn a_plain_tar_on_both_sides_gives_the_same_tree() {
    let place = Place::new(tree::hostile);
    let (tar, said) = told(BUSYBOX, &place.path("volume"));
    assert!(said.contains("nonce tar plain"), "{said}");
    let (made, source) = remade(&tar, Dialect::Plain);
    unpack(&["busybox", "tar"], &made, &place.path("restored"));
    let directories = source.directories();
    unpack(&["busybox", "tar"], &directories, &place.path("restored"));
    let target = tree(BUSYBOX, &place.path("restored"));
    let lost = source.lost(Dialect::Plain, Dialect::Plain);
    let excused: Vec<_> = lost.iter().map(Excuse::of).collect();
    let named: Vec<_> = lost.into_iter().map(|finding| finding.what).collect();
    let any = What::Xattr(b"*".to_vec());
    assert_eq!(named, [What::Fraction, What::LinkTime, any, What::Holes]);
    let compared = compare(&source, &target, [Dialect::Plain; 2], &excused);
    assert!(compared.is_equal(), "{:#?}", compared.differences);
    // Symlinks are made as they are, and neither their owner nor their time is set.
    let root = place.path("volume");
    for finding in &compared.findings {
        for path in &finding.examples {
            let path = root.join(std::ffi::OsStr::from_bytes(path.as_bytes()));
            assert!(path.is_symlink(), "{}: {finding:?}", path.display());
        }
    }
}

#[test]
fn a_file_that_is_changed_behind_the_back_of_its_times_is_a_difference() {
    let place = Place::new(tree::hostile);
    let before = tree(GNU, &place.path("volume"));
    let file = place.path("volume").join("new\nline");
    let metadata = std::fs::metadata(&file).unwrap();
    std::fs::write(&file, b"2").unwrap();
    tree::set_times(&file, metadata.mtime(), metadata.mtime_nsec());
    std::fs::write(place.path("volume").join("zz more"), b"").unwrap();
    let after = tree(GNU, &place.path("volume"));
    let compared = compare(&before, &after, BOTH, &[What::Time.into()]);
    let found = compared.differences.iter().map(|one| one.path.to_string());
    assert_eq!(found.collect::<Vec<_>>(), ["new\\nline", "zz more"]);
    assert_ne!(compared.source.digest, compared.target.digest);
}

#[test]
fn a_stream_that_ends_anywhere_too_early_is_none() {
    let place = Place::new(|root| {
        std::fs::create_dir(root.join("a")).unwrap();
        std::fs::write(root.join("a/b"), noise(1500)).unwrap();
        std::fs::hard_link(root.join("a/b"), root.join("c")).unwrap();
        std::fs::write(root.join("n".repeat(150)), b"x").unwrap();
    });
    for shell in [GNU, BUSYBOX] {
        let (tar, _) = told(shell, &place.path("volume"));
        let whole = tree_of(&tar, Side::Source).unwrap();
        let zeros = tar.iter().rev().take_while(|byte| **byte == 0).count();
        let last = (tar.len() - zeros).next_multiple_of(512);
        // Behind the two blocks that end it comes nothing that counts.
        for cut in 0..last + 1024 {
            assert!(tree_of(&tar[..cut], Side::Source).is_err(), "{cut}");
        }
        let least = tree_of(&tar[..last + 1024], Side::Source).unwrap();
        assert_eq!(least.summary(), whole.summary());
        let mut more = tar.clone();
        more.extend([0; 511]);
        more.push(1);
        assert!(tree_of(&more, Side::Source).is_err());
    }
}

const BOTH: [Dialect; 2] = [Dialect::Gnu; 2];

fn entry(path: &str, kind: Kind) -> Entry {
    let time = Time::default();
    Entry {
        // What no path can be is put into the header later.
        path: TreePath::new(path).unwrap(),
        kind,
        metadata: Metadata {
            mode: 0o755,
            uid: 0,
            gid: 0,
            modified: time,
            accessed: time,
            xattrs: Vec::new(),
        },
    }
}

const EMPTY: Kind = Kind::File {
    size: 0,
    digest: None::<Digest>,
};

/// A tar of these members, as either dialect has them; names get other ones of the same length.
fn crafted(gnu: bool, members: &[Entry], names: &[(&str, &str)]) -> Vec<u8> {
    let header = |entry: &Entry| {
        if gnu {
            head::head(entry, None)
        } else {
            plain::head(entry, entry.metadata.mode)
        }
    };
    let mut tar: Vec<u8> = members.iter().flat_map(header).collect();
    for block in tar.chunks_exact_mut(512) {
        for (name, other) in names {
            for at in [0, 157] {
                let field = &mut block[at..at + 100];
                if field.starts_with(name.as_bytes()) {
                    field[..name.len()].copy_from_slice(other.as_bytes());
                }
            }
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().copied().map(u32::from).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    tar.extend(head::END);
    tar
}

/// Why it is refused, its members, and which of their names get other ones.
type Hostile = (
    &'static str,
    Vec<Entry>,
    &'static [(&'static str, &'static str)],
);

#[test]
fn what_would_lead_out_of_the_volume_is_refused() {
    let root = || entry("", Kind::Directory);
    let link = |path: &str, to: &str| entry(path, Kind::Symlink { to: to.into() });
    let further = |path: &str, to: &str| {
        let to = TreePath::new(to).unwrap();
        entry(path, Kind::HardLink { to })
    };
    let cases: [Hostile; 12] = [
        (
            "would leave",
            vec![root(), entry("xetc", EMPTY)],
            &[("xetc", "/etc")],
        ),
        (
            "would leave",
            vec![root(), entry("xx/a", EMPTY)],
            &[("xx/a", "../a")],
        ),
        (
            "would leave",
            vec![root(), further("b", "xx/a")],
            &[("xx/a", "../a")],
        ),
        ("in no directory", vec![root(), entry("a/b", EMPTY)], &[]),
        (
            "in no directory",
            vec![root(), link("a", "/etc"), entry("a/b", EMPTY)],
            &[],
        ),
        (
            "in no directory",
            vec![root(), entry("a", EMPTY), entry("a/b", EMPTY)],
            &[],
        ),
        (
            "comes twice",
            vec![root(), link("a", "/etc"), entry("a", Kind::Directory)],
            &[],
        ),
        ("of no file", vec![root(), further("b", "a")], &[]),
        (
            "of no file",
            vec![root(), entry("a", Kind::Directory), further("b", "a")],
            &[],
        ),
        ("no root", vec![], &[]),
        ("in no directory", vec![entry("a", EMPTY)], &[]),
        ("comes twice", vec![root(), root()], &[]),
    ];
    for (wanted, members, names) in &cases {
        for gnu in [true, false] {
            let tar = crafted(gnu, members, names);
            let fault = tree_of(&tar, Side::Target).unwrap_err();
            assert!(fault.to_string().contains(wanted), "{fault}, not {wanted}");
        }
    }
    let mark = [root(), entry(".kubectl-migrate-r1-0", Kind::Directory)];
    let tar = crafted(true, &mark, &[]);
    let passed = tree_of(&tar, Side::Target).unwrap();
    assert_eq!(passed.summary().entries, 1);
    let taken = tree_of(&tar, Side::Source).unwrap_err();
    assert!(matches!(taken, Fault::NameTaken { .. }), "{taken}");
}

#[test]
fn a_header_of_which_a_byte_is_another_is_none() {
    let tar = crafted(false, &[entry("", Kind::Directory)], &[]);
    assert!(tree_of(&tar, Side::Source).is_ok());
    // Behind the digits of the sum stands what is no part of it.
    for at in (0..512).filter(|at| *at != 155) {
        let mut other = tar.clone();
        other[at] ^= 0x55;
        assert!(tree_of(&other, Side::Source).is_err(), "{at}");
    }
}
