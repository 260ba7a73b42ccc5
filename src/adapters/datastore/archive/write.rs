//! A file is written.
use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::sync::mpsc::Receiver;

use super::{
    Head, Record, Tally,
    line::{Line, Text},
};
use crate::adapters::datastore::archive::End;

/// Fast, and small enough: values of Kubernetes shrink to a fifth.
const LEVEL: i32 = 3;
/// What is written at once.
const BUFFER: usize = 1 << 20;

/// What comes to be written.
pub enum Piece {
    /// A record.
    Record(Record),
    /// All of it has come; the revision that it is of.
    End(u64),
}

/// Makes a file of this name, which nobody else can read: it is to hold every Secret of a tenant, whatever the umask
/// says.
///
/// # Errors
///
/// There is one already, which is kept, or the folder does not take it.
pub fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(path)
        .with_context(|| path.display().to_string())
}

/// Writes what comes into a file of [`create`]'s, which is whole on the disk afterwards; none where no end came. What
/// an earlier call has written is overwritten. Blocks.
///
/// # Errors
///
/// The disk does not take it.
pub fn write(
    mut file: &File,
    path: &Path,
    head: &Head,
    mut pieces: Receiver<Piece>,
) -> Result<Option<End>> {
    let named = || path.display().to_string();
    file.set_len(0).with_context(named)?;
    file.rewind().with_context(named)?;
    let mut out =
        zstd::Encoder::new(BufWriter::with_capacity(BUFFER, file), LEVEL).with_context(named)?;
    // What a disk does to it is found by zstd, too.
    out.include_checksum(true).with_context(named)?;
    let mut line = |value: serde_json::Result<Vec<u8>>| -> Result<()> {
        let mut line = value?;
        line.push(b'\n');
        out.write_all(&line).with_context(named)
    };
    line(serde_json::to_vec(head))?;
    let mut tally = Tally::default();
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Record(record) => {
                tally.add(&record);
                line(serde_json::to_vec(&Line::Record(Text::from(&record))))?;
            }
            Piece::End(revision) => {
                let end = tally.end(revision);
                line(serde_json::to_vec(&json!({ "end": end })))?;
                finish(out, file, path).with_context(named)?;
                return Ok(Some(end));
            }
        }
    }
    Ok(None)
}

/// What it was taken of may be deleted next: file and name are on the disk afterwards.
fn finish(out: zstd::Encoder<'_, BufWriter<&File>>, file: &File, path: &Path) -> io::Result<()> {
    out.finish()?.flush()?;
    file.sync_all()?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    match File::open(folder.unwrap_or(Path::new(".")))?.sync_all() {
        // Some network file systems do not sync folders: they have no name that could be lost by it.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}
