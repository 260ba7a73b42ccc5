//! The table's definition: read from the source's catalogue, and made the same at the target.
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Row as _};

use super::{
    database::Locale,
    server::{Server, quoted},
};
use crate::adapters::datastore::{
    DatastoreError,
    kine::{Definition, STATEMENT_BOUND, within},
};

/// The definition of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layout {
    /// Its columns; the id, the name, then as they stand.
    pub columns: Vec<Column>,
    /// Its constraints, by name, as they are written.
    constraints: Vec<(String, String)>,
    /// Its other indexes, by name, as they are made.
    indexes: Vec<(String, String)>,
    /// How its database stores text.
    pub locale: Locale,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Column {
    /// Its name.
    pub name: String,
    /// Its type, with its length.
    pub kind: String,
    collation: Option<String>,
    required: bool,
    default: Option<String>,
    /// `a` always, `d` by default, else nothing.
    identity: String,
    /// The sequence that it owns, quoted.
    sequence: Option<String>,
}

const COLUMNS: &str = "
    SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        pg_get_expr(d.adbin, d.adrelid), a.attidentity::text,
        CASE WHEN a.attcollation <> t.typcollation THEN c.collname::text END,
        pg_get_serial_sequence('public.kine', a.attname::text)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_collation c ON c.oid = a.attcollation
    WHERE a.attrelid = to_regclass('public.kine') AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attname <> 'id', a.attname <> 'name', a.attnum";

const CONSTRAINTS: &str = "
    SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = to_regclass('public.kine') AND contype IN ('p', 'u', 'c') ORDER BY conname";

const INDEXES: &str = "
    SELECT r.relname::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
    JOIN pg_class r ON r.oid = i.indexrelid
    WHERE i.indrelid = to_regclass('public.kine')
        AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
    ORDER BY 1";

const LOCALE: &str = "
    SELECT pg_encoding_to_char(encoding)::text, datcollate::text, datctype::text
    FROM pg_database WHERE datname = current_database()";

impl Layout {
    /// Reads it; none where there is no such table.
    pub async fn read(
        server: &Server,
        connection: &mut PgConnection,
    ) -> Result<Option<Self>, DatastoreError> {
        let failed = |error: sqlx::Error| server.failed("reading the table's definition", &error);
        let mut columns = Vec::new();
        for row in within(
            STATEMENT_BOUND,
            sqlx::query(COLUMNS).fetch_all(&mut *connection),
        )
        .await
        .map_err(failed)?
        {
            columns.push(Column {
                name: row.try_get(0).map_err(failed)?,
                kind: row.try_get(1).map_err(failed)?,
                required: row.try_get(2).map_err(failed)?,
                default: row.try_get(3).map_err(failed)?,
                identity: row.try_get(4).map_err(failed)?,
                collation: row.try_get(5).map_err(failed)?,
                sequence: row.try_get(6).map_err(failed)?,
            });
        }
        if columns.is_empty() {
            return Ok(None);
        }
        let constraints = sqlx::query_as(CONSTRAINTS);
        let constraints = within(STATEMENT_BOUND, constraints.fetch_all(&mut *connection))
            .await
            .map_err(failed)?;
        let indexes = sqlx::query_as(INDEXES);
        let indexes = within(STATEMENT_BOUND, indexes.fetch_all(&mut *connection))
            .await
            .map_err(failed)?;
        let (encoding, collate, ctype) = within(
            STATEMENT_BOUND,
            sqlx::query_as(LOCALE).fetch_one(connection),
        )
        .await
        .map_err(failed)?;
        let locale = Locale {
            encoding,
            collate,
            ctype,
        };
        let layout = Self {
            columns,
            constraints,
            indexes,
            locale,
        };
        layout.check(server)?;
        Ok(Some(layout))
    }

    /// Whether rows of one fit into the other as they are sent.
    pub fn fits(&self, other: &Self) -> bool {
        self.columns().eq(other.columns())
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

    /// The columns with the types that they have here, for a statement that reads them elsewhere.
    pub fn casts(&self) -> String {
        let casts = self.columns.iter();
        let casts: Vec<_> = casts
            .map(|column| format!("{}::{}", quoted(&column.name), column.kind))
            .collect();
        casts.join(", ")
    }

    /// The columns as a temporary table has them.
    pub fn plain_columns(&self) -> String {
        let columns = self.columns.iter();
        let columns: Vec<_> = columns
            .map(|column| format!("{} {}", quoted(&column.name), column.kind))
            .collect();
        columns.join(", ")
    }

    /// What makes the table: all in one transaction, and without its indexes, which are made faster afterwards.
    pub fn statements(&self) -> String {
        let mut parts: Vec<String> = self.columns.iter().map(Column::definition).collect();
        for (name, definition) in &self.constraints {
            parts.push(format!("CONSTRAINT {} {definition}", quoted(name)));
        }
        let mut statements = vec!["BEGIN".to_owned()];
        let mut owners = Vec::new();
        let serial = |column: &&Column| column.identity.is_empty();
        for column in self.columns.iter().filter(serial) {
            if let Some(sequence) = &column.sequence {
                let (name, kind) = (quoted(&column.name), &column.kind);
                statements.push(format!("CREATE SEQUENCE {sequence} AS {kind}"));
                owners.push(format!(
                    "ALTER SEQUENCE {sequence} OWNED BY public.kine.{name}"
                ));
            }
        }
        statements.push(format!("CREATE TABLE public.kine ({})", parts.join(", ")));
        statements.append(&mut owners);
        statements.push("COMMIT".to_owned());
        statements.join("; ")
    }

    /// What makes the indexes that another definition has and this one has not.
    pub fn missing_indexes(&self, of: &Self) -> Vec<String> {
        let has = |name: &String| self.indexes.iter().any(|(ours, _)| ours == name);
        let missing = of.indexes.iter().filter(|(name, _)| !has(name));
        missing.map(|(_, definition)| definition.clone()).collect()
    }
}

impl Definition for Layout {
    const NARROW: &str = "integer";

    fn columns(&self) -> impl Iterator<Item = (&str, &str)> {
        let columns = self.columns.iter();
        columns.map(|column| (column.name.as_str(), column.kind.as_str()))
    }
}

impl Column {
    fn definition(&self) -> String {
        let mut parts = vec![quoted(&self.name), self.kind.clone()];
        if let Some(collation) = &self.collation {
            parts.push(format!("COLLATE {}", quoted(collation)));
        }
        if self.required {
            parts.push("NOT NULL".to_owned());
        }
        match (self.identity.as_str(), &self.default) {
            ("a", _) => parts.push("GENERATED ALWAYS AS IDENTITY".to_owned()),
            ("d", _) => parts.push("GENERATED BY DEFAULT AS IDENTITY".to_owned()),
            (_, Some(default)) => parts.push(format!("DEFAULT {default}")),
            (_, None) => {}
        }
        parts.join(" ")
    }
}
