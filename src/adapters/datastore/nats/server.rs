//! A NATS server, and the schema's bucket there.
use rustls::ClientConfig;
use serde_json::{Value, json};

use super::{
    super::{BasicAuth, Connection, DatastoreError, Endpoint, tls},
    api::{Bucket, Granted},
    client::Client,
};

/// A store, and the schema's bucket there.
#[derive(Clone)]
pub(super) struct Server {
    /// What it is called for people.
    pub store: String,
    /// The schema: a bucket of that name.
    pub schema: String,
    endpoints: Vec<(Endpoint, Option<ClientConfig>)>,
    basic: Option<BasicAuth>,
}

impl Server {
    /// Nothing is dialled yet.
    pub fn new(connection: &Connection, schema: &str) -> Result<Self, DatastoreError> {
        let unexpected = |what: String| DatastoreError::Unexpected {
            store: connection.name.clone(),
            what,
        };
        if connection.endpoints.is_empty() {
            return Err(unexpected("its DataStore names no endpoint".to_owned()));
        }
        let usable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if schema.is_empty() || !schema.bytes().all(usable) {
            return Err(unexpected(format!(
                "`{}` cannot be a tenant's bucket; look at the schema's name",
                schema.escape_debug()
            )));
        }
        let endpoints = connection.endpoints.iter().map(|endpoint| {
            let config = tls::client_config_for(connection, &endpoint.host)?;
            Ok((endpoint.clone(), config))
        });
        Ok(Self {
            store: connection.name.clone(),
            schema: schema.to_owned(),
            endpoints: endpoints.collect::<Result<_, DatastoreError>>()?,
            basic: connection.basic.clone(),
        })
    }

    /// Logs in at the first endpoint that answers.
    pub async fn connect(&self) -> Result<Client, DatastoreError> {
        let mut failure = None;
        for (endpoint, tls) in &self.endpoints {
            match Client::connect(&self.store, endpoint, tls.clone(), self.basic.as_ref()).await {
                Ok(client) => return Ok(client),
                Err(error @ DatastoreError::Refused { .. }) => return Err(error),
                Err(error) => failure.get_or_insert(error),
            };
        }
        Err(failure.unwrap_or_else(|| self.unexpected("its DataStore names no endpoint")))
    }

    /// What cannot be copied safely.
    pub fn unexpected(&self, what: impl Into<String>) -> DatastoreError {
        DatastoreError::Unexpected {
            store: self.store.clone(),
            what: what.into(),
        }
    }

    /// The bucket's stream.
    pub fn stream(&self) -> String {
        format!("KV_{}", self.schema)
    }

    /// What the subjects of all keys begin with.
    pub fn prefix(&self) -> String {
        format!("$KV.{}.", self.schema)
    }

    /// The bucket, none where there is none.
    pub async fn bucket(&self, client: &Client) -> Result<Option<Bucket>, DatastoreError> {
        let question = format!("STREAM.INFO.{}", self.stream());
        client
            .find("looking at the bucket", &question, &Value::Null)
            .await
    }

    /// The bucket, where there has to be one.
    pub async fn the_bucket(&self, client: &Client) -> Result<Bucket, DatastoreError> {
        let bucket = self.bucket(client).await?;
        bucket.ok_or_else(|| self.unexpected(format!("it has no bucket {}", self.schema)))
    }

    /// Makes an empty bucket.
    pub async fn create(&self, client: &Client, config: &Value) -> Result<(), DatastoreError> {
        let question = format!("STREAM.CREATE.{}", self.stream());
        let made: Result<Granted, _> = client.ask("making the bucket", &question, config).await;
        made.map(drop)
    }

    /// Removes the bucket, with all that is in it.
    pub async fn remove(&self, client: &Client) -> Result<(), DatastoreError> {
        let question = format!("STREAM.DELETE.{}", self.stream());
        let doing = "removing the bucket";
        let gone = client.find(doing, &question, &Value::Null).await?;
        gone.map_or(Ok(()), |Granted {}| Ok(()))
    }

    /// Removes all that a subject holds; the sequence stays where it is.
    pub async fn purge(&self, client: &Client, subject: &str) -> Result<(), DatastoreError> {
        let question = format!("STREAM.PURGE.{}", self.stream());
        let body = json!({"filter": subject});
        let purged: Result<Granted, _> = client.ask("removing fillers", &question, &body).await;
        purged.map(drop)
    }

    /// Lets an empty bucket begin with this sequence.
    pub async fn begin_at(&self, client: &Client, sequence: u64) -> Result<(), DatastoreError> {
        if sequence <= 1 {
            return Ok(());
        }
        let question = format!("STREAM.PURGE.{}", self.stream());
        let body = json!({"seq": sequence});
        let doing = "setting the first sequence";
        let purged: Result<Granted, _> = client.ask(doing, &question, &body).await;
        purged.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::{super::super::Driver, *};

    #[test]
    fn only_a_buckets_name_is_taken() {
        let connection = Connection {
            name: "datastore silver".to_owned(),
            driver: Driver::Nats,
            endpoints: vec![Endpoint {
                dial: SocketAddr::from((Ipv4Addr::LOCALHOST, 4222)),
                host: "nats.kamaji.svc".to_owned(),
                shown: "nats.kamaji.svc:4222".to_owned(),
            }],
            authority: None,
            identity: None,
            basic: None,
        };
        for name in ["a", "shop_web-1", "0e7c"] {
            assert!(Server::new(&connection, name).is_ok(), "{name}");
        }
        for name in ["", "a.b", "a b", "a*", ">", "ä", "a/b"] {
            let error = Server::new(&connection, name).err().expect(name);
            assert!(
                error.to_string().contains("cannot be a tenant's bucket"),
                "{error}"
            );
        }
    }
}
