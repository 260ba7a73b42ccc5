//! Both servers, before anything is begun.
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::{MySqlPair, layout::Layout, server::Server, table::packet_of};
use crate::adapters::datastore::{
    DatastoreError, Finding, Look, StoreLook,
    kine::{STATEMENT_BOUND, within},
};

/// The largest 32-bit id.
const LARGEST_NARROW: u64 = i32::MAX as u64;
/// Ids that a busy tenant uses in some weeks: a table that has no more left is told of.
const ROOM: u64 = 50_000_000;
/// What a row needs in a packet besides its values: its name and numbers.
const ENVELOPE: u64 = 4 << 10;

/// What is in a schema.
struct Seen {
    store: StoreLook,
    layout: Option<Layout>,
    /// Tables, views and routines besides kine's.
    others: Vec<String>,
    /// Bytes of the largest row.
    largest: u64,
    /// What the server takes in one packet.
    packet: u64,
}

/// Looks at both.
pub(super) async fn look(pair: &MySqlPair) -> Result<Look, DatastoreError> {
    let (source, target) = tokio::try_join!(see(&pair.source), see(&pair.target))?;
    let findings = findings(pair, &source, &target);
    Ok(Look {
        source: source.store,
        target: target.store,
        findings,
    })
}

async fn see(server: &Server) -> Result<Seen, DatastoreError> {
    let mut connection = server.connect().await?;
    let version = within(
        STATEMENT_BOUND,
        sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut connection),
    )
    .await
    .map_err(|error| server.failed("asking for its version", &error))?;
    let layout = Layout::read(server, &mut connection).await?;
    let [revision, keys, largest, bytes] = match &layout {
        Some(layout) => figures(server, layout, &mut connection).await?,
        None => [0; 4],
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
        largest,
        packet: packet_of(server, &mut connection).await?,
    })
}

async fn figures(
    server: &Server,
    layout: &Layout,
    connection: &mut MySqlConnection,
) -> Result<[u64; 4], DatastoreError> {
    let failed = |error: sqlx::Error| server.failed("counting rows", &error);
    let bytes = layout.lengths();
    // The server's own figures of a table may be hours old.
    let sql = format!(
        "SELECT CAST(COALESCE(MAX(id), 0) AS UNSIGNED), CAST(COUNT(*) AS UNSIGNED),
            CAST(COALESCE(MAX({bytes}), 0) AS UNSIGNED), CAST(COALESCE(SUM({bytes}), 0) AS UNSIGNED)
        FROM {}",
        server.table()
    );
    let row = within(
        STATEMENT_BOUND,
        sqlx::query(AssertSqlSafe(sql)).fetch_one(connection),
    )
    .await
    .map_err(failed)?;
    let figure = |index: usize| row.try_get::<u64, _>(index).map_err(failed);
    Ok([figure(0)?, figure(1)?, figure(2)?, figure(3)?])
}

/// Tables, views, routines and events of the schema, but for kine's table.
pub(super) async fn others(
    server: &Server,
    connection: &mut MySqlConnection,
) -> Result<Vec<String>, DatastoreError> {
    let sql = "SELECT CAST(table_name AS CHAR) FROM information_schema.tables
            WHERE table_schema = ? AND table_name <> 'kine'
        UNION ALL SELECT CAST(routine_name AS CHAR) FROM information_schema.routines WHERE routine_schema = ?
        UNION ALL SELECT CAST(event_name AS CHAR) FROM information_schema.events WHERE event_schema = ?
        ORDER BY 1";
    within(
        STATEMENT_BOUND,
        sqlx::query_scalar(sql)
            .bind(&server.schema)
            .bind(&server.schema)
            .bind(&server.schema)
            .fetch_all(connection),
    )
    .await
    .map_err(|error| server.failed("listing its tables", &error))
}

fn findings(pair: &MySqlPair, source: &Seen, target: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    let place = |server: &Server| format!("database {} of {}", server.schema, server.store);
    let mut found = |check: &str, blocks: bool, evidence: String, cure: &str| {
        findings.push(Finding {
            check: check.to_owned(),
            blocks,
            evidence,
            cure: cure.to_owned(),
        });
    };
    let at_source = place(&pair.source);
    if !source.others.is_empty() {
        let evidence = format!("{at_source} also holds {}", source.others.join(", "));
        let cure = "only kine's table is copied; copy the others by hand if they are needed";
        found("other tables", false, evidence, cure);
    }
    let Some(wanted) = &source.layout else {
        let cure = "look at the schema's name, and whether the tenant is served from there";
        found(
            "kine table",
            true,
            format!("{at_source} has no table kine"),
            cure,
        );
        return findings;
    };
    if source.largest + ENVELOPE > target.packet {
        let evidence = format!(
            "the largest row of {} has {} bytes, and {} takes {} in a packet",
            pair.source.store, source.largest, pair.target.store, target.packet
        );
        let cure = format!(
            "run there: SET GLOBAL max_allowed_packet = {}, and put it into its configuration",
            (source.largest + ENVELOPE).next_multiple_of(16 << 20)
        );
        found("max_allowed_packet", true, evidence, &cure);
    }
    let revision = source.store.revision;
    // Where the target has no table it gets the source's types.
    let (server, layout) = match &target.layout {
        Some(layout) => (&pair.target, layout),
        None => (&pair.source, wanted),
    };
    if layout.is_narrow() && revision + ROOM >= LARGEST_NARROW {
        let evidence = format!(
            "table kine of {} has 32-bit ids, and the source is at revision {revision}",
            place(server)
        );
        let cure = match target.layout {
            Some(_) => {
                "drop that table if nothing needs it: it is made anew with the source's types"
            }
            None => {
                "let kine widen the source's columns first (ALTER TABLE kine MODIFY id BIGINT …)"
            }
        };
        found(
            "32-bit ids",
            target.layout.is_some() || revision >= LARGEST_NARROW,
            evidence,
            cure,
        );
    }
    let strange = target
        .layout
        .as_ref()
        .map(|layout| wanted.strange_columns(layout))
        .unwrap_or_default();
    if !strange.is_empty() {
        let columns = strange.join(", ");
        let evidence = format!(
            "table kine of {} and the source's do not both have {columns}",
            place(&pair.target)
        );
        let cure = "drop that table if nothing needs it: it is made anew like the source's";
        found("table columns", true, evidence, cure);
    }
    findings
}
