//! An upload: one piece if it is small, else parts side by side.
use aws_sdk_s3::{
    config::Config,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use futures::stream::{FuturesUnordered, StreamExt as _};

use super::{
    Bucket, S3Error, Unfinished,
    client::{long, timeouts},
    draft::{Draft, MARK, mark},
    feed::{Fed, Part, Parts, Sum},
};

/// Parts that are sent at once.
const AT_ONCE: usize = 4;
/// More parts than this S3 does not take.
const MOST_PARTS: i32 = 10_000;

impl Bucket {
    /// Sends what comes into a new object, and sees that as many bytes are there; none if no end came. What is not
    /// whole is taken away, whichever way this ends; so is what is whole, unless [`Draft::keep`] is called.
    ///
    /// # Errors
    ///
    /// There is such an object already, or the server does not take it.
    pub async fn upload(
        &self,
        key: &str,
        mut parts: Parts,
    ) -> Result<Option<(Draft, Sum)>, S3Error> {
        let (draft, sum) = match parts.0.recv().await {
            None => return Ok(None),
            Some(Fed::Last(part, sum)) => (self.put_new(key, part.bytes).await?, sum),
            Some(Fed::Part(first)) => match self.in_parts(key, first, parts).await? {
                Some(sent) => sent,
                None => return Ok(None),
            },
        };
        let there = self.look(key).await?.map_or(0, |version| version.size);
        if there != sum.size {
            return Err(S3Error::Damaged {
                object: Box::new(self.address(key)),
                what: format!("{} bytes were sent, and {there} are there", sum.size),
            });
        }
        Ok(Some((draft, sum)))
    }

    async fn in_parts(
        &self,
        key: &str,
        first: Part,
        mut parts: Parts,
    ) -> Result<Option<(Draft, Sum)>, S3Error> {
        let mark = mark();
        let upload = self.begin(key, &mark).await?;
        let mut draft = Draft::upload(self, upload.clone());
        let mut sending = FuturesUnordered::new();
        let mut sent = Vec::new();
        let mut number = 1;
        sending.push(self.send_part(&upload, number, first));
        let sum = loop {
            tokio::select! {
                Some(part) = sending.next() => sent.push(part?),
                fed = parts.0.recv(), if sending.len() < AT_ONCE => {
                    let (part, end) = match fed {
                        None => return Ok(None),
                        Some(Fed::Part(part)) => (part, None),
                        Some(Fed::Last(part, sum)) => (part, Some(sum)),
                    };
                    number += 1;
                    if number > MOST_PARTS {
                        return Err(S3Error::Other {
                            request: Box::new(self.request("write", key)),
                            cause: format!("it has more than {MOST_PARTS} parts"),
                        });
                    }
                    sending.push(self.send_part(&upload, number, part));
                    if let Some(sum) = end {
                        break sum;
                    }
                }
            }
        };
        while let Some(part) = sending.next().await {
            sent.push(part?);
        }
        sent.sort_by_key(CompletedPart::part_number);
        self.complete(&upload, &mark, sent).await?;
        draft.completed();
        Ok(Some((draft, sum)))
    }

    pub(super) async fn begin(&self, key: &str, mark: &str) -> Result<Unfinished, S3Error> {
        let request = self.request("write", key);
        let begun = self.call(&request, |client| {
            client
                .create_multipart_upload()
                .bucket(self.name())
                .key(key)
                .metadata(MARK, mark)
                .send()
        });
        let begun = begun.await.map_err(|(error, _)| error)?;
        let id = begun.upload_id().ok_or_else(|| S3Error::Other {
            request: Box::new(request),
            cause: "the server gives the upload no number".to_owned(),
        })?;
        Ok(Unfinished {
            key: key.to_owned(),
            id: id.to_owned(),
        })
    }

    pub(super) async fn send_part(
        &self,
        upload: &Unfinished,
        number: i32,
        part: Part,
    ) -> Result<CompletedPart, S3Error> {
        let request = self.request("write", &upload.key);
        let sent = self.call(&request, |client| {
            client
                .upload_part()
                .bucket(self.name())
                .key(&upload.key)
                .upload_id(&upload.id)
                .part_number(number)
                .content_md5(&part.md5)
                .body(ByteStream::from(part.bytes.clone()))
                .customize()
                .config_override(
                    Config::builder().timeout_config(timeouts(long(part.bytes.len() as u64))),
                )
                .send()
        });
        let sent = sent.await.map_err(|(error, _)| error)?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag().map(str::to_owned))
            .build())
    }

    pub(super) async fn complete(
        &self,
        upload: &Unfinished,
        mark: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<(), S3Error> {
        let request = self.request("write", &upload.key);
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        self.make_new(&request, mark, |client, conditional| {
            client
                .complete_multipart_upload()
                .bucket(self.name())
                .key(&upload.key)
                .upload_id(&upload.id)
                .set_if_none_match(conditional.then(|| "*".to_owned()))
                .multipart_upload(parts.clone())
                .customize()
                .config_override(Config::builder().timeout_config(timeouts(long(0))))
                .send()
        })
        .await
    }
}
