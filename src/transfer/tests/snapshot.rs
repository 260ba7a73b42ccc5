//! What a tree is, told independently of the code that is tested: paths, the standard library, no shared walker.
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Everything of every entry that must be kept, as text, by path. Sockets and `lost+found` are left out.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut first_names = BTreeMap::new();
    visit(root, root, &mut all, &mut first_names);
    all
}

fn visit(
    root: &Path,
    path: &Path,
    all: &mut BTreeMap<PathBuf, String>,
    first_names: &mut BTreeMap<u64, PathBuf>,
) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let kind = metadata.file_type();
    let relative = path.strip_prefix(root).unwrap();
    if kind.is_socket() || relative == Path::new("lost+found") {
        return;
    }
    let content = if kind.is_symlink() {
        format!("-> {:?}", fs::read_link(path).unwrap())
    } else if kind.is_file() {
        let content = fs::read(path).unwrap();
        format!("{} bytes {}", content.len(), blake3::hash(&content))
    } else {
        String::new()
    };
    let first = first_names
        .entry(metadata.ino())
        .or_insert_with(|| relative.to_owned())
        .clone();
    let text = format!(
        "{kind:?} {:o} {}:{} {}.{:09} rdev {} first {first:?} {content} {:?}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.rdev(),
        xattrs(path),
    );
    all.insert(relative.to_owned(), text);
    if kind.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            visit(root, &path.join(name), all, first_names);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut list = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 4096];
            let length =
                rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
            (
                String::from_utf8_lossy(name).into_owned(),
                value[..length].to_vec(),
            )
        })
        .collect()
}

/// Fails with the first entries that differ, not with two whole trees.
pub fn assert_same(one: &Path, other: &Path) {
    assert_equal(&snapshot(one), &snapshot(other));
}

/// The same between two rounds, when the target has a working directory besides.
pub fn assert_same_so_far(one: &Path, other: &Path) {
    let mut there = snapshot(other);
    there.retain(|path, _| !path.to_string_lossy().starts_with(".kubectl-migrate-"));
    assert_equal(&snapshot(one), &there);
}

fn assert_equal(one: &BTreeMap<PathBuf, String>, other: &BTreeMap<PathBuf, String>) {
    let mut differing: Vec<_> = one
        .iter()
        .filter(|(path, text)| other.get(*path) != Some(text))
        .map(|(path, text)| format!("{path:?}\n  {text}\n  {:?}", other.get(path)))
        .collect();
    differing.extend(
        other
            .keys()
            .filter(|path| !one.contains_key(*path))
            .map(|path| format!("extra {path:?}")),
    );
    differing.truncate(10);
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
