//! An upload whose parts come from somebody else, and that goes on where it was cut off.
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_s3::types::CompletedPart;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{
    super::kube::cause, Bucket, S3Error, Unfinished, Version, bucket::size, client::long,
    fault::Meaning, feed::Part,
};

/// How often a connection may break in the middle of a range.
const TRIES: u32 = 5;
/// How long to wait before it is made anew.
const WAIT: Duration = Duration::from_millis(250);

/// An object that is sent, part by part.
#[derive(Debug)]
pub struct Ongoing {
    bucket: Bucket,
    key: String,
    mark: String,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Parts are sent, or were by somebody before.
    Upload {
        upload: Unfinished,
        parts: Mutex<BTreeMap<u32, Sent>>,
    },
    /// Somebody before has sent all of it, and was cut off then.
    Whole(Version),
}

/// A part that the server has.
#[derive(Clone, Debug)]
struct Sent {
    size: u64,
    etag: String,
}

impl Bucket {
    /// Begins an object that is sent in parts, or goes on with it: with the parts that the server has of it already.
    /// `mark` tells it from an object of somebody else.
    ///
    /// # Errors
    ///
    /// There is an object of somebody else, or the server does not take it.
    pub async fn ongoing(&self, key: &str, mark: &str) -> Result<Ongoing, S3Error> {
        let ongoing = |state| Ongoing {
            bucket: self.clone(),
            key: key.to_owned(),
            mark: mark.to_owned(),
            state,
        };
        if let Some(there) = self.look(key).await? {
            if there.mark.as_deref() == Some(mark) {
                return Ok(ongoing(State::Whole(there)));
            }
            return Err(S3Error::Exists {
                request: Box::new(self.request("write", key)),
            });
        }
        let mut begun = match self.unfinished(key).await {
            // Who may not see them begins anew.
            Err(S3Error::Forbidden { .. }) => Vec::new(),
            begun => begun?,
        };
        begun.retain(|upload| upload.key == key);
        while let Some(upload) = begun.pop() {
            if let Some(parts) = self.parts(&upload).await? {
                let parts = Mutex::new(parts);
                return Ok(ongoing(State::Upload { upload, parts }));
            }
        }
        let upload = self.begin(key, mark).await?;
        let parts = Mutex::default();
        Ok(ongoing(State::Upload { upload, parts }))
    }

    /// The parts that the server has of an upload; none if that is gone.
    async fn parts(&self, upload: &Unfinished) -> Result<Option<BTreeMap<u32, Sent>>, S3Error> {
        let request = self.request("list", &upload.key);
        let mut found = BTreeMap::new();
        let mut next: Option<String> = None;
        loop {
            let page = self.call(&request, |client| {
                client
                    .list_parts()
                    .bucket(self.name())
                    .key(&upload.key)
                    .upload_id(&upload.id)
                    .set_part_number_marker(next.clone())
                    .send()
            });
            let page = match page.await {
                Ok(page) => page,
                Err((S3Error::NotFound { .. }, _) | (_, Meaning::NoUpload)) => return Ok(None),
                // Where it cannot be told what is there, all of it is sent again. Not every server calls its list
                // what S3 calls it.
                Err(
                    (S3Error::Forbidden { .. }, _) | (_, Meaning::Unknown | Meaning::Unreadable),
                ) => {
                    return Ok(Some(BTreeMap::new()));
                }
                Err((error, _)) => return Err(error),
            };
            for part in page.parts() {
                let number = part
                    .part_number()
                    .and_then(|number| u32::try_from(number).ok());
                if let Some((number, etag)) = number.zip(part.e_tag()) {
                    let sent = Sent {
                        size: size(part.size()),
                        etag: etag.to_owned(),
                    };
                    found.insert(number, sent);
                }
            }
            let more = page.is_truncated().unwrap_or_default();
            match page.next_part_number_marker().filter(|_| more) {
                Some(marker) if next.as_deref() != Some(marker) => next = Some(marker.to_owned()),
                _ => return Ok(Some(found)),
            }
        }
    }

    /// A range of an object's bytes, all of it.
    ///
    /// # Errors
    ///
    /// There is no such object, or it has not so many bytes, or it cannot be read.
    pub async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, S3Error> {
        let request = self.request("read", key);
        let wanted = range.end - range.start;
        let short = |has: String| S3Error::Damaged {
            object: Box::new(self.address(key)),
            what: format!(
                "it should have {wanted} bytes from byte {} on, and {has}",
                range.start
            ),
        };
        let header = format!("bytes={}-{}", range.start, range.end - 1);
        let mut tries = 0;
        loop {
            let opened = self.call(&request, |client| {
                client
                    .get_object()
                    .bucket(self.name())
                    .key(key)
                    .range(&header)
                    .send()
            });
            let opened = match opened.await {
                Ok(opened) => opened,
                Err((S3Error::Other { cause, .. }, _)) if cause.starts_with("InvalidRange") => {
                    return Err(short("has none".to_owned()));
                }
                Err((error, _)) => return Err(error),
            };
            let offered = size(opened.content_length());
            if offered != wanted {
                return Err(short(format!("has {offered}")));
            }
            let bound = long(wanted);
            let why = match tokio::time::timeout(bound, opened.body.collect()).await {
                Ok(Ok(body)) => {
                    let bytes = body.into_bytes();
                    if bytes.len() as u64 == wanted {
                        return Ok(bytes);
                    }
                    format!("{} of {wanted} bytes came", bytes.len())
                }
                Ok(Err(error)) => cause::text(&error),
                Err(_) => format!("it did not come within {} s", bound.as_secs()),
            };
            tries += 1;
            if tries == TRIES {
                return Err(S3Error::Unreachable {
                    request: Box::new(request),
                    cause: why,
                });
            }
            tokio::time::sleep(WAIT * tries).await;
        }
    }
}

impl Ongoing {
    /// Whether the server has this part already: of this size, and with this MD5, as hexadecimal digits.
    #[must_use]
    pub fn has(&self, number: u32, size: u64, md5: &str) -> bool {
        match &self.state {
            // What it is shows at its end.
            State::Whole(_) => true,
            State::Upload { parts, .. } => {
                let parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
                parts
                    .get(&number)
                    .is_some_and(|sent| sent.size == size && sent.etag.trim_matches('"') == md5)
            }
        }
    }

    /// Sends a part; the first has number 1.
    ///
    /// # Errors
    ///
    /// The server does not take it.
    pub async fn put(&self, number: u32, bytes: Bytes, md5: [u8; 16]) -> Result<(), S3Error> {
        let State::Upload { upload, parts } = &self.state else {
            return Ok(());
        };
        let size = bytes.len() as u64;
        let part = Part {
            bytes,
            md5: STANDARD.encode(md5),
        };
        // S3 has no more than 10 000.
        let position = i32::try_from(number).unwrap_or(i32::MAX);
        let sent = self.bucket.send_part(upload, position, part).await?;
        let sent = Sent {
            size,
            etag: sent.e_tag().unwrap_or_default().to_owned(),
        };
        let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.insert(number, sent);
        Ok(())
    }

    /// Makes the object of so many parts, the first ones. `etag` is what S3 would call it: an object that somebody
    /// before has made whole and that has another is removed.
    ///
    /// # Errors
    ///
    /// The server does not take it, or it was removed: then it is to be sent again.
    pub async fn finish(&self, count: u32, etag: &str) -> Result<(), S3Error> {
        let (upload, parts) = match &self.state {
            State::Upload { upload, parts } => (upload, parts),
            State::Whole(there) => {
                let found = there.etag.as_deref().unwrap_or_default().trim_matches('"');
                if found == etag {
                    return Ok(());
                }
                self.bucket.delete(&self.key).await?;
                let request = Box::new(self.bucket.request("write", &self.key));
                let cause =
                    "an earlier try made it with other contents, and it was removed".to_owned();
                return Err(S3Error::Failed { request, cause });
            }
        };
        let completed = {
            let parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
            let completed = parts.range(..=count).map(|(number, sent)| {
                CompletedPart::builder()
                    .part_number(i32::try_from(*number).unwrap_or(i32::MAX))
                    .e_tag(&sent.etag)
                    .build()
            });
            completed.collect()
        };
        self.bucket.complete(upload, &self.mark, completed).await?;
        // An answer that was lost may have left another that was begun. Whoever deletes the snapshot finds it, too.
        for left in self.bucket.unfinished(&self.key).await.unwrap_or_default() {
            if left.key == self.key {
                self.bucket.abort(&left).await.ok();
            }
        }
        Ok(())
    }
}
