//! A scripted API server for tests: in this process (so that a paused clock works) or on loopback.
use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::Value;

use super::{Cluster, RetryPolicy, cluster::Shown};

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub method: String,
    pub target: String,
    pub body: Value,
    pub headers: http::HeaderMap,
}

/// The server's half of one exchange.
pub(crate) enum Answer {
    /// A status and a JSON body.
    Json(u16, Value),
    /// The same with headers.
    With(u16, Vec<(&'static str, String)>, Value),
    /// 200 and a text that is no JSON.
    Text(&'static str),
    /// A body of JSON lines, then the end; a hang instead of the end if `true`.
    Lines(Vec<Value>, bool),
    /// No answer, ever.
    Hang,
    /// The connection breaks after the request was read.
    Reset,
    /// The request never arrives.
    Refuse,
}

type FakeBody = UnsyncBoxBody<Bytes, Infallible>;
type Handler = dyn FnMut(&Seen) -> Answer + Send;

/// Records every request and lets a handler answer.
#[derive(Clone)]
pub(crate) struct FakeApi {
    seen: Arc<Mutex<Vec<Seen>>>,
    handler: Arc<Mutex<Box<Handler>>>,
}

impl FakeApi {
    pub(crate) fn new(handler: impl FnMut(&Seen) -> Answer + Send + 'static) -> Self {
        Self {
            seen: Arc::default(),
            handler: Arc::new(Mutex::new(Box::new(handler))),
        }
    }

    /// Answers in this order, whatever is asked; more requests than answers fail the test.
    pub(crate) fn script(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut answers: VecDeque<Answer> = answers.into_iter().collect();
        Self::new(move |seen| {
            answers
                .pop_front()
                .unwrap_or_else(|| panic!("an unexpected {} {}", seen.method, seen.target))
        })
    }

    pub(crate) fn cluster(&self) -> Cluster {
        let shown = Shown {
            context: "fake".to_owned(),
            server: "https://fake:6443".to_owned(),
            kubeconfig_user: "jane".to_owned(),
        };
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| api.clone().serve(request));
        Cluster::over(
            kube::Client::new(service, "default"),
            shown,
            "default",
            RetryPolicy::default(),
        )
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test thread panicked").clone()
    }

    /// `METHOD target` of every request, in order.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.seen()
            .iter()
            .map(|seen| format!("{} {}", seen.method, seen.target))
            .collect()
    }

    async fn serve(self, request: Request<Body>) -> Result<Response<FakeBody>, tower::BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let seen = Seen {
            method: parts.method.to_string(),
            target: parts.uri.to_string(),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            headers: parts.headers,
        };
        let answer = (self.handler.lock().expect("no test thread panicked"))(&seen);
        if !matches!(answer, Answer::Refuse) {
            self.seen
                .lock()
                .expect("no test thread panicked")
                .push(seen);
        }
        let (code, headers, body) = match answer {
            Answer::Json(code, value) => (code, Vec::new(), whole(&value)),
            Answer::With(code, headers, value) => (code, headers, whole(&value)),
            Answer::Text(text) => (200, Vec::new(), Full::from(text).boxed_unsync()),
            Answer::Lines(lines, hang) => (200, Vec::new(), lines_body(lines, hang)),
            Answer::Hang => std::future::pending().await,
            Answer::Reset => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
            Answer::Refuse => return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
        };
        let mut response = Response::builder().status(code);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        Ok(response.body(body)?)
    }
}

fn whole(value: &Value) -> FakeBody {
    Full::from(value.to_string()).boxed_unsync()
}

fn lines_body(lines: Vec<Value>, hang: bool) -> FakeBody {
    let lines = stream::iter(lines).map(|line| Ok(Frame::data(Bytes::from(format!("{line}\n")))));
    let end = stream::iter(hang.then_some(())).then(|()| std::future::pending());
    StreamBody::new(lines.chain(end)).boxed_unsync()
}

/// The server's `Status` of a failure.
pub(crate) fn failure(reason: &str, message: &str) -> Value {
    serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message,
    })
}
