//! Trees as databases and their operators leave them, and a comparison by tools that are not ours.
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, PermissionsExt, chown, lchown, symlink},
        net::UnixListener,
    },
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::support::output_of;

/// Small files in the tree.
pub const SMALL: usize = 20_000;

/// Fills a folder with one of everything that a file system can hold.
pub fn fill(root: &Path) -> Result<()> {
    let many = root.join("many");
    for folder in 0..20 {
        let folder = many.join(folder.to_string());
        fs::create_dir_all(&folder)?;
        for number in 0..SMALL / 20 {
            fs::write(folder.join(number.to_string()), format!("row {number}\n"))?;
        }
    }
    fs::create_dir(root.join("empty"))?;
    for name in [
        OsStr::new("new\nline"),
        OsStr::new(&"n".repeat(255)),
        OsStr::from_bytes(b"not \xff\xfe utf-8"),
    ] {
        fs::write(root.join(name), "odd")?;
    }
    links(root)?;
    owners(root)?;
    attributes(root)?;
    sparse(&root.join("sparse"), 256 << 20)?;
    for (name, date) in [
        ("old", "1969-12-30 01:02:03.999999999 UTC"),
        ("empty", "2001-02-03 04:05:06.123456789 UTC"),
    ] {
        let file = root.join(name);
        if !file.exists() {
            fs::write(&file, name)?;
        }
        output_of(Command::new("touch").args(["-d", date]).arg(&file))?;
    }
    Ok(())
}

fn links(root: &Path) -> Result<()> {
    let links = root.join("links");
    fs::create_dir(&links)?;
    fs::write(links.join("first"), "shared")?;
    for name in ["links/second", "many/third"] {
        fs::hard_link(links.join("first"), root.join(name))?;
    }
    symlink("nowhere/at all", links.join("dangling"))?;
    symlink("/etc/passwd", links.join("absolute"))?;
    lchown(links.join("dangling"), Some(31), Some(32))?;
    output_of(Command::new("mkfifo").arg(links.join("pipe")))?;
    // The socket's file stays when its server goes.
    drop(UnixListener::bind(links.join("socket"))?);
    Ok(())
}

fn owners(root: &Path) -> Result<()> {
    let private = root.join("private");
    fs::create_dir(&private)?;
    fs::write(private.join("key"), "secret")?;
    chown(private.join("key"), Some(999), Some(999))?;
    fs::set_permissions(private.join("key"), Permissions::from_mode(0o400))?;
    fs::write(private.join("setuid"), "#!")?;
    chown(private.join("setuid"), Some(12345), Some(54321))?;
    fs::set_permissions(private.join("setuid"), Permissions::from_mode(0o6755))?;
    chown(&private, Some(999), Some(999))?;
    fs::set_permissions(&private, Permissions::from_mode(0o700))?;
    Ok(())
}

fn attributes(root: &Path) -> Result<()> {
    let file = root.join("attributes");
    fs::write(&file, "x")?;
    output_of(
        Command::new("setfattr")
            .args(["-n", "user.origin", "-v", "0x00ff10"])
            .arg(&file),
    )?;
    output_of(Command::new("setfacl").args(["-m", "u:999:rw"]).arg(&file))?;
    let folder = root.join("acl");
    fs::create_dir(&folder)?;
    output_of(
        Command::new("setfacl")
            .args(["-d", "-m", "u:999:rx"])
            .arg(&folder),
    )?;
    fs::write(folder.join("inherits"), "x")?;
    Ok(())
}

/// A file that is nearly all hole.
fn sparse(path: &Path, length: u64) -> Result<()> {
    let file = File::create(path)?;
    file.set_len(length)?;
    file.write_all_at(&[7; 10_000], length / 3)?;
    file.write_all_at(b"odd", length / 2 + 1)?;
    Ok(file.sync_all()?)
}

/// A file without a hole whose blocks all differ. Noise that is made fast: a counter, mixed.
pub fn noise(path: &Path, length: u64) -> Result<()> {
    const BLOCK: usize = 1 << 20;
    let file = File::create(path)?;
    let mut block: Vec<u8> = (0..BLOCK as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    for (number, offset) in (0_u64..length).step_by(BLOCK).enumerate() {
        for page in block.chunks_exact_mut(4096) {
            page[..8].copy_from_slice(&(number as u64).to_le_bytes());
        }
        let left = usize::try_from(length - offset)?.min(BLOCK);
        file.write_all_at(&block[..left], offset)?;
    }
    Ok(file.sync_all()?)
}

/// Two trees are the same to rsync and to find, but for the sockets, of which there are so many.
pub fn assert_equal(source: &Path, target: &Path, sockets: usize) -> Result<()> {
    // A window of -1 compares nanoseconds.
    let differences = output_of(
        Command::new("rsync")
            .args(["-nAaHX", "--numeric-ids", "--checksum", "--itemize-changes"])
            .args(["--delete", "--modify-window=-1"])
            .arg(source.join(""))
            .arg(target.join("")),
    )?;
    let (left_out, other): (Vec<_>, Vec<_>) =
        differences.lines().partition(|line| line.starts_with("cS"));
    ensure!(other.is_empty(), "rsync finds differences: {other:#?}");
    ensure!(left_out.len() == sockets, "{left_out:?}");
    let (here, there) = (listing(source)?, listing(target)?);
    ensure!(!here.is_empty(), "nothing was compared");
    for (name, one) in &here {
        let shown = String::from_utf8_lossy(name);
        let other = there.get(name).with_context(|| shown.to_string())?;
        ensure!(one.0 == other.0, "{shown}: {} ≠ {}", one.0, other.0);
        // Where holes begin and end is the file system's own affair, within some blocks.
        ensure!(
            other.1 <= one.1 + 128,
            "{shown}: {} blocks became {}",
            one.1,
            other.1
        );
    }
    ensure!(here.len() == there.len(), "the target has more");
    Ok(())
}

/// What find says of every entry: by name, all that must be the same, and how many blocks it takes.
fn listing(root: &Path) -> Result<BTreeMap<Vec<u8>, (String, u64)>> {
    let format = r"%P\0%y %m %U:%G %T@ links %n to %l\0%s\0%b\0";
    let output = Command::new("find")
        .arg(root)
        .args(["!", "-type", "s", "-printf", format])
        .output()?;
    ensure!(output.status.success(), "find {}", root.display());
    let mut fields = output.stdout.split(|byte| *byte == 0);
    let mut all = BTreeMap::new();
    while let (Some(name), Some(what), Some(size), Some(blocks)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    {
        let what = String::from_utf8_lossy(what);
        // The size of a directory tells how it grew.
        let size = if what.starts_with('d') { b"" } else { size };
        let blocks = String::from_utf8_lossy(blocks).parse()?;
        let entry = format!("{what} {}", String::from_utf8_lossy(size));
        all.insert(name.to_vec(), (entry, blocks));
    }
    Ok(all)
}
