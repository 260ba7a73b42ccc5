use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use aws_sdk_s3::{
    Client,
    config::{Config, SharedHttpClient, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use bytes::Bytes;
use tokio::task::JoinHandle;

use super::{
    Address, S3Error, Settings,
    client::{Session, http, long, timeouts},
    draft::{Draft, MARK, mark},
    error::{AWS, Request},
    fault::{self, Meaning},
    feed::md5,
};

/// How often credentials may become others under one request.
const RENEWALS: u32 = 3;
/// How often something is sent again that arrived as something else.
const GARBLED: u32 = 3;
/// How often somebody else may be at work on an object that we make.
const CONFLICTS: u32 = 5;
/// How long to wait for somebody else.
const CONFLICT_WAIT: Duration = Duration::from_millis(500);
/// How long what is not whole may take to be taken away.
const TIDY: Duration = Duration::from_secs(30);
/// How often an upload is aborted that is still there,
const ABORTS: u32 = 5;
/// so long after the last time.
const ABORT_PAUSE: Duration = Duration::from_millis(200);
/// Largest object that is read in one piece.
const LARGEST: u64 = 4 << 20;

/// A bucket of a server, as one user. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    name: String,
    endpoint: String,
    pub(super) settings: Settings,
    pub(super) http: SharedHttpClient,
    pub(super) session: RwLock<Session>,
    /// What takes away what was not finished.
    pub(super) tidying: Mutex<Vec<JoinHandle<()>>>,
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub size: u64,
}

/// An upload that nobody has finished or aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The key that it was to have.
    pub key: String,
    /// The server's number of it.
    pub id: String,
}

/// An object as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its bytes.
    pub size: u64,
    /// What the server tells this content by.
    pub etag: Option<String>,
    /// What its maker marked it with.
    pub(super) mark: Option<String>,
}

impl Bucket {
    /// A bucket of this server. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// TLS cannot be used.
    pub fn open(name: &str, settings: Settings) -> Result<Self, S3Error> {
        let http = http(&settings)?;
        let session = Session::new(&settings, &http, settings.keys.clone());
        let endpoint = settings.endpoint.as_deref().unwrap_or(AWS).to_owned();
        Ok(Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                endpoint,
                http,
                session: RwLock::new(session),
                settings,
                tidying: Mutex::default(),
            }),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Whether everybody on the way can read what passes.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.inner.settings.is_plain()
    }

    /// Where an object is.
    #[must_use]
    pub fn address(&self, key: &str) -> Address {
        Address {
            bucket: self.inner.name.clone(),
            key: key.to_owned(),
        }
    }

    pub(super) fn request(&self, verb: &'static str, key: &str) -> Request {
        Request {
            verb,
            object: self.address(key),
            endpoint: self.inner.endpoint.clone(),
            as_whom: self.session().1.from,
        }
    }

    /// Sends a request, with other credentials where these are not taken and there are others by now, and again where
    /// it arrived as something else. What passes by itself the client sends again.
    pub(super) async fn call<T, E, F>(
        &self,
        request: &Request,
        send: impl Fn(Client) -> F,
    ) -> Result<T, (S3Error, Meaning)>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let (mut renewals, mut garbled) = (0, 0);
        loop {
            let (client, keys) = self.session();
            let error = match send(client).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let (error, meaning) = fault::of(&error, request, &self.inner.settings.region);
            // Whoever is refused before his part was read may only see that the connection ends.
            let perhaps = error.is_about_credentials()
                || meaning == Meaning::Mute
                || matches!(error, S3Error::Unreachable { .. });
            if perhaps && renewals < RENEWALS {
                renewals += 1;
                // Where there are none any more, it is the server's refusal that tells more.
                if self.renewed(&keys).await.is_ok_and(|renewed| renewed) {
                    continue;
                }
            }
            if meaning == Meaning::Garbled && garbled + 1 < GARBLED {
                garbled += 1;
                continue;
            }
            return Err((error, meaning));
        }
    }

    /// All objects whose keys begin with this.
    ///
    /// # Errors
    ///
    /// The bucket cannot be listed.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, S3Error> {
        let request = self.request("list", prefix);
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = self.call(&request, |client| {
                client
                    .list_objects_v2()
                    .bucket(self.name())
                    .prefix(prefix)
                    .set_continuation_token(next.clone())
                    .send()
            });
            let page = page.await.map_err(|(error, _)| error)?;
            for object in page.contents() {
                let Some(key) = object.key() else { continue };
                found.push(Listed {
                    key: key.to_owned(),
                    size: size(object.size()),
                });
            }
            let more = page.is_truncated().unwrap_or_default();
            match page.next_continuation_token().filter(|_| more) {
                Some(token) if next.as_deref() != Some(token) => next = Some(token.to_owned()),
                Some(_) => {
                    return Err(S3Error::Other {
                        request: Box::new(request),
                        cause: "the server gives the same page for ever".to_owned(),
                    });
                }
                None => return Ok(found),
            }
        }
    }

    /// The uploads to such keys that are not finished; none where the server does not tell.
    ///
    /// # Errors
    ///
    /// The bucket cannot be listed.
    pub async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>, S3Error> {
        let request = self.request("list", prefix);
        let mut found = Vec::new();
        let mut next: Option<(String, String)> = None;
        loop {
            let (key, id) = next.clone().unzip();
            let page = self.call(&request, |client| {
                client
                    .list_multipart_uploads()
                    .bucket(self.name())
                    .prefix(prefix)
                    .set_key_marker(key.clone())
                    .set_upload_id_marker(id.clone())
                    .send()
            });
            let page = match page.await {
                Ok(page) => page,
                Err((_, Meaning::Unknown)) => return Ok(found),
                Err((error, _)) => return Err(error),
            };
            for upload in page.uploads() {
                let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else {
                    continue;
                };
                found.push(Unfinished {
                    key: key.to_owned(),
                    id: id.to_owned(),
                });
            }
            let more = page.is_truncated().unwrap_or_default();
            let marker = page.next_key_marker().zip(page.next_upload_id_marker());
            match marker.filter(|_| more) {
                Some((key, id)) => {
                    let marker = Some((key.to_owned(), id.to_owned()));
                    if marker == next {
                        return Ok(found);
                    }
                    next = marker;
                }
                None => return Ok(found),
            }
        }
    }

    /// The object as it is now; none if there is none.
    ///
    /// # Errors
    ///
    /// It cannot be looked at.
    pub async fn look(&self, key: &str) -> Result<Option<Version>, S3Error> {
        let request = self.request("read", key);
        let found = self.call(&request, |client| {
            client.head_object().bucket(self.name()).key(key).send()
        });
        match found.await {
            Ok(found) => Ok(Some(Version {
                size: size(found.content_length()),
                etag: found.e_tag().map(str::to_owned),
                mark: found
                    .metadata()
                    .and_then(|metadata| metadata.get(MARK).cloned()),
            })),
            Err((S3Error::NotFound { .. }, _)) => Ok(None),
            Err((error, _)) => Err(error),
        }
    }

    /// A small object's content; none if there is none. Unlike [`Bucket::look`]'s, the server's refusal has a text.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is larger than anything of ours that is read in one piece.
    pub async fn read_small(&self, key: &str) -> Result<Option<Bytes>, S3Error> {
        let Some(mut download) = self.open_whole(key).await? else {
            return Ok(None);
        };
        let size = download.size();
        if size > LARGEST {
            return Err(S3Error::Damaged {
                object: Box::new(self.address(key)),
                what: format!("it has {size} bytes, more than any of ours"),
            });
        }
        let mut content = Vec::new();
        while let Some(bytes) = download.next().await? {
            content.extend_from_slice(&bytes);
        }
        Ok(Some(content.into()))
    }

    /// Makes an object in one piece; one that is there is kept. It is taken away again unless [`Draft::keep`] is called.
    ///
    /// # Errors
    ///
    /// There is one already, or the server does not take it.
    pub async fn put_new(&self, key: &str, content: Bytes) -> Result<Draft, S3Error> {
        let request = self.request("write", key);
        let mark = mark();
        let digest = md5(&content);
        self.make_new(&request, &mark, |client, conditional| {
            client
                .put_object()
                .bucket(self.name())
                .key(key)
                .set_if_none_match(conditional.then(|| "*".to_owned()))
                .metadata(MARK, &mark)
                .content_md5(&digest)
                .body(ByteStream::from(content.clone()))
                .customize()
                .config_override(
                    Config::builder().timeout_config(timeouts(long(content.len() as u64))),
                )
                .send()
        })
        .await?;
        Ok(Draft::object(self, key))
    }

    /// Makes an object in one piece, in place of the one that is there: for what is only told, never for data.
    ///
    /// # Errors
    ///
    /// The server does not take it.
    pub async fn put_over(&self, key: &str, content: Bytes) -> Result<(), S3Error> {
        let request = self.request("write", key);
        let digest = md5(&content);
        let put = self.call(&request, |client| {
            client
                .put_object()
                .bucket(self.name())
                .key(key)
                .content_md5(&digest)
                .body(ByteStream::from(content.clone()))
                .send()
        });
        put.await.map(drop).map_err(|(error, _)| error)
    }

    /// Sends what makes an object, under the condition that there is none. Where the server knows no conditions it is
    /// looked before. An answer may be lost, and the second try find what the first has made: the mark tells.
    pub(super) async fn make_new<T, E, F>(
        &self,
        request: &Request,
        mark: &str,
        send: impl Fn(Client, bool) -> F,
    ) -> Result<(), S3Error>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let mut conditional = true;
        let mut conflicts = 0;
        loop {
            let made = self.call(request, |client| send(client, conditional)).await;
            let Err((error, meaning)) = made else {
                return Ok(());
            };
            let exists = || S3Error::Exists {
                request: Box::new(request.clone()),
            };
            match meaning {
                Meaning::Conflict if conflicts < CONFLICTS => {
                    conflicts += 1;
                    tokio::time::sleep(CONFLICT_WAIT).await;
                }
                Meaning::Unknown if conditional => {
                    if self.look(&request.object.key).await?.is_some() {
                        return Err(exists());
                    }
                    conditional = false;
                }
                Meaning::Precondition | Meaning::NoUpload => {
                    let there = self.look(&request.object.key).await?;
                    return match there {
                        Some(there) if there.mark.as_deref() == Some(mark) => Ok(()),
                        Some(_) if meaning == Meaning::Precondition => Err(exists()),
                        _ => Err(error),
                    };
                }
                _ => return Err(error),
            }
        }
    }

    /// Removes an object; without one it is as if it were removed.
    ///
    /// # Errors
    ///
    /// The server does not do it.
    pub async fn delete(&self, key: &str) -> Result<(), S3Error> {
        let request = self.request("delete", key);
        let deleted = self.call(&request, |client| {
            client.delete_object().bucket(self.name()).key(key).send()
        });
        match deleted.await {
            Ok(_) | Err((S3Error::NotFound { .. }, _)) => Ok(()),
            Err((error, _)) => Err(error),
        }
    }

    /// Aborts an upload; without one it is as if it were aborted.
    ///
    /// # Errors
    ///
    /// The server does not do it.
    pub async fn abort(&self, upload: &Unfinished) -> Result<(), S3Error> {
        for _ in 0..ABORTS {
            self.abort_once(upload).await?;
            // A part that was on its way may have come since, and is there then (S3's `AbortMultipartUpload` says so).
            // Whoever may not list uploads is not told.
            match self.unfinished(&upload.key).await {
                Ok(found) if found.iter().any(|found| found.id == upload.id) => {
                    tokio::time::sleep(ABORT_PAUSE).await;
                }
                _ => break,
            }
        }
        Ok(())
    }

    async fn abort_once(&self, upload: &Unfinished) -> Result<(), S3Error> {
        let request = self.request("abort the upload of", &upload.key);
        let aborted = self.call(&request, |client| {
            client
                .abort_multipart_upload()
                .bucket(self.name())
                .key(&upload.key)
                .upload_id(&upload.id)
                .send()
        });
        match aborted.await {
            Ok(_) | Err((S3Error::NotFound { .. }, _) | (_, Meaning::NoUpload)) => Ok(()),
            Err((error, _)) => Err(error),
        }
    }

    /// Waits until what was not finished is taken away, or cannot be; whether all of it was waited for.
    pub async fn tidied(&self) -> bool {
        let tidying = std::mem::take(
            &mut *self
                .inner
                .tidying
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let all = async {
            for one in tidying {
                // One that panicked has told so.
                one.await.ok();
            }
        };
        tokio::time::timeout(TIDY, all).await.is_ok()
    }
}

pub(super) fn size(told: Option<i64>) -> u64 {
    told.and_then(|size| u64::try_from(size).ok())
        .unwrap_or_default()
}
