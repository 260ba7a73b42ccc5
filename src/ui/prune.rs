use jiff::Timestamp;
use serde::Serialize;

use super::{
    Format, FormatError, Look, Tone, Ui, amount,
    snapshots::age,
    table::{Cell, Column, Table},
};
use crate::report::API_VERSION;

/// A snapshot, and what becomes of it.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PruneRow {
    /// What it is called below the prefix.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// What it is of; none where that cannot be read.
    pub source: Option<String>,
    /// What tells the source's cluster from every other.
    pub cluster: Option<String>,
    /// What becomes of it.
    pub fate: PruneFate,
    /// The rules that keep it.
    pub reasons: Vec<PruneReason>,
    /// Why, for people.
    pub why: String,
    /// Whether it is deleted by now.
    pub deleted: bool,
    /// What it takes in the bucket.
    pub stored_bytes: u64,
    /// When it was taken.
    pub taken: Option<Timestamp>,
}

/// A rule that keeps a snapshot.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PruneReason {
    /// Its name, such as `daily`.
    pub rule: &'static str,
    /// The day, week or month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
}

/// What becomes of a snapshot.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum PruneFate {
    /// A rule keeps it.
    Stays,
    /// No rule keeps it.
    Goes,
    /// It is not judged.
    Left,
}

impl PruneFate {
    const fn cell(self) -> (&'static str, Tone) {
        match self {
            Self::Stays => ("stays", Tone::Good),
            Self::Goes => ("goes", Tone::Bad),
            Self::Left => ("left", Tone::Notice),
        }
    }
}

/// All of a prune.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneView {
    /// Where the snapshots are.
    pub repository: String,
    /// In which time zone days, weeks and months are.
    pub time_zone: &'static str,
    /// Whether it was only shown.
    pub dry_run: bool,
    /// Each snapshot.
    pub items: Vec<PruneRow>,
}

/// What `-o json` gives.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    repository: &'a str,
    time_zone: &'a str,
    dry_run: bool,
    items: &'a [PruneRow],
}

fn lines(rows: &[PruneRow], look: Look, now: Timestamp) -> Vec<String> {
    let mut table = Table::new(vec![
        Column::text("NAME", 20),
        Column::text("SOURCE", 10).expendable(2),
        Column::whole("FATE"),
        Column::text("WHY", 10).expendable(1),
        Column::whole("STORED").right().expendable(3),
        Column::whole("AGE").right().expendable(4),
    ]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    for row in rows {
        let (fate, tone) = row.fate.cell();
        table.row(vec![
            Cell::toned(&row.name, Tone::Strong),
            or_dash(row.source.clone()).into(),
            Cell::toned(fate, tone),
            row.why.as_str().into(),
            amount::bytes(row.stored_bytes).into(),
            or_dash(row.taken.map(|taken| age(taken, now))).into(),
        ]);
    }
    table.lines(look)
}

impl Ui {
    /// Shows on standard output what becomes of each snapshot. Of none there is no table: that is for the caller to say.
    pub fn prune(&self, format: Format, view: &PruneView) -> Result<(), FormatError> {
        let look = match format {
            Format::Json | Format::Yaml => {
                return self.document(
                    format,
                    &Document {
                        api_version: API_VERSION,
                        kind: "SnapshotPrune",
                        repository: &view.repository,
                        time_zone: view.time_zone,
                        dry_run: view.dry_run,
                        items: &view.items,
                    },
                );
            }
            Format::Table => self.out_look(),
            Format::Wide => Look {
                width: None,
                ..self.out_look()
            },
            other => {
                return Err(other.unknown(&[
                    Format::Table,
                    Format::Wide,
                    Format::Json,
                    Format::Yaml,
                ]));
            }
        };
        if view.items.is_empty() {
            return Ok(());
        }
        Ok(self.show(&lines(&view.items, look, Timestamp::now()).join("\n"))?)
    }

    /// The same on standard error, where the question is asked: nobody can confirm what they have not seen.
    pub fn prune_before(&self, view: &PruneView) {
        let lines = lines(&view.items, self.err.look(), Timestamp::now());
        self.tell(&lines.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(time: &str, fate: PruneFate, why: &str) -> PruneRow {
        let name = format!("db/{time}");
        PruneRow {
            address: format!("s3://backups/prod/{name}"),
            name,
            source: (fate != PruneFate::Left).then(|| "statefulset shop/db".to_owned()),
            cluster: None,
            fate,
            reasons: Vec::new(),
            why: why.to_owned(),
            deleted: false,
            stored_bytes: 5 << 20,
            taken: "2026-11-28T04:15:00Z".parse().ok(),
        }
    }

    fn view() -> PruneView {
        let daily = PruneReason {
            rule: "daily",
            period: Some("2026-11-28".to_owned()),
        };
        PruneView {
            repository: "s3://backups/prod".to_owned(),
            time_zone: "UTC",
            dry_run: true,
            items: vec![
                row("20261127T041500Z", PruneFate::Goes, "no rule keeps it"),
                PruneRow {
                    reasons: vec![daily],
                    ..row(
                        "20261128T041500Z",
                        PruneFate::Stays,
                        "last of day 2026-11-28",
                    )
                },
                row(
                    "20261128T051500Z",
                    PruneFate::Left,
                    "unfinished: whoever makes it may go on",
                ),
            ],
        }
    }

    #[test]
    fn each_snapshot_has_its_fate_and_why() {
        let now = "2026-11-28T06:15:00Z".parse().expect("a time");
        let rows = view().items;
        insta::assert_snapshot!(lines(&rows, Look::PLAIN, now).join("\n"), @r"
        NAME                 SOURCE               FATE   WHY                                      STORED   AGE
        db/20261127T041500Z  statefulset shop/db  goes   no rule keeps it                        5.0 MiB  120m
        db/20261128T041500Z  statefulset shop/db  stays  last of day 2026-11-28                  5.0 MiB  120m
        db/20261128T051500Z  –                    left   unfinished: whoever makes it may go on  5.0 MiB  120m
        ");
        for width in 50..150 {
            let look = Look {
                width: Some(width),
                color: false,
            };
            for line in lines(&rows, look, now) {
                assert!(
                    super::super::look::columns(&line) <= width,
                    "{width}: {line}"
                );
            }
        }
    }

    #[test]
    fn a_document_has_all_of_it() -> anyhow::Result<()> {
        let (ui, written) = Ui::for_test(80, false);
        let mut view = view();
        view.items.drain(2..);
        view.items.remove(0);
        ui.prune(Format::Json, &view)?;
        insta::assert_snapshot!(written.out(), @r#"
        {
          "apiVersion": "kubectl-migrate/v1",
          "kind": "SnapshotPrune",
          "repository": "s3://backups/prod",
          "timeZone": "UTC",
          "dryRun": true,
          "items": [
            {
              "name": "db/20261128T041500Z",
              "address": "s3://backups/prod/db/20261128T041500Z",
              "source": "statefulset shop/db",
              "cluster": null,
              "fate": "stays",
              "reasons": [
                {
                  "rule": "daily",
                  "period": "2026-11-28"
                }
              ],
              "why": "last of day 2026-11-28",
              "deleted": false,
              "storedBytes": 5242880,
              "taken": "2026-11-28T04:15:00Z"
            }
          ]
        }
        "#);
        Ok(())
    }
}
