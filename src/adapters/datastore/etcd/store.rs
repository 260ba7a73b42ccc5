//! One etcd, logged in to.
use std::sync::Arc;

use etcd_client::{
    Channel, Client, ConnectOptions, Error, GetOptions, GetResponse, KvClient, LeaseClient,
    LeaseTimeToLiveOptions, LeaseTimeToLiveResponse, StatusResponse, WatchClient,
};
use secrecy::ExposeSecret;

use super::{
    super::{Connection, DatastoreError, Endpoint},
    dial::Dialler,
    entry::Entry,
    fault::{fault, is_compacted, is_too_large},
    overtaken::once_more,
    version::Version,
    walk::Range,
};

/// Larger answers are asked for again in parts.
const LARGEST_ANSWER: usize = 32 << 20;

/// A store. Clones share its connection.
#[derive(Clone)]
pub(super) struct Store {
    pub name: Arc<str>,
    pub version: Version,
    way: Arc<Way>,
}

/// How it is spoken to.
struct Way {
    client: Client,
    watching: Client,
    dialler: Dialler,
    options: ConnectOptions,
}

/// Where a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Tells it from other stores, and from itself after a backup was restored.
    pub cluster: u64,
    pub revision: i64,
}

/// Some keys of a range.
pub(super) struct Page {
    pub entries: Vec<Entry>,
    /// Whether the range has more of them.
    pub more: bool,
}

impl Store {
    /// Connects to the first of its servers that can be worked with.
    pub(super) async fn open(connection: &Connection) -> Result<Self, DatastoreError> {
        let dialler = Dialler::new(connection)?;
        let mut options = ConnectOptions::new();
        if let Some(basic) = &connection.basic {
            options = options
                .with_user(&basic.user, basic.password.expose_secret())
                .with_auto_token_refresh(true);
        }
        let mut kept: Option<Result<Self, DatastoreError>> = None;
        for index in 0..dialler.endpoints().len() {
            dialler.begin_with(index);
            match Self::log_in(&dialler, &options).await {
                Ok((store, false)) => return Ok(store),
                // A learner only answers what it is: better than nothing, to look at.
                Ok((store, true)) => kept = Some(Ok(store)),
                Err(error) => {
                    kept.get_or_insert(Err(error));
                }
            }
        }
        kept.unwrap_or_else(|| {
            Err(DatastoreError::Unexpected {
                store: connection.name.clone(),
                what: "its DataStore names no endpoint".to_owned(),
            })
        })
    }

    /// The store by this dialler, and whether the server is a learner.
    async fn log_in(
        dialler: &Dialler,
        options: &ConnectOptions,
    ) -> Result<(Self, bool), DatastoreError> {
        dialler.probe().await?;
        let name = dialler.store();
        let failed = |error| fault(&name, "logging in", &error);
        let channel = Channel::Tonic(dialler.channel());
        let client = Client::from_channel(channel.clone(), Some(options.clone()))
            .await
            .map_err(failed)?;
        let strict = options.clone().with_require_leader(true);
        let watching = Client::from_channel(channel, Some(strict))
            .await
            .map_err(failed)?;
        let status = client.maintenance_client().status().await.map_err(failed)?;
        let store = Self {
            version: Version::read(status.version()),
            name,
            way: Arc::new(Way {
                client,
                watching,
                dialler: dialler.clone(),
                options: options.clone(),
            }),
        };
        Ok((store, status.is_learner()))
    }

    /// Whether this range may be read; no leader is needed for that.
    pub(super) async fn may_read(&self, range: &Range) -> Result<(), DatastoreError> {
        let options = GetOptions::new()
            .with_range(range.to.clone())
            .with_limit(1)
            .with_keys_only()
            .with_serializable();
        self.get(&range.from, options)
            .await
            .map_err(|error| self.fault("logging in", &error))?;
        Ok(())
    }

    pub(super) fn kv(&self) -> KvClient {
        self.way
            .client
            .kv_client()
            .max_decoding_message_size(LARGEST_ANSWER)
    }

    pub(super) fn leases(&self) -> LeaseClient {
        self.way.client.lease_client()
    }

    /// For watches: they end when their server has lost its leader, instead of standing still.
    pub(super) fn watches(&self) -> WatchClient {
        self.way
            .watching
            .watch_client()
            .max_decoding_message_size(LARGEST_ANSWER)
    }

    pub(super) fn client(&self) -> Client {
        self.way.client.clone()
    }

    pub(super) fn fault(&self, doing: &str, error: &Error) -> DatastoreError {
        fault(&self.name, doing, error)
    }

    async fn get(&self, key: &[u8], options: GetOptions) -> Result<GetResponse, Error> {
        once_more(|| {
            let (mut kv, options) = (self.kv(), options.clone());
            async move { kv.get(key, Some(options)).await }
        })
        .await
    }

    async fn time_to_live(
        &self,
        lease: i64,
        options: LeaseTimeToLiveOptions,
    ) -> Result<LeaseTimeToLiveResponse, Error> {
        once_more(|| {
            let (mut leases, options) = (self.leases(), options.clone());
            async move { leases.time_to_live(lease, Some(options)).await }
        })
        .await
    }

    /// Where the store is now, whatever a range has: it asks for one key, which need not be there.
    pub(super) async fn head(&self, range: &Range) -> Result<Head, DatastoreError> {
        Ok(self.ask(range, GetOptions::new()).await?.0)
    }

    /// Where the store is now, and how many keys it has in a range. It counts them one by one, also where a limit is
    /// given: half a second for a million.
    pub(super) async fn counted(&self, range: &Range) -> Result<(Head, u64), DatastoreError> {
        self.ask(range, GetOptions::new().with_range(range.to.clone()))
            .await
    }

    async fn ask(&self, range: &Range, options: GetOptions) -> Result<(Head, u64), DatastoreError> {
        let answer = self
            .get(&range.from, options.with_count_only())
            .await
            .map_err(|error| self.fault("reading", &error))?;
        let header = answer.header().ok_or_else(|| self.no_header())?;
        let head = Head {
            cluster: header.cluster_id(),
            revision: header.revision(),
        };
        Ok((head, unsigned(answer.count())))
    }

    /// The first keys of a range at a revision, or as it is now with revision 0. A limit that makes the answer
    /// too large is lowered.
    pub(super) async fn page(
        &self,
        range: &Range,
        revision: i64,
        limit: usize,
        keys_only: bool,
    ) -> Result<Page, ReadFault> {
        let mut limit = limit.max(1);
        loop {
            let mut options = GetOptions::new()
                .with_range(range.to.clone())
                .with_revision(revision)
                .with_limit(i64::try_from(limit).unwrap_or(i64::MAX));
            if keys_only {
                options = options.with_keys_only();
            }
            match self.get(&range.from, options).await {
                Ok(mut answer) => {
                    let more = answer.more();
                    let entries = answer.take_kvs().into_iter().map(Entry::from).collect();
                    return Ok(Page { entries, more });
                }
                Err(error) if limit > 1 && is_too_large(&error) => limit = (limit / 8).max(1),
                Err(error) if is_compacted(&error) => return Err(ReadFault::Compacted),
                Err(error) => return Err(ReadFault::Other(self.fault("reading", &error))),
            }
        }
    }

    /// One key as it is now.
    pub(super) async fn entry(&self, key: &[u8]) -> Result<Option<Entry>, DatastoreError> {
        let mut answer = self
            .get(key, GetOptions::new())
            .await
            .map_err(|error| self.fault("reading", &error))?;
        Ok(answer.take_kvs().pop().map(Entry::from))
    }

    /// The seconds that a lease has left; none when it is over.
    pub(super) async fn remaining(&self, lease: i64) -> Result<Option<i64>, DatastoreError> {
        let answer = self
            .time_to_live(lease, LeaseTimeToLiveOptions::new())
            .await
            .map_err(|error| self.fault("reading leases", &error))?;
        Ok(Some(answer.ttl()).filter(|left| *left > 0))
    }

    /// How many keys a lease has, in any schema.
    pub(super) async fn keys_of_lease(&self, lease: i64) -> Result<usize, DatastoreError> {
        let options = LeaseTimeToLiveOptions::new().with_keys();
        let answer = self
            .time_to_live(lease, options)
            .await
            .map_err(|error| self.fault("reading leases", &error))?;
        Ok(answer.keys().len())
    }

    pub(super) fn endpoints(&self) -> &[Endpoint] {
        self.way.dialler.endpoints()
    }

    /// What one of its servers says of itself.
    pub(super) async fn status(&self, index: usize) -> Result<StatusResponse, DatastoreError> {
        let dialler = self.way.dialler.only(index);
        dialler.probe().await?;
        let failed = |error| self.fault("looking at a member", &error);
        let channel = Channel::Tonic(dialler.channel());
        let client = Client::from_channel(channel, Some(self.way.options.clone()))
            .await
            .map_err(failed)?;
        client.maintenance_client().status().await.map_err(failed)
    }

    pub(super) fn no_header(&self) -> DatastoreError {
        DatastoreError::Unexpected {
            store: self.name.to_string(),
            what: "an answer without a header; is it etcd?".to_owned(),
        }
    }
}

/// Why a page could not be read.
#[derive(Debug)]
pub(super) enum ReadFault {
    /// Its revision is gone.
    Compacted,
    Other(DatastoreError),
}

/// What etcd counts is never below zero, whatever its types say.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
