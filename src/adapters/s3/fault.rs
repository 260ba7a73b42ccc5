//! What an answer means, or that there was none.
use std::{error::Error as StdError, time::SystemTime};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use jiff::Timestamp;

use super::{
    super::kube::cause::{self, Class},
    S3Error,
    error::Request,
};

/// What an answer means for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// An error for people.
    Error,
    /// The object is there, or is not as the condition wants it.
    Precondition,
    /// Somebody else is at work on the object; it may go later.
    Conflict,
    /// The server cannot do it: it knows no conditions.
    Unknown,
    /// The upload is gone: aborted, or complete already.
    NoUpload,
    /// What arrived was not what we sent.
    Garbled,
    /// It is refused without a word that is known, as every HEAD is: the credentials may be why.
    Mute,
    /// It was done, and nobody can read the answer.
    Unreadable,
}

/// The error of a request, and what it means.
pub(super) fn of<E>(
    error: &SdkError<E, HttpResponse>,
    request: &Request,
    region: &str,
) -> (S3Error, Meaning)
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let boxed = || Box::new(request.clone());
    let found = match error {
        SdkError::ServiceError(answer) => {
            let answer = Answer::of(answer.err(), answer.raw());
            return (answer.error(request, region), answer.meaning());
        }
        SdkError::ResponseError(answer) => {
            let status = answer.raw().status().as_u16();
            S3Error::Other {
                request: boxed(),
                cause: format!(
                    "status {status}, and no answer of an S3 server: {}",
                    cause::text(error)
                ),
            }
        }
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(connector) => no_answer(connector, boxed()),
            None => S3Error::Unreachable {
                request: boxed(),
                cause: cause::text(error),
            },
        },
        SdkError::TimeoutError(_) => S3Error::Unreachable {
            request: boxed(),
            cause: "it did not answer in time".to_owned(),
        },
        _ => S3Error::Other {
            request: boxed(),
            cause: cause::text(error),
        },
    };
    (found, Meaning::Error)
}

/// No answer came: certificates, or the network. The library's own words, such as "io error", add nothing.
fn no_answer(connector: &(dyn StdError + 'static), request: Box<Request>) -> S3Error {
    let source = connector.source().unwrap_or(connector);
    let cause = cause::text(source);
    match cause::class(source) {
        Class::Tls => S3Error::Untrusted { request, cause },
        _ if connector.to_string().contains("timeout") => S3Error::Unreachable {
            request,
            cause: format!("it did not answer in time ({cause})"),
        },
        _ => S3Error::Unreachable { request, cause },
    }
}

/// An answer that is an error.
struct Answer {
    status: u16,
    /// The server's word for it; none where there is no body, as for HEAD.
    code: Option<String>,
    message: String,
    /// It has a body, and that has no word of an S3 server: whatever stands before one said it.
    foreign: bool,
    /// The region that the bucket is in.
    region: Option<String>,
    /// The server's time.
    date: Option<String>,
}

impl Answer {
    fn of<E: ProvideErrorMetadata>(error: &E, raw: &HttpResponse) -> Self {
        let header = |name| raw.headers().get(name).map(str::to_owned);
        let body = raw.body().bytes().unwrap_or_default();
        let body = String::from_utf8_lossy(body);
        let message = error.message().unwrap_or_default();
        let region = header("x-amz-bucket-region")
            .or_else(|| between(&body, "<Region>", "</Region>"))
            .or_else(|| between(message, "expecting '", "'"));
        Self {
            status: raw.status().as_u16(),
            code: error.code().map(str::to_owned),
            message: cause::one_line(message),
            foreign: error.code().is_none() && !body.trim().is_empty(),
            region,
            date: header("date"),
        }
    }

    fn code(&self) -> &str {
        self.code.as_deref().unwrap_or_default()
    }

    fn meaning(&self) -> Meaning {
        match (self.code(), self.status) {
            ("PreconditionFailed", _) | ("", 412) => Meaning::Precondition,
            ("ConditionalRequestConflict" | "OperationAborted", _) => Meaning::Conflict,
            ("NotImplemented", _) | (_, 501) => Meaning::Unknown,
            ("NoSuchUpload", _) => Meaning::NoUpload,
            ("BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "IncompleteBody", _) => {
                Meaning::Garbled
            }
            ("", 400 | 403) | (_, 401) => Meaning::Mute,
            ("", 200..=299) => Meaning::Unreadable,
            _ => Meaning::Error,
        }
    }

    /// `NoSuchKey: The specified key does not exist.`
    fn said(&self) -> String {
        match (self.code(), self.message.as_str()) {
            ("", _) if self.meaning() == Meaning::Unreadable => {
                format!("status {}, and an answer that cannot be read", self.status)
            }
            ("", _) if self.foreign => {
                format!("status {}, and no answer of an S3 server", self.status)
            }
            ("", _) => format!("status {}", self.status),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        }
    }

    /// Whether it says that there is no room; servers have no common word for it.
    fn is_full(&self) -> bool {
        let code = self.code();
        let words = ["Quota", "StorageFull", "InsufficientStorage"];
        // A quota of requests passes.
        let passes = matches!(self.status, 429 | 503);
        self.status == 507
            || (!passes && words.iter().any(|word| code.contains(word)))
            // Swift's.
            || (self.is_too_large() && self.message.contains("quota"))
            // Garage's.
            || (code == "AccessDenied" && self.message.contains("quota is reached"))
    }

    fn is_too_large(&self) -> bool {
        self.code() == "EntityTooLarge" || self.status == 413
    }

    fn error(&self, request: &Request, asked: &str) -> S3Error {
        let cause = self.said();
        let boxed = || Box::new(request.clone());
        match (self.code(), self.status) {
            _ if request.writes() && self.is_full() => S3Error::Full {
                request: boxed(),
                cause,
            },
            _ if request.writes() && self.is_too_large() => S3Error::TooLarge {
                request: boxed(),
                cause,
            },
            (
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "InvalidToken"
                | "TokenRefreshRequired"
                | "ExpiredTokenException"
                | "InvalidSecurity"
                | "AuthFailure",
                _,
            ) => S3Error::Credentials {
                request: boxed(),
                cause: meant(self.code(), &cause),
            },
            ("RequestTimeTooSkewed" | "RequestExpired", _) => S3Error::Clock {
                request: boxed(),
                ours: now(),
                theirs: self
                    .date
                    .clone()
                    .unwrap_or_else(|| "another time".to_owned()),
            },
            (
                "PermanentRedirect"
                | "TemporaryRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException"
                | "IncorrectEndpoint",
                _,
            )
            | (_, 301 | 307) => S3Error::OtherRegion {
                request: boxed(),
                asked: asked.to_owned(),
                region: self.region.clone().filter(|region| region != asked),
            },
            ("NoSuchBucket", _) => S3Error::NoBucket { request: boxed() },
            ("NoSuchKey" | "NotFound", _) => S3Error::NotFound { request: boxed() },
            ("", 404) if !self.foreign => S3Error::NotFound { request: boxed() },
            ("AccessDenied" | "AllAccessDisabled" | "AccountProblem", _) | ("", 403) => {
                S3Error::Forbidden {
                    request: boxed(),
                    cause,
                }
            }
            (
                "SlowDown" | "ServiceUnavailable" | "InternalError" | "RequestTimeout"
                | "Throttling",
                _,
            )
            | (_, 500 | 502..=599 | 429) => S3Error::Failed {
                request: boxed(),
                cause,
            },
            _ => S3Error::Other {
                request: boxed(),
                cause,
            },
        }
    }
}

/// The server's word with what it means.
fn meant(code: &str, said: &str) -> String {
    match code {
        "InvalidAccessKeyId" => format!("it knows no such access key ({said})"),
        "SignatureDoesNotMatch" => {
            format!("the secret access key is not that of the access key ({said})")
        }
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
            format!("they have expired ({said})")
        }
        _ => said.to_owned(),
    }
}

fn now() -> String {
    Timestamp::try_from(SystemTime::now()).map_or_else(
        |_| "nothing".to_owned(),
        |now| now.strftime("%a, %d %b %Y %T GMT").to_string(),
    )
}

fn between(text: &str, before: &str, behind: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    let (found, _) = rest.split_once(behind)?;
    Some(found.to_owned()).filter(|found| !found.is_empty())
}
