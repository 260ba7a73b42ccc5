//! Tars that we did not make.
use super::super::head::{BLOCK, END, head};
use super::super::tar::Tar;
use super::*;
use crate::transfer::entry::{Kind, Metadata, Time};

fn entry(path: &str, kind: Kind) -> Entry {
    Entry {
        path: TreePath::new(path.as_bytes()).unwrap(),
        kind,
        metadata: Metadata {
            mode: 0o644,
            uid: 1,
            gid: 2,
            modified: Time {
                seconds: 3,
                nanoseconds: 0,
            },
            accessed: Time {
                seconds: 3,
                nanoseconds: 0,
            },
            xattrs: Vec::new(),
        },
    }
}

fn file(path: &str) -> Entry {
    entry(
        path,
        Kind::File {
            size: 0,
            digest: None,
        },
    )
}

/// Puts something else into a header, which stays one.
fn changed(mut header: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    header[at..at + bytes.len()].copy_from_slice(bytes);
    header[148..156].fill(b' ');
    let sum: u32 = header[..BLOCK].iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Reads all members of a tar.
fn read(tar: &[u8]) -> Result<Vec<Entry>, Fault> {
    let mut chunks = tar.chunks(300).map(<[u8]>::to_vec);
    let mut next = || Ok(chunks.next());
    let mut tar = Tar::new("a.tar.zst", &mut next);
    let mut all = Vec::new();
    while let Some(member) = tar.next()? {
        tar.contents(&member, |_| Ok(()))?;
        all.push(member.entry);
    }
    Ok(all)
}

fn refused(tar: &[u8]) -> String {
    match read(tar).unwrap_err() {
        Fault::Damaged { what, .. } => what,
        fault => panic!("{fault:?}"),
    }
}

#[test]
fn every_kind_of_member_is_read_as_it_was_written() {
    let long = "n/".repeat(200) + "x";
    let all = [
        entry("", Kind::Directory),
        entry("d", Kind::Directory),
        file("d/f"),
        file(&long),
        entry(
            "h",
            Kind::HardLink {
                to: TreePath::new(long.as_bytes()).unwrap(),
            },
        ),
        entry(
            "l",
            Kind::Symlink {
                to: b"../../etc".repeat(40),
            },
        ),
        entry("p", Kind::Fifo),
        entry("c", Kind::CharacterDevice { major: 5, minor: 1 }),
        entry(
            "b",
            Kind::BlockDevice {
                major: 8,
                minor: 255,
            },
        ),
    ];
    let mut tar: Vec<u8> = all.iter().flat_map(|entry| head(entry, None)).collect();
    tar.extend(END);
    assert_eq!(read(&tar), Ok(all.to_vec()));
    // Cut off anywhere it is none.
    for length in (0..tar.len()).step_by(BLOCK / 2) {
        refused(&tar[..length]);
    }
}

#[test]
fn members_that_would_leave_the_volume_are_refused() {
    for name in ["/etc/passwd", "../up", "a/../../up", "a//b", "./a", "a/."] {
        let mut bytes = [0; 100];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        let tar = [changed(head(&file("x"), None), 0, &bytes), END.to_vec()].concat();
        let why = refused(&tar);
        assert!(why.contains("would leave the volume"), "{name}: {why}");
    }
    let link = entry(
        "x",
        Kind::HardLink {
            to: TreePath::new(&b"f"[..]).unwrap(),
        },
    );
    for name in ["/etc/passwd", "../up"] {
        let mut bytes = [0; 100];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        let tar = [changed(head(&link, None), 157, &bytes), END.to_vec()].concat();
        assert!(refused(&tar).contains("would leave the volume"), "{name}");
    }
}

#[test]
fn what_we_would_not_write_is_refused() {
    let header = || head(&file("x"), None);
    let end = END.to_vec();
    let cases = [
        ("type", [changed(header(), 156, b"7"), end.clone()].concat()),
        (
            "none",
            [changed(header(), 257, b"USTAR"), end.clone()].concat(),
        ),
        (
            "none",
            [changed(header(), 345, b"prefix"), end.clone()].concat(),
        ),
        (
            "number",
            [changed(header(), 108, b"9999999"), end.clone()].concat(),
        ),
        ("end", [header(), end.clone(), b"more".to_vec()].concat()),
        (
            "slash",
            [changed(header(), 156, b"5"), end.clone()].concat(),
        ),
        ("none", {
            let mut spoiled = header();
            spoiled[3] ^= 1;
            [spoiled, end].concat()
        }),
    ];
    for (said, tar) in cases {
        let why = refused(&tar);
        assert!(why.contains(said), "{why}");
    }
}
