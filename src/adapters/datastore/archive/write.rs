//! An archive is written.
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

/// Where an archive is written to.
pub trait Sink: io::Write {
    /// All of it was written: it is to be whole, and safe, afterwards. Without this call nothing is made of it.
    ///
    /// # Errors
    ///
    /// What was written cannot be kept.
    fn finish(self) -> io::Result<()>;
}

/// A file of [`create`]'s, from its beginning.
pub struct FileSink<'a> {
    file: &'a File,
    path: &'a Path,
    out: BufWriter<&'a File>,
}

impl<'a> FileSink<'a> {
    /// What an earlier call has written is overwritten.
    ///
    /// # Errors
    ///
    /// The disk does not take it.
    pub fn new(mut file: &'a File, path: &'a Path) -> io::Result<Self> {
        file.set_len(0)?;
        file.rewind()?;
        let out = BufWriter::with_capacity(BUFFER, file);
        Ok(Self { file, path, out })
    }
}

impl io::Write for FileSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Sink for FileSink<'_> {
    /// What it was taken of may be deleted next: file and name are on the disk afterwards.
    fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        self.file.sync_all()?;
        let folder = self.path.parent();
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        match File::open(folder.unwrap_or(Path::new(".")))?.sync_all() {
            // Some network file systems do not sync folders: they have no name that could be lost by it.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }
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

/// Writes what comes to where it is kept, which `shown` names; none where no end came. Blocks.
///
/// # Errors
///
/// It is not taken.
pub fn write(
    sink: impl Sink,
    shown: &str,
    head: &Head,
    mut pieces: Receiver<Piece>,
) -> Result<Option<End>> {
    let named = || shown.to_owned();
    let mut out = zstd::Encoder::new(sink, LEVEL).with_context(named)?;
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
                let finished = out.finish().and_then(Sink::finish);
                finished.with_context(named)?;
                return Ok(Some(end));
            }
        }
    }
    Ok(None)
}
