//! A bucket whose next message comes far behind another's last.
//!
//! A bucket counts on only as messages come. So what is between is filled, as gaps are, and taken out again; the last
//! one stays, and is the tombstone of a key that never was: newer versions of kine wait at their start until they have
//! read the last message, and at a watch for the last one that is a value.
use bytes::Bytes;
use serde_json::json;

use super::{
    super::{DatastoreError, Raised, kine::gap},
    bucket::BucketRows,
    key,
    publish::{Publisher, filler},
    read::{Message, Messages, Parts},
    s2,
    server::Server,
};

/// How often it is begun again where messages of an earlier call, which was given up, still arrive.
const TRIES: u32 = 20;

const DOING: &str = "writing to the bucket";

/// Whether the bucket's last message is what [`lead`] leaves.
pub(super) async fn is_led(bucket: &BucketRows, last: u64) -> Result<bool, DatastoreError> {
    let BucketRows { client, server } = bucket;
    let mut messages = Messages::read(client, server, last, Parts::Headers).await?;
    let mut found = None;
    while let Some(message) = messages.next().await? {
        found = Some(message);
    }
    Ok(found.is_some_and(|found| found.sequence == last && found.subject == subject(server, last)))
}

/// Makes the target's last sequence so far behind the source's last, unless it is as far already.
pub(super) async fn lead(
    source: &BucketRows,
    target: &BucketRows,
    margin: u64,
) -> Result<Raised, DatastoreError> {
    let BucketRows { client, server } = target;
    let from = source.server.the_bucket(&source.client).await?;
    let first = server.the_bucket(client).await?.state.last_seq;
    let wanted = from.state.last_seq.saturating_add(margin);
    let mut raised = Raised {
        source: from.state.last_seq,
        before: first,
        now: first,
    };
    for _ in 0..TRIES {
        if raised.now >= wanted {
            server.purge(client, &filler(server)).await?;
            return Ok(raised);
        }
        // First, so that there are never two.
        if is_led(target, raised.now).await? {
            server.purge(client, &subject(server, raised.now)).await?;
        }
        let mut publisher = Publisher::behind(client, server, raised.now).await?;
        let written = write(&mut publisher, server, wanted).await;
        match written {
            Err(error) if !publisher.overtaken => return Err(error),
            _ => raised.now = server.the_bucket(client).await?.state.last_seq,
        }
    }
    Err(client.lost(DOING, "what an earlier call has sent still arrives"))
}

async fn write(
    publisher: &mut Publisher<'_>,
    server: &Server,
    sequence: u64,
) -> Result<(), DatastoreError> {
    let message = Message {
        sequence,
        subject: subject(server, sequence),
        headers: None,
        payload: tombstone(sequence),
    };
    publisher.put(message).await?;
    publisher.finish().await
}

/// The name is that of the rows that fill gaps in kine's tables.
fn subject(server: &Server, sequence: u64) -> String {
    format!("{}{}", server.prefix(), key::single(&name(sequence)))
}

fn name(sequence: u64) -> String {
    // No server counts as far as a number that has no such.
    gap(i64::try_from(sequence).unwrap_or(i64::MAX))
}

/// A value of kine's that says that a key is gone.
fn tombstone(sequence: u64) -> Bytes {
    let value = json!({
        "KV": {"Key": name(sequence), "Value": null, "CreateRevision": 0, "ModRevision": 0, "Lease": 0},
        "PrevRevision": 0,
        "Create": false,
        "Delete": true,
    });
    s2::encode(value.to_string().as_bytes()).into()
}
