//! NATS with kine's bucket: a schema is a stream of messages, one for each change of a key.
//!
//! Sequences are the revisions that clients of the API server know, and values name them, so a copy keeps them: a
//! bucket passes whole, as its server keeps it ([`snapshot`]), and what comes behind is written to the same sequences
//! ([`publish`]). Times pass with the snapshot, so that leases end when they would have.
mod api;
mod bucket;
mod client;
mod copy;
mod dump;
mod key;
mod lead;
mod look;
mod publish;
mod read;
mod s2;
mod server;
mod settings;
mod snapshot;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender};

use super::{
    Comparison, Connection, Copied, DatastoreError, Later, Look, Meter, Pair, Position, Raised,
    archive::{Piece, Record},
    kine::{compare, later, refuse_foreign_rows},
};
use bucket::BucketRows;
use copy::{At, Copy};
use server::Server;

/// A schema in two NATS servers, or clusters of them.
pub struct NatsPair {
    source: Server,
    target: Server,
}

impl NatsPair {
    /// Names the schema in both; nothing is dialled yet.
    pub fn open(
        source: &Connection,
        target: &Connection,
        schema: &str,
    ) -> Result<Self, DatastoreError> {
        Ok(Self {
            source: Server::new(source, schema)?,
            target: Server::new(target, schema)?,
        })
    }

    /// Connects to both.
    async fn connect(&self) -> Result<(BucketRows, BucketRows), DatastoreError> {
        let connect = async |server: &Server| -> Result<BucketRows, DatastoreError> {
            Ok(BucketRows {
                client: server.connect().await?,
                server: server.clone(),
            })
        };
        futures::future::try_join(connect(&self.source), connect(&self.target)).await
    }
}

#[async_trait]
impl Pair for NatsPair {
    async fn look(&self) -> Result<Look, DatastoreError> {
        Box::pin(look::look(self)).await
    }

    async fn copy(
        &self,
        since: Option<&Position>,
        meter: &Meter,
    ) -> Result<Copied, DatastoreError> {
        let since = since
            .map(|position| At::read(position, &self.source.store))
            .transpose()?;
        let (source, target) = self.connect().await?;
        Box::pin(Copy::new(source, target, meter).run(since.as_ref())).await
    }

    async fn compare(&self, meter: &Meter) -> Result<Comparison, DatastoreError> {
        let (source, target) = self.connect().await?;
        source.server.the_bucket(&source.client).await?;
        target.server.the_bucket(&target.client).await?;
        Box::pin(compare(&source, &target, meter)).await
    }

    async fn later(&self, since: &Position) -> Result<Option<Later>, DatastoreError> {
        let since = At::read(since, &self.source.store)?;
        let client = self.source.connect().await?;
        let bucket = self.source.the_bucket(&client).await?;
        if !since.is_past_of(&bucket) {
            return Ok(None);
        }
        let source = BucketRows {
            client,
            server: self.source.clone(),
        };
        later(&source, since.id()).await.map(Some)
    }

    async fn lead(&self, margin: u64) -> Result<Raised, DatastoreError> {
        let (source, target) = self.connect().await?;
        Box::pin(lead::lead(&source, &target, margin)).await
    }

    async fn source_revision(&self) -> Result<u64, DatastoreError> {
        let client = self.source.connect().await?;
        let bucket = self.source.the_bucket(&client).await?;
        Ok(bucket.state.last_seq)
    }

    async fn layout(&self) -> Result<Value, DatastoreError> {
        // It comes with the server's snapshot.
        Ok(Value::Null)
    }

    async fn dump(&self, out: &Sender<Piece>, meter: &Meter) -> Result<u64, DatastoreError> {
        let source = BucketRows {
            client: self.source.connect().await?,
            server: self.source.clone(),
        };
        Box::pin(dump::dump(&source, out, meter)).await
    }

    async fn load(
        &self,
        _layout: &Value,
        records: &mut Receiver<Record>,
        meter: &Meter,
    ) -> Result<(), DatastoreError> {
        let target = BucketRows {
            client: self.target.connect().await?,
            server: self.target.clone(),
        };
        Box::pin(dump::load(&target, records, meter)).await
    }

    async fn clear_target(&self) -> Result<(), DatastoreError> {
        let (source, target) = self.connect().await?;
        if target.server.bucket(&target.client).await?.is_none() {
            return Ok(());
        }
        let found = source.server.bucket(&source.client).await?;
        refuse_foreign_rows(found.map(|_| &source), &target).await?;
        target.server.remove(&target.client).await
    }

    /// Kamaji makes none: kine logs in as the user that the DataStore names, who is the servers' own and everybody's.
    async fn clear_user(&self, _user: &str) -> Result<(), DatastoreError> {
        Ok(())
    }
}
