//! Where a snapshot comes from.
use std::{fmt, io::Read, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    sync::mpsc::{Receiver, channel},
    task::{JoinHandle, spawn_blocking},
};

use super::{AHEAD, ended};
use crate::{
    adapters::{
        datastore::archive::{self, End, Head, Reader, Record},
        s3::S3Error,
    },
    engine::{Failure, Kind},
    steps::snapshots::Stored,
};

/// Where a snapshot comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// A bucket.
    Bucket(Box<Stored>),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(formatter),
            Self::Bucket(stored) => stored.address().fmt(formatter),
        }
    }
}

/// A snapshot's bytes, and who fetches them, if it is not the disk.
struct Opened {
    input: Box<dyn Read + Send>,
    fetching: Option<JoinHandle<Result<(), S3Error>>>,
}

impl Origin {
    fn open(&self) -> Result<Opened> {
        Ok(match self {
            Self::File(path) => Opened {
                input: archive::open(path)?,
                fetching: None,
            },
            Self::Bucket(stored) => {
                let sum = stored.manifest.data.sum();
                let key = stored.data_key();
                let (input, fetching) = stored.bucket().fetch(&key, stored.version(), sum);
                Opened {
                    input: Box::new(input),
                    fetching: Some(fetching),
                }
            }
        })
    }

    /// Reads it in a thread of its own, which does this with it.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Opened { input, fetching } = self.open()?;
        let shown = self.to_string();
        let reading = spawn_blocking(move || work(Reader::new(shown, input)?));
        let read = reading.await.map_err(ended)?;
        let Some(fetching) = fetching else {
            return read;
        };
        // A thread that got half of it would blame the snapshot for what the network did.
        fetching.await.map_err(ended)??;
        // The network has done its part, so the snapshot is not what its manifest says.
        let damaged = || Failure::new(Kind::Difference, format!("{self} is damaged"));
        read.with_context(damaged)
    }

    /// Reads all of it; what it is of, and what it ends with.
    ///
    /// # Errors
    ///
    /// It cannot be read, is not whole, or is not what its manifest says.
    pub async fn check(&self) -> Result<(Head, End)> {
        let (head, end) = self.read(archive::check).await?;
        if let Self::Bucket(stored) = self {
            let manifest = &stored.manifest;
            if head != manifest.head || end != manifest.end {
                let why = format!("{self} has the data of another snapshot than its manifest says");
                return Err(Failure::new(Kind::Difference, why).into());
            }
        }
        Ok((head, end))
    }

    /// Its records, from a task that reads them.
    pub(super) fn records(&self) -> (Receiver<Record>, JoinHandle<Result<()>>) {
        let (sender, records) = channel(AHEAD);
        let origin = self.clone();
        let reading = tokio::spawn(async move {
            let read = origin.read(move |mut reader| {
                while let Some(record) = reader.read()? {
                    if sender.blocking_send(record).is_err() {
                        // Whoever takes them says by himself why he takes no more.
                        return Ok(false);
                    }
                }
                Ok(true)
            });
            let all = read.await?;
            ensure!(all, "nobody takes the records of {origin} any more");
            Ok(())
        });
        (records, reading)
    }
}
