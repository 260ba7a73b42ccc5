//! The limit of the rate holds in the source's mover, and is changed while it sends.
use super::pair::{Pair, RUN};
use super::snapshot::assert_same;
use crate::transfer::control::ControlError;
use crate::transfer::fault::Fault;
use crate::transfer::report::RoundKind;
use crate::transfer::side::Side;
use crate::transfer::{Activity, Cause, bottleneck};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Contents that do not become less by any trick.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_stands_still_under_a_limit_and_ends_when_it_is_lifted() {
    let pair = Pair::new();
    for number in 0..8 {
        fs::write(pair.source().join(format!("{number}")), noise(1 << 20)).unwrap();
    }
    let mut source = pair.control(Side::Source, 1).await.unwrap();
    source.limit(Some(1)).await.unwrap();
    let mut target = pair.connected().await;
    let (told, seen) = (Notify::new(), AtomicU64::new(0));
    let busy = Mutex::new(Activity::default());
    let mut hear = |progress: crate::transfer::Progress| {
        *busy.lock().unwrap() = progress.activity;
        if progress.bytes_to_move == 8 << 20 {
            seen.store(progress.files_moved, Ordering::Relaxed);
            told.notify_one();
        }
    };
    let rounding = target.round(RUN, RoundKind::Warm, false, &mut hear);
    let lifting = async {
        // All is known and asked for, and it is told twice more that next to nothing came.
        for _ in 0..3 {
            told.notified().await;
        }
        let moved = seen.load(Ordering::Relaxed);
        let at_source = source.activity().await.unwrap();
        let at_target = *busy.lock().unwrap();
        source.limit(None).await.unwrap();
        (moved, bottleneck(&at_source.load(), &at_target.load()))
    };
    let (summary, (moved, found)) = tokio::join!(rounding, lifting);
    let found = found.unwrap();
    assert_eq!(found.cause, Cause::Limit, "{found:?}");
    assert!(moved <= 1, "{moved} files of a MiB came at a byte a second");
    assert_eq!(summary.unwrap().bytes_sent, 8 << 20);
    target.finish(RUN).await.unwrap();
    assert_same(&pair.source(), &pair.target());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_together_keep_to_the_limit() {
    const RATE: u64 = 8 << 20;
    let pair = Pair::new();
    for number in 0..12 {
        fs::write(pair.source().join(format!("{number}")), noise(1 << 20)).unwrap();
    }
    let mut source = pair.control(Side::Source, 1).await.unwrap();
    source.limit(Some(RATE)).await.unwrap();
    let begun = Instant::now();
    let summary = pair.round(RoundKind::Warm).await;
    // The first piece goes out at once, and a quarter of a second may have been saved up.
    let least = (summary.bytes_sent - (1 << 20)) as f64 / RATE as f64 - 0.25;
    assert_eq!(summary.bytes_sent, 12 << 20);
    assert!(
        begun.elapsed() >= Duration::from_secs_f64(least),
        "{:?}, and {least} s at least",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_taken_over_from_limits_nothing_any_more() {
    let pair = Pair::new();
    let mut old = pair.control(Side::Source, 1).await.unwrap();
    let mut new = pair.control(Side::Source, 2).await.unwrap();
    let refused = old.limit(Some(1)).await.unwrap_err();
    assert!(
        matches!(refused, ControlError::Fault(Fault::Fenced { .. })),
        "{refused:?}"
    );
    new.limit(Some(1 << 20)).await.unwrap();
}
