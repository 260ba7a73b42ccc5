//! MySQL as Kamaji uses it: a database and a user for each tenant, and the copy from store to store.
use anyhow::{Context as _, Result};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Executor as _, MySqlConnection, Row as _,
    mysql::{MySqlConnectOptions, MySqlRow, MySqlSslMode},
};

use crate::store::Store;

/// What the table has, each as bytes: a dump knows no types.
const ROWS: &str = "
    SELECT CAST(id AS BINARY), CAST(name AS BINARY), CAST(created AS BINARY), CAST(deleted AS BINARY),
        CAST(create_revision AS BINARY), CAST(prev_revision AS BINARY), CAST(lease AS BINARY), value, old_value
    FROM kine";
const COLUMNS: usize = 9;
/// Windows' characters for the bytes from 0x80 on, which `latin1` means.
const LATIN1: [char; 32] = [
    '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}',
    '\u{2c6}', '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}',
    '\u{90}', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}',
    '\u{2dc}', '\u{2122}', '\u{161}', '\u{203a}', '\u{153}', '\u{9d}', '\u{17e}', '\u{178}',
];

/// Makes the tenant's database and user, if they are not there; its password is set in any case.
pub async fn set_up(store: &Store, schema: &str, user: &str, password: &str) -> Result<()> {
    let mut all = connect(store).await?;
    let (database, user) = (database(schema), account(user));
    let secret = text(password);
    for sql in [
        format!("CREATE DATABASE IF NOT EXISTS {database}"),
        format!("CREATE USER IF NOT EXISTS {user} IDENTIFIED BY {secret}"),
        format!("ALTER USER {user} IDENTIFIED BY {secret}"),
        format!("GRANT ALL PRIVILEGES ON {database}.* TO {user}"),
    ] {
        run(&mut all, sql).await?;
    }
    Ok(())
}

/// Removes a tenant's database and user.
pub async fn tear_down(store: &Store, schema: &str, user: &str) -> Result<()> {
    let mut all = connect(store).await?;
    run(
        &mut all,
        format!("DROP DATABASE IF EXISTS {}", database(schema)),
    )
    .await?;
    run(&mut all, format!("DROP USER IF EXISTS {}", account(user))).await
}

/// Copies a tenant's table by way of a dump, over whatever was there. Of what the server takes for the begin of an
/// escape only the apostrophe is escaped, so every backslash changes what is written, or ends in an error.
pub async fn migrate(from: &Store, to: &Store, schema: &str, clean: bool) -> Result<()> {
    let mut origin = connect(from).await?;
    run(&mut origin, format!("USE {}", database(schema))).await?;
    let made = sqlx::raw_sql("SHOW CREATE TABLE kine");
    let made: String = origin.fetch_one(made).await?.try_get(1)?;
    let rows = origin.fetch_all(ROWS).await?;
    let mut dump = format!("DROP TABLE IF EXISTS kine; {made};");
    for (number, row) in rows.iter().enumerate() {
        dump.push_str(if number == 0 {
            "INSERT INTO kine VALUES "
        } else {
            ","
        });
        dump.push_str(&values(row)?);
    }
    let mut target = connect(to).await?;
    if clean {
        run(
            &mut target,
            format!("DROP DATABASE IF EXISTS {}", database(schema)),
        )
        .await?;
    }
    run(
        &mut target,
        format!("CREATE DATABASE IF NOT EXISTS {}", database(schema)),
    )
    .await?;
    run(&mut target, format!("USE {}", database(schema))).await?;
    // A statement is text here, so the bytes go as characters, and the server makes bytes of them again.
    run(
        &mut target,
        "SET character_set_connection = latin1".to_owned(),
    )
    .await?;
    run(&mut target, dump).await?;
    tracing::info!("{} rows copied", rows.len());
    Ok(())
}

async fn connect(store: &Store) -> Result<MySqlConnection> {
    let ((host, port), login) = (store.address()?, store.login()?);
    let mut options = MySqlConnectOptions::new()
        .host(host)
        .port(port)
        .username(&login.user)
        .password(&login.password)
        .ssl_mode(MySqlSslMode::Disabled);
    if let Some(authority) = &store.authority {
        options = options
            .ssl_mode(MySqlSslMode::VerifyIdentity)
            .ssl_ca_from_pem(authority.certificate.clone().into_bytes());
    }
    if let Some(identity) = &store.identity {
        options = options
            .ssl_client_cert_from_pem(&identity.certificate)
            .ssl_client_key_from_pem(&identity.key);
    }
    let connection = options.disable_statement_logging().connect().await;
    connection.with_context(|| format!("failed to connect to datastore {}", store.name))
}

/// A row as the dump has it.
fn values(row: &MySqlRow) -> Result<String> {
    let mut all = Vec::with_capacity(COLUMNS);
    for column in 0..COLUMNS {
        let value: Option<Vec<u8>> = row.try_get(column)?;
        all.push(value.map_or("NULL".to_owned(), |bytes| escaped(&bytes)));
    }
    Ok(format!("({})", all.join(",")))
}

/// A value as the dump has it: between apostrophes, with none of them bare in it, and nothing else changed.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('\'');
    for &byte in bytes {
        if byte == b'\'' {
            text.push('\\');
        }
        text.push(match byte {
            0x80..0xa0 => LATIN1[usize::from(byte - 0x80)],
            other => char::from(other),
        });
    }
    text.push('\'');
    text
}

async fn run(connection: &mut MySqlConnection, sql: String) -> Result<()> {
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
        .await?;
    Ok(())
}

fn database(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn account(user: &str) -> String {
    format!("{}@'%'", text(user))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}
