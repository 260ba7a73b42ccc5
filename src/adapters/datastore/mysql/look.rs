//! Both servers, before anything is begun.
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::{MySqlPair, layout::Layout, server::Server, table::packet_of};
use crate::adapters::datastore::{
    DatastoreError, Finding, Look, StoreLook,
    kine::{STATEMENT_BOUND, Seen, finding, findings, within},
};

/// How kine gives its ids more bits.
const WIDEN: &str = "ALTER TABLE kine MODIFY id BIGINT …";
/// What a row needs in a packet besides its values: its name and numbers.
const ENVELOPE: u64 = 4 << 10;

/// What counts when rows are sent.
struct Sizes {
    /// Bytes of the largest row.
    largest: u64,
    /// What the server takes in one packet.
    packet: u64,
}

/// Looks at both.
pub(super) async fn look(pair: &MySqlPair) -> Result<Look, DatastoreError> {
    let ((source, sent), (target, taken)) = tokio::try_join!(see(&pair.source), see(&pair.target))?;
    let no_table = format!("{} has no table kine", source.place);
    let mut findings = findings(&source, &target, no_table, WIDEN);
    findings.extend(large_row(pair, &sent, &taken));
    Ok(Look {
        source: source.store,
        target: target.store,
        findings,
    })
}

async fn see(server: &Server) -> Result<(Seen<Layout>, Sizes), DatastoreError> {
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
    let seen = Seen {
        place: server.place(),
        store: StoreLook {
            version,
            revision,
            keys,
            bytes,
        },
        layout,
        others: others(server, &mut connection).await?,
    };
    let packet = packet_of(server, &mut connection).await?;
    server.give_back(connection);
    Ok((seen, Sizes { largest, packet }))
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

/// A row that the target would hang up on.
fn large_row(pair: &MySqlPair, sent: &Sizes, taken: &Sizes) -> Option<Finding> {
    let needed = sent.largest + ENVELOPE;
    (needed > taken.packet).then(|| {
        finding(
            "max_allowed_packet",
            true,
            format!(
                "the largest row of {} has {} bytes, and {} takes {} in a packet",
                pair.source.store, sent.largest, pair.target.store, taken.packet
            ),
            format!(
                "run there: SET GLOBAL max_allowed_packet = {}, and put it into its configuration",
                needed.next_multiple_of(16 << 20)
            ),
        )
    })
}
