//! A bucket into records, and out of them: the snapshot that its server makes, in parts.
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender};

use super::{
    super::{
        DatastoreError, Meter, Reading,
        archive::{Piece, Record},
    },
    api::{Snapshot, State},
    bucket::BucketRows,
    settings::{is_in_files, place, reads_snapshots},
    snapshot::{CHUNK, READING, Receiving, Sending, WRITING},
};

/// Sends a bucket; its last sequence.
pub(super) async fn dump(
    source: &BucketRows,
    out: &Sender<Piece>,
    meter: &Meter,
) -> Result<u64, DatastoreError> {
    let BucketRows { client, server } = source;
    if !is_in_files(&server.the_bucket(client).await?.config) {
        let what = "its bucket is kept in memory, of which servers make no snapshots";
        return Err(server.unexpected(what));
    }
    let chunk = CHUNK.min(client.server().max_payload);
    let begun = Sending::begin(server, client, chunk).await?;
    let (snapshot, mut sending) = begun.map_err(|refusal| client.refused(READING, &refusal))?;
    let state = state(source, &snapshot.state)?;
    let head = json!({
        "config": snapshot.config, "state": snapshot.state, "server": client.server().version,
    });
    let mut number = 0;
    let mut send = async |field: Bytes| {
        let record = Record {
            number,
            fields: vec![Some(field)],
            ..Record::default()
        };
        number += 1;
        out.send(Piece::Record(record)).await.is_ok()
    };
    // Who writes says by itself why it takes no more.
    if !send(head.to_string().into()).await {
        return Ok(state.last_seq);
    }
    let mut bytes = 0;
    while let Some((chunk, reply)) = sending.next().await? {
        bytes += chunk.len() as u64;
        if !send(chunk).await {
            break;
        }
        sending.taken(reply).await?;
        meter.show(Reading {
            keys: state.messages,
            of: state.messages,
            bytes,
        });
    }
    Ok(state.last_seq)
}

/// Makes a bucket, and sees that it is the one that was sent. The server verifies the content by its own checksums.
pub(super) async fn load(
    target: &BucketRows,
    records: &mut Receiver<Record>,
    meter: &Meter,
) -> Result<(), DatastoreError> {
    let BucketRows { client, server } = target;
    let head = records.recv().await.and_then(first);
    let head = head.ok_or_else(|| server.unexpected("the snapshot begins with no bucket"))?;
    let head: Value = serde_json::from_slice(&head).map_err(|error| {
        server.unexpected(format!("the snapshot begins with no bucket: {error}"))
    })?;
    let (writer, reader) = (text(&head["server"]), client.server().version);
    if !reads_snapshots(&reader, &writer) {
        return Err(server.unexpected(format!(
            "its version {reader} does not read what {writer} has written"
        )));
    }
    let mut config = head["config"].clone();
    place(&mut config, None, client.server().cluster.is_some());
    let name = text(&config["name"]);
    if name != server.stream() {
        return Err(server.unexpected(format!(
            "the snapshot is of bucket {name}, and a bucket cannot be renamed to {}",
            server.stream()
        )));
    }
    let snapshot = Snapshot {
        config,
        state: head["state"].clone(),
    };
    let sent = state(target, &snapshot.state)?;
    let begun = Receiving::begin(server, client, &snapshot).await?;
    let mut receiving = begun.map_err(|refusal| client.refused(WRITING, &refusal))?;
    let most = client.server().max_payload;
    let mut bytes = 0;
    while let Some(record) = records.recv().await {
        let mut chunk = first(record).unwrap_or_default();
        while !chunk.is_empty() {
            let part = chunk.split_to(chunk.len().min(most));
            bytes += part.len() as u64;
            let taken = receiving.send(part).await?;
            taken.map_err(|refusal| client.refused(WRITING, &refusal))?;
        }
        meter.show(Reading {
            keys: sent.messages,
            of: sent.messages,
            bytes,
        });
    }
    let made = receiving.finish().await?;
    made.map_err(|refusal| client.refused(WRITING, &refusal))?;
    let made = server.the_bucket(client).await?.state;
    if made != sent {
        return Err(server.unexpected(format!("its bucket is {made:?}, and should be {sent:?}")));
    }
    Ok(())
}

fn first(record: Record) -> Option<Bytes> {
    record.fields.into_iter().next().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn state(bucket: &BucketRows, state: &Value) -> Result<State, DatastoreError> {
    serde_json::from_value(state.clone())
        .map_err(|error| bucket.client.lost(READING, &error.to_string()))
}
