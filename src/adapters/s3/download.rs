//! An object is read, and gone on with where the connection broke.
use std::{
    io::{self, Read},
    time::Duration,
};

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Buf as _, Bytes};
use tokio::{
    sync::mpsc::{Receiver, channel},
    task::JoinHandle,
};

use super::{super::kube::cause, Bucket, S3Error, Sum, Version, bucket::size, fault::Meaning};

/// How often in a row a connection may break with nothing read.
const TRIES: u32 = 5;
/// How long to wait before the connection is made anew.
const WAIT: Duration = Duration::from_millis(250);
/// How long a connection may give nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// Pieces that are read ahead; one has some 100 KiB at most.
const AHEAD: usize = 16;

/// The content of one version of an object.
#[derive(Debug)]
pub struct Download {
    bucket: Bucket,
    key: String,
    version: Version,
    at: u64,
    body: Option<ByteStream>,
}

impl Bucket {
    /// The content of this version.
    #[must_use]
    pub fn download(&self, key: &str, version: &Version) -> Download {
        Download {
            bucket: self.clone(),
            key: key.to_owned(),
            version: version.clone(),
            at: 0,
            body: None,
        }
    }

    /// All of an object as it is now, from one request; none if there is none.
    pub(super) async fn open_whole(&self, key: &str) -> Result<Option<Download>, S3Error> {
        let request = self.request("read", key);
        let opened = self.call(&request, |client| {
            client.get_object().bucket(self.name()).key(key).send()
        });
        let opened = match opened.await {
            Ok(opened) => opened,
            Err((S3Error::NotFound { .. }, _)) => return Ok(None),
            Err((error, _)) => return Err(error),
        };
        let version = Version {
            size: size(opened.content_length()),
            etag: opened.e_tag().map(str::to_owned),
            mark: None,
        };
        let mut download = self.download(key, &version);
        download.body = Some(opened.body);
        Ok(Some(download))
    }

    /// The same for a thread, with the task that reads it. The task ends with an error if all of it was read and was
    /// not what it should be; with none if the thread has read enough.
    #[must_use]
    pub fn fetch(
        &self,
        key: &str,
        version: &Version,
        wanted: Sum,
    ) -> (Fetched, JoinHandle<Result<(), S3Error>>) {
        let (sender, pieces) = channel(AHEAD);
        let mut download = self.download(key, version);
        let object = self.address(key);
        let fetching = tokio::spawn(async move {
            let mut digest = blake3::Hasher::new();
            while let Some(bytes) = download.next().await? {
                digest.update(&bytes);
                if sender.send(bytes).await.is_err() {
                    return Ok(());
                }
            }
            let digest = digest.finalize().to_hex().to_string();
            if digest == wanted.blake3 {
                return Ok(());
            }
            let what = format!("its digest is {digest}, and should be {}", wanted.blake3);
            Err(S3Error::Damaged {
                object: Box::new(object),
                what,
            })
        });
        let fetched = Fetched {
            pieces,
            piece: Bytes::new(),
        };
        (fetched, fetching)
    }
}

impl Download {
    pub(super) fn size(&self) -> u64 {
        self.version.size
    }

    /// The next bytes; none at the end, which is where the object's size says.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is another one by now.
    pub async fn next(&mut self) -> Result<Option<Bytes>, S3Error> {
        let mut tries = 0;
        loop {
            if self.at == self.version.size {
                return Ok(None);
            }
            let mut body = match self.body.take() {
                Some(body) => body,
                None => self.open().await?,
            };
            let why = match tokio::time::timeout(SILENCE, body.next()).await {
                Ok(Some(Ok(bytes))) if bytes.is_empty() => {
                    self.body = Some(body);
                    continue;
                }
                Ok(Some(Ok(bytes))) => {
                    self.at += bytes.len() as u64;
                    if self.at > self.version.size {
                        return Err(self.damaged("the server sends more than it has".to_owned()));
                    }
                    self.body = Some(body);
                    return Ok(Some(bytes));
                }
                Ok(Some(Err(error))) => cause::text(&error),
                Ok(None) => "it ended before its end".to_owned(),
                Err(_) => format!("nothing came for {} s", SILENCE.as_secs()),
            };
            tries += 1;
            if tries == TRIES {
                return Err(S3Error::Unreachable {
                    request: Box::new(self.bucket.request("read", &self.key)),
                    cause: format!("{why}, at byte {} of {}", self.at, self.version.size),
                });
            }
            tokio::time::sleep(WAIT * tries).await;
        }
    }

    /// Asks for the rest, of the same content.
    async fn open(&self) -> Result<ByteStream, S3Error> {
        let request = self.bucket.request("read", &self.key);
        let range = (self.at > 0).then(|| format!("bytes={}-", self.at));
        let opened = self.bucket.call(&request, |client| {
            client
                .get_object()
                .bucket(self.bucket.name())
                .key(&self.key)
                .set_if_match(self.version.etag.clone())
                .set_range(range.clone())
                .send()
        });
        let opened = match opened.await {
            Ok(opened) => opened,
            Err((_, Meaning::Precondition)) => {
                return Err(self.damaged("it became another one while it was read".to_owned()));
            }
            Err((error, _)) => return Err(error),
        };
        let left = self.version.size - self.at;
        let offered = size(opened.content_length());
        if offered != left {
            return Err(self.damaged(format!(
                "the server sends {offered} bytes from byte {} on, and {left} are left",
                self.at
            )));
        }
        Ok(opened.body)
    }

    fn damaged(&self, what: String) -> S3Error {
        S3Error::Damaged {
            object: Box::new(self.bucket.address(&self.key)),
            what,
        }
    }
}

/// A download as a thread reads it.
#[derive(Debug)]
pub struct Fetched {
    pieces: Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                // Whether this is the end the task knows.
                None => return Ok(0),
            }
        }
        let taken = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..taken]);
        Ok(taken)
    }
}
