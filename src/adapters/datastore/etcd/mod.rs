//! etcd: a schema is the keys below `/<schema>/`, and they are copied with their leases.
//!
//! Both stores are read side by side, in order, a few pages ahead ([`stretches`]); what differs is written in
//! large transactions, several on their way ([`writer`]). So a copy that was broken off, or done before, sends
//! only what is not there yet.
mod changes;
mod class;
mod clear;
mod compaction;
mod compare;
mod copy;
mod dial;
mod dump;
mod entry;
mod fault;
mod halves;
mod leases;
mod look;
mod overtaken;
mod raise;
mod recheck;
mod store;
mod stretches;
mod version;
mod walk;
mod writer;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender};

use super::{
    Comparison, Connection, Copied, DatastoreError, FirstHalf, Later, Look, Meter, Pair, Position,
    Raised,
    archive::{Piece, Record},
};
use store::Store;
use walk::Range;

/// A schema in two etcds.
pub struct EtcdPair {
    source: Store,
    target: Store,
    schema: String,
    range: Range,
}

impl EtcdPair {
    /// Connects to both and makes sure that we are let in. No leader is needed yet: [`Pair::look`] says what
    /// a store lacks.
    pub async fn open(
        source: &Connection,
        target: &Connection,
        schema: &str,
    ) -> Result<Self, DatastoreError> {
        if schema.is_empty() {
            return Err(DatastoreError::Unexpected {
                store: source.name.clone(),
                what: "the tenant's schema has no name".to_owned(),
            });
        }
        let (source, target) =
            futures::future::try_join(Box::pin(Store::open(source)), Box::pin(Store::open(target)))
                .await?;
        let range = Range::of_schema(schema);
        futures::future::try_join(source.may_read(&range), target.may_read(&range)).await?;
        Ok(Self {
            source,
            target,
            schema: schema.to_owned(),
            range,
        })
    }
}

#[async_trait]
impl Pair for EtcdPair {
    async fn look(&self) -> Result<Look, DatastoreError> {
        look::look(self).await
    }

    async fn copy(
        &self,
        since: Option<&Position>,
        meter: &Meter,
    ) -> Result<Copied, DatastoreError> {
        match since {
            None => copy::everything(self, meter).await,
            Some(since) => Box::pin(changes::since(self, since, meter)).await,
        }
    }

    async fn compare(&self, meter: &Meter) -> Result<Comparison, DatastoreError> {
        compare::compare(self, meter).await
    }

    async fn compare_first(
        &self,
        copied: &Position,
        meter: &Meter,
    ) -> Result<Option<FirstHalf>, DatastoreError> {
        Box::pin(halves::first(self, copied, meter)).await
    }

    async fn compare_rest(
        &self,
        first: &FirstHalf,
        meter: &Meter,
    ) -> Result<Option<Comparison>, DatastoreError> {
        Box::pin(halves::second(self, first, meter)).await
    }

    async fn later(&self, since: &Position) -> Result<Option<Later>, DatastoreError> {
        Box::pin(changes::later(self, since)).await
    }

    /// Revisions are the server's own counter, so that is the same as to raise it.
    async fn lead(&self, margin: u64) -> Result<Raised, DatastoreError> {
        raise::raise(self, margin).await
    }

    async fn source_revision(&self) -> Result<u64, DatastoreError> {
        let head = self.source.head(&self.range).await?;
        Ok(head.revision.unsigned_abs())
    }

    async fn layout(&self) -> Result<Value, DatastoreError> {
        Ok(Value::Null)
    }

    async fn dump(&self, out: &Sender<Piece>, meter: &Meter) -> Result<u64, DatastoreError> {
        Box::pin(dump::dump(self, out, meter)).await
    }

    async fn load(
        &self,
        _layout: &Value,
        records: &mut Receiver<Record>,
        meter: &Meter,
    ) -> Result<(), DatastoreError> {
        Box::pin(dump::load(self, records, meter)).await
    }

    async fn clear_target(&self) -> Result<(), DatastoreError> {
        clear::clear(&self.target, &self.range).await?;
        raise::remove_marker(&self.target, &self.schema).await
    }

    async fn clear_user(&self, user: &str) -> Result<(), DatastoreError> {
        clear::user(&self.target, user, &self.schema).await
    }
}
