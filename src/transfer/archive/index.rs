//! The index beside an archive: every entry with its digest, as JSON by lines in zstd.
use super::store::ObjectStore;
use super::{Archive, MOST_PARTS, Part};
use crate::transfer::entry::Entry;
use crate::transfer::fault::Fault;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};

/// The version that is written, and the only one that is read.
const FORMAT: u32 = 1;
/// A part of it is sent when it has so many bytes.
const PART: usize = 8 << 20;
/// It is read in pieces of so many bytes.
const PIECE: u64 = 4 << 20;
/// No line is longer: one entry with all attributes that a kernel lists, each byte as four.
const LONGEST: u64 = 64 << 20;
/// Names and digests: more costs time and gains little.
const LEVEL: i32 = 3;

/// As much of the first line as every version has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyHead {
    kubectl_migrate_index: AnyFormat,
}

#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Line {
    KubectlMigrateIndex { format: u32 },
    Entry(Entry),
    Part(Part),
    End { entries: u64, parts: u64 },
}

/// Writes an index, part by part.
pub(crate) struct IndexWriter {
    out: zstd::Encoder<'static, Vec<u8>>,
    line: Vec<u8>,
    entries: u64,
    parts: u64,
}

impl IndexWriter {
    pub(crate) fn new() -> Result<Self, Fault> {
        let mut out = zstd::Encoder::new(Vec::new(), LEVEL).map_err(unmade)?;
        out.include_checksum(true).map_err(unmade)?;
        let mut this = Self {
            out,
            line: Vec::new(),
            entries: 0,
            parts: 0,
        };
        this.put(&Line::KubectlMigrateIndex { format: FORMAT })?;
        Ok(this)
    }

    fn put(&mut self, line: &Line) -> Result<(), Fault> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line).map_err(unmade)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line).map_err(unmade)
    }

    /// Takes the next entry in; a part of the index when there is one.
    pub(crate) fn add(&mut self, entry: Entry) -> Result<Option<Vec<u8>>, Fault> {
        self.entries += 1;
        self.put(&Line::Entry(entry))?;
        let made = self.out.get_mut();
        Ok((made.len() >= PART).then(|| std::mem::take(made)))
    }

    /// The rest of it, with the archive's parts.
    pub(crate) fn finish(mut self, parts: &[Part]) -> Result<Vec<u8>, Fault> {
        for part in parts {
            self.parts += 1;
            self.put(&Line::Part(part.clone()))?;
        }
        let (entries, parts) = (self.entries, self.parts);
        self.put(&Line::End { entries, parts })?;
        self.out.finish().map_err(unmade)
    }
}

/// Memory and encoders do not fail; should they, it is told.
fn unmade(error: impl Into<io::Error>) -> Fault {
    let error = error.into();
    Fault::Damaged {
        object: "the index".to_owned(),
        what: format!("it cannot be made: {error}"),
    }
}

/// Reads an index, entry by entry. What it says counts when its end has come: the sum of its bytes is compared there.
pub(crate) struct IndexReader<'a> {
    key: &'a str,
    lines: BufReader<zstd::Decoder<'static, BufReader<Ranged<'a>>>>,
    line: Vec<u8>,
    entries: u64,
    parts: Vec<Part>,
    begun: bool,
    ended: bool,
}

impl<'a> IndexReader<'a> {
    pub(crate) fn open(
        store: &'a dyn ObjectStore,
        key: &'a str,
        archive: &'a Archive,
    ) -> Result<Self, Fault> {
        let ranged = Ranged {
            store,
            key,
            archive,
            at: 0,
            bytes: Vec::new(),
            taken: 0,
            hasher: blake3::Hasher::new(),
        };
        let decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(128 << 10, ranged));
        Ok(Self {
            key,
            lines: BufReader::new(decoder.map_err(|error| broken(key, error))?),
            line: Vec::new(),
            entries: 0,
            parts: Vec::new(),
            begun: false,
            ended: false,
        })
    }

    /// The next entry.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Fault> {
        loop {
            if self.ended {
                return Ok(None);
            }
            self.line.clear();
            let read = (&mut self.lines)
                .take(LONGEST)
                .read_until(b'\n', &mut self.line)
                .map_err(|error| broken(self.key, error))?;
            if read == 0 {
                return Err(self.damaged("it has no end"));
            }
            if let Some(format) = self.other_format() {
                return Err(self.newer(format));
            }
            let mut line = serde_json::Deserializer::from_slice(&self.line);
            let read = Line::deserialize(&mut line).and_then(|read| line.end().map(|()| read));
            match read.map_err(|error| self.damaged(&format!("a line of it is none: {error}")))? {
                Line::KubectlMigrateIndex { format: FORMAT } if !self.begun => self.begun = true,
                Line::Entry(entry) if self.begun && self.parts.is_empty() => {
                    self.entries += 1;
                    return Ok(Some(entry));
                }
                Line::Part(part) if self.begun && self.parts.len() < MOST_PARTS as usize => {
                    self.parts.push(part);
                }
                Line::End { entries, parts }
                    if self.begun
                        && entries == self.entries
                        && parts == self.parts.len() as u64 =>
                {
                    self.end()?;
                }
                _ => return Err(self.damaged("a line of it is not where it belongs")),
            }
        }
    }

    /// The format that the first line names, where it is another than ours.
    fn other_format(&self) -> Option<u32> {
        let head = || serde_json::from_slice::<AnyHead>(&self.line).ok();
        let format = (!self.begun).then(head)??.kubectl_migrate_index.format;
        (format != FORMAT).then_some(format)
    }

    /// A number counts when all of the bytes are those that the manifest names: one that is damaged may have any.
    fn newer(&mut self, format: u32) -> Fault {
        let rest = io::copy(self.lines.get_mut().get_mut().get_mut(), &mut io::sink());
        match rest.map_err(|error| broken(self.key, error)) {
            Err(fault) => fault,
            Ok(_) => match self.compare() {
                Err(fault) => fault,
                Ok(()) => Fault::Newer {
                    object: self.key.to_owned(),
                    format,
                    reads: FORMAT,
                },
            },
        }
    }

    /// Reads all of it for the archive's parts.
    pub(crate) fn into_parts(mut self) -> Result<Vec<Part>, Fault> {
        while self.next()?.is_some() {}
        let archive = self.lines.get_ref().get_ref().get_ref().archive;
        match archive.flaw(&self.parts) {
            None => Ok(self.parts),
            Some(flaw) => Err(self.damaged(flaw)),
        }
    }

    /// Nothing follows, and all of its bytes are those that the manifest names.
    fn end(&mut self) -> Result<(), Fault> {
        self.ended = true;
        let mut rest = Vec::new();
        let more = (&mut self.lines).take(1).read_to_end(&mut rest);
        if more.map_err(|error| broken(self.key, error))? > 0 {
            return Err(self.damaged("something follows its end"));
        }
        self.compare()
    }

    /// Compares the bytes that were read with those that the manifest names.
    fn compare(&mut self) -> Result<(), Fault> {
        let ranged = self.lines.get_mut().get_mut().get_mut();
        let found: crate::transfer::entry::Digest = ranged.hasher.finalize().into();
        if found != ranged.archive.index_digest || ranged.at != ranged.archive.index_size {
            let wanted = ranged.archive.index_digest;
            return Err(self.damaged(&format!("its digest is {found}, and should be {wanted}")));
        }
        Ok(())
    }

    fn damaged(&self, what: &str) -> Fault {
        Fault::Damaged {
            object: self.key.to_owned(),
            what: what.to_owned(),
        }
    }
}

/// What the store said, or what zstd thinks of what it gave.
fn broken(key: &str, error: io::Error) -> Fault {
    match error.downcast::<Fault>() {
        Ok(fault) => fault,
        Err(error) => Fault::Damaged {
            object: key.to_owned(),
            what: format!("it cannot be unpacked: {error}"),
        },
    }
}

/// An object that is read range by range.
struct Ranged<'a> {
    store: &'a dyn ObjectStore,
    key: &'a str,
    archive: &'a Archive,
    at: u64,
    bytes: Vec<u8>,
    taken: usize,
    hasher: blake3::Hasher,
}

impl Read for Ranged<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.bytes.len() {
            let end = (self.at + PIECE).min(self.archive.index_size);
            if self.at == end {
                return Ok(0);
            }
            let read = self.store.read(self.key, self.at..end);
            self.bytes = read.map_err(|error| io::Error::other(Fault::from(error)))?;
            self.hasher.update(&self.bytes);
            (self.taken, self.at) = (0, end);
        }
        let count = buffer.len().min(self.bytes.len() - self.taken);
        buffer[..count].copy_from_slice(&self.bytes[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}
