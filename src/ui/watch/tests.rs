use std::time::Duration;

use anyhow::anyhow;
use crossterm::event::KeyEvent;
use futures::{channel::mpsc, stream};

use super::*;
use crate::ui::{Look, look::columns, status::tests::rows};

fn screen(written: &str, rows: u16, columns: u16) -> vt100::Parser {
    let mut parser = vt100::Parser::new(rows, columns, 0);
    parser.process(b"what was there before");
    parser.process(written.as_bytes());
    parser
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

fn key(code: KeyCode, modifiers: KeyModifiers) -> Input {
    Input::Key(KeyEvent::new(code, modifiers))
}

#[tokio::test]
async fn a_terminal_is_a_live_view_and_is_put_back() {
    let (ui, written) = Ui::for_test(80, true);
    let (looks, snapshots) = mpsc::unbounded();
    let (keys, pressed) = mpsc::unbounded();
    let shown = tokio::spawn(async move { ui.full_screen(snapshots, pressed, false).await });
    let contents = || screen(&written.out(), 24, 80).screen().contents();
    until("it says that it looks", || contents().contains("looking")).await;
    looks.unbounded_send(Ok(rows())).expect("somebody looks");
    until("the table is drawn", || contents().contains("orders-db")).await;
    insta::assert_snapshot!(contents().trim_end(), @"
    NAME             STEP            STATE    PROGRESS                   FROZEN  AGE
    orders-db        4/7 final-copy  running  1.1/1.4 GiB  212 MB/s  2s  1m20s   8m
    payments-db      4/7 final-copy  failed   pod shop/orders-db-1 was…  53m20s  60m
    a-database-wit…  7/7 hand-over   waiting  switch the clients, then…  2m36s   8d

    payments-db failed: pod shop/orders-db-1 was evicted

    a-database-with-a-long-name waiting: switch the clients, then mark

    orders-db copying, limited by: source disk 71 %
    data-orders-db-0  ━━━━━━━━━━━━━━━─────  600.0/800.0 MiB
    data-orders-db-1  ━━━━━━━━━━━━━━━━────  526.0/634.0 MiB











    q leaves
    ");
    assert!(screen(&written.out(), 24, 80).screen().hide_cursor());
    looks
        .unbounded_send(Err(
            anyhow!("refused").context("failed to reach the API server")
        ))
        .expect("somebody looks");
    until("the failure is told", || {
        contents().contains("failed to reach the API server: refused")
    })
    .await;
    assert!(contents().contains("orders-db"), "the last look stays");
    keys.unbounded_send(Pressed::Other)
        .expect("somebody listens");
    keys.unbounded_send(Pressed::Leave)
        .expect("somebody listens");
    shown.await.expect("no panic").expect("it could be drawn");
    let after = screen(&written.out(), 24, 80);
    assert_eq!(
        after.screen().contents().trim_end(),
        "what was there before"
    );
    assert!(!after.screen().hide_cursor() && !after.screen().alternate_screen());
}

#[tokio::test]
async fn the_end_of_the_snapshots_ends_the_view() {
    let (ui, written) = Ui::for_test(40, true);
    let keys = stream::pending();
    ui.full_screen(stream::iter([Ok(rows())]), keys, true)
        .await
        .expect("it could be drawn");
    assert!(!screen(&written.out(), 24, 40).screen().alternate_screen());
}

#[test]
fn a_panic_puts_the_terminal_back() {
    let (ui, written) = Ui::for_test(80, true);
    let panicked = std::panic::catch_unwind(|| {
        let screen = FullScreen::enter(&ui.out).expect("a buffer takes everything");
        screen
            .draw(&["x".to_owned()])
            .expect("a buffer takes everything");
        assert!(ui.out.color, "the test's own panic");
    });
    assert!(panicked.is_err());
    assert!(!screen(&written.out(), 24, 80).screen().alternate_screen());
}

#[test]
fn every_screen_size_is_kept_to() {
    let trouble = "the last look failed: no route to host\x1b[2J and so on";
    for width in [1, 10, 20, 40, 41, 57, 80, 120] {
        for height in [1, 2, 3, 4, 10, 24] {
            for (trouble, color) in [(None, false), (Some(trouble), false), (None, true)] {
                let look = Look { width: None, color };
                let lines = frame(&rows(), trouble, look, (width, height), true);
                assert_eq!(lines.len(), usize::from(height));
                // What a terminal shows of a line that is as wide as it is: one row.
                let mut parser = vt100::Parser::new(2, width, 0);
                for line in &lines {
                    parser.process(format!("\x1b[H\x1b[J{line}").as_bytes());
                    let second = parser.screen().rows(0, width).nth(1);
                    assert_eq!(second.as_deref(), Some(""), "{width}x{height}: {line}");
                    assert!(color || columns(line) <= usize::from(width), "{line}");
                    assert!(color || !line.contains('\x1b'));
                }
            }
        }
    }
    insta::assert_snapshot!(frame(&rows(), None, Look::PLAIN, (40, 10), false).join("\n"), @"
    NAME          STEP       STATE    FROZEN
    orders-db     4/7 fina…  running  1m20s
    payments-db   4/7 fina…  failed   53m20s
    a-database-…  7/7 hand…  waiting  2m36s

    payments-db failed: pod shop/orders-db-1
    was evicted

    a-database-with-a-long-name waiting:
    q leaves
    ");
}

#[tokio::test]
async fn a_pipe_gets_a_line_per_change() {
    let (ui, written) = Ui::for_test(80, false);
    let mut later = rows();
    if let Some(progress) = &mut later[0].progress {
        progress.done += 1;
    }
    later[0].age_seconds += 1.0;
    let mut much_later = later.clone();
    much_later[0].progress = None;
    much_later.truncate(1);
    let looks = [
        Ok(rows()),
        Ok(rows()),
        Ok(later),
        Err(anyhow!("no route to host")),
        Ok(much_later),
    ];
    ui.changes(stream::iter(looks), true)
        .await
        .expect("a buffer takes everything");
    insta::assert_snapshot!(written.out(), @"
    shop/orders-db  4/7 final-copy  running  1.1/1.4 GiB  212 MB/s  2s  limited by: source disk 71 %  frozen 1m20s of 2m25s
    shop/payments-db  4/7 final-copy  failed  pod shop/orders-db-1 was evicted  frozen 53m20s of 2m25s
    warehouse/a-database-with-a-long-name  7/7 hand-over  waiting  switch the clients, then mark
    shop/orders-db  4/7 final-copy  running  frozen 1m20s of 2m25s
    shop/payments-db  gone
    warehouse/a-database-with-a-long-name  gone
    ");
    assert_eq!(
        written.err(),
        "warning: the last look failed: no route to host\n"
    );
}

#[tokio::test]
async fn machines_get_a_document_per_change() {
    let (ui, written) = Ui::for_test(80, false);
    let mut later = rows();
    later.truncate(1);
    later[0].why = "no route to host".to_owned();
    let looks = [Ok(rows()), Ok(rows()), Err(anyhow!("refused")), Ok(later)];
    ui.documents(stream::iter(looks))
        .await
        .expect("a buffer takes everything");
    let documents: Vec<serde_json::Value> = serde_json::Deserializer::from_str(&written.out())
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("JSON, one document after the other");
    let told: Vec<_> = documents
        .iter()
        .map(|document| {
            format!(
                "{} {} {}",
                document["kind"], document["name"], document["state"]
            )
        })
        .collect();
    insta::assert_snapshot!(told.join("\n").replace('"', ""), @"
    Status orders-db running
    Status payments-db failed
    Status a-database-with-a-long-name waiting
    Status orders-db running
    Status payments-db gone
    Status a-database-with-a-long-name gone
    ");
    assert_eq!(documents[3]["why"], "no route to host");
    assert_eq!(written.err(), "warning: the last look failed: refused\n");
}

#[test]
fn q_and_control_c_leave() {
    let control = KeyModifiers::CONTROL;
    for leaves in [
        key(KeyCode::Char('q'), KeyModifiers::NONE),
        key(KeyCode::Char('c'), control),
        key(KeyCode::Esc, KeyModifiers::NONE),
    ] {
        assert_eq!(pressed(&leaves), Pressed::Leave, "{leaves:?}");
    }
    for stays in [
        key(KeyCode::Char('c'), KeyModifiers::NONE),
        key(KeyCode::Enter, KeyModifiers::NONE),
        Input::Resize(40, 10),
    ] {
        assert_eq!(pressed(&stays), Pressed::Other, "{stays:?}");
    }
}
