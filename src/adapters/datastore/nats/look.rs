//! Both servers, before anything is begun.
use serde_json::{Value, json};

use super::{
    NatsPair,
    api::{Account, Bucket, Limits, Refusal},
    client::Client,
    read::{Messages, Parts},
    server::Server,
    settings::{REPLICAS, differing_settings, reads_snapshots},
};
use crate::adapters::datastore::{DatastoreError, Finding, Look, StoreLook};

/// Where a message whose value was not sent says how large it is.
const SIZE: &str = "Nats-Msg-Size";

/// What is in a store.
struct Seen<'a> {
    server: &'a Server,
    client: Client,
    account: Result<Account, Refusal>,
    bucket: Option<Bucket>,
}

impl<'a> Seen<'a> {
    async fn see(server: &'a Server) -> Result<Self, DatastoreError> {
        let client = server.connect().await?;
        if !client.server().jetstream {
            let refusal = Refusal {
                code: 503,
                err_code: 10076,
                description: "JetStream not enabled".to_owned(),
            };
            return Ok(Self {
                server,
                client,
                account: Err(refusal),
                bucket: None,
            });
        }
        let doing = "asking for the account's limits";
        let account = client.try_ask(doing, "INFO", &Value::Null).await?;
        let bucket = match &account {
            Ok(_) => server.bucket(&client).await?,
            Err(_) => None,
        };
        Ok(Self {
            server,
            client,
            account,
            bucket,
        })
    }

    fn store(&self) -> StoreLook {
        let state = self.bucket.as_ref().map(|bucket| bucket.state);
        let state = state.unwrap_or_default();
        StoreLook {
            version: self.client.server().version,
            revision: state.last_seq,
            keys: state.messages,
            bytes: state.bytes,
        }
    }

    /// The bucket, for people.
    fn place(&self) -> String {
        format!("bucket {} of {}", self.server.schema, self.server.store)
    }

    /// JetStream is what buckets are kept by.
    fn disabled(&self) -> Option<Finding> {
        let refusal = self.account.as_ref().err()?;
        Some(Finding {
            check: "JetStream".to_owned(),
            blocks: true,
            evidence: format!(
                "{} has no JetStream for this user: {} ({})",
                self.server.store, refusal.description, refusal.err_code
            ),
            cure: "enable it in the server's configuration, and for the account of the user that the DataStore names"
                .to_owned(),
        })
    }
}

/// Looks at both.
pub(super) async fn look(pair: &NatsPair) -> Result<Look, DatastoreError> {
    let (source, target) =
        futures::future::try_join(Seen::see(&pair.source), Seen::see(&pair.target)).await?;
    let mut findings: Vec<Finding> = source.disabled().into_iter().collect();
    findings.extend(target.disabled());
    if findings.is_empty() {
        findings.extend(missing_right(&pair.source, "SNAPSHOT").await?);
        findings.extend(missing_right(&pair.target, "RESTORE").await?);
        match &source.bucket {
            None => findings.push(missing_bucket(&source)),
            Some(bucket) => {
                findings.extend(replaced(&target, bucket));
                findings.extend(replicas(&target, bucket));
                findings.extend(no_room(&target, bucket));
                findings.extend(older(&source, &target));
                findings.extend(small_messages(&source, &target).await?);
            }
        }
    }
    Ok(Look {
        source: source.store(),
        target: target.store(),
        findings,
    })
}

fn missing_bucket(source: &Seen<'_>) -> Finding {
    Finding {
        check: "bucket".to_owned(),
        blocks: true,
        evidence: format!(
            "{} has no bucket {}",
            source.server.store, source.server.schema
        ),
        cure: "look at the schema's name, and whether the tenant is served from there".to_owned(),
    }
}

/// Asks for something that no server grants: it says so, or that the right is missing. The connection is of no use
/// afterwards, so it is one of its own.
async fn missing_right(server: &Server, what: &str) -> Result<Option<Finding>, DatastoreError> {
    let client = server.connect().await?;
    let question = format!("STREAM.{what}.{}", server.stream());
    let body = json!("");
    let asked: Result<Result<Value, Refusal>, _> = client
        .try_ask("asking for the user's rights", &question, &body)
        .await;
    match asked {
        Ok(_) => Ok(None),
        Err(DatastoreError::Refused { cause, .. }) => Ok(Some(Finding {
            check: "rights".to_owned(),
            blocks: true,
            evidence: format!("{} refuses: {cause}", server.store),
            cure: format!(
                "let its user publish to $JS.API.> and $KV.{}.>, and subscribe to _INBOX.>",
                server.schema
            ),
        })),
        Err(error) => Err(error),
    }
}

/// A bucket that is there already, such as Kamaji makes it, is made anew.
fn replaced(target: &Seen<'_>, wanted: &Bucket) -> Option<Finding> {
    let found = target.bucket.as_ref()?;
    let differing = differing_settings(&wanted.config, &found.config);
    if found.state.messages > 0 || differing.is_empty() {
        return None;
    }
    let told: Vec<String> = differing
        .iter()
        .map(|name| {
            let (found, wanted) = (&found.config[name], &wanted.config[name]);
            format!("{name} {found} becomes {wanted}")
        })
        .collect();
    Some(Finding {
        check: "bucket settings".to_owned(),
        blocks: false,
        evidence: format!(
            "{} is empty, and is made anew like the source's: {}",
            target.place(),
            told.join(", ")
        ),
        cure: "nothing, unless somebody needs it as it is".to_owned(),
    })
}

/// A single server keeps a single replica.
fn replicas(target: &Seen<'_>, wanted: &Bucket) -> Option<Finding> {
    let replicas = wanted.config[REPLICAS].as_u64().unwrap_or(1);
    if replicas <= 1 || target.client.server().cluster.is_some() {
        return None;
    }
    Some(Finding {
        check: "replicas".to_owned(),
        blocks: false,
        evidence: format!(
            "the source's bucket has {replicas} replicas, and {} is a single server: it will have one",
            target.server.store
        ),
        cure: "make the target a cluster if the tenant needs more".to_owned(),
    })
}

/// What the account may still store.
fn no_room(target: &Seen<'_>, wanted: &Bucket) -> Option<Finding> {
    let account = target.account.as_ref().ok()?;
    let clustered = target.client.server().cluster.is_some();
    let replicas = match &target.bucket {
        Some(bucket) => bucket.config[REPLICAS].as_u64(),
        None if clustered => wanted.config[REPLICAS].as_u64(),
        None => None,
    };
    let replicas = replicas.unwrap_or(1);
    let tier = account.tiers.get(&format!("R{replicas}"));
    let (limits, storage, streams) = match tier {
        Some(tier) => (tier.limits, tier.storage, tier.streams),
        None => (account.limits, account.storage, account.streams),
    };
    // Tiers count replicas by themselves.
    let needed = wanted.state.bytes * if tier.is_some() { 1 } else { replicas };
    let Limits {
        max_storage,
        max_streams,
    } = limits;
    let free = u64::try_from(max_storage)
        .ok()
        .map(|most| most.saturating_sub(storage));
    let evidence = if let Some(free) = free.filter(|free| *free < needed) {
        format!(
            "the user's account of {} has {free} bytes left of {max_storage}, and the bucket needs {needed}",
            target.server.store
        )
    } else if max_streams >= 0 && streams >= max_streams && target.bucket.is_none() {
        format!(
            "the user's account of {} has {streams} streams, and may have {max_streams}",
            target.server.store
        )
    } else {
        return None;
    };
    Some(Finding {
        check: "account limits".to_owned(),
        blocks: true,
        evidence,
        cure: "raise the account's limits at the server".to_owned(),
    })
}

/// Servers read the snapshots of older ones, and not of newer ones.
fn older(source: &Seen<'_>, target: &Seen<'_>) -> Option<Finding> {
    let (ours, theirs) = (
        source.client.server().version,
        target.client.server().version,
    );
    if reads_snapshots(&theirs, &ours) {
        return None;
    }
    Some(Finding {
        check: "server version".to_owned(),
        blocks: false,
        evidence: format!(
            "{} runs {theirs}, which is older than {ours} of {}: each message is written anew, so that leases last \
            longer by as much as the copy is later",
            target.server.store, source.server.store
        ),
        cure: "upgrade the target's servers first, or let the events stay for an hour more"
            .to_owned(),
    })
}

/// A target that takes smaller messages than the source may not take the next value of a large key.
async fn small_messages(
    source: &Seen<'_>,
    target: &Seen<'_>,
) -> Result<Option<Finding>, DatastoreError> {
    let most = target.client.server().max_payload;
    let before = source.client.server().max_payload;
    if most >= before {
        return Ok(None);
    }
    let mut largest = 0;
    let mut messages = Messages::read(&source.client, source.server, 1, Parts::Headers).await?;
    while let Some(message) = messages.next().await? {
        let size = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get(SIZE));
        let size = size.and_then(|size| size.as_str().parse().ok());
        largest = largest.max(size.unwrap_or(0));
    }
    Ok(Some(Finding {
        check: "message size".to_owned(),
        blocks: largest > most,
        evidence: format!(
            "{} takes messages of {most} bytes, {} of {before}; the largest value has {largest}",
            target.server.store, source.server.store
        ),
        cure: format!("set max_payload of the target's servers to {before}"),
    }))
}
