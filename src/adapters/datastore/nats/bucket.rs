//! A bucket as a table of kine's: a row for each message, whose id is its sequence.
use async_trait::async_trait;

use super::{
    super::{
        DatastoreError,
        kine::{Readable, Row, Selection, Sink},
    },
    client::Client,
    key, publish,
    read::{Message, Messages, Parts},
    s2,
    server::Server,
};

/// A schema's bucket at one server.
#[derive(Clone)]
pub(super) struct BucketRows {
    pub server: Server,
    pub client: Client,
}

impl BucketRows {
    /// Its sequence, its key, what it does to the key, and its value as kine reads it. Whoever compresses otherwise
    /// says the same; what cannot be read is compared as it is.
    fn row(&self, message: &Message, parts: Parts) -> Result<Row, DatastoreError> {
        let id = i64::try_from(message.sequence).map_err(|_| {
            self.server
                .unexpected("it has more sequences than kine counts")
        })?;
        let prefix = self.server.prefix();
        let tail = message.subject.strip_prefix(&prefix);
        let key = key::key_of(tail.unwrap_or(&message.subject));
        let operation = publish::operation(message.headers.as_ref());
        let sequence = message.sequence.to_be_bytes();
        let head = [Some(&sequence[..]), Some(&key)];
        let row = if parts == Parts::Headers {
            Row::of(id, head.len(), head.into_iter())
        } else {
            let plain = s2::decode(&message.payload);
            let value = plain.as_deref().unwrap_or(&message.payload);
            let value = [Some(operation.as_bytes()), Some(value)];
            Row::of(id, head.len() + value.len(), head.into_iter().chain(value))
        };
        row.ok_or_else(|| self.server.unexpected(format!("message {id} is too large")))
    }
}

#[async_trait]
impl Readable for BucketRows {
    fn store(&self) -> &str {
        &self.server.store
    }

    async fn read(&self, selection: &Selection, sink: &mut Sink) -> Result<(), DatastoreError> {
        let parts = match selection {
            Selection::All | Selection::These(_) => Parts::Whole,
            Selection::IdsAbove(_) | Selection::Names | Selection::NamesAbove(_) => Parts::Headers,
            // A bucket keeps the revision that it is compacted to in a key like any other, if at all.
            Selection::Compaction => return Ok(()),
        };
        let above = match selection {
            Selection::IdsAbove(id) | Selection::NamesAbove(id) => id.unsigned_abs(),
            _ => 0,
        };
        let mut messages = Messages::read(&self.client, &self.server, above + 1, parts).await?;
        while let Some(message) = messages.next().await? {
            let row = self.row(&message, parts)?;
            if let Selection::These(ids) = selection
                && !ids.contains(&row.id)
            {
                continue;
            }
            if !sink.put(row).await {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn estimate(&self) -> Result<u64, DatastoreError> {
        let bucket = self.server.the_bucket(&self.client).await?;
        Ok(bucket.state.messages)
    }

    /// A bucket forgets a key's older values as newer ones come: any row up to its last may be gone.
    async fn compacted(&self) -> Result<i64, DatastoreError> {
        let bucket = self.server.the_bucket(&self.client).await?;
        i64::try_from(bucket.state.last_seq).map_err(|_| {
            self.server
                .unexpected("it has more sequences than kine counts")
        })
    }

    /// What is forgotten makes room for what would differ itself.
    async fn removed_by_compaction(
        &self,
        _ids: &[i64],
        _revision: i64,
    ) -> Result<Vec<i64>, DatastoreError> {
        Ok(Vec::new())
    }
}
