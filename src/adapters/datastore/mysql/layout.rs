//! The table's definition: as the source writes it, and made the same at the target.
use serde::{Deserialize, Serialize};
use sqlx::{MySqlConnection, Row as _};

use super::server::{Server, quoted};
use crate::adapters::datastore::{
    DatastoreError,
    kine::{Definition, STATEMENT_BOUND, within},
};

const DOING: &str = "reading the table's definition";

/// The definition of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layout {
    /// Its columns; the id, the name, then as they stand.
    pub columns: Vec<Column>,
    /// Its own statement.
    statement: String,
    /// The character set and the collation of its database.
    charset: (String, String),
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Column {
    /// Its name.
    pub name: String,
    /// Its type, such as `bigint(20) unsigned`.
    pub kind: String,
}

impl Layout {
    /// Reads it; none where there is no such table.
    pub async fn read(
        server: &Server,
        connection: &mut MySqlConnection,
    ) -> Result<Option<Self>, DatastoreError> {
        let failed = |error: sqlx::Error| server.failed(DOING, &error);
        // Text of the information schema comes in several types.
        let sql = "SELECT CAST(column_name AS CHAR), CAST(column_type AS CHAR) FROM information_schema.columns
            WHERE table_schema = ? AND table_name = 'kine'
            ORDER BY column_name <> 'id', column_name <> 'name', ordinal_position";
        let rows = server
            .ask(connection, DOING, sql.to_owned(), &[&server.schema])
            .await?;
        let mut columns = Vec::new();
        for row in rows {
            columns.push(Column {
                name: row.try_get(0).map_err(failed)?,
                kind: row.try_get(1).map_err(failed)?,
            });
        }
        if columns.is_empty() {
            return Ok(None);
        }
        let sql = format!("SHOW CREATE TABLE {}", server.table());
        let statement = within(
            STATEMENT_BOUND,
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_one(&mut *connection),
        )
        .await
        .and_then(|row| row.try_get(1))
        .map_err(failed)?;
        let sql =
            "SELECT CAST(default_character_set_name AS CHAR), CAST(default_collation_name AS CHAR)
            FROM information_schema.schemata WHERE schema_name = ?";
        let charset = within(
            STATEMENT_BOUND,
            sqlx::query_as(sql)
                .bind(&server.schema)
                .fetch_one(connection),
        )
        .await
        .map_err(failed)?;
        let layout = Self {
            columns,
            statement,
            charset,
        };
        layout.check(server)?;
        Ok(Some(layout))
    }

    /// The names of the columns, for a statement.
    pub fn names(&self) -> String {
        let names: Vec<_> = self
            .columns
            .iter()
            .map(|column| quoted(&column.name))
            .collect();
        names.join(", ")
    }

    /// The bytes of a row, for a statement.
    pub fn lengths(&self) -> String {
        let columns = self.columns.iter();
        let lengths: Vec<_> = columns
            .map(|column| format!("COALESCE(LENGTH({}), 0)", quoted(&column.name)))
            .collect();
        lengths.join(" + ")
    }

    /// What makes the database like the source's.
    pub fn database_statement(&self, server: &Server) -> String {
        let (charset, collation) = &self.charset;
        let name = quoted(&server.schema);
        let (charset, collation) = (quoted(charset), quoted(collation));
        format!("CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET {charset} COLLATE {collation}")
    }

    /// What makes the table: the source's own statement, in the target's database.
    pub fn table_statement(&self, server: &Server) -> Result<String, DatastoreError> {
        match self.statement.strip_prefix("CREATE TABLE `kine` ") {
            Some(definition) => Ok(format!(
                "CREATE TABLE IF NOT EXISTS {} {definition}",
                server.table()
            )),
            None => Err(server.unexpected(format!(
                "table kine of the source is no plain table: {}",
                self.statement
            ))),
        }
    }
}

impl Definition for Layout {
    const NARROW: &str = "int";

    fn columns(&self) -> impl Iterator<Item = (&str, &str)> {
        let columns = self.columns.iter();
        columns.map(|column| (column.name.as_str(), column.kind.as_str()))
    }
}
