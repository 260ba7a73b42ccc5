use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Format, FormatError, Look, Tone, Ui, amount,
    table::{Cell, Column, Table},
};
use crate::report::API_VERSION;

/// A snapshot in a bucket.
#[derive(Clone, Debug, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotRow {
    /// What it is called below the prefix: `t1/20261128T041500Z`.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// How it is.
    pub state: SnapshotState,
    /// Why it is not whole. Empty where there is nothing to say.
    pub why: String,
    /// What it is of: `tcp tenants/t1`. It and all that comes from the manifest is none where that cannot be read.
    pub source: Option<String>,
    /// What tells the source's cluster from every other.
    pub cluster: Option<String>,
    /// What the DataStore was.
    pub driver: Option<String>,
    /// The DataStore.
    pub data_store: Option<String>,
    /// The key prefix, database or bucket in it.
    pub schema: Option<String>,
    /// The version of the tenant's Kubernetes.
    pub kubernetes: Option<String>,
    /// The version of the DataStore's server.
    pub server: Option<String>,
    /// How many records there are.
    pub records: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// The store's revision that they are of.
    pub revision: Option<u64>,
    /// Digest of the records.
    pub digest: Option<String>,
    /// Digest of the data object's bytes.
    pub blake3: Option<String>,
    /// Whether nobody could write while its volumes were read; none where it is of no volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<bool>,
    /// When it was last seen to be good, of each level, the lowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checked: Vec<SnapshotChecked>,
    /// What the user's checks gave when it was taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<SnapshotCheck>,
    /// Its volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<SnapshotVolume>,
    /// What it takes in the bucket.
    pub stored_bytes: u64,
    /// The version that wrote it.
    pub written_by: Option<String>,
    /// When it was taken.
    pub taken: Option<Timestamp>,
}

/// A look at a snapshot that found it good.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotChecked {
    /// How close it was: 2 read everything, 3 started it.
    pub level: u8,
    /// When.
    pub at: Timestamp,
}

/// What a user's check gave when a snapshot was taken.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotCheck {
    /// Its name.
    pub name: String,
    /// The code that it ended with.
    pub exit_code: i32,
    /// What it wrote, where that is text and short.
    pub output: Option<String>,
    /// How many bytes it wrote.
    pub bytes: u64,
    /// Digest of them.
    pub digest: String,
}

/// A volume of a snapshot.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotVolume {
    /// The claim that it was.
    pub claim: String,
    /// Its archive, below the snapshot's name.
    pub object: String,
    /// Files in it.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// Digest of its tree.
    pub digest: String,
    /// Files that changed while they were read.
    pub changed: u64,
    /// What it takes in the bucket.
    pub stored_bytes: u64,
}

/// How a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SnapshotState {
    /// All of it is there.
    Whole,
    /// It was never finished, or is being made.
    Unfinished,
    /// Its deletion was begun and not ended.
    HalfDeleted,
    /// Something of it is gone or changed.
    Damaged,
    /// Nobody can tell: its manifest is of another version, or broken.
    Unreadable,
}

impl SnapshotState {
    const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Unfinished => "unfinished",
            Self::HalfDeleted => "half deleted",
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
        }
    }

    const fn tone(self) -> Tone {
        match self {
            Self::Whole => Tone::Good,
            Self::Unfinished | Self::HalfDeleted => Tone::Notice,
            Self::Damaged | Self::Unreadable => Tone::Bad,
        }
    }
}

/// What `-o json` gives for `snapshot list`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [SnapshotRow],
}

/// What `-o json` gives for `snapshot show`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    snapshot: &'a SnapshotRow,
}

fn lines(rows: &[SnapshotRow], look: Look, now: Timestamp) -> Vec<String> {
    let mut table = Table::new(vec![
        Column::text("NAME", 20),
        Column::text("SOURCE", 10).expendable(2),
        Column::whole("DRIVER").expendable(4),
        Column::whole("STATE"),
        Column::text("WHY", 10).expendable(1),
        Column::whole("RECORDS").right().expendable(3),
        Column::whole("STORED").right().expendable(3),
        Column::whole("CHECKED").expendable(2),
        Column::whole("AGE").right().expendable(2),
    ]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    for row in rows {
        let why = (!row.why.is_empty()).then(|| row.why.clone());
        table.row(vec![
            Cell::toned(&row.name, Tone::Strong),
            or_dash(row.source.clone()).into(),
            or_dash(row.driver.clone()).into(),
            Cell::toned(row.state.name(), row.state.tone()),
            or_dash(why).into(),
            or_dash(row.records.map(amount::count)).into(),
            amount::bytes(row.stored_bytes).into(),
            or_dash(row.checked(now)).into(),
            or_dash(row.taken.map(|taken| age(taken, now))).into(),
        ]);
    }
    table.lines(look)
}

impl SnapshotRow {
    /// How closely and how long ago it was last seen to be good; of several levels the highest.
    fn checked(&self, now: Timestamp) -> Option<String> {
        let best = self.checked.last()?;
        Some(format!("level {}, {} ago", best.level, age(best.at, now)))
    }
}

pub(super) fn age(taken: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(taken).as_secs_f64().max(0.0);
    Duration::try_from_secs_f64(seconds).map_or_else(|_| "<invalid>".to_owned(), amount::age)
}

fn facts(row: &SnapshotRow, now: Timestamp) -> Vec<String> {
    let state = match row.why.as_str() {
        "" => row.state.name().to_owned(),
        why => format!("{}: {why}", row.state.name()),
    };
    let store = row
        .driver
        .as_ref()
        .zip(row.server.as_ref())
        .zip(row.data_store.as_ref());
    let facts = [
        ("state", Some(state)),
        ("source", row.source.clone()),
        ("cluster", row.cluster.clone()),
        ("kubernetes", row.kubernetes.clone()),
        (
            "datastore",
            store.map(|((driver, server), store)| format!("{store} ({driver} {server})")),
        ),
        ("schema", row.schema.clone()),
        (
            "revision",
            row.revision.map(|revision| revision.to_string()),
        ),
        ("records", row.records.map(amount::count)),
        ("bytes", row.bytes.map(amount::bytes)),
        ("digest", row.digest.clone()),
        (
            "frozen",
            row.frozen
                .map(|frozen| if frozen { "yes" } else { "no" }.to_owned()),
        ),
        ("stored", Some(amount::bytes(row.stored_bytes))),
        ("checked", row.checked(now)),
        ("blake3", row.blake3.clone()),
        (
            "taken",
            row.taken
                .map(|taken| taken.strftime("%Y-%m-%d %H:%M:%SZ").to_string()),
        ),
        (
            "written by",
            row.written_by
                .as_ref()
                .map(|by| format!("kubectl-migrate {by}")),
        ),
    ];
    let volumes = row.volumes.iter().map(|volume| {
        let changed = match volume.changed {
            0 => String::new(),
            changed => format!(", {} changed while they were read", amount::count(changed)),
        };
        let text = format!(
            "{}: {} files, {}, digest {}{changed}",
            volume.claim,
            amount::count(volume.files),
            amount::bytes(volume.bytes),
            volume.digest
        );
        format!("  {:<12} {text}", "volume:")
    });
    let head = [format!("Snapshot {}", row.address)];
    let lines = facts
        .into_iter()
        .filter_map(|(name, value)| Some(format!("  {:<12} {}", format!("{name}:"), value?)));
    let checks = row.checks.iter().map(|check| {
        let output = check.output.as_deref().map(str::trim_end);
        let gave = match output.filter(|output| !output.is_empty()) {
            Some(output) => output.lines().collect::<Vec<_>>().join(" "),
            None => format!("{}, digest {}", amount::bytes(check.bytes), check.digest),
        };
        format!("  {:<12} {}: {gave}", "check:", check.name)
    });
    let all = head.into_iter().chain(lines).chain(volumes);
    all.chain(checks).collect()
}

impl Ui {
    /// Shows snapshots on standard output. Of none there is no table: that is for the caller to say.
    pub fn snapshots(&self, format: Format, rows: &[SnapshotRow]) -> Result<(), FormatError> {
        let list = List {
            api_version: API_VERSION,
            kind: "SnapshotList",
            items: rows,
        };
        let look = match format {
            Format::Json | Format::Yaml => return self.document(format, &list),
            Format::Name => {
                for row in rows {
                    self.data(&format!("snapshot/{}", row.name))?;
                }
                return Ok(());
            }
            Format::Markdown | Format::Html => return Err(format.unknown(&Format::COMMON)),
            Format::Table => self.out_look(),
            Format::Wide => Look {
                width: None,
                ..self.out_look()
            },
        };
        if rows.is_empty() {
            return Ok(());
        }
        Ok(self.show(&lines(rows, look, Timestamp::now()).join("\n"))?)
    }

    /// Shows all of one snapshot.
    pub fn snapshot(&self, format: Format, row: &SnapshotRow) -> Result<(), FormatError> {
        match format {
            Format::Json | Format::Yaml => self.document(
                format,
                &Document {
                    api_version: API_VERSION,
                    kind: "Snapshot",
                    snapshot: row,
                },
            ),
            Format::Table => Ok(self.data(&facts(row, Timestamp::now()).join("\n"))?),
            other => Err(other.unknown(&[Format::Table, Format::Json, Format::Yaml])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> SnapshotRow {
        let some = |text: &str| Some(text.to_owned());
        SnapshotRow {
            name: "t1/20261128T041500Z".to_owned(),
            address: "s3://backups/prod/t1/20261128T041500Z".to_owned(),
            state: SnapshotState::Whole,
            why: String::new(),
            source: some("tcp tenants/t1"),
            cluster: some("a-cluster"),
            driver: some("etcd"),
            data_store: some("silver"),
            schema: some("tenants_t1"),
            kubernetes: some("v1.36.0"),
            server: some("3.6.4"),
            records: Some(1_234),
            bytes: Some(2_345_678),
            revision: Some(17),
            digest: some("5f0e"),
            blake3: some("ab12"),
            frozen: None,
            checked: Vec::new(),
            checks: Vec::new(),
            volumes: Vec::new(),
            stored_bytes: 345_678,
            written_by: some("0.1.0"),
            taken: "2026-11-28T04:15:00Z".parse().ok(),
        }
    }

    fn unfinished() -> SnapshotRow {
        SnapshotRow {
            name: "t1/20261128T051500Z".to_owned(),
            state: SnapshotState::Unfinished,
            why: "it has no manifest, which is written last".to_owned(),
            source: None,
            driver: None,
            records: None,
            stored_bytes: 0,
            taken: "2026-11-28T05:15:00Z".parse().ok(),
            ..whole()
        }
    }

    #[test]
    fn a_list_tells_which_are_whole() {
        let now = "2026-11-28T06:15:00Z".parse().expect("a time");
        let rows = [whole(), unfinished()];
        insta::assert_snapshot!(lines(&rows, Look::PLAIN, now).join("\n"), @r"
        NAME                 SOURCE          DRIVER  STATE       WHY                                        RECORDS     STORED  CHECKED   AGE
        t1/20261128T041500Z  tcp tenants/t1  etcd    whole       –                                            1 234  337.6 KiB  –        120m
        t1/20261128T051500Z  –               –       unfinished  it has no manifest, which is written last        –        0 B  –         60m
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
    fn what_was_checked_is_told_with_its_age() {
        let now = "2026-11-28T06:15:00Z".parse().expect("a time");
        let at = |text: &str| text.parse().expect("a time");
        let row = SnapshotRow {
            checked: vec![
                SnapshotChecked {
                    level: 2,
                    at: at("2026-11-28T06:14:00Z"),
                },
                SnapshotChecked {
                    level: 3,
                    at: at("2026-11-28T05:15:00Z"),
                },
            ],
            checks: vec![SnapshotCheck {
                name: "rows".to_owned(),
                exit_code: 0,
                output: Some("3|60\n".to_owned()),
                bytes: 5,
                digest: "d0".to_owned(),
            }],
            ..whole()
        };
        let told = facts(&row, now).join("\n");
        assert!(
            told.contains("checked:     level 3, 60m ago")
                && told.contains("check:       rows: 3|60"),
            "{told}"
        );
        let listed = lines(&[row], Look::PLAIN, now).join("\n");
        assert!(listed.contains("level 3, 60m ago"), "{listed}");
    }

    #[test]
    fn one_is_told_whole() -> anyhow::Result<()> {
        let now = "2026-11-28T06:15:00Z".parse().expect("a time");
        insta::assert_snapshot!(facts(&whole(), now).join("\n"), @r"
        Snapshot s3://backups/prod/t1/20261128T041500Z
          state:       whole
          source:      tcp tenants/t1
          cluster:     a-cluster
          kubernetes:  v1.36.0
          datastore:   silver (etcd 3.6.4)
          schema:      tenants_t1
          revision:    17
          records:     1 234
          bytes:       2.2 MiB
          digest:      5f0e
          stored:      337.6 KiB
          blake3:      ab12
          taken:       2026-11-28 04:15:00Z
          written by:  kubectl-migrate 0.1.0
        ");
        let (ui, written) = Ui::for_test(80, false);
        ui.snapshot(Format::Json, &whole())?;
        insta::assert_snapshot!(written.out(), @r#"
        {
          "apiVersion": "kubectl-migrate/v1",
          "kind": "Snapshot",
          "snapshot": {
            "name": "t1/20261128T041500Z",
            "address": "s3://backups/prod/t1/20261128T041500Z",
            "state": "whole",
            "why": "",
            "source": "tcp tenants/t1",
            "cluster": "a-cluster",
            "driver": "etcd",
            "dataStore": "silver",
            "schema": "tenants_t1",
            "kubernetes": "v1.36.0",
            "server": "3.6.4",
            "records": 1234,
            "bytes": 2345678,
            "revision": 17,
            "digest": "5f0e",
            "blake3": "ab12",
            "storedBytes": 345678,
            "writtenBy": "0.1.0",
            "taken": "2026-11-28T04:15:00Z"
          }
        }
        "#);
        Ok(())
    }
}
