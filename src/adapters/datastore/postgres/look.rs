//! Both servers, before anything is begun.
use sqlx::{PgConnection, Row as _};

use super::{
    PostgresPair,
    layout::Layout,
    server::{Server, quoted},
};
use crate::adapters::datastore::{
    DatastoreError, Finding, Look, StoreLook,
    kine::{STATEMENT_BOUND, Seen, finding, findings, within},
};

/// How kine gives its ids more bits.
const WIDEN: &str = "ALTER TABLE kine ALTER COLUMN id TYPE bigint";

/// Looks at both.
pub(super) async fn look(pair: &PostgresPair) -> Result<Look, DatastoreError> {
    let ((source, at_source), (target, at_target)) =
        tokio::try_join!(see(&pair.source), see(&pair.target))?;
    let no_table = if at_source {
        format!("{} has no table kine", source.place)
    } else {
        let Server { store, schema, .. } = pair.source.as_ref();
        format!("{store} has no database {schema}")
    };
    let mut findings = findings(&source, &target, no_table, WIDEN);
    findings.extend(other_encoding(&source, &target));
    findings.extend(missing_rights(&pair.target, at_target).await?);
    Ok(Look {
        source: source.store,
        target: target.store,
        findings,
    })
}

/// What is in a schema, and whether there is a database for it.
async fn see(server: &Server) -> Result<(Seen<Layout>, bool), DatastoreError> {
    let mut seen = Seen {
        place: server.place(),
        store: StoreLook {
            version: String::new(),
            revision: 0,
            keys: 0,
            bytes: 0,
        },
        layout: None,
        others: Vec::new(),
    };
    let Some(mut connection) = server.connect().await? else {
        let mut connection = server.connect_maintenance().await?;
        seen.store.version = server.version(&mut connection).await?;
        return Ok((seen, false));
    };
    seen.store.version = server.version(&mut connection).await?;
    seen.layout = Layout::read(server, &mut connection).await?;
    if seen.layout.is_some() {
        let (revision, keys, bytes) = figures(server, &mut connection).await?;
        seen.store = StoreLook {
            version: seen.store.version,
            revision,
            keys,
            bytes,
        };
    }
    seen.others = others(server, &mut connection).await?;
    server.give_back(connection);
    Ok((seen, true))
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

/// Text that would be read as another.
fn other_encoding(source: &Seen<Layout>, target: &Seen<Layout>) -> Option<Finding> {
    let wanted = &source.layout.as_ref()?.locale.encoding;
    let found = &target.layout.as_ref()?.locale.encoding;
    (found != wanted).then(|| {
        finding(
            "encoding",
            true,
            format!(
                "table kine of {} is in {found}, the source's in {wanted}",
                target.place
            ),
            "drop that database if nothing needs it: it is made anew like the source's",
        )
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
    let missing = |check: &str, right: &str| {
        finding(
            check,
            true,
            format!("user {user} of {} lacks {right}", server.store),
            format!("run there: ALTER ROLE {} {right}", quoted(&user)),
        )
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
