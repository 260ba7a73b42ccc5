//! The one door to a cluster: every request is named, guarded, bounded in time and sent again when that is safe.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, Uri, request::Parts};
use kube::client::Body;
use tokio::time::Instant;
use tower::{BoxError, Service};

use super::{
    Action, KubeError, WriteGuard,
    cause::{self, Class},
    retry::{self, Repeat, RetryPolicy, Verdict},
    status::{self, Asked},
};

/// Wraps kube's own stack (TLS, credentials, gzip); cheap to clone, so that a cluster can have several doors.
#[derive(Clone)]
pub(super) struct Door {
    /// Sends a request once.
    pub inner: kube::Client,
    pub policy: RetryPolicy,
    pub guard: Option<WriteGuard>,
    pub dry_run: bool,
    pub field_manager: Arc<str>,
    pub server: Arc<str>,
    pub kubeconfig_user: Arc<str>,
    /// Set once the server has answered anything.
    pub contacted: Arc<AtomicBool>,
}

impl Service<Request<Body>> for Door {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let door = self.clone();
        Box::pin(async move { door.pass(request).await.map_err(BoxError::from) })
    }
}

/// A request that can be sent again.
struct Prepared {
    parts: Parts,
    body: Bytes,
    action: Action,
    repeat: Repeat,
    changes: bool,
    shape: Shape,
}

/// How the answer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// With its last byte, within the bound of one try.
    Bounded,
    /// When somebody closes it: a watch, a followed log, an upgraded connection.
    Endless,
}

/// Why one try brought no answer.
enum Failure {
    Broken { class: Class, cause: String },
    Hung { after: Duration },
}

impl Door {
    async fn pass(self, request: Request<Body>) -> Result<Response<Body>, KubeError> {
        let prepared = self.prepare(request).await?;
        let start = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            self.ask_guard(&prepared).await?;
            let outcome = self.try_once(&prepared, start).await;
            let asked = Asked {
                action: prepared.action.clone(),
                server: self.server.to_string(),
                kubeconfig_user: self.kubeconfig_user.to_string(),
                tries,
                since: start.elapsed(),
            };
            let backoff = self.policy.wait(tries);
            let wait = match outcome {
                Ok(answer)
                    if answer.status().is_client_error() || answer.status().is_server_error() =>
                {
                    self.contacted.store(true, Ordering::Relaxed);
                    let refusal = Refusal::read(answer, self.policy).await;
                    let verdict = retry::judge(
                        prepared.repeat,
                        refusal.code,
                        &refusal.parts.headers,
                        &refusal.status.message,
                    );
                    match verdict {
                        Verdict::Ambiguous => return Err(ambiguous(asked, refusal.describe())),
                        Verdict::Again(wait) if wait.unwrap_or(backoff) < self.left(start) => {
                            wait.unwrap_or(backoff)
                        }
                        Verdict::Final | Verdict::Again(_) => {
                            return Ok(refusal.into_answer(&asked));
                        }
                    }
                }
                Ok(answer) => {
                    self.contacted.store(true, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(failure) => {
                    self.give_up(&prepared, failure, asked, backoff)?;
                    backoff
                }
            };
            tracing::debug!(action = %prepared.action, tries, ?wait, "sending again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn prepare(&self, request: Request<Body>) -> Result<Prepared, KubeError> {
        let (mut parts, body) = request.into_parts();
        let body = body
            .collect_bytes()
            .await
            .map_err(|error| KubeError::Other {
                what: "cannot read the request's own body".to_owned(),
                cause: cause::text(&error),
            })?;
        let action = Action::of(&parts.method, &parts.uri, &body);
        let changes = matches!(
            parts.method,
            Method::POST | Method::PUT | Method::PATCH | Method::DELETE
        ) && !action.is_review();
        let body = if changes {
            self.mark(&mut parts)?;
            self.only_tried(&parts, body)?
        } else {
            body
        };
        let creates = parts.method == Method::POST && changes && !self.dry_run;
        let repeat = if creates {
            Repeat::OnlyWithoutEffect
        } else {
            Repeat::Safe
        };
        let query = parts.uri.query().unwrap_or_default();
        let endless = action.verb == "watch"
            || query.split('&').any(|pair| pair == "follow=true")
            || parts.headers.contains_key(http::header::UPGRADE);
        let shape = if endless {
            Shape::Endless
        } else {
            Shape::Bounded
        };
        Ok(Prepared {
            parts,
            body,
            action,
            repeat,
            changes,
            shape,
        })
    }

    /// Adds `dryRun` and `fieldManager`, unless the caller set its own.
    fn mark(&self, parts: &mut Parts) -> Result<(), KubeError> {
        let query = parts.uri.query().unwrap_or_default();
        let has = |key: &str| {
            query
                .split('&')
                .any(|pair| pair.split('=').next() == Some(key))
        };
        let mut added = String::new();
        if self.dry_run && !has("dryRun") {
            added.push_str("&dryRun=All");
        }
        if parts.method != Method::DELETE && !has("fieldManager") {
            added.push_str("&fieldManager=");
            added.push_str(&self.field_manager);
        }
        let query = format!("{query}{added}");
        let target = format!("{}?{}", parts.uri.path(), query.trim_start_matches('&'));
        parts.uri = target.parse::<Uri>().map_err(|error| KubeError::Other {
            what: format!("cannot build the request {target}; check --field-manager"),
            cause: error.to_string(),
        })?;
        Ok(())
    }

    /// The API server reads a delete's options from its body, where there is one, and then from nowhere else:
    /// a dry run that stood in the query alone would delete.
    fn only_tried(&self, parts: &Parts, body: Bytes) -> Result<Bytes, KubeError> {
        if !self.dry_run || parts.method != Method::DELETE || body.is_empty() {
            return Ok(body);
        }
        let unreadable = |cause: String| KubeError::Other {
            what: "cannot make a dry run of a delete".to_owned(),
            cause,
        };
        let mut options: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&body).map_err(|error| unreadable(error.to_string()))?;
        options.insert("dryRun".to_owned(), serde_json::json!(["All"]));
        let body = serde_json::to_vec(&options).map_err(|error| unreadable(error.to_string()))?;
        Ok(body.into())
    }

    async fn ask_guard(&self, prepared: &Prepared) -> Result<(), KubeError> {
        match &self.guard {
            Some(guard)
                if (prepared.changes || prepared.action.is_exec())
                    && !prepared.action.is_lease() =>
            {
                guard().await.map_err(|why| KubeError::LockLost {
                    action: Box::new(prepared.action.clone()),
                    why,
                })
            }
            _ => Ok(()),
        }
    }

    async fn try_once(
        &self,
        prepared: &Prepared,
        start: Instant,
    ) -> Result<Response<Body>, Failure> {
        let request =
            Request::from_parts(prepared.parts.clone(), Body::from(prepared.body.clone()));
        let bound = self.policy.single_try.min(self.left(start));
        let answer = async {
            let answer = self.inner.send(request).await?;
            if prepared.shape == Shape::Endless
                || answer.status() == StatusCode::SWITCHING_PROTOCOLS
            {
                return Ok(answer);
            }
            let (parts, body) = answer.into_parts();
            Ok(Response::from_parts(
                parts,
                Body::from(body.collect_bytes().await?),
            ))
        };
        match tokio::time::timeout(bound, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let error: kube::Error = error;
                Err(Failure::Broken {
                    class: cause::class(&error),
                    cause: cause::text(&error),
                })
            }
            Err(_) => Err(Failure::Hung { after: bound }),
        }
    }

    /// `Ok` when another try is allowed and there is time for it after `wait`.
    fn give_up(
        &self,
        prepared: &Prepared,
        failure: Failure,
        asked: Asked,
        wait: Duration,
    ) -> Result<(), KubeError> {
        let (class, cause) = match failure {
            Failure::Broken { class, cause } => (class, cause),
            Failure::Hung { after } => (Class::Broken, format!("no answer within {after:.1?}")),
        };
        let Asked {
            action,
            server,
            kubeconfig_user,
            tries,
            since,
        } = asked;
        let never_answered = !self.contacted.load(Ordering::Relaxed);
        let bound = match class {
            Class::Auth => {
                return Err(KubeError::Auth {
                    user: kubeconfig_user,
                    server,
                    cause,
                });
            }
            Class::Tls => return Err(KubeError::Tls { server, cause }),
            Class::Broken if prepared.repeat == Repeat::OnlyWithoutEffect => {
                return Err(KubeError::Ambiguous {
                    action: Box::new(action),
                    cause,
                });
            }
            Class::NotConnected if never_answered => {
                self.policy.first_contact.min(self.policy.total)
            }
            Class::Broken | Class::NotConnected => self.policy.total,
        };
        if since + wait < bound {
            return Ok(());
        }
        Err(KubeError::Unreachable {
            action: Box::new(action),
            server,
            tries,
            since,
            cause,
        })
    }

    /// What is left of the bound of all tries.
    fn left(&self, start: Instant) -> Duration {
        self.policy.total.saturating_sub(start.elapsed())
    }
}

fn ambiguous(asked: Asked, cause: String) -> KubeError {
    KubeError::Ambiguous {
        action: Box::new(asked.action),
        cause,
    }
}

/// An answer of 400 and above, read to its end.
struct Refusal {
    parts: http::response::Parts,
    code: StatusCode,
    status: kube::core::Status,
}

impl Refusal {
    async fn read(answer: Response<Body>, policy: RetryPolicy) -> Self {
        let (parts, body) = answer.into_parts();
        let code = parts.status;
        // A refusal of a watch or an upgrade has not been read yet; one that never ends says nothing.
        let body = tokio::time::timeout(policy.single_try, body.collect_bytes()).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        Self {
            parts,
            code,
            status: status::parse(code, &body),
        }
    }

    fn describe(&self) -> String {
        format!(
            "HTTP {}: {}",
            self.code.as_u16(),
            cause::one_line(&self.status.message)
        )
    }

    /// The same answer, with the request written into it.
    fn into_answer(mut self, asked: &Asked) -> Response<Body> {
        status::annotate(&mut self.status, asked);
        self.parts.headers.remove(http::header::CONTENT_LENGTH);
        let body = serde_json::to_vec(&self.status).unwrap_or_default();
        Response::from_parts(self.parts, Body::from(body))
    }
}

#[cfg(test)]
#[path = "door_tests.rs"]
mod tests;
