use super::*;
use crate::{
    engine::{Limited, Part},
    report::{
        Seen,
        sample::{at, entries, header},
    },
    ui::{Options, look::columns},
};

/// Three migrations: one that copies, one that failed, one that waits in another namespace.
pub(in crate::ui) fn rows() -> Vec<StatusRow> {
    let row = |count, second, name: &str, namespace: &str, locked| {
        let mut header = header();
        name.clone_into(&mut header.migration);
        namespace.clone_into(&mut header.namespace);
        let report = Report::of(&header, &entries(count), &Seen::at(at(second), locked));
        StatusRow::of(&report, Some(&copied()))
    };
    vec![
        row(9, 480, "orders-db", "shop", true),
        row(8, 3600, "payments-db", "shop", false),
        row(
            16,
            8 * 86_400,
            "a-database-with-a-long-name",
            "warehouse",
            false,
        ),
    ]
}

fn copied() -> Progress {
    let part = |name: &str, done, total| Part {
        name: name.to_owned(),
        done,
        total,
    };
    Progress {
        step: "final-copy".to_owned(),
        doing: "copying".to_owned(),
        done: 1126 << 20,
        total: 1434 << 20,
        unit: Unit::Bytes,
        rate: 212e6,
        parts: vec![
            part("data-orders-db-0", 600 << 20, 800 << 20),
            part("data-orders-db-1", 526 << 20, 634 << 20),
        ],
        limited: Some(Limited {
            by: "source disk".to_owned(),
            share: 0.71,
        }),
    }
}

fn shown(width: u16, terminal: bool, format: Format, namespaced: bool) -> anyhow::Result<String> {
    let (ui, written) = Ui::for_test(width, terminal);
    ui.status(format, &rows(), namespaced)?;
    Ok(written.out())
}

#[test]
fn status_is_one_line_per_migration() -> anyhow::Result<()> {
    insta::assert_snapshot!(shown(80, false, Format::Table, false)?, @"
    NAME                         PLAYBOOK     STEP            STATE    PROGRESS                                                 FROZEN           AGE
    orders-db                    statefulset  4/7 final-copy  running  1.1/1.4 GiB  212 MB/s  2s  limited by: source disk 71 %  1m20s of 2m25s   8m
    payments-db                  statefulset  4/7 final-copy  failed   pod shop/orders-db-1 was evicted                         53m20s of 2m25s  60m
    a-database-with-a-long-name  statefulset  7/7 hand-over   waiting  switch the clients, then mark                            2m36s            8d
    ");
    insta::assert_snapshot!(shown(80, false, Format::Wide, true)?, @"
    NAMESPACE  NAME                         PLAYBOOK     STEP            STATE    PROGRESS                                                 FROZEN           CREATED               AGE
    shop       orders-db                    statefulset  4/7 final-copy  running  1.1/1.4 GiB  212 MB/s  2s  limited by: source disk 71 %  1m20s of 2m25s   2025-11-21 02:00:00Z  8m
    shop       payments-db                  statefulset  4/7 final-copy  failed   pod shop/orders-db-1 was evicted                         53m20s of 2m25s  2025-11-21 02:00:00Z  60m
    warehouse  a-database-with-a-long-name  statefulset  7/7 hand-over   waiting  switch the clients, then mark                            2m36s            2025-11-21 02:00:00Z  8d
    ");
    Ok(())
}

#[test]
fn status_fits_the_terminal() -> anyhow::Result<()> {
    insta::assert_snapshot!(shown(120, true, Format::Table, true)?, @"
    NAMESPACE  NAME                         PLAYBOOK     STEP            STATE    PROGRESS                       FROZEN  AGE
    shop       orders-db                    statefulset  4/7 final-copy  running  1.1/1.4 GiB  212 MB/s  2s      1m20s   8m
    shop       payments-db                  statefulset  4/7 final-copy  failed   pod shop/orders-db-1 was evi…  53m20s  60m
    warehouse  a-database-with-a-long-name  statefulset  7/7 hand-over   waiting  switch the clients, then mark  2m36s   8d
    ");
    insta::assert_snapshot!(shown(80, true, Format::Table, false)?, @"
    NAME             STEP            STATE    PROGRESS                   FROZEN  AGE
    orders-db        4/7 final-copy  running  1.1/1.4 GiB  212 MB/s  2s  1m20s   8m
    payments-db      4/7 final-copy  failed   pod shop/orders-db-1 was…  53m20s  60m
    a-database-wit…  7/7 hand-over   waiting  switch the clients, then…  2m36s   8d
    ");
    insta::assert_snapshot!(shown(40, true, Format::Table, true)?, @"
    NAME          STEP       STATE    FROZEN
    orders-db     4/7 fina…  running  1m20s
    payments-db   4/7 fina…  failed   53m20s
    a-database-…  7/7 hand…  waiting  2m36s
    ");
    for width in 30..160 {
        for line in shown(width, true, Format::Table, true)?.lines() {
            assert!(columns(line) <= usize::from(width), "{width}: {line}");
        }
    }
    Ok(())
}

#[test]
fn status_in_colour_says_the_same() -> anyhow::Result<()> {
    let (ui, written) = Ui::for_test_with(80, true, true, Options::default());
    ui.status(Format::Table, &rows()[..1], false)?;
    insta::assert_snapshot!(written.out().replace('\x1b', "␛"), @"
    NAME       PLAYBOOK   STEP       STATE    PROGRESS                   FROZEN  AGE
    ␛[1morders-db␛[0m  stateful…  4/7 fina…  ␛[32mrunning␛[0m  1.1/1.4 GiB  212 MB/s  2s  ␛[33m1m20s␛[0m   8m
    ");
    Ok(())
}

#[test]
fn a_limit_stands_beside_the_figures_until_the_end() -> anyhow::Result<()> {
    let rows: Vec<_> = rows()
        .into_iter()
        .map(|row| row.with_limit(Some(50 << 20)))
        .collect();
    let (ui, written) = Ui::for_test(80, false);
    ui.status(Format::Table, &rows, false)?;
    insta::assert_snapshot!(written.out());
    let (ui, written) = Ui::for_test(80, true);
    ui.status(Format::Table, &rows[..1], false)?;
    insta::assert_snapshot!(written.out());
    let (ui, written) = Ui::for_test(80, false);
    ui.status(Format::Json, &rows, false)?;
    let json: serde_json::Value = serde_json::from_str(&written.out())?;
    assert_eq!(json["items"][0]["limitBytesPerSecond"], 50 << 20);
    let report = Report::of(&header(), &entries(2), &Seen::at(at(480), false));
    let row = StatusRow::of(&report, None).with_limit(Some(100_000));
    assert_eq!(row.progress(), "limit 100 kB/s");
    let ended = StatusRow {
        state: State::Done,
        ..row
    };
    assert_eq!(ended.with_limit(Some(1)).limit_bytes_per_second, None);
    Ok(())
}

#[test]
fn machines_get_figures_not_texts() -> anyhow::Result<()> {
    let json: serde_json::Value = serde_json::from_str(&shown(40, true, Format::Json, false)?)?;
    assert_eq!(
        (&json["kind"], json["items"].as_array().map(Vec::len)),
        (&"StatusList".into(), Some(3))
    );
    let first = &json["items"][0];
    assert_eq!(first["state"], "running");
    assert_eq!(first["progress"]["done"], 1126 << 20);
    assert_eq!(
        (&first["frozen"], &first["frozenSeconds"]),
        (&true.into(), &80.0.into())
    );
    assert_eq!(
        shown(40, true, Format::Name, false)?,
        "migration/orders-db\nmigration/payments-db\nmigration/a-database-with-a-long-name\n"
    );
    Ok(())
}

#[test]
fn of_none_there_is_no_table_and_an_empty_list() -> anyhow::Result<()> {
    let (ui, written) = Ui::for_test(80, true);
    ui.status(Format::Table, &[], false)?;
    assert_eq!((written.out(), written.err()), Default::default());
    ui.status(Format::Json, &[], false)?;
    assert!(written.out().contains("\"items\": []"), "{}", written.out());
    Ok(())
}

#[test]
fn a_migration_that_cannot_be_read_stands_among_the_others() -> anyhow::Result<()> {
    let why = "configmap shop/migrate-old-db is damaged: it has no key `journal`".to_owned();
    let lost = StatusRow::unreadable(("shop", "old-db"), Some(at(0)), why.clone(), at(90));
    let rows = [rows().remove(0), lost];
    let (ui, written) = Ui::for_test(200, true);
    ui.status(Format::Table, &rows, false)?;
    insta::assert_snapshot!(written.out(), @"
    NAME       PLAYBOOK     STEP            STATE       PROGRESS                                                           FROZEN          AGE
    orders-db  statefulset  4/7 final-copy  running     1.1/1.4 GiB  212 MB/s  2s  limited by: source disk 71 %            1m20s of 2m25s  8m
    old-db     –            –               unreadable  configmap shop/migrate-old-db is damaged: it has no key `journal`  –               90s
    ");
    let (ui, written) = Ui::for_test(80, true);
    ui.status(Format::Json, &rows, false)?;
    let json: serde_json::Value = serde_json::from_str(&written.out())?;
    assert_eq!(json["items"][1]["state"], "unreadable");
    assert_eq!(json["items"][1]["why"], why);
    Ok(())
}

#[test]
fn the_forecast_is_shown_until_the_freeze_has_ended() {
    let frozen = |count, second| {
        let report = Report::of(&header(), &entries(count), &Seen::at(at(second), false));
        let row = StatusRow::of(&report, None);
        (row.frozen_of_expected(), row.expected_freeze_seconds)
    };
    assert_eq!(frozen(3, 300), ("–".to_owned(), None));
    assert_eq!(frozen(4, 380), ("expect 2m25s".to_owned(), Some(144.5)));
    assert_eq!(frozen(6, 441), ("41s of 2m25s".to_owned(), Some(144.5)));
    assert_eq!(frozen(16, 900), ("2m36s".to_owned(), Some(144.5)));
}
