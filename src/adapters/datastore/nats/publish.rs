//! Messages on their way to a bucket, each to a sequence of its own.
use std::collections::VecDeque;

use async_nats::{HeaderMap, StatusCode, Subscriber};
use bytes::Bytes;

use super::{
    super::DatastoreError, api::Stored, client::Client, key, read::Message, server::Server,
};

/// Messages and bytes that are on their way at once.
const MESSAGES: usize = 1_000;
const BYTES: usize = 4 << 20;
/// The message before this one: a server refuses it anywhere else, so that a lost connection leaves no doubt.
const BEHIND: &str = "Nats-Expected-Last-Sequence";
/// Conditions of the message's first publication, which say nothing of its content.
const CONDITIONS: [&str; 2] = ["Nats-Expected-", "Nats-Msg-Id"];
/// How a bucket marks a key that was deleted; API servers never see it.
const OPERATION: &str = "KV-Operation";
const DELETED: &str = "DEL";
/// The key of the messages that fill gaps: kine's tables have rows of such names.
const FILLER: &str = "gap-filled";

const DOING: &str = "writing to the bucket";

/// Writes messages, in order.
pub(super) struct Publisher<'a> {
    client: &'a Client,
    inbox: String,
    answers: Subscriber,
    /// Sequences and bytes that the server has not confirmed.
    waiting: VecDeque<(u64, usize)>,
    waiting_bytes: usize,
    /// The sequence that comes next.
    next: u64,
    filler: String,
    /// Whether a message came first that a copy which was broken off had sent: the same, at the same sequence.
    pub overtaken: bool,
}

/// The subject of fillers.
pub(super) fn filler(server: &Server) -> String {
    format!("{}{}", server.prefix(), key::single(FILLER))
}

impl<'a> Publisher<'a> {
    /// Goes on behind a bucket's last sequence.
    pub async fn behind(
        client: &'a Client,
        server: &Server,
        last: u64,
    ) -> Result<Self, DatastoreError> {
        let (inbox, answers) = client.inbox(DOING).await?;
        Ok(Self {
            client,
            inbox,
            answers,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            next: last + 1,
            filler: filler(server),
            overtaken: false,
        })
    }

    /// Writes a message to its own sequence.
    pub async fn put(&mut self, message: Message) -> Result<(), DatastoreError> {
        self.fill(message.sequence - 1).await?;
        let headers = message.headers.as_ref().map(content).unwrap_or_default();
        self.send(message.subject, headers, message.payload).await
    }

    /// Uses up the sequences up to this one. A bucket keeps only the last few messages of a subject.
    pub async fn fill(&mut self, last: u64) -> Result<(), DatastoreError> {
        while self.next <= last {
            let mut headers = HeaderMap::new();
            headers.insert(OPERATION, DELETED);
            self.send(self.filler.clone(), headers, Bytes::new())
                .await?;
        }
        Ok(())
    }

    async fn send(
        &mut self,
        subject: String,
        mut headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), DatastoreError> {
        let bytes = payload.len();
        while self.waiting.len() >= MESSAGES
            || (self.waiting_bytes > 0 && self.waiting_bytes + bytes > BYTES)
        {
            self.confirm().await?;
        }
        headers.insert(BEHIND, (self.next - 1).to_string());
        self.client
            .publish(
                DOING,
                subject,
                Some(self.inbox.clone()),
                Some(headers),
                payload,
            )
            .await?;
        self.waiting.push_back((self.next, bytes));
        self.waiting_bytes += bytes;
        self.next += 1;
        Ok(())
    }

    async fn confirm(&mut self) -> Result<(), DatastoreError> {
        let Some((sequence, bytes)) = self.waiting.pop_front() else {
            return Ok(());
        };
        let answer = self.client.next(DOING, &mut self.answers).await?;
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            let cause =
                "the bucket takes nothing yet: a copy that was broken off is still ending there";
            return Err(self.client.lost(DOING, cause));
        }
        let stored: Result<Stored, _> = self.client.read(DOING, &answer.payload)?;
        let stored = stored.map_err(|refusal| {
            self.overtaken = refusal.is_overtaken();
            self.client.refused(DOING, &refusal)
        })?;
        if stored.seq != sequence {
            return Err(self.client.unexpected(format!(
                "somebody else writes to the bucket: what was sent to {sequence} became {}",
                stored.seq
            )));
        }
        self.waiting_bytes -= bytes;
        Ok(())
    }

    /// Waits until all is written.
    pub async fn finish(&mut self) -> Result<(), DatastoreError> {
        while !self.waiting.is_empty() {
            self.confirm().await?;
        }
        Ok(())
    }
}

/// The headers that belong to a message's content.
fn content(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, values) in headers.iter() {
        let name: &str = name.as_ref();
        if CONDITIONS.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        for value in values {
            kept.append(name, value.as_str());
        }
    }
    kept
}

/// What a message does to its key: sets it, or `DEL`, `PURGE`.
pub(super) fn operation(headers: Option<&HeaderMap>) -> &str {
    let value = headers.and_then(|headers| headers.get(OPERATION));
    value.map_or("PUT", |value| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_the_first_publication_are_not_repeated() {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", "16");
        headers.insert("Nats-Msg-Id", "once");
        headers.insert(OPERATION, "PURGE");
        headers.append("Nats-Rollup", "sub");
        let kept = content(&headers);
        assert_eq!(kept.len(), 2);
        assert_eq!(operation(Some(&kept)), "PURGE");
        assert_eq!(operation(None), "PUT");
    }
}
