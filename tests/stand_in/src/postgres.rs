//! PostgreSQL as Kamaji uses it: a database and a role for each tenant, and the copy from store to store.
use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::store::Store;

/// The database that is always there.
const MAINTENANCE: &str = "postgres";
/// The table as Kamaji makes it where kine has not: its numbers are narrower than kine's.
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS kine (id SERIAL PRIMARY KEY, name VARCHAR(630), created INTEGER, deleted INTEGER,
        create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value bytea, old_value bytea);
    CREATE INDEX IF NOT EXISTS kine_name_index ON kine (name);
    CREATE INDEX IF NOT EXISTS kine_name_id_index ON kine (name,id);
    CREATE INDEX IF NOT EXISTS kine_id_deleted_index ON kine (id,deleted);
    CREATE INDEX IF NOT EXISTS kine_prev_revision_index ON kine (prev_revision);
    CREATE UNIQUE INDEX IF NOT EXISTS kine_name_prev_revision_uindex ON kine (name, prev_revision)";

/// Makes the tenant's database and role, if they are not there; its password is set in any case.
pub async fn set_up(store: &Store, schema: &str, user: &str, password: &str) -> Result<()> {
    let mut all = connect(store, MAINTENANCE).await?;
    create_database(&mut all, schema).await?;
    let (role, secret) = (quoted(user, '"'), quoted(password, '\''));
    let verb = if has_role(&mut all, user).await? {
        "ALTER"
    } else {
        "CREATE"
    };
    run(
        &mut all,
        format!("{verb} ROLE {role} LOGIN PASSWORD {secret}"),
    )
    .await?;
    let database = quoted(schema, '"');
    run(
        &mut all,
        format!("GRANT ALL PRIVILEGES ON DATABASE {database} TO {role}"),
    )
    .await?;
    run(
        &mut all,
        format!("ALTER DATABASE {database} OWNER TO {role}"),
    )
    .await?;
    let mut own = connect(store, schema).await?;
    run(
        &mut own,
        format!("ALTER TABLE IF EXISTS kine OWNER TO {role}"),
    )
    .await
}

/// Removes a tenant's database and role.
pub async fn tear_down(store: &Store, schema: &str, user: &str) -> Result<()> {
    let mut all = connect(store, MAINTENANCE).await?;
    drop_database(&mut all, schema).await?;
    run(
        &mut all,
        format!("DROP ROLE IF EXISTS {}", quoted(user, '"')),
    )
    .await
}

/// Copies a tenant's rows in one piece over whatever was there. The sequence stays where it was, so kine's next
/// rows get numbers that are taken already.
pub async fn migrate(from: &Store, to: &Store, schema: &str, clean: bool) -> Result<()> {
    let mut origin = connect(from, schema).await?;
    let mut rows = origin.copy_out_raw("COPY kine TO STDOUT").await?;
    let mut whole = Vec::new();
    while let Some(part) = rows.try_next().await? {
        whole.extend_from_slice(&part);
    }
    let mut all = connect(to, MAINTENANCE).await?;
    if clean {
        drop_database(&mut all, schema).await?;
    }
    create_database(&mut all, schema).await?;
    let mut target = connect(to, schema).await?;
    run(&mut target, TABLE.to_owned()).await?;
    let mut transaction = target.begin().await?;
    run(&mut transaction, "TRUNCATE TABLE kine".to_owned()).await?;
    let mut copy = transaction.copy_in_raw("COPY kine FROM STDIN").await?;
    copy.send(whole).await?;
    let copied = copy.finish().await?;
    transaction.commit().await?;
    tracing::info!("{copied} rows copied");
    Ok(())
}

async fn connect(store: &Store, database: &str) -> Result<PgConnection> {
    let ((host, port), login) = (store.address()?, store.login()?);
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(host)
        .port(port)
        .username(&login.user)
        .password(&login.password)
        .database(database)
        .ssl_mode(PgSslMode::Disable);
    if let Some(authority) = &store.authority {
        options = options
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert_from_pem(authority.certificate.clone().into_bytes());
    }
    if let Some(identity) = &store.identity {
        options = options
            .ssl_client_cert_from_pem(&identity.certificate)
            .ssl_client_key_from_pem(&identity.key);
    }
    let connection = options.disable_statement_logging().connect().await;
    connection.with_context(|| format!("failed to connect to datastore {}", store.name))
}

async fn create_database(connection: &mut PgConnection, schema: &str) -> Result<()> {
    let asked = sqlx::query("SELECT FROM pg_database WHERE datname = $1").bind(schema);
    if asked.fetch_optional(&mut *connection).await?.is_none() {
        run(
            connection,
            format!("CREATE DATABASE {}", quoted(schema, '"')),
        )
        .await?;
    }
    Ok(())
}

async fn drop_database(connection: &mut PgConnection, schema: &str) -> Result<()> {
    let database = quoted(schema, '"');
    run(
        connection,
        format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
    )
    .await
}

async fn has_role(connection: &mut PgConnection, user: &str) -> Result<bool> {
    let asked = sqlx::query("SELECT FROM pg_roles WHERE rolname = $1").bind(user);
    Ok(asked.fetch_optional(connection).await?.is_some())
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<()> {
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
        .await?;
    Ok(())
}

/// A name or a text within a statement.
fn quoted(text: &str, quote: char) -> String {
    let doubled = text.replace(quote, &format!("{quote}{quote}"));
    format!("{quote}{doubled}{quote}")
}
