//! Trees as they are found in the wild, and worse.
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// A POSIX ACL as the kernel keeps it: version 2, then tag, rights and id of each line.
fn acl(lines: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in lines {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

pub fn set_times(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Changes the owner, where the test may: it runs as root where data is moved for real.
pub fn set_owner(path: &Path, id: u32) {
    if rustix::process::geteuid().is_root() {
        let (uid, gid) = (Some(Uid::from_raw(id)), Some(Gid::from_raw(id + 1)));
        rustix::fs::chownat(CWD, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Fills a directory with one of everything.
pub fn hostile(root: &Path) {
    names(root);
    links(root);
    owners_and_modes(root);
    attributes(root);
    sparse(root);
    let deep = root.join("deep").join("d/".repeat(300));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), b"far down").unwrap();
    fs::create_dir(root.join("lost+found")).unwrap();
    fs::write(root.join("lost+found/#123"), b"fsck's").unwrap();
    fs::write(root.join("old"), b"1969").unwrap();
    set_times(&root.join("old"), -86_400, 999_999_999);
    set_times(&root.join("empty directory"), 1_234_567_890, 123_456_789);
    set_times(root, 1_600_000_000, 7);
}

fn names(root: &Path) {
    fs::create_dir(root.join("empty directory")).unwrap();
    fs::write(root.join("empty file"), b"").unwrap();
    fs::write(root.join("new\nline"), b"1").unwrap();
    fs::write(root.join("n".repeat(255)), b"2").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not \xff\xfe utf-8")), b"3").unwrap();
    fs::write(root.join("-rf *"), b"4").unwrap();
    fs::write(root.join("\u{202e}backwards\x1b[31m"), b"5").unwrap();
    // Order by bytes and order by components differ here.
    fs::create_dir(root.join("a")).unwrap();
    for name in ["a/z", "a-b", "a.txt", "a0"] {
        fs::write(root.join(name), name).unwrap();
    }
    fs::create_dir(root.join("many")).unwrap();
    for number in 0..700 {
        fs::write(
            root.join(format!("many/{number}")),
            format!("{number}").repeat(number),
        )
        .unwrap();
    }
}

fn links(root: &Path) {
    fs::create_dir(root.join("links")).unwrap();
    fs::write(root.join("links/zz first made"), b"shared").unwrap();
    for name in ["links/one", "links/two", "a/three"] {
        fs::hard_link(root.join("links/zz first made"), root.join(name)).unwrap();
    }
    symlink("one", root.join("links/relative")).unwrap();
    symlink("/etc/passwd", root.join("links/absolute")).unwrap();
    symlink("nowhere/at all", root.join("links/dangling")).unwrap();
    symlink(OsStr::from_bytes(b"\xff\n"), root.join("links/odd")).unwrap();
    symlink("..", root.join("links/up")).unwrap();
    fs::hard_link(root.join("links/odd"), root.join("links/odd again")).unwrap();
    set_times(&root.join("links/dangling"), 1_000_000_000, 1);
    rustix::fs::mknodat(
        CWD,
        root.join("links/pipe"),
        FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .unwrap();
    // The socket's file stays when the listener goes.
    drop(UnixListener::bind(root.join("links/socket")).unwrap());
}

fn owners_and_modes(root: &Path) {
    let data = root.join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("private"), b"x").unwrap();
    set_owner(&data.join("private"), 999);
    set_mode(&data.join("private"), 0o400);
    fs::write(data.join("setuid"), b"x").unwrap();
    set_owner(&data.join("setuid"), 12345);
    set_mode(&data.join("setuid"), 0o6755);
    fs::create_dir(data.join("sticky")).unwrap();
    set_mode(&data.join("sticky"), 0o3777);
    fs::write(data.join("sticky/inherits"), b"x").unwrap();
    symlink("private", data.join("link")).unwrap();
    set_owner(&data.join("link"), 31);
    fs::write(data.join("nothing"), b"x").unwrap();
    set_mode(&data.join("nothing"), 0);
    set_owner(&data, 999);
    set_mode(&data, 0o700);
}

fn attributes(root: &Path) {
    let (file, directory) = (root.join("attributes"), root.join("acl"));
    fs::write(&file, b"x").unwrap();
    set_xattr(&file, "user.origin", b"\0binary\xff");
    set_xattr(&file, "user.empty", b"");
    set_xattr(
        &file,
        "system.posix_acl_access",
        &acl(&[
            (1, 6, !0),
            (2, 4, 999),
            (4, 0, !0),
            (16, 4, !0),
            (32, 0, !0),
        ]),
    );
    fs::create_dir(&directory).unwrap();
    let handed_down = acl(&[
        (1, 7, !0),
        (2, 5, 999),
        (4, 5, !0),
        (16, 5, !0),
        (32, 0, !0),
    ]);
    set_xattr(&directory, "system.posix_acl_default", &handed_down);
    // The file has the ACL that it inherits; the directory below got none, against what it would inherit.
    fs::write(directory.join("inherits"), b"x").unwrap();
    fs::create_dir(directory.join("plain")).unwrap();
    for name in ["system.posix_acl_default", "system.posix_acl_access"] {
        rustix::fs::lremovexattr(directory.join("plain"), name).unwrap();
    }
}

fn sparse(root: &Path) {
    let file = fs::File::create(root.join("sparse")).unwrap();
    file.set_len(300 << 20).unwrap();
    file.write_all_at(&[7; 10_000], 100 << 20).unwrap();
    file.write_all_at(b"odd", (200 << 20) + 1).unwrap();
    fs::File::create(root.join("only a hole"))
        .unwrap()
        .set_len(5_000_001)
        .unwrap();
    let pattern: Vec<u8> = (0..9_000_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(root.join("large"), pattern).unwrap();
}
