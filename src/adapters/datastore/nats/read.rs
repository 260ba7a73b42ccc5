//! A bucket's messages, in the order of their sequences.
use async_nats::{HeaderMap, StatusCode, Subscriber};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    super::DatastoreError,
    api::{Consumer, Granted},
    client::Client,
    server::Server,
};

/// Messages and bytes that are asked for at once: they wait in memory.
const MESSAGES: u64 = 1_000;
const BYTES: usize = 4 << 20;
/// What a message has besides its payload, at most.
const AROUND: usize = 64 << 10;
/// Nanoseconds after which a request for messages that went away is over.
const REQUEST_NANOSECONDS: u64 = 2_000_000_000;
/// Nanoseconds that a reader which has died stays at the server.
const IDLE_NANOSECONDS: u64 = 300_000_000_000;

const DOING: &str = "reading the bucket";

/// A message.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// The revision.
    pub sequence: u64,
    pub subject: String,
    pub headers: Option<HeaderMap>,
    pub payload: Bytes,
}

/// What is read of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    Whole,
    /// No values, but their sizes.
    Headers,
}

/// Reads messages. The server forgets who does not read on.
pub(super) struct Messages<'a> {
    client: &'a Client,
    question: String,
    name: String,
    inbox: String,
    subscriber: Subscriber,
    most_bytes: usize,
    /// Messages of the last request that have not come.
    asked: u64,
    /// Messages of the bucket that have not come.
    pending: u64,
    /// Messages that have come.
    delivered: u64,
}

impl<'a> Messages<'a> {
    /// Begins with this sequence.
    pub async fn read(
        client: &'a Client,
        server: &Server,
        from: u64,
        parts: Parts,
    ) -> Result<Self, DatastoreError> {
        let (inbox, subscriber) = client.inbox(DOING).await?;
        let name = format!("kubectl-migrate-{:016x}", fastrand::u64(..));
        let stream = server.stream();
        let body = json!({
            "stream_name": stream,
            "config": {
                "name": name,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": from.max(1),
                "ack_policy": "none",
                "replay_policy": "instant",
                "headers_only": parts == Parts::Headers,
                "inactive_threshold": IDLE_NANOSECONDS,
                "num_replicas": 1,
                "mem_storage": true,
            },
        });
        let question = format!("CONSUMER.CREATE.{stream}.{name}");
        let made: Consumer = client.ask(DOING, &question, &body).await?;
        // At least one message always fits.
        let most_bytes = BYTES.max(client.server().max_payload + AROUND);
        Ok(Self {
            client,
            question: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"),
            name: format!("CONSUMER.DELETE.{stream}.{name}"),
            inbox,
            subscriber,
            most_bytes,
            asked: 0,
            pending: made.num_pending,
            delivered: 0,
        })
    }

    /// The next message; none at the end, which comes once everything that is there was read.
    pub async fn next(&mut self) -> Result<Option<Message>, DatastoreError> {
        loop {
            if self.asked == 0 {
                if self.pending == 0 {
                    self.end().await?;
                    return Ok(None);
                }
                self.ask().await?;
            }
            let message = self.client.next(DOING, &mut self.subscriber).await?;
            match (message.status, &message.reply) {
                (None, Some(reply)) => {
                    let place = Place::of(reply)
                        .ok_or_else(|| self.client.lost(DOING, "a message without its place"))?;
                    self.delivered += 1;
                    if place.delivered != self.delivered {
                        return Err(self.client.lost(DOING, "messages were lost on their way"));
                    }
                    self.asked = if place.pending == 0 {
                        0
                    } else {
                        self.asked - 1
                    };
                    self.pending = place.pending;
                    return Ok(Some(Message {
                        sequence: place.sequence,
                        subject: message.subject.into_string(),
                        headers: message.headers,
                        payload: message.payload,
                    }));
                }
                // The request is over: its bytes are used up, or messages have gone meanwhile.
                (Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT), _) => {
                    self.asked = 0;
                    self.pending = self.look().await?;
                }
                (Some(StatusCode::REQUEST_TERMINATED), _) => {
                    let why = message.description.unwrap_or_default();
                    match why.to_lowercase() {
                        // Its messages have come and were counted: there may be another request by now.
                        why if why.contains("batch completed") => {}
                        why if why.contains("maxbytes") => self.asked = 0,
                        _ => return Err(self.client.lost(DOING, &why)),
                    }
                }
                // It says that it is still there.
                (Some(StatusCode::IDLE_HEARTBEAT), _) => {}
                (status, _) => {
                    let status = status.map(|status| status.as_u16()).unwrap_or_default();
                    let why = message.description.unwrap_or_default();
                    return Err(self.client.lost(DOING, &format!("{why} ({status})")));
                }
            }
        }
    }

    async fn ask(&mut self) -> Result<(), DatastoreError> {
        self.asked = MESSAGES.min(self.pending);
        let body = json!({
            "batch": self.asked,
            "max_bytes": self.most_bytes,
            "expires": REQUEST_NANOSECONDS,
        });
        let (question, inbox) = (self.question.clone(), self.inbox.clone());
        self.client
            .publish(DOING, question, Some(inbox), None, body.to_string().into())
            .await
    }

    /// How many messages are left.
    async fn look(&self) -> Result<u64, DatastoreError> {
        let question = self.name.replacen("DELETE", "INFO", 1);
        let consumer: Consumer = self.client.ask(DOING, &question, &Value::Null).await?;
        Ok(consumer.num_pending)
    }

    async fn end(&self) -> Result<(), DatastoreError> {
        let gone = self.client.find(DOING, &self.name, &Value::Null).await?;
        gone.map_or(Ok(()), |Granted {}| Ok(()))
    }
}

/// Where a message stands, as the subject says that it would be acknowledged with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    sequence: u64,
    delivered: u64,
    pending: u64,
}

impl Place {
    /// `$JS.ACK.STREAM.CONSUMER.TRIES.SEQUENCE.DELIVERED.TIME.PENDING`, newer servers with a domain and an account
    /// before the stream, and perhaps more at the end.
    fn of(subject: &str) -> Option<Self> {
        let parts: Vec<&str> = subject.split('.').collect();
        let after = match parts.len() {
            9 => 5,
            11.. => 7,
            _ => return None,
        };
        let number = |at: usize| parts.get(at)?.parse().ok();
        Some(Self {
            sequence: number(after)?,
            delivered: number(after + 1)?,
            pending: number(after + 3)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_messages_place_is_read_from_both_forms() {
        let place = Place {
            sequence: 17,
            delivered: 3,
            pending: 4,
        };
        let old = "$JS.ACK.KV_t1.reader.1.17.3.1700000000000000000.4";
        assert_eq!(Place::of(old), Some(place));
        let new = "$JS.ACK._.hash.KV_t1.reader.1.17.3.1700000000000000000.4";
        assert_eq!(Place::of(new), Some(place));
        assert_eq!(Place::of(&format!("{new}.token")), Some(place));
        assert_eq!(Place::of("_INBOX.a.b"), None);
    }
}
