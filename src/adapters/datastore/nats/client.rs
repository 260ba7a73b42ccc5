//! A connection to a server. It is lost once: nothing is sent again behind our back, and who waits is told why.
use std::time::Duration;

use async_nats::{
    ConnectErrorKind, ConnectOptions, Event, HeaderMap, Message, Request, RequestErrorKind,
    ServerError, ServerInfo, Subscriber,
};
use bytes::Bytes;
use futures::StreamExt as _;
use rustls::ClientConfig;
use secrecy::ExposeSecret as _;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    sync::watch::{Receiver, channel},
    time::timeout,
};

use super::{
    super::{
        BasicAuth, DatastoreError, Endpoint,
        kine::{CONNECT_BOUND, SILENCE_BOUND, STATEMENT_BOUND},
        tls::{self, Reason},
    },
    api::Refusal,
};

/// What a server says when a right is missing; the subject follows.
const NO_RIGHT: &str = "permissions violation";
/// Attempts to connect again: one, that who waits is told of a lost connection and not of a lost answer.
const RECONNECTS: usize = 1;

/// Why a connection is of no use any more.
#[derive(Clone, Debug)]
enum Fault {
    Lost(String),
    Refused(String),
}

/// A connection.
#[derive(Clone)]
pub(super) struct Client {
    connection: async_nats::Client,
    store: String,
    fault: Receiver<Option<Fault>>,
}

impl Client {
    /// Logs in.
    pub async fn connect(
        store: &str,
        endpoint: &Endpoint,
        tls: Option<ClientConfig>,
        basic: Option<&BasicAuth>,
    ) -> Result<Self, DatastoreError> {
        let (sender, fault) = channel(None);
        let mut options = ConnectOptions::new()
            .name("kubectl-migrate")
            .connection_timeout(CONNECT_BOUND)
            .request_timeout(None)
            .max_reconnects(RECONNECTS)
            // They are addresses inside of a cluster, which lead nowhere from here, or past a tunnel.
            .ignore_discovered_servers()
            .event_callback(move |event| {
                if let Some(fault) = fault_of(&event) {
                    // The first says why; those that follow only that.
                    sender.send_if_modified(|known| {
                        known.is_none() && known.replace(fault).is_none()
                    });
                }
                std::future::ready(())
            });
        if let Some(config) = tls {
            options = options.require_tls(true).tls_client_config(config);
        }
        if let Some(BasicAuth { user, password }) = basic {
            options = options.user_and_password(user.clone(), password.expose_secret().to_owned());
        }
        let address = format!("nats://{}", endpoint.dial);
        match Box::pin(options.connect(address)).await {
            Ok(client) => Ok(Self {
                connection: client,
                store: store.to_owned(),
                fault,
            }),
            Err(error) => Err(unreachable(store, endpoint, &error)),
        }
    }

    /// What the server says of itself.
    pub fn server(&self) -> ServerInfo {
        self.connection.server_info()
    }

    /// What comes in time, on a connection that is not lost meanwhile.
    pub async fn within<T, E: std::fmt::Display>(
        &self,
        bound: Duration,
        doing: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, DatastoreError> {
        let mut fault = self.fault.clone();
        tokio::select! {
            biased;
            ended = timeout(bound, work) => match ended {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(self.why(doing, &error.to_string())),
                Err(_) => Err(self.lost(doing, &format!("no answer in {} s", bound.as_secs()))),
            },
            fault = fault.wait_for(Option::is_some) => match fault {
                Ok(fault) => Err(self.failed(doing, fault.as_ref())),
                Err(_) => Err(self.lost(doing, "the connection was closed")),
            },
        }
    }

    /// An error's cause is a fault that is known already, if there is one.
    fn why(&self, doing: &str, cause: &str) -> DatastoreError {
        match &*self.fault.borrow() {
            Some(fault) => self.failed(doing, Some(fault)),
            None => self.lost(doing, cause),
        }
    }

    fn failed(&self, doing: &str, fault: Option<&Fault>) -> DatastoreError {
        match fault {
            Some(Fault::Refused(cause)) => DatastoreError::Refused {
                store: self.store.clone(),
                cause: format!("{cause}, while {doing}"),
            },
            Some(Fault::Lost(cause)) => self.lost(doing, cause),
            None => self.lost(doing, "the connection was closed"),
        }
    }

    /// What failed in the middle.
    pub fn lost(&self, doing: &str, cause: &str) -> DatastoreError {
        DatastoreError::Lost {
            store: self.store.clone(),
            doing: doing.to_owned(),
            cause: cause.to_owned(),
        }
    }

    /// What cannot be copied safely.
    pub fn unexpected(&self, what: impl Into<String>) -> DatastoreError {
        DatastoreError::Unexpected {
            store: self.store.clone(),
            what: what.into(),
        }
    }

    /// What a refused request means.
    pub fn refused(&self, doing: &str, refusal: &Refusal) -> DatastoreError {
        let cause = format!("{} ({})", refusal.description, refusal.err_code);
        if refusal.is_full() {
            return DatastoreError::Full {
                store: self.store.clone(),
                cause,
            };
        }
        if refusal.is_disabled() {
            return self.unexpected(format!("it has no JetStream for this user: {cause}"));
        }
        self.lost(doing, &cause)
    }

    /// Asks JetStream.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        doing: &str,
        question: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, DatastoreError> {
        self.try_ask(doing, question, body)
            .await?
            .map_err(|refusal| self.refused(doing, &refusal))
    }

    /// Asks JetStream for something that may not be there.
    pub async fn find<T: DeserializeOwned>(
        &self,
        doing: &str,
        question: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Option<T>, DatastoreError> {
        match self.try_ask(doing, question, body).await? {
            Ok(found) => Ok(Some(found)),
            Err(refusal) if refusal.code == 404 => Ok(None),
            Err(refusal) => Err(self.refused(doing, &refusal)),
        }
    }

    /// The same, where a refusal is an answer, too.
    pub async fn try_ask<T: DeserializeOwned>(
        &self,
        doing: &str,
        question: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Result<T, Refusal>, DatastoreError> {
        let body = serde_json::to_vec(body).map_err(|error| self.unexpected(error.to_string()))?;
        let body = if body == b"null" { Vec::new() } else { body };
        let answer = self
            .request(doing, &format!("$JS.API.{question}"), body.into())
            .await?;
        self.read(doing, &answer.payload)
    }

    /// Sends a request and waits for the answer.
    pub async fn request(
        &self,
        doing: &str,
        subject: &str,
        payload: Bytes,
    ) -> Result<Message, DatastoreError> {
        let request = Request::new().payload(payload).timeout(None);
        let answer = async {
            match self
                .connection
                .send_request(subject.to_owned(), request)
                .await
            {
                Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(None),
                other => other.map(Some),
            }
        };
        let answer = self.within(STATEMENT_BOUND, doing, answer).await?;
        answer.ok_or_else(|| self.unexpected("it has no JetStream, or none for this user"))
    }

    /// An answer of JetStream's.
    pub fn read<T: DeserializeOwned>(
        &self,
        doing: &str,
        payload: &[u8],
    ) -> Result<Result<T, Refusal>, DatastoreError> {
        let strange = |error: serde_json::Error| self.lost(doing, &format!("its answer: {error}"));
        let mut answer: Value = serde_json::from_slice(payload).map_err(strange)?;
        match answer.get_mut("error").map(Value::take) {
            Some(error) => serde_json::from_value(error).map(Err).map_err(strange),
            None => serde_json::from_value(answer).map(Ok).map_err(strange),
        }
    }

    /// A subject that only we hear, and what comes there.
    pub async fn inbox(&self, doing: &str) -> Result<(String, Subscriber), DatastoreError> {
        let inbox = self.connection.new_inbox();
        let subscribed = self.connection.subscribe(inbox.clone());
        let subscriber = self.within(CONNECT_BOUND, doing, subscribed).await?;
        Ok((inbox, subscriber))
    }

    /// The next message that comes there.
    pub async fn next(
        &self,
        doing: &str,
        subscriber: &mut Subscriber,
    ) -> Result<Message, DatastoreError> {
        let next = async { subscriber.next().await.ok_or("the connection was closed") };
        self.within(SILENCE_BOUND, doing, next).await
    }

    /// Sends a message on its way.
    pub async fn publish(
        &self,
        doing: &str,
        subject: String,
        reply: Option<String>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<(), DatastoreError> {
        let client = &self.connection;
        let work = async {
            match (reply, headers) {
                (None, _) => client.publish(subject, payload).await,
                (Some(reply), None) => client.publish_with_reply(subject, reply, payload).await,
                (Some(reply), Some(headers)) => {
                    client
                        .publish_with_reply_and_headers(subject, reply, headers, payload)
                        .await
                }
            }
        };
        self.within(SILENCE_BOUND, doing, work).await
    }
}

fn fault_of(event: &Event) -> Option<Fault> {
    match event {
        Event::Disconnected | Event::Closed => {
            Some(Fault::Lost("the connection was lost".to_owned()))
        }
        Event::SlowConsumer(_) => Some(Fault::Lost("messages came too fast".to_owned())),
        Event::ServerError(ServerError::AuthorizationViolation) => {
            Some(Fault::Refused("authorization violation".to_owned()))
        }
        Event::ServerError(ServerError::Other(text)) => {
            let text = text.trim_matches('\'').to_owned();
            Some(if text.to_lowercase().contains(NO_RIGHT) {
                Fault::Refused(text)
            } else {
                Fault::Lost(text)
            })
        }
        Event::ServerError(error) => Some(Fault::Lost(error.to_string())),
        _ => None,
    }
}

/// What a failure to log in means.
fn unreachable(
    store: &str,
    endpoint: &Endpoint,
    error: &async_nats::ConnectError,
) -> DatastoreError {
    let store = store.to_owned();
    let refused = |cause: String| DatastoreError::Refused {
        store: store.clone(),
        cause,
    };
    let mut cause = match error.kind() {
        ConnectErrorKind::AuthorizationViolation => {
            return refused("authorization violation".to_owned());
        }
        ConnectErrorKind::TimedOut => format!("no answer in {} s", CONNECT_BOUND.as_secs()),
        _ => error.to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            cause = match tls::reason(io, &endpoint.host) {
                Some(Reason::Ours(cause)) => return refused(cause),
                Some(Reason::Theirs(cause)) => cause,
                None => io.to_string(),
            };
        }
        source = inner.source();
    }
    DatastoreError::Unreachable {
        store,
        endpoint: endpoint.shown.clone(),
        cause,
    }
}
