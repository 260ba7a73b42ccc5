//! An S3 server in memory, on loopback, with faults on demand. It checks what it is sent: MD5, conditions, parts.
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::super::feed::md5;

/// The only bucket that it has.
pub(crate) const BUCKET: &str = "backups";

type Body = UnsyncBoxBody<Bytes, Gone>;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) key: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    /// How many were there before it.
    pub(crate) number: usize,
}

impl Seen {
    /// What it asks for, in one word.
    pub(crate) fn what(&self) -> &'static str {
        let has = |name: &str| self.query.contains_key(name);
        match self.method.as_str() {
            "PUT" if has("partNumber") => "part",
            "PUT" => "put",
            "POST" if has("uploads") => "begin",
            "POST" => "complete",
            "DELETE" if has("uploadId") => "abort",
            "DELETE" => "delete",
            "HEAD" => "look",
            _ if has("list-type") => "list",
            _ if has("uploads") => "uploads",
            "GET" if has("uploadId") => "parts",
            _ => "get",
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The access key that it is signed with.
    pub(crate) fn access_key(&self) -> &str {
        let rest = self.header("authorization").split_once("Credential=");
        rest.and_then(|(_, rest)| rest.split('/').next())
            .unwrap_or_default()
    }
}

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This answer instead, and nothing is done.
    Answer(u16, &'static str, Vec<(&'static str, String)>),
    /// This status, and a page of whatever stands before the server.
    Page(u16, &'static str),
    /// 200, with an error in the body.
    InBody(&'static str),
    /// The connection ends before the body was read.
    Reset,
    /// It is done, and the connection ends before the answer.
    Unanswered,
    /// It is done with a byte changed.
    Flipped,
    /// The answer's body ends after so many bytes.
    Cut(usize),
}

/// An object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    pub(crate) content: Vec<u8>,
    metadata: Vec<(String, String)>,
}

/// An upload that is not complete.
pub(crate) struct Upload {
    key: String,
    object: Object,
    parts: BTreeMap<u32, Vec<u8>>,
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) objects: BTreeMap<String, Object>,
    pub(crate) uploads: BTreeMap<String, Upload>,
    pub(crate) seen: Vec<Seen>,
    begun: usize,
}

type Faults = dyn FnMut(&Seen) -> Option<Fault> + Send;

/// The server.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    world: Arc<Mutex<World>>,
    faults: Arc<Mutex<Box<Faults>>>,
    /// Where the profile of its user is, for as long as it runs.
    pub(crate) home: Arc<tempfile::TempDir>,
}

impl Fake {
    pub(crate) async fn start(faults: impl FnMut(&Seen) -> Option<Fault> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let fake = Self {
            address: listener.local_addr().expect("an address"),
            world: Arc::default(),
            faults: Arc::new(Mutex::new(Box::new(faults))),
            home: Arc::new(super::home("KEY")),
        };
        let server = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| server.clone().serve(request));
                    let connection =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    // A fault ends it with an error.
                    connection.await.ok();
                });
            }
        });
        fake
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test thread panicked")
    }

    /// What was asked for, in order.
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        self.world().seen.iter().map(Seen::what).collect()
    }

    pub(crate) fn content(&self, key: &str) -> Option<Vec<u8>> {
        Some(self.world().objects.get(key)?.content.clone())
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Response<Body>, Gone> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().trim_start_matches('/').to_owned();
        let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
        let query = parts.uri.query().unwrap_or_default().split('&');
        let query = query.filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.replace("%2F", "/"))
        });
        let seen = Seen {
            method: parts.method,
            key: key.to_owned(),
            query: query.collect(),
            headers: parts.headers,
            number: self.world().seen.len(),
        };
        let fault = (self.faults.lock().expect("no test thread panicked"))(&seen);
        self.world().seen.push(seen.clone());
        if matches!(fault, Some(Fault::Reset)) {
            return Err(Gone);
        }
        let body = body.collect().await.map_err(|_| Gone)?.to_bytes();
        match fault {
            Some(Fault::Answer(status, code, headers)) => {
                let mut response = failure(status, code);
                for (name, value) in headers {
                    let value: HeaderValue = value.parse().expect("a header");
                    response.headers_mut().insert(name, value);
                }
                return Ok(response);
            }
            Some(Fault::Page(status, page)) => return Ok(answer(status, page)),
            Some(Fault::InBody(code)) => return Ok(answer(200, &error_text(code))),
            _ if bucket != BUCKET => return Ok(failure(404, "NoSuchBucket")),
            _ => {}
        }
        let mut body = body.to_vec();
        if let (Some(Fault::Flipped), Some(first)) = (&fault, body.first_mut()) {
            *first ^= 1;
        }
        let flipped = matches!(fault, Some(Fault::Flipped));
        let response = self.world().act(&seen, body, flipped);
        match fault {
            Some(Fault::Unanswered) => Err(Gone),
            Some(Fault::Cut(at)) => {
                // The length is that of the whole: the connection ends too early.
                let (parts, body) = response.into_parts();
                let body = body.collect().await?.to_bytes();
                let cut = body.slice(..at.min(body.len()));
                let sent = stream::iter([Ok(Frame::data(cut))]);
                let end = stream::once(async {
                    // The server sends what it has while it is given no more.
                    tokio::task::yield_now().await;
                    Err(Gone)
                });
                let body = StreamBody::new(sent.chain(end)).boxed_unsync();
                Ok(Response::from_parts(parts, body))
            }
            _ => Ok(response),
        }
    }
}

/// The connection ends.
#[derive(Debug, thiserror::Error)]
#[error("gone")]
struct Gone;

impl World {
    fn act(&mut self, seen: &Seen, body: Vec<u8>, flipped: bool) -> Response<Body> {
        let sent = seen.header("content-md5");
        if !sent.is_empty() && !flipped && sent != md5(&body) {
            return failure(400, "BadDigest");
        }
        let metadata = seen
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("x-amz-meta-"));
        let metadata = metadata.map(|(name, value)| {
            (
                name.to_string(),
                value.to_str().unwrap_or_default().to_owned(),
            )
        });
        let object = Object {
            content: body,
            metadata: metadata.collect(),
        };
        let new = seen.header("if-none-match") == "*";
        let refused = new && self.objects.contains_key(&seen.key);
        let id = seen.query.get("uploadId").cloned().unwrap_or_default();
        match seen.what() {
            "put" | "complete" if refused => failure(412, "PreconditionFailed"),
            "put" => {
                self.objects.insert(seen.key.clone(), object);
                answer(200, "")
            }
            "begin" => {
                self.begun += 1;
                let id = format!("upload-{}", self.begun);
                let upload = Upload {
                    key: seen.key.clone(),
                    object,
                    parts: BTreeMap::new(),
                };
                self.uploads.insert(id.clone(), upload);
                answer(
                    200,
                    &format!(
                        "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                    ),
                )
            }
            "part" => match self.uploads.get_mut(&id) {
                Some(Upload { parts, .. }) => {
                    let number = seen.query["partNumber"].parse().expect("a number");
                    let tag = tag(&object.content).parse().expect("a header");
                    parts.insert(number, object.content);
                    let mut response = answer(200, "");
                    response.headers_mut().insert("etag", tag);
                    response
                }
                None => failure(404, "NoSuchUpload"),
            },
            "complete" => match self.uploads.remove(&id) {
                Some(Upload {
                    key,
                    mut object,
                    parts,
                }) => {
                    object.content = parts.into_values().flatten().collect();
                    self.objects.insert(key, object);
                    answer(
                        200,
                        "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>",
                    )
                }
                None => failure(404, "NoSuchUpload"),
            },
            "abort" => match self.uploads.remove(&id) {
                Some(_) => answer(204, ""),
                None => failure(404, "NoSuchUpload"),
            },
            "delete" => {
                self.objects.remove(&seen.key);
                answer(204, "")
            }
            "list" => self.list(seen),
            "uploads" => self.list_uploads(seen),
            "parts" => self.list_parts(&id, seen),
            _ => self.get(seen),
        }
    }

    fn get(&self, seen: &Seen) -> Response<Body> {
        let Some(object) = self.objects.get(&seen.key) else {
            return failure(404, "NoSuchKey");
        };
        let tag = format!("\"{}\"", md5(&object.content).replace('=', ""));
        let wanted = seen.header("if-match");
        if !wanted.is_empty() && wanted != tag {
            return failure(412, "PreconditionFailed");
        }
        let range = seen.header("range").strip_prefix("bytes=");
        let (from, to) = range
            .and_then(|range| range.split_once('-'))
            .unwrap_or_default();
        let number = |text: &str| (!text.is_empty()).then(|| text.parse().expect("a number"));
        let (from, to): (usize, Option<usize>) = (number(from).unwrap_or(0), number(to));
        let end = to.map_or(object.content.len(), |to| to + 1);
        if from > object.content.len() {
            return failure(416, "InvalidRange");
        }
        let content = &object.content[from..end.min(object.content.len())];
        let mut response = Response::new(whole(content.to_vec()));
        *response.status_mut() = if from == 0 {
            StatusCode::OK
        } else {
            StatusCode::PARTIAL_CONTENT
        };
        let headers = response.headers_mut();
        headers.insert("etag", tag.parse().expect("a header"));
        headers.insert("content-length", content.len().into());
        for (name, value) in &object.metadata {
            let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a header");
            headers.insert(name, value.parse().expect("a header"));
        }
        if seen.method == Method::HEAD {
            *response.body_mut() = whole(Vec::new());
        }
        response
    }

    /// Two at once, so that there are pages.
    fn list(&self, seen: &Seen) -> Response<Body> {
        let prefix = seen.query.get("prefix").map_or("", String::as_str);
        let behind = seen
            .query
            .get("continuation-token")
            .map_or("", String::as_str);
        let all: Vec<_> = self
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && key.as_str() > behind)
            .collect();
        let page = all.iter().take(2).map(|(key, object)| {
            let size = object.content.len();
            format!("<Contents><Key>{key}</Key><Size>{size}</Size></Contents>")
        });
        let page: String = page.collect();
        let more = if all.len() > 2 {
            let last = all[1].0;
            format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>"
            )
        } else {
            String::new()
        };
        answer(
            200,
            &format!("<ListBucketResult>{page}{more}</ListBucketResult>"),
        )
    }

    /// Two at once, so that there are pages.
    fn list_parts(&self, id: &str, seen: &Seen) -> Response<Body> {
        let Some(upload) = self.uploads.get(id) else {
            return failure(404, "NoSuchUpload");
        };
        let behind = seen.query.get("part-number-marker");
        let behind = behind.map_or(0, |behind| behind.parse().expect("a number"));
        let all: Vec<_> = upload.parts.range(behind + 1..).collect();
        let page = all.iter().take(2).map(|(number, content)| {
            let (size, tag) = (content.len(), tag(content).replace('"', "&quot;"));
            format!("<Part><PartNumber>{number}</PartNumber><Size>{size}</Size><ETag>{tag}</ETag></Part>")
        });
        let page: String = page.collect();
        let more = match all.get(1) {
            Some((last, _)) if all.len() > 2 => format!(
                "<IsTruncated>true</IsTruncated><NextPartNumberMarker>{last}</NextPartNumberMarker>"
            ),
            _ => String::new(),
        };
        answer(
            200,
            &format!("<ListPartsResult>{page}{more}</ListPartsResult>"),
        )
    }

    fn list_uploads(&self, seen: &Seen) -> Response<Body> {
        let prefix = seen.query.get("prefix").map_or("", String::as_str);
        let uploads = self.uploads.iter();
        let text = uploads.filter(|(_, upload)| upload.key.starts_with(prefix));
        let text = text.map(|(id, upload)| {
            let key = &upload.key;
            format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>")
        });
        let text: String = text.collect();
        answer(
            200,
            &format!("<ListMultipartUploadsResult>{text}</ListMultipartUploadsResult>"),
        )
    }
}

/// The tag of a part: its MD5.
fn tag(content: &[u8]) -> String {
    use md5::Digest as _;
    let sum = md5::Md5::digest(content);
    format!("\"{}\"", digits(&sum))
}

/// Bytes as hexadecimal digits.
pub(crate) fn digits(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut digits = String::new();
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("memory");
    }
    digits
}

fn whole(content: Vec<u8>) -> Body {
    let body = Full::from(content);
    body.map_err(|never| match never {}).boxed_unsync()
}

fn answer(status: u16, text: &str) -> Response<Body> {
    let mut response = Response::new(whole(text.to_owned().into_bytes()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

fn error_text(code: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>said by the server</Message><Region>far-away-1</Region></Error>"
    )
}

fn failure(status: u16, code: &str) -> Response<Body> {
    let text = if code.is_empty() {
        String::new()
    } else {
        error_text(code)
    };
    answer(status, &text)
}
