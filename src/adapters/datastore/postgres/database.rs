//! The schema's database: made like the source's, and removed.
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::server::{Server, has_code, quoted};
use crate::adapters::datastore::{
    DatastoreError,
    kine::{STATEMENT_BOUND, within},
};

/// How a database stores and sorts text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Locale {
    /// Such as `UTF8`.
    pub encoding: String,
    /// Such as `C.UTF-8`.
    pub collate: String,
    /// Such as `C.UTF-8`.
    pub ctype: String,
}

impl Server {
    /// Makes the schema's database, like the source's.
    pub(super) async fn make_database(&self, like: &Locale) -> Result<(), DatastoreError> {
        let mut connection = self.connect_maintenance().await?;
        let name = quoted(&self.schema);
        let encoding = text(&like.encoding);
        let sql = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding}");
        let with_locale = format!(
            "{sql} LC_COLLATE {} LC_CTYPE {}",
            text(&like.collate),
            text(&like.ctype)
        );
        let made = make(&mut connection, with_locale).await;
        let made = match made {
            // A locale is a file of the server's system: where it has none, its own default is what kine would get.
            Err(error) if has_code(&error, &["22023", "42704", "42809"]) => {
                make(&mut connection, sql).await
            }
            other => other,
        };
        match made {
            // Somebody was faster, or we were before a crash.
            Err(error) if !has_code(&error, &["42P04", "23505"]) => {
                Err(self.failed("making the database", &error))
            }
            _ => Ok(()),
        }
    }

    /// Removes a role that can log in.
    pub async fn drop_role(&self, role: &str) -> Result<(), DatastoreError> {
        let mut connection = self.connect_maintenance().await?;
        let sql = format!("DROP ROLE IF EXISTS {}", quoted(role));
        self.run(&mut connection, "removing the schema's user", sql)
            .await
    }

    /// Removes the schema's database, whoever is connected to it.
    pub(super) async fn drop_database(&self) -> Result<(), DatastoreError> {
        let mut connection = self.connect_maintenance().await?;
        let doing = "removing the database";
        let name = quoted(&self.schema);
        self.run(
            &mut connection,
            doing,
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        )
        .await
    }
}

async fn make(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    let made = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
    within(STATEMENT_BOUND, made).await.map(drop)
}

/// A text as it stands in a statement: `E''`, so that a backslash is itself under any setting.
fn text(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_where_it_ends() {
        assert_eq!(text("en_US'\\"), "E'en_US''\\\\'");
    }
}
