//! Both servers, before anything is begun.
use sqlx::{PgConnection, Row as _};

use super::{
    PostgresPair,
    layout::{Layout, NARROW},
    server::Server,
};
use crate::adapters::datastore::{
    DatastoreError, Finding, Look, StoreLook,
    kine::{STATEMENT_BOUND, within},
};

/// The largest 32-bit id.
const LARGEST_NARROW: u64 = i32::MAX as u64;
/// Ids that a busy tenant uses in some weeks: a table that has no more left is told of.
const ROOM: u64 = 50_000_000;

/// What is in a schema.
struct Seen {
    store: StoreLook,
    layout: Option<Layout>,
    /// Relations besides kine's.
    others: Vec<String>,
    database: bool,
}

/// Looks at both.
pub(super) async fn look(pair: &PostgresPair) -> Result<Look, DatastoreError> {
    let (source, target) = tokio::try_join!(see(&pair.source), see(&pair.target))?;
    let mut findings = source_findings(&pair.source, &source);
    findings.extend(target_findings(pair, &source, &target).await?);
    Ok(Look {
        source: source.store,
        target: target.store,
        findings,
    })
}

async fn see(server: &Server) -> Result<Seen, DatastoreError> {
    let Some(mut connection) = server.connect().await? else {
        let mut connection = server.connect_maintenance().await?;
        return Ok(Seen {
            store: StoreLook {
                version: server.version(&mut connection).await?,
                revision: 0,
                keys: 0,
                bytes: 0,
            },
            layout: None,
            others: Vec::new(),
            database: false,
        });
    };
    let version = server.version(&mut connection).await?;
    let layout = Layout::read(server, &mut connection).await?;
    let (revision, keys, bytes) = match layout {
        Some(_) => figures(server, &mut connection).await?,
        None => (0, 0, 0),
    };
    Ok(Seen {
        store: StoreLook {
            version,
            revision,
            keys,
            bytes,
        },
        layout,
        others: others(server, &mut connection).await?,
        database: true,
    })
}

async fn figures(
    server: &Server,
    connection: &mut PgConnection,
) -> Result<(u64, u64, u64), DatastoreError> {
    let doing = "counting rows";
    let sql = "SELECT coalesce(max(id), 0)::bigint, count(*), pg_table_size('public.kine') FROM public.kine";
    let row = server.ask(connection, doing, sql).await?;
    let figure = |index: usize| -> Result<u64, DatastoreError> {
        let figure: i64 = row
            .try_get(index)
            .map_err(|error| server.failed(doing, &error))?;
        Ok(figure.unsigned_abs())
    };
    Ok((figure(0)?, figure(1)?, figure(2)?))
}

/// Tables, views and functions of users, but for kine's own.
pub(super) async fn others(
    server: &Server,
    connection: &mut PgConnection,
) -> Result<Vec<String>, DatastoreError> {
    // An extension's are its own, and come with it.
    let sql = "WITH relation AS (
            SELECT oid, relnamespace AS space, oid::regclass::text AS name FROM pg_class
            WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
            UNION ALL SELECT oid, pronamespace, oid::regprocedure::text FROM pg_proc)
        SELECT name FROM relation r JOIN pg_namespace n ON n.oid = space
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
            AND r.oid IS DISTINCT FROM to_regclass('public.kine')
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = r.oid
                AND (d.refobjid = to_regclass('public.kine') OR d.deptype = 'e'))
        ORDER BY name";
    within(
        STATEMENT_BOUND,
        sqlx::query_scalar(sql).fetch_all(connection),
    )
    .await
    .map_err(|error| server.failed("listing its tables", &error))
}

fn source_findings(server: &Server, seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    if seen.layout.is_none() {
        findings.push(Finding {
            check: "kine table".to_owned(),
            blocks: true,
            evidence: if seen.database {
                format!(
                    "database {} of {} has no table kine",
                    server.schema, server.store
                )
            } else {
                format!("{} has no database {}", server.store, server.schema)
            },
            cure: "look at the schema's name, and whether the tenant is served from there"
                .to_owned(),
        });
    }
    if !seen.others.is_empty() {
        findings.push(Finding {
            check: "other tables".to_owned(),
            blocks: false,
            evidence: format!(
                "database {} of {} also holds {}",
                server.schema,
                server.store,
                seen.others.join(", ")
            ),
            cure: "only kine's table is copied; copy the others by hand if they are needed"
                .to_owned(),
        });
    }
    findings
}

async fn target_findings(
    pair: &PostgresPair,
    source: &Seen,
    target: &Seen,
) -> Result<Vec<Finding>, DatastoreError> {
    let mut findings = missing_rights(&pair.target, target.database).await?;
    let Some(wanted) = &source.layout else {
        return Ok(findings);
    };
    findings.extend(narrow_ids(pair, source, target));
    let Some(found) = &target.layout else {
        return Ok(findings);
    };
    let place = format!(
        "table kine of database {} of {}",
        pair.target.schema, pair.target.store
    );
    let strange = wanted.strange_columns(found);
    if !strange.is_empty() {
        findings.push(Finding {
            check: "table columns".to_owned(),
            blocks: true,
            evidence: format!(
                "{place} and the source's do not both have {}",
                strange.join(", ")
            ),
            cure: "drop that table if nothing needs it: it is made anew like the source's"
                .to_owned(),
        });
    }
    if found.locale.encoding != wanted.locale.encoding {
        findings.push(Finding {
            check: "encoding".to_owned(),
            blocks: true,
            evidence: format!(
                "{place} is in {}, the source's in {}",
                found.locale.encoding, wanted.locale.encoding
            ),
            cure: "drop that database if nothing needs it: it is made anew like the source's"
                .to_owned(),
        });
    }
    Ok(findings)
}

/// Ids that do not fit, or soon will not.
fn narrow_ids(pair: &PostgresPair, source: &Seen, target: &Seen) -> Option<Finding> {
    let narrow = |layout: &Layout| {
        let columns = ["id", "prev_revision", "create_revision"].into_iter();
        columns
            .filter_map(|name| layout.column(name))
            .any(|column| column.kind == NARROW)
    };
    // Where the target has no table it gets the source's types.
    let (server, layout) = match &target.layout {
        Some(layout) => (&pair.target, layout),
        None => (&pair.source, source.layout.as_ref()?),
    };
    let revision = source.store.revision;
    if !narrow(layout) || revision + ROOM < LARGEST_NARROW {
        return None;
    }
    Some(Finding {
        check: "32-bit ids".to_owned(),
        blocks: target.layout.is_some() || revision >= LARGEST_NARROW,
        evidence: format!(
            "table kine of database {} of {} has 32-bit ids, and the source is at revision {revision}",
            server.schema, server.store
        ),
        cure: match target.layout {
            Some(_) => "drop that table if nothing needs it: it is made anew with the source's types",
            None => "let kine widen the source's columns first (ALTER TABLE kine ALTER COLUMN id TYPE bigint)",
        }
        .to_owned(),
    })
}

/// What the DataStore's user lacks: we make the database, Kamaji the tenant's role.
async fn missing_rights(server: &Server, database: bool) -> Result<Vec<Finding>, DatastoreError> {
    let doing = "asking for the user's rights";
    let sql = "SELECT current_user::text, rolsuper OR rolcreatedb, rolsuper OR rolcreaterole FROM pg_roles \
        WHERE rolname = current_user";
    let mut connection = server.connect_maintenance().await?;
    let (user, databases, roles): (String, bool, bool) = within(
        STATEMENT_BOUND,
        sqlx::query_as(sql).fetch_one(&mut connection),
    )
    .await
    .map_err(|error| server.failed(doing, &error))?;
    let missing = |check: &str, right: &str| Finding {
        check: check.to_owned(),
        blocks: true,
        evidence: format!("user {user} of {} lacks {right}", server.store),
        cure: format!("run there: ALTER ROLE \"{user}\" {right}"),
    };
    let mut findings = Vec::new();
    if !databases && !database {
        findings.push(missing("right to create databases", "CREATEDB"));
    }
    if !roles {
        findings.push(missing("right to create roles", "CREATEROLE"));
    }
    Ok(findings)
}
