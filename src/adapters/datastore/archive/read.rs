//! An archive is read.
use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read},
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{End, FORMAT, Head, Record, Tally, line::Line};

/// Opens a file.
///
/// # Errors
///
/// It cannot be read.
pub fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    Ok(Box::new(file))
}

/// An archive's records, in their order.
pub struct Reader {
    shown: String,
    lines: BufReader<zstd::Decoder<'static, BufReader<Box<dyn Read + Send>>>>,
    /// What it is of.
    pub head: Head,
    tally: Tally,
    end: Option<End>,
    line: Vec<u8>,
}

impl Reader {
    /// Reads the head of what comes; `shown` names it.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is no snapshot of ours, or one of another version.
    pub fn new(shown: String, input: Box<dyn Read + Send>) -> Result<Self> {
        let no_snapshot = || format!("{shown} is no snapshot of a tenant");
        let mut lines = BufReader::new(zstd::Decoder::new(input).with_context(no_snapshot)?);
        let mut line = Vec::new();
        lines
            .read_until(b'\n', &mut line)
            .with_context(no_snapshot)?;
        let head: Head = serde_json::from_slice(&line).with_context(no_snapshot)?;
        let format = head.kubectl_migrate_tenant_snapshot;
        ensure!(
            format == FORMAT,
            "{shown} has format {format}, and this version reads {FORMAT}: use {}",
            head.written_by
        );
        Ok(Self {
            shown,
            lines,
            head,
            tally: Tally::default(),
            end: None,
            line,
        })
    }

    /// The next record; none at the end, once all that came before it was as it says.
    ///
    /// # Errors
    ///
    /// The file was cut off, or changed.
    pub fn read(&mut self) -> Result<Option<Record>> {
        if self.end.is_some() {
            return Ok(None);
        }
        let shown = &self.shown;
        self.line.clear();
        let read = self.lines.read_until(b'\n', &mut self.line);
        let read = read
            .with_context(|| format!("{shown} is damaged behind record {}", self.tally.records))?;
        ensure!(
            read > 0,
            "{shown} was cut off behind record {}: it has no end",
            self.tally.records
        );
        let line = serde_json::from_slice(&self.line)
            .with_context(|| format!("{shown} is damaged at record {}", self.tally.records + 1))?;
        match line {
            Line::Record(text) => {
                let record = Record::try_from(text).with_context(|| {
                    format!("{shown} is damaged at record {}", self.tally.records + 1)
                })?;
                self.tally.add(&record);
                Ok(Some(record))
            }
            Line::End { end } => {
                let read = self.tally.end(end.revision);
                if read != end {
                    bail!(
                        "{shown} was changed: it has {} records of digest {}, and should have {} of {}",
                        read.records,
                        read.digest,
                        end.records,
                        end.digest
                    );
                }
                // zstd's own checksum comes behind it.
                let more = self.lines.read_until(b'\n', &mut self.line);
                let more = more.with_context(|| format!("{shown} is damaged at its end"))?;
                ensure!(more == 0, "{shown} goes on behind its end");
                self.end = Some(end);
                Ok(None)
            }
        }
    }

    /// What the file ends with, once it was read.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }
}

/// Reads all of an archive; what it is of, and what it ends with. Blocks.
///
/// # Errors
///
/// As [`Reader`]'s.
pub fn check(mut reader: Reader) -> Result<(Head, End)> {
    while reader.read()?.is_some() {}
    let end = reader.end().cloned();
    let end = end.with_context(|| format!("{} has no end", reader.shown))?;
    Ok((reader.head, end))
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, path::PathBuf};

    use bytes::Bytes;
    use serde_json::Value;
    use tokio::sync::mpsc::{Receiver, channel};

    use super::{
        super::{FileSink, create, write::Piece},
        *,
    };
    use crate::adapters::datastore::Driver;

    fn reader(path: &Path) -> Result<Reader> {
        Reader::new(path.display().to_string(), open(path)?)
    }

    fn check(path: &Path) -> Result<(Head, End)> {
        super::check(reader(path)?)
    }

    fn write(file: &File, path: &Path, pieces: Receiver<Piece>) -> Result<Option<End>> {
        let sink = FileSink::new(file, path)?;
        super::super::write(sink, &path.display().to_string(), &head(), pieces)
    }

    fn head() -> Head {
        Head {
            kubectl_migrate_tenant_snapshot: FORMAT,
            written_by: "0.1.0".to_owned(),
            taken: "2026-11-22T02:00:00Z".to_owned(),
            tenant: "tenants/blue".to_owned(),
            kubernetes: "v1.36.0".to_owned(),
            data_store: "silver".to_owned(),
            driver: Driver::Etcd,
            server: "3.6.4".to_owned(),
            schema: "t1".to_owned(),
            layout: Value::Null,
        }
    }

    fn record(number: u32) -> Record {
        Record {
            key: format!("pods/{number}").into_bytes(),
            fields: vec![Some(Bytes::from(vec![0xfe; 100]))],
            ..Record::default()
        }
    }

    /// A file with so many records, and what it ends with.
    fn file(folder: &Path, records: u32) -> (PathBuf, End) {
        let path = folder.join(format!("{records}.snapshot"));
        let (sender, receiver) = channel(2_000);
        for number in 0..records {
            sender.try_send(Piece::Record(record(number))).ok();
        }
        sender.try_send(Piece::End(17)).ok();
        let file = create(&path).expect("a new file");
        let end = write(&file, &path, receiver).expect("written");
        (path, end.expect("an end"))
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, end) = file(folder.path(), 1_000);
        assert_eq!((end.records, end.revision), (1_000, 17));
        let (read, ended) = check(&path).expect("whole");
        assert_eq!((read, ended), (head(), end));
        let mut reader = reader(&path).expect("a file");
        for number in 0..1_000 {
            assert_eq!(reader.read().expect("read"), Some(record(number)));
        }
        assert_eq!(reader.read().expect("read"), None);
        assert_eq!(reader.read().expect("read"), None);
    }

    #[test]
    fn nobody_else_can_read_a_file_that_holds_secrets() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let (path, _) = file(folder.path(), 1);
        let mode = std::fs::metadata(path)
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_there_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, _) = file(folder.path(), 1);
        let error = create(&path).expect_err("there is one");
        assert!(format!("{error:#}").contains("File exists"), "{error:#}");
        check(&path).expect("whole");
    }

    #[test]
    fn what_is_written_again_has_nothing_of_the_first_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("twice");
        let file = create(&path).expect("a new file");
        for records in [500, 1] {
            let (sender, receiver) = channel(1_000);
            for number in 0..records {
                sender.try_send(Piece::Record(record(number))).ok();
            }
            sender.try_send(Piece::End(17)).ok();
            let end = write(&file, &path, receiver).expect("written");
            let (_, read) = check(&path).expect("whole");
            assert_eq!((read.records, Some(read)), (u64::from(records), end));
        }
    }

    #[test]
    fn a_file_whose_writer_was_cut_off_has_no_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cut");
        let (sender, receiver) = channel(1);
        sender.try_send(Piece::Record(record(1))).ok();
        drop(sender);
        let file = create(&path).expect("a new file");
        let written = write(&file, &path, receiver);
        assert_eq!(written.expect("written"), None);
        assert!(check(&path).is_err());
    }

    #[test]
    fn any_cut_and_any_changed_byte_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, written) = file(folder.path(), 20);
        let whole = std::fs::read(&path).expect("read");
        for at in 0..whole.len() {
            std::fs::write(&path, &whole[..at]).expect("written");
            assert!(check(&path).is_err(), "cut off at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            std::fs::write(&path, &changed).expect("written");
            let found = check(&path);
            // Some bits mean nothing to zstd.
            assert!(
                found
                    .as_ref()
                    .map_or(true, |(head, end)| *head == self::head() && *end == written),
                "changed at {at}: {found:?}"
            );
        }
    }

    #[test]
    fn another_s_file_and_another_format_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("other");
        let put = |content: &[u8]| {
            let mut out =
                zstd::Encoder::new(File::create(&path).expect("a file"), 1).expect("zstd");
            out.write_all(content).expect("written");
            out.finish().expect("finished");
        };
        std::fs::write(&path, "apiVersion: v1\n").expect("written");
        let error = format!("{:#}", check(&path).expect_err("text"));
        assert!(error.contains("is no snapshot of a tenant"), "{error}");
        put(b"{\"other\": 1}\n");
        let error = format!("{:#}", check(&path).expect_err("JSON"));
        assert!(error.contains("is no snapshot of a tenant"), "{error}");
        let newer = Head {
            kubectl_migrate_tenant_snapshot: 2,
            ..head()
        };
        put(&serde_json::to_vec(&newer).expect("a head"));
        let error = format!("{:#}", check(&path).expect_err("newer"));
        assert!(error.contains("has format 2"), "{error}");
    }
}
