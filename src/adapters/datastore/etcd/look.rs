//! Both stores before anything is begun: their sizes, and what speaks against a copy.
use etcd_client::{AlarmAction, AlarmType, StatusResponse};

use super::{
    super::{DatastoreError, Endpoint, Finding, Look, StoreLook},
    EtcdPair,
    overtaken::once_more,
    store::{ReadFault, Store, unsigned},
    walk::Range,
};

/// Keys that tell a small schema's size exactly.
const SAMPLE: usize = 500;
/// Revisions that cannot be raised in less than about a minute.
const FAR_BEHIND: u64 = 500_000;
/// Bytes in the target's file, for each revision that it is raised by.
const LEFT_BY_A_WRITE: u64 = 200;

/// Looks at both.
pub(super) async fn look(pair: &EtcdPair) -> Result<Look, DatastoreError> {
    let (source, target) =
        futures::future::join(members(&pair.source), members(&pair.target)).await;
    let mut findings = Vec::new();
    for (store, members) in [(&pair.source, &source), (&pair.target, &target)] {
        findings.extend(version(store));
        findings.extend(health(store, members));
    }
    findings.extend(progress(&pair.source));
    // Without a leader there is nothing to read.
    if findings.iter().any(|finding| finding.check == LEADER) {
        return Ok(Look {
            source: unread(&pair.source),
            target: unread(&pair.target),
            findings,
        });
    }
    for store in [&pair.source, &pair.target] {
        findings.extend(alarms(store).await?);
    }
    let mut look = Look {
        source: store(&pair.source, &pair.range).await?,
        target: store(&pair.target, &pair.range).await?,
        findings,
    };
    let rooms = target
        .iter()
        .filter_map(|member| room(member.status.as_ref()?));
    let quota = rooms
        .min()
        .and_then(|room| quota(&pair.target, &look, room));
    let behind = behind(&pair.target, &look);
    look.findings.extend(quota);
    look.findings.extend(behind);
    Ok(look)
}

const LEADER: &str = "etcd leader";

/// A server of a store, as its DataStore names it.
struct Member<'a> {
    endpoint: &'a Endpoint,
    status: Option<StatusResponse>,
    /// Why it says nothing.
    silent: Option<DatastoreError>,
}

async fn members(store: &Store) -> Vec<Member<'_>> {
    let looked = store
        .endpoints()
        .iter()
        .enumerate()
        .map(|(index, endpoint)| async move {
            match store.status(index).await {
                Ok(status) => Member {
                    endpoint,
                    status: Some(status),
                    silent: None,
                },
                Err(error) => Member {
                    endpoint,
                    status: None,
                    silent: Some(error),
                },
            }
        });
    futures::future::join_all(looked).await
}

fn finding(check: &str, blocks: bool, evidence: String, cure: &str) -> Finding {
    Finding {
        check: check.to_owned(),
        blocks,
        evidence,
        cure: cure.to_owned(),
    }
}

fn version(store: &Store) -> Option<Finding> {
    (!store.version.suits_kamaji()).then(|| {
        finding(
            "etcd version",
            true,
            format!(
                "{} is etcd {}: Kamaji asks for `AuthStatus`, which came with 3.5",
                store.name,
                store.version.shown()
            ),
            "upgrade it to etcd 3.5 or later",
        )
    })
}

fn progress(source: &Store) -> Option<Finding> {
    (!source.version.tells_progress()).then(|| {
        finding(
            "etcd watch",
            false,
            format!(
                "{} is etcd {}: before 3.5.13 a watch does not reliably say how far it is, so each copy reads all keys",
                source.name,
                source.version.shown()
            ),
            "nothing has to be done; with a later version the tenant is frozen for a shorter time",
        )
    })
}

fn health(store: &Store, members: &[Member<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let alone = members.len() == 1;
    for Member {
        endpoint,
        status,
        silent,
    } in members
    {
        let member = format!("{} at {}", store.name, endpoint.shown);
        if let Some(error) = silent {
            findings.push(finding(
                "etcd member",
                alone,
                error.to_string(),
                "start the member, or take its endpoint out of the DataStore",
            ));
        }
        let Some(status) = status else { continue };
        if status.leader() == 0 {
            findings.push(finding(
                LEADER,
                true,
                format!("{member} has no leader: nothing can be read or written"),
                "bring back the majority of its members",
            ));
        }
        if status.is_learner() {
            findings.push(finding(
                "etcd learner",
                alone,
                format!("{member} is a learner: it takes no writes"),
                "promote it with `etcdctl member promote`, or name a voting member in the DataStore",
            ));
        }
    }
    findings
}

async fn alarms(store: &Store) -> Result<Vec<Finding>, DatastoreError> {
    let asked = once_more(|| {
        let mut maintenance = store.client().maintenance_client();
        async move {
            maintenance
                .alarm(AlarmAction::Get, AlarmType::None, None)
                .await
        }
    });
    let answer = asked
        .await
        .map_err(|error| store.fault("reading alarms", &error))?;
    let raised = answer.alarms().iter().filter_map(|alarm| {
        let (name, means, cure) = match alarm.alarm() {
            AlarmType::None => return None,
            AlarmType::Nospace => (
                "NOSPACE",
                "it takes no writes",
                "compact and defragment it or raise its quota, then `etcdctl alarm disarm`",
            ),
            AlarmType::Corrupt => (
                "CORRUPT",
                "its members hold different data",
                "find the member that is wrong and replace it, then `etcdctl alarm disarm`",
            ),
        };
        let member = alarm.member_id();
        let evidence = format!(
            "{} has alarm {name} of member {member:x}: {means}",
            store.name
        );
        Some(finding("etcd alarm", true, evidence, cure))
    });
    Ok(raised.collect())
}

fn unread(store: &Store) -> StoreLook {
    StoreLook {
        version: store.version.shown().to_owned(),
        revision: 0,
        keys: 0,
        bytes: 0,
    }
}

async fn store(store: &Store, schema: &Range) -> Result<StoreLook, DatastoreError> {
    let (head, keys) = store.counted(schema).await?;
    Ok(StoreLook {
        version: store.version.shown().to_owned(),
        revision: head.revision.unsigned_abs(),
        keys,
        bytes: bytes(store, schema, keys).await?,
    })
}

/// A small schema's bytes; a large one's share of what the store has in use, by its keys. That counts etcd's
/// own overhead and what is not compacted yet.
async fn bytes(store: &Store, schema: &Range, keys: u64) -> Result<u64, DatastoreError> {
    if keys <= SAMPLE as u64 {
        let page = store.page(schema, 0, SAMPLE, false).await;
        let page = page.map_err(|fault| match fault {
            ReadFault::Other(error) => error,
            ReadFault::Compacted => store.no_header(),
        })?;
        return Ok(page.entries.iter().map(|entry| entry.bytes() as u64).sum());
    }
    let everything = Range {
        from: vec![0],
        to: vec![0],
    };
    let (_, all) = store.counted(&everything).await?;
    let status = store
        .client()
        .maintenance_client()
        .status()
        .await
        .map_err(|error| store.fault("reading its status", &error))?;
    let used = u128::from(unsigned(status.raft_used_db_size()));
    let share = used * u128::from(keys) / u128::from(all.max(1));
    Ok(u64::try_from(share).unwrap_or(u64::MAX))
}

/// A target far behind has to be raised by as many writes, of which each leaves a little until it is compacted.
fn behind(target: &Store, look: &Look) -> Option<Finding> {
    let missing = look.source.revision.saturating_sub(look.target.revision);
    (missing >= FAR_BEHIND).then(|| {
        finding(
            "etcd revision",
            false,
            format!(
                "{} has to be raised by {missing} revisions: some minutes for each million, and about {} MiB until it is compacted; nothing is frozen meanwhile",
                target.name,
                (missing * LEFT_BY_A_WRITE) >> 20
            ),
            "let it be compacted meanwhile (--auto-compaction-retention), or raise its quota",
        )
    })
}

/// What a member takes until its quota; only etcd 3.6 says it.
fn room(status: &StatusResponse) -> Option<u64> {
    let quota = unsigned(status.db_size_quota());
    // Pages that are free inside of its file are used before the file grows.
    (quota > 0).then(|| quota.saturating_sub(unsigned(status.raft_used_db_size())))
}

/// Estimates include what is not compacted: only where half of it would not fit is it sure.
fn quota(target: &Store, look: &Look, room: u64) -> Option<Finding> {
    let missing = look.source.bytes.saturating_sub(look.target.bytes);
    (missing > room).then(|| {
        finding(
            "etcd quota",
            missing / 2 > room,
            format!(
                "{} takes {room} bytes more until its quota; the source's schema has about {missing} more than its own",
                target.name
            ),
            "raise the target's --quota-backend-bytes, or compact and defragment it",
        )
    })
}
