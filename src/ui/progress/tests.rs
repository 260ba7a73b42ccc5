use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::*;
use crate::{
    engine::{Entry, Kind, Limited, Part, Progress, Record, Unit},
    ui::{Options, Written},
};

fn steps() -> Vec<String> {
    ["warm-copy", "freeze", "final-copy"]
        .map(str::to_owned)
        .to_vec()
}

fn entry(second: i64, step: &str, record: Record) -> Event {
    let at = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(second);
    Event::Recorded(Entry {
        seq: 1,
        fence: 1,
        at,
        step: step.to_owned(),
        record,
    })
}

fn copied(done: u64) -> Event {
    let part = |name: &str, done, total| Part {
        name: name.to_owned(),
        done,
        total,
    };
    Event::Progress(Progress {
        step: "final-copy".to_owned(),
        doing: "copying".to_owned(),
        done: done << 20,
        total: 1434 << 20,
        unit: Unit::Bytes,
        rate: 212e6,
        parts: vec![
            part("data-orders-db-0", (done / 2) << 20, 800 << 20),
            part("data-orders-db-1", (done / 2) << 20, 634 << 20),
        ],
        limited: Some(Limited {
            by: "source disk".to_owned(),
            share: 0.71,
        }),
    })
}

fn failed() -> Event {
    let error = "pod shop/orders-db-1 was evicted\x1b[2J".to_owned();
    entry(
        400,
        "final-copy",
        Record::Failed {
            kind: Kind::Error,
            error,
            evidence: Vec::new(),
        },
    )
}

fn waits(what: &str) -> Event {
    Event::Waiting {
        step: "final-copy".to_owned(),
        what: what.to_owned(),
    }
}

/// The screen of a terminal that got all that was written to standard error.
fn screen(written: &Written, rows: u16, columns: u16) -> String {
    let mut parser = vt100::Parser::new(rows, columns, 0);
    // A real terminal's driver adds the carriage return.
    parser.process(written.err().replace('\n', "\r\n").as_bytes());
    let rows: Vec<_> = parser
        .screen()
        .rows(0, columns)
        .map(|row| row.trim_end().to_owned())
        .collect();
    rows.join("\n").trim_end().to_owned()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(5), wait)
        .await
        .expect(what);
}

#[tokio::test(start_paused = true)]
async fn a_pipe_gets_a_line_per_entry_and_one_per_interval() {
    let (ui, written) = Ui::for_test(80, false);
    let (send, events) = mpsc::unbounded_channel();
    let shown = tokio::spawn(async move { ui.progress(&steps(), LINE_INTERVAL, events).await });
    let tell = |event| send.send(event).expect("somebody listens");
    tell(entry(0, "warm-copy", Record::Started));
    tell(entry(370, "warm-copy", Record::Done(Value::Null)));
    tell(entry(
        371,
        "freeze",
        Record::Skipped("it sleeps already".to_owned()),
    ));
    tell(entry(372, "final-copy", Record::Started));
    // A hundred figures a second are one line each five seconds.
    for tenth in 0..120 {
        tell(copied(tenth * 10));
        tokio::time::advance(Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
    }
    tell(waits("pod shop/orders-db-1 to end (last seen Running)"));
    // A wait that does not change is told at once, and again a minute later.
    for _ in 0..15 {
        tokio::time::advance(LINE_INTERVAL).await;
        tokio::task::yield_now().await;
    }
    tell(Event::Notice("mover placed again".to_owned()));
    tell(failed());
    drop(send);
    shown.await.expect("it ends with its channel");
    insta::assert_snapshot!(written.err(), @r"
    1/3 warm-copy: started
    1/3 warm-copy: done in 6m10s
    2/3 freeze: skipped: it sleeps already
    3/3 final-copy: started
    3/3 final-copy: copying 0.5/1.4 GiB  212 MB/s  5s left  limited by: source disk 71 %
    3/3 final-copy: copying 1.0/1.4 GiB  212 MB/s  2s left  limited by: source disk 71 %
    3/3 final-copy: waiting for pod shop/orders-db-1 to end (last seen Running)
    3/3 final-copy: waiting for pod shop/orders-db-1 to end (last seen Running)
    mover placed again
    3/3 final-copy: failed after 28s
    ");
    assert_eq!(written.out(), "");
}

#[tokio::test]
async fn a_terminal_gets_bars_that_go_away() {
    let (ui, written) = Ui::for_test(80, true);
    let (send, events) = mpsc::unbounded_channel();
    let other = ui.clone();
    let shown = tokio::spawn(async move { ui.progress(&steps(), LINE_INTERVAL, events).await });
    let tell = |event| send.send(event).expect("somebody listens");
    tell(entry(0, "freeze", Record::Started));
    tell(entry(20, "freeze", Record::Done(Value::Null)));
    tell(entry(21, "final-copy", Record::Started));
    tell(copied(1126));
    until("the bars are drawn", || {
        screen(&written, 24, 80).contains("left")
    })
    .await;
    // Others may speak meanwhile: what they say stands above the bars.
    other.warn("the clock of node worker-3 is 4s behind");
    until("the bars are drawn again", || {
        let screen = screen(&written, 24, 80);
        screen.contains("worker-3") && screen.contains("left")
    })
    .await;
    insta::assert_snapshot!(screen(&written, 24, 80), @"
    2/3 freeze: done in 20s
    warning: the clock of node worker-3 is 4s behind
    data-orders-db-0  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╸─────────────  563.0/800.0 MiB
    data-orders-db-1  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╸─────  563.0/634.0 MiB
    3/3 final-copy    ━━━━━━━━━━━━━━━━━╸────  copying 1.1/1.4 GiB  212 MB/s  2s left
    limited by: source disk 71 %
    ");
    tell(waits("pod shop/orders-db-1 to end (last seen Running)"));
    until("the wait is drawn", || {
        screen(&written, 24, 80).contains("waiting for pod")
    })
    .await;
    tell(entry(35, "final-copy", Record::Done(Value::Null)));
    drop(send);
    shown.await.expect("it ends with its channel");
    insta::assert_snapshot!(screen(&written, 24, 80), @"
    2/3 freeze: done in 20s
    warning: the clock of node worker-3 is 4s behind
    3/3 final-copy: done in 14s
    ");
    assert_eq!(written.out(), "");
}

#[tokio::test]
async fn forty_columns_are_enough() {
    let (ui, written) = Ui::for_test(40, true);
    let (send, events) = mpsc::unbounded_channel();
    let shown = tokio::spawn(async move { ui.progress(&steps(), LINE_INTERVAL, events).await });
    send.send(copied(1126)).expect("somebody listens");
    until("the bars are drawn", || {
        screen(&written, 24, 40).contains("3/3")
    })
    .await;
    insta::assert_snapshot!(screen(&written, 24, 40), @"
    data-orders-db-0  563.0/800.0 MiB
    data-orders-db-1  563.0/634.0 MiB
    3/3 final-copy  copying 1.1/1.4 GiB  2…
    limited by: source disk 71 %
    ");
    drop(send);
    shown.await.expect("it ends with its channel");
    assert_eq!(screen(&written, 24, 40), "");
}

#[tokio::test]
async fn quiet_leaves_all_to_the_ending() {
    for terminal in [true, false] {
        let quiet = Options {
            quiet: true,
            ..Options::default()
        };
        let (ui, written) = Ui::for_test_with(80, terminal, false, quiet);
        let (send, events) = mpsc::unbounded_channel();
        for event in [
            entry(380, "final-copy", Record::Started),
            copied(3),
            waits("x"),
            failed(),
        ] {
            send.send(event).expect("somebody listens");
        }
        drop(send);
        ui.progress(&steps(), LINE_INTERVAL, events).await;
        assert_eq!(written.err(), "");
    }
}
