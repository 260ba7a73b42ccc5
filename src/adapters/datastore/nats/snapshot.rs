//! A bucket as its server keeps it: passed from server to server, with its sequences, gaps and times.
//!
//! Times matter: kine counts a lease from the time of its message. What a transfer that was broken off leaves at the
//! target is the beginning of the bucket, or nothing.
use async_nats::{StatusCode, Subject, Subscriber};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    super::{DatastoreError, Meter, Reading},
    api::{Bucket, Granted, Refusal, Restore, Snapshot, State},
    client::Client,
    server::Server,
};

/// Bytes of a chunk, if both servers take as many in a message.
pub(super) const CHUNK: usize = 128 << 10;
/// Chunks that the target may not have confirmed. The source gives up when nothing is taken for 5 s, so this is also
/// how long a target may hesitate.
const WAITING: usize = 128;
/// Chunks that the source may send before the first is taken.
const WINDOW: usize = 32;

pub(super) const READING: &str = "reading the bucket's snapshot";
pub(super) const WRITING: &str = "writing the bucket's snapshot";

/// How a transfer ended.
pub(super) enum Ended {
    /// With a bucket, after so many bytes.
    Made(u64),
    /// A server is still at an earlier one, which was broken off: it needs some seconds to notice.
    Busy(DatastoreError),
}

/// Makes the target's bucket from the source's.
pub(super) async fn transfer(
    source: (&Server, &Client),
    target: (&Server, &Client),
    placed: impl FnOnce(&mut Value),
    meter: &Meter,
) -> Result<Ended, DatastoreError> {
    let (from, to) = (source.1, target.1);
    let chunk = CHUNK
        .min(from.server().max_payload)
        .min(to.server().max_payload);
    let (mut snapshot, mut sending) = match Sending::begin(source.0, from, chunk).await? {
        Ok(begun) => begun,
        Err(refusal) => return ended(from, READING, &refusal),
    };
    placed(&mut snapshot.config);
    let state: State = serde_json::from_value(snapshot.state.clone())
        .map_err(|error| from.lost(READING, &error.to_string()))?;
    let mut receiving = match Receiving::begin(target.0, to, &snapshot).await? {
        Ok(receiving) => receiving,
        Err(refusal) => return ended(to, WRITING, &refusal),
    };
    let mut bytes = 0;
    while let Some((chunk, reply)) = sending.next().await? {
        bytes += chunk.len() as u64;
        if let Err(refusal) = receiving.send(chunk).await? {
            return ended(to, WRITING, &refusal);
        }
        sending.taken(reply).await?;
        meter.show(progress(&state, bytes));
    }
    match receiving.finish().await? {
        Ok(()) => Ok(Ended::Made(bytes)),
        Err(refusal) => ended(to, WRITING, &refusal),
    }
}

/// The source's end.
pub(super) struct Sending<'a> {
    client: &'a Client,
    chunks: Subscriber,
}

impl<'a> Sending<'a> {
    /// Asks for a snapshot in chunks of so many bytes.
    pub async fn begin(
        server: &Server,
        client: &'a Client,
        chunk: usize,
    ) -> Result<Result<(Snapshot, Self), Refusal>, DatastoreError> {
        let (inbox, chunks) = client.inbox(READING).await?;
        let question = format!("STREAM.SNAPSHOT.{}", server.stream());
        let body = json!({
            "deliver_subject": inbox,
            "no_consumers": true,
            "chunk_size": chunk,
            "window_size": chunk * WINDOW,
        });
        let snapshot = client.try_ask(READING, &question, &body).await?;
        Ok(snapshot.map(|snapshot| (snapshot, Self { client, chunks })))
    }

    /// The next chunk, and where it has to be said that it was taken; none at the end.
    pub async fn next(&mut self) -> Result<Option<(Bytes, Option<Subject>)>, DatastoreError> {
        let chunk = self.client.next(READING, &mut self.chunks).await?;
        if let Some(status) = chunk.status.filter(|status| !status.is_success()) {
            let why = chunk.description.unwrap_or_default();
            let cause = format!("{why} ({})", status.as_u16());
            return Err(self.client.lost(READING, &cause));
        }
        Ok((!chunk.payload.is_empty()).then_some((chunk.payload, chunk.reply)))
    }

    /// Lets more come.
    pub async fn taken(&self, reply: Option<Subject>) -> Result<(), DatastoreError> {
        let Some(reply) = reply else { return Ok(()) };
        self.client
            .publish(READING, reply.into_string(), None, None, Bytes::new())
            .await
    }
}

/// What a refusal means for the transfer.
fn ended(client: &Client, doing: &str, refusal: &Refusal) -> Result<Ended, DatastoreError> {
    let error = client.refused(doing, refusal);
    if refusal.is_busy() {
        Ok(Ended::Busy(error))
    } else {
        Err(error)
    }
}

/// How far it is, as if nothing were compressed.
fn progress(state: &State, bytes: u64) -> Reading {
    let part = bytes.min(state.bytes) as f64 / state.bytes.max(1) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a number is none that does not fit"
    )]
    let keys = (state.messages as f64 * part) as u64;
    Reading {
        keys: keys.max(1),
        of: state.messages,
        bytes,
    }
}

/// The target's end.
pub(super) struct Receiving<'a> {
    client: &'a Client,
    subject: String,
    inbox: String,
    answers: Subscriber,
    waiting: usize,
}

impl<'a> Receiving<'a> {
    /// Lets the target expect a bucket.
    pub async fn begin(
        server: &Server,
        client: &'a Client,
        snapshot: &Snapshot,
    ) -> Result<Result<Self, Refusal>, DatastoreError> {
        let question = format!("STREAM.RESTORE.{}", server.stream());
        let body = json!({"config": snapshot.config, "state": snapshot.state});
        let restore: Result<Restore, _> = client.try_ask(WRITING, &question, &body).await?;
        let restore = match restore {
            Ok(restore) => restore,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (inbox, answers) = client.inbox(WRITING).await?;
        Ok(Ok(Self {
            client,
            subject: restore.deliver_subject,
            inbox,
            answers,
            waiting: 0,
        }))
    }

    /// Sends a chunk.
    pub async fn send(&mut self, chunk: Bytes) -> Result<Result<(), Refusal>, DatastoreError> {
        while self.waiting >= WAITING {
            if let Err(refusal) = self.confirm().await? {
                return Ok(Err(refusal));
            }
        }
        let (subject, inbox) = (self.subject.clone(), self.inbox.clone());
        self.client
            .publish(WRITING, subject, Some(inbox), None, chunk)
            .await?;
        self.waiting += 1;
        Ok(Ok(()))
    }

    async fn confirm(&mut self) -> Result<Result<(), Refusal>, DatastoreError> {
        self.waiting -= 1;
        let answer = self.client.next(WRITING, &mut self.answers).await?;
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(self.client.lost(WRITING, "nobody takes it any more"));
        }
        if answer.payload.is_empty() {
            return Ok(Ok(()));
        }
        let told: Result<Granted, _> = self.client.read(WRITING, &answer.payload)?;
        Ok(told.map(drop))
    }

    /// Waits until the bucket is made.
    pub async fn finish(mut self) -> Result<Result<(), Refusal>, DatastoreError> {
        while self.waiting > 0 {
            if let Err(refusal) = self.confirm().await? {
                return Ok(Err(refusal));
            }
        }
        let answer = self
            .client
            .request(WRITING, &self.subject, Bytes::new())
            .await?;
        let made: Result<Bucket, _> = self.client.read(WRITING, &answer.payload)?;
        Ok(made.map(drop))
    }
}
